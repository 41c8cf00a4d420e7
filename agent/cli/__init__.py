"""The command line: one module per command group. Holds no rules; render.py turns results into text or JSON.

Modules here import nothing heavy before a command runs, so that ``--help`` stays quick.
"""

import gc
import sys

#: New objects before Python looks for garbage, and how seldom it looks at the older ones. Loading makes a few hundred thousand
#: that stay for good; going through them again and again (from 700 on by default) is a tenth of a small run's CPU.
_COLLECT_AFTER = (50_000, 20, 20)


def main() -> None:
    gc.set_threshold(*_COLLECT_AFTER)
    from agent.cli.root import run

    code = run(sys.argv[1:])
    # At its end Python would look through all of that once more for garbage, a quarter of a small run's CPU.
    gc.freeze()
    sys.exit(code)
