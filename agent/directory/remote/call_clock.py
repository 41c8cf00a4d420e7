"""The time as it goes on from a moment that a caller named: a long run must not date its last acts like its first."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta


def ticking(now: datetime) -> Callable[[], datetime]:
    """A clock that shows ``now`` at first and goes on, whatever happens to the machine's own clock."""
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)
