"""The frame of one run: its row, its lease, whether it may change anything at all, and how every way to end becomes a report.

Knows nothing of what a plan holds.

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

``bind`` looks before anything else:

=================================================  ============================================================
what is found                                      then
=================================================  ============================================================
no such app, or it is not ACTIVE                   frozen
PROFILE_MASTERING is among its features            frozen: OpsHelm would be the source of Okta's profiles
org or app id differ from the pinned ones          frozen, until ``pins accept``
its label changed                                  a finding
an import, and a restored copy of the database     frozen, until ``db accept-restore``
an import, and nothing pinned yet                  frozen, until the first reconcile has pinned org and app
an import, and PUSH_NEW_USERS is off               frozen: Okta would never look for the account, nothing is linked
=================================================  ============================================================

A reconcile of a restored copy, or before the pins, is the guard's to hold: a dry run shows what it would do.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import ActionState, FindingCode
from agent.model.errors import (
    AgentError,
    DirectoryUnavailable,
    Frozen,
    HeldBack,
    NotFound,
    OktaError,
    OktaNotFound,
    StoreError,
    UsageError,
)
from agent.model.okta import App
from agent.model.plan import Action, Finding, Plan
from agent.model.times import when
from agent.okta_org.org import OktaOrg
from agent.store import account as account_row
from agent.store import lease, plans, runs
from agent.store.account import Account
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


def planned(run: CurrentRun, stored: StoredPlan | None, plan: Plan, outcome: Outcome, detail: str) -> RunReport:
    """Of a run that has only made a plan, for somebody to apply."""
    return RunReport(
        run_id=run.id,
        outcome=outcome,
        counts=counts_of(plan.actions),
        detail=detail,
        plan=stored,
        findings=plan.findings,
        drift=bool(plan.actions),
        held=plan.holds_back,
    )


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
        # From here on it beats by itself: whatever fails lets it go, or nobody would ever get it again.
        try:
            run = self._start(request, held, say)
            report = self._lease_held(run) if held is None and not request.dry else self._carried_out(run, work)
        finally:
            if held is not None:
                with suppress(StoreError):  # else it runs out by itself
                    held.release()
        return self._finish(report)

    def _lease_held(self, run: CurrentRun) -> RunReport:
        who = self.store.ask(lambda conn: lease.current_holder(conn, lease.RECONCILE)) or "another agent"
        detail = f"{who} is at work and holds the lease. Nothing was changed; try again later, or with a longer --wait."
        return _ended(run, Outcome.LEASE_HELD, detail)

    def _carried_out(self, run: CurrentRun, work: Callable[[CurrentRun], RunReport]) -> RunReport:
        try:
            with self.okta.run(run.progress.wait):
                return work(run)
        except (UsageError, NotFound) as error:
            # A mistake of whoever asked is no run that failed.
            self._forget_quietly(run, error)
            raise
        except Frozen as error:
            return _ended(run, Outcome.FROZEN, error.detail)
        except HeldBack as error:
            return _ended(run, Outcome.HELD, error.detail)
        except (OktaError, DirectoryUnavailable) as error:
            outcome = Outcome.STOPPED if self.stop.is_set() else Outcome.INCOMPLETE
            return _ended(run, outcome, f"{error.detail} Nothing was changed after that.")
        except BaseException as error:
            if isinstance(error, StoreError) and not error.soft:
                return _ended(run, Outcome.ERROR, error.detail)
            self._finish_quietly(_broken_off(run, error))
            raise

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
        with suppress(StoreError):
            self._finish(report)


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


# May it change anything at all, and may it go on?


class Binding(Struct, frozen=True, kw_only=True):
    """Which org and app this run reads."""

    org_id: str
    app: App
    findings: tuple[Finding, ...] = ()


def bind(okta: OktaOrg, account: Account, *, importing: bool = False) -> Binding:
    """Frozen, with the reason and the next step, or what the run is bound to."""
    org_id = okta.org_id()
    app = usable_app(okta)
    if account.pinned and (account.org_id, account.app_id) != (org_id, app.id):
        raise Frozen(
            f"This agent is pinned to the app {account.app_id} of the org {account.org_id}, but Okta answers as the app "
            f"{app.id} of {org_id}. Nothing was changed. If it was moved on purpose: opshelm-agent pins accept"
        )
    if importing and "PUSH_NEW_USERS" not in app.features:
        raise Frozen(
            f"The app {app.label} doesn't create users (PUSH_NEW_USERS is off), so Okta would never look for the accounts "
            "and nothing would be linked. Nothing was changed. Turn Create Users on: Provisioning, To App."
        )
    findings: tuple[Finding, ...] = ()
    if account.pinned and account.app_label and account.app_label != app.label:
        detail = f"the app was called {account.app_label} when it was pinned; now it is {app.label}"
        findings = (Finding(code=FindingCode.APP_LABEL_CHANGED, login="", detail=detail),)
    return Binding(org_id=org_id, app=app, findings=findings)


def may_write_okta(account: Account) -> None:
    """Frozen, with the reason, where nothing is ever written there."""
    if account.distrust:
        raise Frozen(
            f"This database is not trusted: {account.distrust}. Nothing was changed. Then: opshelm-agent db accept-restore"
        )
    if not account.pinned:
        raise Frozen(
            "The agent is not bound to an Okta app yet, so nothing may be written to Okta. Nothing was changed. "
            "First: opshelm-agent reconcile, then reconcile --apply --first-run N"
        )


def usable_app(okta: OktaOrg) -> App:
    try:
        app = okta.app()
    except OktaNotFound as error:
        raise Frozen("Okta has no such app. Nothing was changed. Check okta.app_id and okta.org_url.") from error
    if app.status != "ACTIVE":
        raise Frozen(
            f"The app {app.label} is {app.status or 'in no known state'} in Okta, so its assignments say nothing. Nothing "
            "was changed. Activate it in the Admin Console, or stop the agent."
        )
    if "PROFILE_MASTERING" in app.features:
        raise Frozen(
            f"The app {app.label} is a profile source in Okta (PROFILE_MASTERING): OpsHelm would be the source of what the "
            "agent would correct. Nothing was changed. Turn profile sourcing off in Okta."
        )
    return app


def braked(row: Account) -> str:
    """Why nothing can be approved or applied now, with what ends that; "" where it can."""
    if row.distrust:
        return f"This database is not trusted: {row.distrust}. Nothing can be applied before: opshelm-agent db accept-restore"
    return "Applies are paused; nothing can be approved before: opshelm-agent resume" if row.paused else ""


class Brake(Struct, frozen=True, kw_only=True):
    """Looked at before an apply begins and between its steps: what was begun is always finished."""

    store: Store
    #: Set: the process was asked to end.
    stop: threading.Event

    def pulled(self, plan_id: int | None = None) -> tuple[Outcome, str] | None:
        """Why nothing more of this plan may be done now, or None."""
        if self.stop.is_set():
            return Outcome.STOPPED, "The process was asked to stop; what was not begun waits for the next run."
        with self.store.read() as conn:
            row = account_row.get(conn)
            rejected = plan_id is not None and plans.is_rejected(conn, plan_id)
        if rejected:
            return Outcome.REJECTED, f"Plan {plan_id} was rejected meanwhile. Nothing was changed after that."
        if not row.paused:
            return None
        return Outcome.PAUSED, (
            f"Applies are paused by {row.paused_by} since {when(row.paused_at)} ({row.paused_reason}). "
            "Nothing was changed after that. Resume: opshelm-agent resume"
        )

    def called_off(self, plan_id: int) -> tuple[Outcome, str]:
        """``pulled``, for a write that has found so itself."""
        return self.pulled(plan_id) or (Outcome.PAUSED, "Applies were paused for a moment; the rest was not done.")
