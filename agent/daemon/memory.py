"""What a process that stays gives back: garbage that Python hardly looks for, and memory that was freed and kept.

Runs, connections and their errors leave cycles that outlive two looks of Python's collector; at the pace that suits a command
(agent.cli) the third comes after hours. glibc keeps what was freed between pieces that are in use, unless it is asked for it
(malloc_trim(3)); other C libraries have no such call. A busy daemon grew by 0.7 MB a minute without the two.
"""

import ctypes
import gc
from contextlib import suppress


def keep_loaded() -> None:
    """What has been loaded stays, and needs no more looks."""
    gc.collect()
    gc.freeze()


def give_back() -> None:
    gc.collect()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
