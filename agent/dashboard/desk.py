"""What a page begins and somebody else's patience ends: runs that take longer than a request. One after the other, in a thread.

What was begun lives in this process alone; what it did is in the runs and the journal, whatever becomes of the process.
"""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime

import structlog
from msgspec import Struct

from agent.model.errors import AgentError, NotFound
from agent.runs.frame import Progress, RunReport

_log = structlog.get_logger("agent.dashboard")
#: Works that are remembered.
_KEPT = 200
#: How long a form waits for its answer; what takes longer gets a page of its own.
_PATIENCE = 1.5


class EndedWork(Struct, frozen=True, kw_only=True):
    """How a work ended."""

    #: For people; "" where the run says it.
    said: str = ""
    report: RunReport | None = None
    failed: bool = False


class DeskWork:
    """One of them: what it is, how far it is, and how it ended. Its methods are a run's Progress."""

    def __init__(self, number: int, what: str, back: str) -> None:
        self.number, self.what = number, what
        #: The page that it was begun from.
        self.back = back
        self.begun = datetime.now(UTC)
        self.ended: EndedWork | None = None
        self.line = "waiting for its turn"
        self.done, self.total = 0, 0

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        self.line, self.done, self.total = what, done, total or 0

    def wait(self, seconds: float, what: str) -> None:
        self.line = f"waiting {seconds:,.0f} s for {what}"


class Desk:
    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="dashboard")
        self._works: OrderedDict[int, DeskWork] = OrderedDict()
        self._numbers, self._lock = itertools.count(1), threading.Lock()

    def begin(self, what: str, back: str, job: Callable[[Progress], EndedWork]) -> DeskWork:
        """Do it, and wait a moment for its end."""
        with self._lock:
            work = DeskWork(next(self._numbers), what, back)
            self._works[work.number] = work
            while len(self._works) > _KEPT:
                self._works.popitem(last=False)
        future: Future[None] = self._threads.submit(_do, work, job)
        wait([future], _PATIENCE)
        return work

    def find(self, number: int) -> DeskWork:
        with self._lock:
            found = self._works.get(number)
        if found is None:
            raise NotFound("The agent was restarted since that was begun. What it did is under Runs.")
        return found

    def close(self) -> None:
        """Whoever ends the process has told the reconciler to stop before."""
        self._threads.shutdown(cancel_futures=True)


def _do(work: DeskWork, job: Callable[[Progress], EndedWork]) -> None:
    work.line = "begins"
    try:
        work.ended = job(work)
    except AgentError as error:
        work.ended = EndedWork(said=error.detail, failed=True)
    except Exception:  # noqa: BLE001 - whoever waits gets an answer
        _log.exception("a work of the dashboard failed unexpectedly")
        work.ended = EndedWork(said="It ended with an error that is a bug; the log has it.", failed=True)
