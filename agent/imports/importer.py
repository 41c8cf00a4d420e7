"""The import as its users see it: list, plan, apply. Puts the parts together; the rules are agent.model.matching's.

An apply is bound to its stored plan: once, within its time, unchanged. Account by account it does what a new plan, made of a
fresh look at both sides, would say the same; the rest is stale. An apply that did not end (a crash, a pause, Okta's limit)
may be started again: what is done stays done, and what was under way is looked for first.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from agent.directory.port import Directory
from agent.imports import link_watch
from agent.imports.carrier import Carrier, Failed, Recorder
from agent.imports.planner import AccountActions, Choice, choose, decisions_of, groups, moved, plan_of, too_many
from agent.imports.survey import Assigned, Survey, Surveyor
from agent.imports.withdrawal import Withdrawal, WithdrawalRequest
from agent.model.codes import ActionState, HeldCode
from agent.model.errors import CalledOff, DirectoryUnavailable, HeldBack, OktaError, UsageError
from agent.model.matching import Match
from agent.okta_org.org import OktaOrg
from agent.runs import frame, stored_plans
from agent.runs.frame import Brake, CurrentRun, Frame, Outcome, Progress, RunReport, Silent, counts_of
from agent.runs.stored_plans import PlanDecision, PlanKind
from agent.settings import Settings
from agent.store import account, imports, plans
from agent.store.engine import Store, crash_point
from agent.store.journal import Signature
from agent.store.plans import StoredPlan
from agent.store.runs import RunRequest

#: So many accounts in a row that Okta gave no usable answer for end the run.
_TROUBLES = 3


class Importer:
    def __init__(
        self,
        store: Store,
        directory: Directory,
        okta: OktaOrg,
        settings: Settings,
        clock: Callable[[], datetime],
        stop: threading.Event | None = None,
    ) -> None:
        self._store, self._directory, self._okta = store, directory, okta
        self._settings, self._clock = settings, clock
        #: Set it to let the account that is under way be finished, and end the run.
        self.stop = stop or threading.Event()
        #: Between two calls for one step; replace it to wait otherwise.
        self.pause: Callable[[float], object] = self.stop.wait
        self._surveyor = Surveyor(store, directory, okta, settings)
        self._brake = Brake(store=store, stop=self.stop)
        self._withdrawal = Withdrawal(
            store=store,
            directory=directory,
            okta=okta,
            settings=settings,
            clock=clock,
            brake=self._brake,
            pause=self.pause,
        )
        ttl = settings.reconcile.lease_ttl
        self._frame = Frame(store=store, okta=okta, clock=clock, lease_ttl=ttl, stop=self.stop)

    def survey(self, progress: Progress | None = None) -> Survey:
        """Every account that Okta's app doesn't know, sorted; also confirms what is linked by now."""
        say = progress or Silent()
        with self._okta.run(say.wait):
            found = self._surveyor.everybody(say)
        link_watch.confirm(self._store, self._directory, self._clock(), found.assigned)
        return found

    def watch(self, progress: Progress | None = None) -> int:
        """For the daemon: confirm links, raise alarms for those that take too long."""
        with self._okta.run((progress or Silent()).wait):
            return link_watch.watch(self._store, self._directory, self._okta, self._settings.imports, self._clock())

    # plan

    def plan(self, choice: Choice, *, actor: str, trigger: str = "cli", progress: Progress | None = None) -> RunReport:
        """Look, sort, choose, store. Changes nothing else."""
        scope = tuple(choice.named)
        request = RunRequest(kind=PlanKind.IMPORT, trigger=trigger, actor=actor, dry=True, scope=scope)
        return self._frame.run(request, lambda run: self._plan(run, choice), progress=progress)

    def _plan(self, run: CurrentRun, choice: Choice) -> RunReport:
        self._require_okta()
        if choice.named:
            found = self._surveyor.chosen(choice.named, run.progress)
            _refuse_others(choice.named, found, self._directory)
        else:
            found = self._surveyor.everybody(run.progress)
        now, stored = self._clock(), None
        plan = plan_of(choose(found.matches, choice), choice, self._settings, people=found.people, now=now)
        if plan.actions:
            kept = (PlanKind.IMPORT, plan, self._settings, now)
            stored = self._store.write(lambda conn: stored_plans.keep_beside(conn, run.id, *kept))
        crash_point("import.planned")
        return frame.planned(run, stored, plan, Outcome.PLANNED if stored else Outcome.NOTHING, plan.held_detail)

    # apply

    def apply(
        self, plan_id: int, *, actor: str, trigger: str = "cli", wait: float = 60.0, progress: Progress | None = None
    ) -> RunReport:
        """Carry a stored plan out; a plan that can't be applied is refused before a run begins."""
        stored = self._applicable(plan_id)
        scope = stored.plan.scope
        request = RunRequest(kind=PlanKind.IMPORT, trigger=trigger, actor=actor, dry=False, scope=scope)
        return self._frame.run(request, lambda run: self._apply(run, plan_id), progress=progress, wait=wait)

    # undo

    def undo(self, request: WithdrawalRequest, by: Signature, *, progress: Progress | None = None) -> RunReport:
        """A plan that takes back what an import assigned; nothing is changed before it is applied or approved."""
        scope = tuple(sorted(request.only))
        asked = RunRequest(kind=PlanKind.UNDO_IMPORT, trigger=by.source, actor=by.actor, dry=True, scope=scope)

        def work(run: CurrentRun) -> RunReport:
            self._require_okta(importing=False)
            return self._withdrawal.plan(run, request)

        return self._frame.run(asked, work, progress=progress, wait=0)

    def apply_undo(
        self,
        plan_id: int,
        checksum: str,
        decision: PlanDecision,
        *,
        by: Signature,
        wait: float = 60.0,
        progress: Progress | None = None,
    ) -> RunReport:
        """Carry such a plan out, or on where it didn't end."""

        def usable() -> StoredPlan:
            return stored_plans.usable(self._store, plan_id, (PlanKind.UNDO_IMPORT,), self._clock(), checksum)

        def work(run: CurrentRun) -> RunReport:
            self._require_okta(importing=False)
            stored = usable()
            # What an undo that didn't end had asked Okta for goes on with whatever is picked.
            begun = (action for action in stored.plan.actions if action.state is ActionState.SENT)
            picked = sorted((*begun, *stored_plans.picked(stored, decision)), key=lambda action: action.n)
            return self._withdrawal.apply(run, stored, picked, by, decision.count)

        stored = usable()
        if stored.plan.held is not None and not decision.approve:
            raise HeldBack(stored.plan.held, stored.plan.held_detail)
        wanted = len(stored_plans.picked(stored, decision))
        if decision.count is not None and wanted > decision.count:
            raise UsageError(
                f"{wanted} people would lose the app in Okta; {decision.count} were allowed. Nothing was changed."
            )
        asked = RunRequest(kind=PlanKind.UNDO_IMPORT, trigger="approve", actor=by.actor, dry=False, scope=())
        return self._frame.run(asked, work, progress=progress, wait=wait)

    def _applicable(self, plan_id: int) -> StoredPlan:
        stored = stored_plans.usable(self._store, plan_id, (PlanKind.IMPORT,), self._clock())
        if stored.plan.held is not None:
            raise HeldBack(stored.plan.held, stored.plan.held_detail)
        wanted, limit = len(groups(stored.plan)), self._settings.imports.max_per_run
        if wanted > limit:
            raise HeldBack(HeldCode.COUNT_EXCEEDED, too_many(wanted, limit))
        return stored

    def _apply(self, run: CurrentRun, plan_id: int) -> RunReport:
        # Under the lease once more: another apply may have ended while this one waited.
        stored = self._applicable(plan_id)
        cut_short = self._brake.pulled(plan_id) or self._carry_out(run, stored)
        crash_point("import.done")
        link_watch.confirm(self._store, self._directory, self._clock())
        ended = self._store.write(lambda conn: (plans.again if cut_short else stored_plans.close)(conn, stored))
        outcome, detail = cut_short or (_outcome(ended), "")
        counts = counts_of(ended.plan.actions)
        return RunReport(run_id=run.id, outcome=outcome, plan=ended, counts=counts, detail=detail, dry=False)

    def _carry_out(self, run: CurrentRun, stored: StoredPlan) -> tuple[Outcome, str] | None:
        """Account by account; why it stopped before the end, or None."""
        self._require_okta()
        todo = [group for group in groups(stored.plan) if group.pending]
        recorder = Recorder(self._store, run, plan_id=stored.id, clock=self._clock)
        carrier = Carrier(self._okta, recorder, self._settings.imports, pause=self.pause)
        try:
            survey = self._surveyor.chosen(_only(decisions_of(stored.plan), todo), run.progress)
            fresh: dict[str, Match | Assigned] = {one.account.id: one for one in survey.assigned}
            fresh.update((match.account.id, match) for match in survey.matches)
            troubles = 0
            for number, group in enumerate(todo, 1):
                brake = self._brake.pulled(stored.id)
                if brake:
                    return brake
                trouble = self._one(group, fresh.get(group.directory_id), carrier, named=bool(stored.plan.scope))
                troubles = troubles + 1 if trouble else 0
                if troubles >= _TROUBLES:
                    return Outcome.INCOMPLETE, (
                        f"{trouble} So it went {troubles} times in a row; the rest was not tried."
                    )
                run.progress.step("accounts brought into Okta", number, len(todo))
        except CalledOff:
            return self._brake.called_off(stored.id)
        except (OktaError, DirectoryUnavailable) as error:
            return Outcome.INCOMPLETE, error.detail
        return None

    def _one(self, group: AccountActions, seen: Match | Assigned | None, carrier: Carrier, *, named: bool) -> str:
        """Done, or written down why not; answers what was wrong with Okta, if it was Okta."""
        if not isinstance(seen, Match):
            self._without_match(group, seen, carrier.recorder)
            return ""
        why = moved(group, seen, self._settings, named=named)
        if why:
            carrier.recorder.ended(group.open, ActionState.STALE, why)
            return ""
        try:
            carrier.carry(group, seen)
        except Failed as failed:
            later = [action for action in group.actions if action.n > failed.action.n]
            carrier.recorder.ended(later, failed.state, f"action {failed.action.n} before it was not done")
            return failed.why if failed.trouble else ""
        return ""

    def _without_match(self, group: AccountActions, seen: Assigned | None, recorder: Recorder) -> None:
        """Nothing is to be done any more: an apply that did not end has done it, or somebody else has."""
        okta_id = seen.app_user.id if seen else self._linked(group)
        begun = any(action.state in (ActionState.SENT, ActionState.DONE) for action in group.actions)
        if okta_id is None or not begun:
            recorder.ended(group.open, ActionState.STALE, _why_not(group, seen, self._directory))
            return
        how = "found: done before the import was interrupted"
        if group.create is not None and group.create.state is not ActionState.DONE:
            recorder.created(group.create, okta_id, how=how)
        if group.assign.state is not ActionState.DONE:
            recorder.assigned(group.assign, okta_id, waits=seen is not None and seen.waits, how=how)

    def _linked(self, group: AccountActions) -> str | None:
        """The Okta user's id, if the account is linked by now."""
        found = self._directory.get(group.directory_id)
        if found is None or not found.managed:
            return None
        with self._store.read() as conn:
            row = imports.get(conn, group.directory_id)
        return (row.okta_id if row else None) or found.okta_id

    def _require_okta(self, *, importing: bool = True) -> None:
        """It is the pinned app, and may be written to; whether it still pushes is nothing to an undo."""
        row = self._store.ask(account.get)
        frame.may_write_okta(row)
        frame.bind(self._okta, row, importing=importing)


def _only(decisions: Mapping[str, str], todo: Sequence[AccountActions]) -> dict[str, str]:
    wanted = {group.directory_id for group in todo}
    return {directory_id: decision for directory_id, decision in decisions.items() if directory_id in wanted}


def _outcome(stored: StoredPlan) -> Outcome:
    states = {ActionState.HELD if action.held else action.state for action in stored.plan.actions}
    if ActionState.HELD in states:
        return Outcome.HELD
    return Outcome.PARTIAL if ActionState.FAILED in states else Outcome.APPLIED


def _why_not(group: AccountActions, seen: Assigned | None, directory: Directory) -> str:
    if seen is not None:
        return f"Okta's app has it by now, as the Okta user {seen.app_user.id}"
    found = directory.get(group.directory_id)
    if found is None or found.hidden:
        return "the account is gone from OpsHelm"
    return "the account is inactive by now" if not found.active else "the account is managed by now: it is linked"


def _refuse_others(named: Mapping[str, str], found: Survey, directory: Directory) -> None:
    """Who was named must be somebody who can be imported; all problems at once."""
    matched = {match.account.id for match in found.matches}
    assigned = {one.account.id: one.app_user.id for one in found.assigned}
    problems = []
    for directory_id in named:
        if directory_id in matched:
            continue
        account_ = directory.get(directory_id)
        login = account_.user_name if account_ else directory_id
        if directory_id in assigned:
            problems.append(f"{login}: Okta's app has it already, as the Okta user {assigned[directory_id]}")
        elif account_ is not None and not account_.active:
            problems.append(f"{login}: inactive in OpsHelm; an assignment would reactivate it")
        else:
            problems.append(f"{login}: managed by Okta already")
    if problems:
        raise UsageError("\n".join(problems))
