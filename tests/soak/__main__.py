"""The soak as a command: prints a line a minute, and ends with 1 where something didn't hold."""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from soak.play import soak
from soak.stage import DATABASES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=list(DATABASES), default="sqlite")
    parser.add_argument("--pause", type=float, default=0.4, help="seconds between two moves, on average")
    chosen = parser.parse_args()
    # Whoever stops it leaves no daemons and no mounted disk behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="soak"))
    soak(
        folder,
        chosen.database,
        chosen.seed,
        chosen.minutes,
        pause=chosen.pause,
        say=lambda text: print(text, flush=True),
    )


if __name__ == "__main__":
    main()
