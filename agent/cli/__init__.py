"""The command line: one module per command group. Holds no rules; render.py turns results into text or JSON.

Modules here import nothing heavy before a command runs, so that ``--help`` stays quick.
"""

import sys


def main() -> None:
    """Entry point of ``opshelm-agent``."""
    from agent.cli.root import run

    sys.exit(run(sys.argv[1:]))
