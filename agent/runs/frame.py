"""The frame of one run: its row, its lease, and how every way to end becomes a report. Knows nothing of plans.

===========================================  ========================================================================
how the work ends                            then
===========================================  ========================================================================
with a report                                the report is stored and answered
frozen, held, Okta or OpsHelm out of reach   a report with that outcome; "stopped" where the process is to end
the caller's mistake (UsageError, NotFound)  raised; the run's row is taken away
Ctrl-C                                       raised; the row ends as ``stopped`` and says that it was interrupted
anything else                                raised; the row ends as ``error``
the process dies                             the next run that applies something ends the row
===========================================  ========================================================================

A store that is down is raised too, since no row can be written.

Of several things that happened the first in this table names the outcome and the exit code:

================  =========  ===========================================================
outcome           exit code  when
================  =========  ===========================================================
error             1          something unexpected; the detail says what
lease_held        1          another agent was at work
frozen            1          this run may change nothing (app, org, pins, features)
incomplete        1          the listing was not complete, or Okta could not be asked
disproved         1          the listing left out people whom Okta still has
paused            1          an operator paused applies
rejected          1          an operator rejected the plan while it was applied
stopped           1          the process was asked to end; what was begun is done
held              4          the run, or some of its actions, wait for a person
partial           5          some actions failed
applied           0          everything that was planned is done
drift             0          a dry run found something to do (3 with --detailed-exitcode)
in_step           0          nothing to do
planned           0          an import's plan is stored (3 with --detailed-exitcode)
nothing           0          nobody to import
================  =========  ===========================================================
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import ActionState
from agent.model.errors import (
    AgentError,
    DirectoryUnavailable,
    Frozen,
    HeldBack,
    LeaseHeld,
    NotFound,
    OktaError,
    StoreError,
    UsageError,
)
from agent.model.plan import Action, Finding
from agent.okta_org.org import OktaOrg
from agent.store import lease, runs
from agent.store.engine import Connection, Store
from agent.store.lease import Lease
from agent.store.plans import StoredPlan
from agent.store.runs import RunEnd, RunProgress, RunRequest


class Outcome(StrEnum):
    ERROR = "error"
    LEASE_HELD = "lease_held"
    FROZEN = "frozen"
    INCOMPLETE = "incomplete"
    DISPROVED = "disproved"
    PAUSED = "paused"
    REJECTED = "rejected"
    STOPPED = "stopped"
    HELD = "held"
    PARTIAL = "partial"
    APPLIED = "applied"
    DRIFT = "drift"
    IN_STEP = "in_step"
    PLANNED = "planned"
    NOTHING = "nothing"


#: Missing here: 1.
EXIT_CODES = {
    Outcome.HELD: 4,
    Outcome.PARTIAL: 5,
    **dict.fromkeys((Outcome.APPLIED, Outcome.DRIFT, Outcome.IN_STEP, Outcome.PLANNED, Outcome.NOTHING), 0),
}


class RunReport(Struct, frozen=True, kw_only=True):
    run_id: int
    outcome: Outcome
    counts: dict[str, int] = {}
    #: For people: why, with numbers and the next command.
    detail: str = ""
    plan: StoredPlan | None = None
    #: The older plan that waits for a person with the same held actions; approve that one.
    waiting: StoredPlan | None = None
    findings: tuple[Finding, ...] = ()
    #: For --detailed-exitcode.
    drift: bool = False
    held: bool = False
    dry: bool = True

    @property
    def exit_code(self) -> int:
        """A dry run that holds something is no failure; --detailed-exitcode tells it by ``drift`` and ``held``."""
        return 0 if self.dry and self.outcome is Outcome.HELD else EXIT_CODES.get(self.outcome, 1)


#: How counts call the states; "pending" there are people whom Okta's own push gets time for.
_STATES = {state: "planned" if state is ActionState.PENDING else state.value for state in ActionState}
STATE_COUNTS = frozenset(_STATES.values())


def counts_of(actions: Iterable[Action]) -> dict[str, int]:
    """How many actions of each kind and of each state that they ended in."""
    found: dict[str, int] = {}
    for action in actions:
        waits = action.held is not None and action.state is ActionState.PENDING
        for what in (action.kind.value, "held" if waits else _STATES[action.state]):
            found[what] = found.get(what, 0) + 1
    return found


_INTERRUPTED = "Interrupted (Ctrl-C). What it had begun is looked for before anything is done again."
_DIED = "The process died during this run. What it had begun is looked for before anything is done again."
#: A dry run holds no lease, so that only its age tells whether it is still at work.
_LONGEST_DRY_RUN = timedelta(days=1)


class Progress(Protocol):
    """What a run says while it works; nothing is decided by it.

    Called from the run's own thread, ``wait`` also from Okta's. Must be quick and must not raise.
    """

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """``done`` of ``total`` of what is being done now, such as "people read"."""

    def wait(self, seconds: float, what: str) -> None:
        """Standing still for so long, and for what: "Okta's limit on apps"."""


class Silent:
    """Says nothing."""

    def step(self, what: str, done: int = 0, total: int | None = None) -> None: ...

    def wait(self, seconds: float, what: str) -> None: ...


#: How often a run tells its row how far it is, at most. Seconds.
_TELL_EVERY = 2.0


class Told:
    """Passes on what a run says, and keeps it in the run's row now and then, for whoever looks from another process."""

    def __init__(self, store: Store, run_id: int, clock: Callable[[], datetime], progress: Progress) -> None:
        self._store, self._run_id, self._clock, self._progress = store, run_id, clock, progress
        self._next = time.monotonic() + _TELL_EVERY
        self._last = RunProgress(at=clock(), what="")
        #: Since when it does what it does now.
        self._since = time.monotonic()

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        self._progress.step(what, done, total)
        if what != self._last.what:
            self._since = time.monotonic()
        rate = done / max(time.monotonic() - self._since, 0.001)
        self._keep(RunProgress(at=self._clock(), what=what, done=done, total=total, rate=rate))

    def wait(self, seconds: float, what: str) -> None:
        self._progress.wait(seconds, what)
        self._next = time.monotonic()  # nothing more is said until it is over
        self._keep(replace(self._last, at=self._clock(), waits=seconds, waits_for=what))

    def _keep(self, now: RunProgress) -> None:
        self._last = now
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _TELL_EVERY
            # Nobody waits for it: where it fails, the next one tells more.
            self._store.submit(lambda conn: runs.tell(conn, self._run_id, now))


class CurrentRun(Struct, frozen=True, kw_only=True):
    """The run that is under way."""

    id: int
    request: RunRequest
    #: The lease's fencing number; 0 in a dry run.
    fence: int
    progress: Progress

    @property
    def dry(self) -> bool:
        return self.request.dry


class Frame(Struct, frozen=True, kw_only=True):
    store: Store
    okta: OktaOrg
    clock: Callable[[], datetime]
    lease_ttl: timedelta
    #: Set: the process is to end, and nothing waits any more.
    stop: threading.Event

    def run(
        self,
        request: RunRequest,
        work: Callable[[CurrentRun], RunReport],
        *,
        progress: Progress | None = None,
        wait: float = 60,
    ) -> RunReport:
        """``wait``: seconds for another agent's run."""
        say = progress or Silent()
        held = None if request.dry else self._lease(wait, say)
        run = self._start(request, held, say)
        if held is None and not request.dry:
            who = lease.current_holder(self.store, lease.RECONCILE) or "another agent"
            detail = (
                f"{who} is at work and holds the lease. Nothing was changed; try again later, or with a longer --wait."
            )
            return self._finish(_ended(run, Outcome.LEASE_HELD, detail))
        try:
            report = self._report(run, work)
        except (UsageError, NotFound) as error:
            # A mistake of whoever asked is no run that failed.
            self._forget_quietly(run, error)
            raise
        except BaseException as error:
            self._finish_quietly(_broken_off(run, error))
            raise
        finally:
            if held is not None:
                _let_go(held)
        return self._finish(report)

    def _report(self, run: CurrentRun, work: Callable[[CurrentRun], RunReport]) -> RunReport:
        try:
            with self.okta.run(run.progress.wait):
                return work(run)
        except (UsageError, NotFound):
            raise
        except Frozen as error:
            return _ended(run, Outcome.FROZEN, error.detail)
        except HeldBack as error:
            return _ended(run, Outcome.HELD, error.detail)
        except (OktaError, DirectoryUnavailable) as error:
            outcome = Outcome.STOPPED if self.stop.is_set() else Outcome.INCOMPLETE
            return _ended(run, outcome, f"{error.detail} Nothing was changed after that.")
        except StoreError as error:
            if error.soft:
                raise
            return _ended(run, Outcome.ERROR, error.detail)

    def _lease(self, wait: float, progress: Progress) -> Lease | None:
        def waiting(who: str) -> None:
            progress.step(f"waiting for {who}")

        holder = f"{socket.gethostname()}:{os.getpid()}"
        patience = lease.Patience(seconds=wait, told=waiting, stop=self.stop)
        return lease.acquire(self.store, lease.RECONCILE, holder, self.lease_ttl, patience)

    def _start(self, request: RunRequest, held: Lease | None, progress: Progress) -> CurrentRun:
        now = self.clock()

        def work(conn: Connection) -> int:
            if held is not None:
                _end_dead(conn, now)
            return runs.start(conn, request, now)

        run_id = self.store.write(work)
        told = Told(self.store, run_id, self.clock, progress)
        return CurrentRun(id=run_id, request=request, fence=held.fence if held else 0, progress=told)

    def _finish(self, report: RunReport) -> RunReport:
        now = self.clock()
        end = RunEnd(
            outcome=report.outcome.value, exit_code=report.exit_code, counts=report.counts, detail=report.detail
        )

        def work(conn: Connection) -> None:
            runs.add_findings(conn, report.run_id, report.findings)
            runs.finish(conn, report.run_id, end, now)

        self.store.write(work)
        return report

    def _forget_quietly(self, run: CurrentRun, error: AgentError) -> None:
        try:
            self.store.write(lambda conn: runs.remove(conn, run.id))
        except StoreError:  # it has a plan by now, or the database is down
            self._finish_quietly(_ended(run, Outcome.ERROR, error.detail))

    def _finish_quietly(self, report: RunReport) -> None:
        """On the way out with an error of its own: the next run ends this one's row if it can't be done now."""
        try:
            self._finish(report)
        except StoreError:
            return


def _ended(run: CurrentRun, outcome: Outcome, detail: str) -> RunReport:
    return RunReport(run_id=run.id, outcome=outcome, detail=detail, held=outcome is Outcome.HELD, dry=run.dry)


def _broken_off(run: CurrentRun, error: BaseException) -> RunReport:
    if isinstance(error, KeyboardInterrupt):
        return _ended(run, Outcome.STOPPED, _INTERRUPTED)
    detail = error.detail if isinstance(error, AgentError) else f"{type(error).__name__}: see the log"
    return _ended(run, Outcome.ERROR, detail)


def _end_dead(conn: Connection, now: datetime) -> None:
    """Runs of processes that died: whoever has the lease knows that no other run that applies is at work."""
    for run in runs.unfinished(conn):
        if not run.dry or run.started < now - _LONGEST_DRY_RUN:
            runs.finish(conn, run.id, RunEnd(outcome=Outcome.ERROR.value, exit_code=1, detail=_DIED), now)


def _let_go(held: Lease) -> None:
    try:
        held.release()
    except (StoreError, LeaseHeld):
        return  # it runs out by itself
