"""The import as its users see it: list, plan, apply. Puts the parts together; rules are in matching, planning and carrying.

An apply is bound to its stored plan: once, within its time, unchanged, and what the plan says is only done where a new
plan, made of a fresh look at both sides, would say the same. An apply that did not end (a crash, a pause, Okta's limit)
may be started again; what is done stays done, and what was under way is looked for first.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

from agent.directory.port import Directory
from agent.imports import link_watch, preflight
from agent.imports.applier import ImportApplier
from agent.imports.planner import Choice, choose, plan_of
from agent.imports.preflight import KIND, paused_by
from agent.imports.progress import Progress, Silent
from agent.imports.recorder import Keeper
from agent.imports.report import ImportReport, Outcome, counts_of, outcome_of
from agent.imports.survey import Survey, Surveyor
from agent.model.codes import ActionState, PlanStatus
from agent.model.errors import AgentError, Frozen, OktaError, UsageError
from agent.okta_org.org import OktaOrg
from agent.settings import Settings
from agent.store import account, lease, plans, runs
from agent.store.crash_points import crash_point
from agent.store.engine import Connection, Store
from agent.store.plans import StoredPlan


class Importer:
    def __init__(
        self, store: Store, directory: Directory, okta: OktaOrg, settings: Settings, clock: Callable[[], datetime]
    ) -> None:
        self._store, self._directory, self._okta = store, directory, okta
        self._settings, self._clock = settings, clock
        #: Between two calls for one step; replace it to wait otherwise.
        self.pause: Callable[[float], None] = time.sleep
        self._surveyor = Surveyor(store, directory, okta, settings)

    def survey(self, progress: Progress | None = None) -> Survey:
        """Every account that Okta's app doesn't know, sorted; also confirms what is linked by now."""
        say = progress or Silent()
        with self._waits_shown(say):
            found = self._surveyor.everybody(say)
        link_watch.confirm(self._store, self._directory, self._clock(), found.assigned)
        return found

    def watch(self) -> int:
        """For the daemon: confirm links, raise alarms for those that take too long."""
        return link_watch.watch(self._store, self._directory, self._okta, self._settings.imports, self._clock())

    # plan

    def plan(self, choice: Choice, *, actor: str, progress: Progress | None = None) -> ImportReport:
        """Look, sort, choose, store. Changes nothing else."""
        say = progress or Silent()
        with self._waits_shown(say):
            self._preflight()
            found = self._surveyor.chosen(choice.named, say) if choice.named else self._surveyor.everybody(say)
        if choice.named:
            _refuse_others(choice.named, found, self._directory)
        now = self._clock()
        plan = plan_of(choose(found.matches, choice), choice, self._settings, people=found.people, now=now)
        expires = now + self._settings.guard.plan_expiry
        status = PlanStatus.HELD if plan.held else PlanStatus.READY

        def work(conn: Connection) -> tuple[int, StoredPlan | None]:
            _expire(conn, now)
            run_id = runs.start(conn, kind=KIND, trigger="cli", actor=actor, dry=True, now=now, scope=plan.scope)
            stored = None
            if plan.actions:
                plan_id = plans.save(conn, run_id=run_id, kind=KIND, plan=plan, expires=expires, status=status)
                stored = plans.get(conn, plan_id)
            outcome = Outcome.PLANNED if plan.actions else Outcome.NOTHING
            counts = counts_of(plan.actions)
            runs.finish(conn, run_id, outcome=outcome, exit_code=0, counts=counts, now=now, detail=plan.held_detail)
            return run_id, stored

        run_id, stored = self._store.write(work)
        crash_point("import.planned")
        outcome = Outcome.PLANNED if stored else Outcome.NOTHING
        return ImportReport(
            run_id=run_id, outcome=outcome, plan=stored, counts=counts_of(plan.actions), detail=plan.held_detail
        )

    # apply

    def apply(self, plan_id: int, *, actor: str, wait: float = 60.0, progress: Progress | None = None) -> ImportReport:
        """Carry a stored plan out; raises what forbids it before anything is done."""
        self._not_paused()
        self._applicable(plan_id)
        holder = f"{socket.gethostname()}:{os.getpid()}"
        ttl = self._settings.reconcile.lease_ttl
        with lease.held(self._store, lease.RECONCILE, holder, ttl, wait=wait) as held:
            # Under the lease once more: another apply may have ended while this one waited.
            stored = self._applicable(plan_id)
            self._not_paused()
            say = progress or Silent()
            with self._waits_shown(say):
                self._preflight()
                return self._apply(stored, actor, held.fence, say)

    def _apply(self, stored: StoredPlan, actor: str, fence: int, progress: Progress) -> ImportReport:
        def begin(conn: Connection) -> int:
            now = self._clock()
            _end_dead(conn, now)
            return runs.start(conn, kind=KIND, trigger="cli", actor=actor, dry=False, now=now, scope=stored.plan.scope)

        run_id = self._store.write(begin)
        keeper = Keeper(self._store, plan_id=stored.id, run_id=run_id, actor=actor, fence=fence, clock=self._clock)
        applier = ImportApplier(self._store, self._directory, self._okta, self._settings, self._surveyor, self.pause)
        detail = ""
        stopped: Outcome | None = None
        try:
            detail = applier.carry_out(stored, keeper, progress)
            stopped = Outcome.PAUSED if detail else None
        except OktaError as error:
            stopped, detail = Outcome.INCOMPLETE, error.detail
        except AgentError as error:
            self._finish(stored, run_id, Outcome.INCOMPLETE, error.detail)
            raise
        crash_point("import.done")
        return self._finish(stored, run_id, stopped, detail)

    def _finish(self, stored: StoredPlan, run_id: int, stopped: Outcome | None, detail: str) -> ImportReport:
        now = self._clock()
        link_watch.confirm(self._store, self._directory, now)

        def work(conn: Connection) -> tuple[StoredPlan, Outcome]:
            ended = plans.get(conn, stored.id)
            assert ended is not None
            outcome = outcome_of(ended.plan.actions, stopped)
            if stopped is None:
                states = {a.state for a in ended.plan.actions if a.held is None}
                plans.set_status(
                    conn, stored.id, PlanStatus.STALE if states == {ActionState.STALE} else PlanStatus.APPLIED
                )
            report = ImportReport(run_id=run_id, outcome=outcome)
            runs.finish(
                conn,
                run_id,
                outcome=outcome,
                exit_code=report.exit_code,
                counts=counts_of(ended.plan.actions),
                now=now,
                detail=detail,
            )
            return plans.get(conn, stored.id) or ended, outcome

        ended, outcome = self._store.write(work)
        counts = counts_of(ended.plan.actions)
        return ImportReport(run_id=run_id, outcome=outcome, plan=ended, counts=counts, detail=detail)

    @contextmanager
    def _waits_shown(self, progress: Progress) -> Iterator[None]:
        """One allowance of waiting for Okta's limits, and every wait is said."""
        before, self._okta.on_wait = self._okta.on_wait, progress.wait
        try:
            with self._okta.run():
                yield
        finally:
            self._okta.on_wait = before

    # brakes

    def _applicable(self, plan_id: int) -> StoredPlan:
        with self._store.read() as conn:
            stored = plans.get(conn, plan_id)
        try:
            return preflight.applicable(stored, plan_id, self._clock(), self._settings.imports.max_per_run)
        except preflight.Expired:
            self._store.write(lambda conn: plans.set_status(conn, plan_id, PlanStatus.EXPIRED))
            raise

    def _preflight(self) -> None:
        with self._store.read() as conn:
            row = account.get(conn)
        preflight.check(self._okta, row)

    def _not_paused(self) -> None:
        why = paused_by(self._store)
        if why:
            raise Frozen(why)


def _expire(conn: Connection, now: datetime) -> None:
    for stored in plans.with_status(conn, PlanStatus.READY, PlanStatus.HELD):
        if stored.kind == KIND and stored.expires <= now:
            plans.set_status(conn, stored.id, PlanStatus.EXPIRED)


def _end_dead(conn: Connection, now: datetime) -> None:
    """Runs of processes that died; the lease says that none of them is at work."""
    for run in runs.unfinished(conn):
        if run.kind == KIND:
            detail = "The process died during this run. Its plan can be applied again."
            runs.finish(conn, run.id, outcome="error", exit_code=1, counts={}, now=now, detail=detail)


def _refuse_others(named: Mapping[str, str], found: Survey, directory: Directory) -> None:
    """Who was named must be somebody who can be imported; all problems at once."""
    matched = {match.account.id for match in found.matches}
    assigned = {one.account.id: one for one in found.assigned}
    problems = []
    for directory_id in named:
        if directory_id in matched:
            continue
        account_ = directory.get(directory_id)
        login = account_.user_name if account_ else directory_id
        if directory_id in assigned:
            problems.append(
                f"{login}: Okta's app has it already, as the Okta user {assigned[directory_id].app_user.id}"
            )
        elif account_ is not None and not account_.active:
            problems.append(f"{login}: inactive in OpsHelm; an assignment would reactivate it")
        else:
            problems.append(f"{login}: managed by Okta already")
    if problems:
        raise UsageError("\n".join(problems))
