"""How many files of agent/ one way through the program passes. Run: python tests/benchmarks/count_files.py

Counted is every file in which a function runs, on any thread, from the call to its answer; the simulated org is not. Whoever
follows such a way has to open so many files. tests/integration/test_ways_through.py holds them to a limit.
"""

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import agent
from support.world import open_import_world, open_world

_AGENT = f"{Path(agent.__file__).parent}/"


class FileCounter:
    """Threads that are to be counted must be started within ``watching``; ``counting`` says when."""

    def __init__(self) -> None:
        self._seen: set[str] | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        before = sys.getprofile()
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            yield
        finally:
            sys.setprofile(before)
            threading.setprofile(None)  # type: ignore[arg-type]

    @contextmanager
    def counting(self) -> Iterator[set[str]]:
        seen = self._seen = set()
        try:
            yield seen
        finally:
            self._seen = None

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        seen, code = self._seen, frame.f_code
        if seen is None or event != "call" or code.co_name == "<module>" or not code.co_filename.startswith(_AGENT):
            return
        name = code.co_filename.removeprefix(_AGENT)
        if not name.startswith("simulator/"):
            seen.add(name)


def sweep_with_one_update(folder: Path) -> set[str]:
    counter = FileCounter()
    with counter.watching(), open_world(folder) as w:
        w.first_run()
        w.change(w.people()[0]["login"], title="Changed")
        with counter.counting() as seen:
            report = w.reconcile()
        assert (report.outcome, report.counts["update"]) == ("applied", 1), report
    return seen


def apply_of_an_import(folder: Path) -> set[str]:
    counter = FileCounter()
    with counter.watching(), open_import_world(folder) as b:
        b.pin()
        b.org.provisioning(mode="off")
        b.colleague("new@example.com", "New", "One")
        plan = b.plan()
        # The receiver beside it gets ready in a thread of its own, which is no part of the way.
        for thread in threading.enumerate():
            if thread.name == "scim-grammar":
                thread.join()
        with counter.counting() as seen:
            report = b.apply(plan)
        assert (report.outcome, report.counts["done"]) == ("applied", 2), report
    return seen


if __name__ == "__main__":
    for way in (sweep_with_one_update, apply_of_an_import):
        with tempfile.TemporaryDirectory() as scratch:
            files = way(Path(scratch))
        print(f"{way.__name__}: {len(files)}\n  " + "\n  ".join(sorted(files)))
