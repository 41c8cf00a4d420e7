"""Compare Okta with the directory and act on what is read now: sweep → compare → plan → guard → apply.

One object serves the command line, the daemon's clock and events. A dry run takes no lease and changes nothing but its own
rows. Reading is planner.py's, judging agent.model.guard's, writing applier.py's; here they are put in order.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec.structs import replace

from agent.directory.port import Directory
from agent.model.codes import ActionState, HeldCode
from agent.model.errors import Unreadable
from agent.model.guard import NO_GRANT, Grant, Identity, ends_access, typed
from agent.model.plan import Action, Plan
from agent.okta_org.org import OktaOrg
from agent.reconcile import approvals, due_people, explanation, guard_facts
from agent.reconcile.applier import Applier, Job, Result
from agent.reconcile.approvals import Approval
from agent.reconcile.direct_read import Asked
from agent.reconcile.explanation import Explanation
from agent.reconcile.planner import Planner, Proposal
from agent.reconcile.projector import Projector
from agent.reconcile.recovery import recover
from agent.runs import preflight, stored_plans
from agent.runs.frame import CurrentRun, Frame, Progress
from agent.runs.preflight import Binding, Brake
from agent.runs.report import STATE_COUNTS, Outcome, RunReport, counts_of
from agent.runs.stored_plans import Kind
from agent.settings import Settings
from agent.store import account, alarms, attention, lease, plans
from agent.store.crash_points import crash_point
from agent.store.engine import Connection, Store
from agent.store.plans import StoredPlan
from agent.store.runs import RunRequest

#: The reason of attention rows for people whose own push gets time to settle.
SETTLE = "settle"


class Reconciler:
    def __init__(
        self, store: Store, directory: Directory, okta: OktaOrg, settings: Settings, clock: Callable[[], datetime]
    ) -> None:
        self.store = store
        self.settings = settings
        self.clock = clock
        #: Set it to let the running batch finish and end the run.
        self.stop = threading.Event()
        self._directory = directory
        self._okta = okta
        projector = Projector.of(settings)
        self.planner = Planner(
            store=store, directory=directory, okta=okta, settings=settings, projector=projector, clock=clock
        )
        self._applier = Applier(
            store=store,
            directory=directory,
            okta=okta,
            settings=settings,
            projector=projector,
            clock=clock,
            stop=self.stop,
        )
        self._brake = Brake(store=store, stop=self.stop)
        self._frame = Frame(store=store, okta=okta, clock=clock, lease_ttl=settings.reconcile.lease_ttl)

    def run(
        self,
        *,
        apply: bool,
        users: Sequence[str] = (),
        first_run: int | None = None,
        allow_empty: int | None = None,
        wait: float = 60,
        trigger: str = "cli",
        actor: str = "agent",
        progress: Progress | None = None,
    ) -> RunReport:
        """Everybody, or ``users`` alone. Without ``apply`` the plan is only made, stored and answered."""
        asked = Asked(logins=tuple(users)) if users else None
        request = _request(asked, trigger=trigger, actor=actor, dry=not apply)
        grant = typed(first_run=first_run, allow_empty=allow_empty)
        ahead = due_people.Ahead.of(self.store, self.clock(), sweep=asked is None)

        def work(run: CurrentRun) -> RunReport:
            approval = self._left_of_an_approval() if asked is None else approvals.NOTHING_LEFT
            granted = replace(grant, approved=grant.approved | approval.identities)
            binding, draft = self._read(run, asked, granted)
            report = self._decide(run, binding, draft, granted, approval)
            return replace(report, detail=report.detail or approvals.words(approval))

        report = self._frame.run(request, work, progress=progress, wait=wait)
        due_people.after(self.store, ahead, report, self.clock())
        return report

    def look(self, *, apply: bool, trigger: str = "event", actor: str = "daemon") -> RunReport | None:
        """The people who are due to be looked at alone, or everybody if a sweep was asked for.

        None where nobody is due, nothing may be applied yet, or another agent is at work: they stay due.
        """
        now = self.clock()
        with self.store.read() as conn:
            row = account.get(conn)
            due = due_people.due(conn, now) if row.pinned and not (apply and row.paused) else None
        if due is None or (apply and lease.busy(self.store, lease.RECONCILE, self.settings.reconcile.lease_ttl)):
            return None
        if due.sweep:
            report = self.run(apply=apply, trigger=trigger, actor=actor, wait=0)
            self.store.write(lambda conn: due_people.settle(conn, due.rows, report, self.clock()))
            return report
        request = _request(due.asked, trigger=trigger, actor=actor, dry=not apply)

        def work(run: CurrentRun) -> RunReport:
            binding, draft = self._read(run, due.asked, NO_GRANT)
            plan = replace(draft.plan, findings=(*draft.plan.findings, *due.findings))
            grant = Grant(approved=_departures(plan, due.unlimited))
            return self._decide(run, binding, replace(draft, plan=plan), grant)

        ahead = due_people.Ahead(now=now, people=due.asked.okta_ids)
        try:
            report = self._frame.run(request, work, wait=0)
        except Unreadable:
            self.store.write(lambda conn: due_people.postpone(conn, due.rows, self.clock()))
            raise
        self.store.write(lambda conn: due_people.settle(conn, due.rows, report, self.clock()))
        due_people.after(self.store, ahead, report, self.clock())
        return report

    def apply_plan(
        self,
        plan_id: int,
        checksum: str,
        *,
        only: Sequence[int] | None = None,
        count: int | None = None,
        approve: bool = False,
        actor: str = "agent",
        wait: float = 60,
        progress: Progress | None = None,
    ) -> RunReport:
        """Read again, plan again, carry out what the stored plan and the new one have in common; the rest is stale."""
        stored = stored_plans.usable(self.store, plan_id, Kind.RECONCILE, self.clock(), checksum)
        named = None if only is None else frozenset(only)
        picked = stored_plans.chosen(stored, approve=approve, only=named)
        grant = stored_plans.grant_for(stored, picked, approve=approve, named=named is not None, count=count)
        asked = Asked(logins=stored.plan.scope) if stored.plan.scope else None
        request = _request(asked, trigger="approve" if approve else "plan", actor=actor, dry=False)

        def work(run: CurrentRun) -> RunReport:
            # It may have been applied while this one waited for the lease.
            stored_plans.usable(self.store, plan_id, Kind.RECONCILE, self.clock(), checksum)
            binding, draft = self._read(run, asked, grant)
            return self._carry_out(run, binding, stored, picked, draft, grant)

        return self._frame.run(request, work, progress=progress, wait=wait)

    def explain(self, login: str) -> Explanation:
        """One person step by step, from both sides to what would happen now. Stores and changes nothing."""
        with self._okta.run():
            return explanation.explain(login, self._okta, self.planner, self.store, self.clock())

    # --- reading

    def _read(self, run: CurrentRun, asked: Asked | None, grant: Grant) -> tuple[Binding, Proposal]:
        if not run.dry:
            run.progress.step("reading back what was left unfinished")
            self._directory.read_back(self.clock())
            recover(self.store, self._directory, self.clock())
        with self.store.read() as conn:
            row = account.get(conn)
        run.progress.step("asking Okta which org and app this is")
        binding = preflight.check(self._okta, row)
        if asked is not None:
            return binding, self.planner.single(asked, binding, run.request.scope, run.progress)
        return binding, self.planner.sweep(binding, grant, run.progress)

    # --- deciding

    def _decide(
        self,
        run: CurrentRun,
        binding: Binding,
        draft: Proposal,
        grant: Grant,
        approval: Approval = approvals.NOTHING_LEFT,
    ) -> RunReport:
        plan = self.planner.judged(draft, grant)
        stored, waiting = self._store(run, plan, draft, approval)
        crash_point("plan.stored")
        base = RunReport(
            run_id=run.id,
            dry=run.dry,
            outcome=Outcome.IN_STEP,
            counts=draft.counts | counts_of(plan.actions),
            plan=stored,
            waiting=waiting,
            findings=draft.plan.findings,
            drift=bool(plan.actions),
            held=_holds(plan),
        )
        if plan.held is HeldCode.ABSENCE_DISPROVED:
            return replace(base, outcome=Outcome.DISPROVED, detail=plan.held_detail)
        if plan.held is None:
            self._note_good_sweep(draft, dry=run.dry)
        if run.dry:
            outcome = Outcome.HELD if base.held else Outcome.DRIFT if base.drift else Outcome.IN_STEP
            return replace(base, outcome=outcome, detail=_held_detail(plan, waiting))
        brake = self._brake.pulled()
        if brake is not None:
            return replace(base, outcome=brake[0], detail=brake[1])
        if plan.held is not None:
            return replace(base, outcome=Outcome.HELD, detail=plan.held_detail)
        self._pin(binding, draft, run.request.actor, stored)
        self._look_again(draft)
        if stored is None or stored is waiting:
            return replace(
                base, outcome=Outcome.HELD if base.held else Outcome.IN_STEP, detail=_held_detail(plan, waiting)
            )
        job = Job(
            run_id=run.id,
            plan_id=stored.id,
            actions=plan.actions,
            source=draft.source,
            actor=f"run {run.id} ({run.request.actor})",
            fence=run.fence,
            grant=grant,
            wants=draft.wants,
        )
        return self._apply(job, base, run.progress)

    def _carry_out(
        self, run: CurrentRun, binding: Binding, stored: StoredPlan, picked: list[Action], draft: Proposal, grant: Grant
    ) -> RunReport:
        """The intersection by kind, person, before and after, judged anew, under the stored plan's numbers."""
        common, moved = _intersection(picked, draft.plan.actions)
        plan = self.planner.judged(replace(draft, plan=replace(draft.plan, actions=common)), grant)
        base = RunReport(
            run_id=run.id,
            dry=run.dry,
            outcome=Outcome.IN_STEP,
            counts=draft.counts | counts_of(plan.actions),
            plan=stored,
            findings=draft.plan.findings,
            drift=bool(plan.actions),
            held=_holds(plan) or _passed_over(stored, run),
        )
        if plan.held is HeldCode.ABSENCE_DISPROVED:
            return replace(base, outcome=Outcome.DISPROVED, detail=plan.held_detail)
        brake = self._brake.pulled()
        if brake is not None:
            return replace(base, outcome=brake[0], detail=brake[1])
        if plan.held is not None:
            return replace(base, outcome=Outcome.HELD, detail=plan.held_detail)
        self._decided(stored, picked, moved, run)
        crash_point("plan.decided")
        self._note_good_sweep(draft, dry=False)
        self._pin(binding, draft, run.request.actor)
        self._look_again(draft)
        job = Job(
            run_id=run.id,
            plan_id=stored.id,
            actions=plan.actions,
            source=draft.source,
            actor=f"run {run.id} ({run.request.actor})",
            fence=run.fence,
            grant=grant,
            wants=draft.wants,
        )
        return self._apply(job, base, run.progress)

    # --- applying

    def _apply(self, job: Job, base: RunReport, progress: Progress) -> RunReport:
        result = self._applier.apply(job, progress)
        now = self.clock()
        stored = self.store.write(lambda conn: self._closed(conn, job, result, now))
        crash_point("plan.closed")
        held = base.held or result.held > 0
        return replace(
            base,
            outcome=_outcome(result, held=held),
            detail=result.left or _still_held(stored.plan, base.waiting),
            counts=_without_states(base.counts) | counts_of(stored.plan.actions),
            plan=stored,
            held=held,
        )

    def _closed(self, conn: Connection, job: Job, result: Result, now: datetime) -> StoredPlan:
        subject = (guard_facts.TOO_MANY_FAILED, guard_facts.SUBJECT)
        if result.too_many_failed:
            alarms.raise_alarm(conn, *subject, result.too_many_failed, now)
        elif result.done:
            alarms.clear(conn, *subject, now)
        if result.paused or result.stopped:
            return stored_plans.existing(conn, job.plan_id)
        return stored_plans.close(conn, job.plan_id)

    def _left_of_an_approval(self) -> Approval:
        with self.store.read() as conn:
            return approvals.left(conn, self.clock(), self.settings.guard.plan_expiry)

    def _store(
        self, run: CurrentRun, plan: Plan, draft: Proposal, approval: Approval
    ) -> tuple[StoredPlan | None, StoredPlan | None]:
        """The plan of this run, and the older one that waits with the same held actions."""
        if plan.held is HeldCode.COUNT_EXCEEDED:
            plan = self.planner.judged(draft, NO_GRANT)  # so that an approval knows what it lifts
        now = self.clock()
        bare = replace(plan, findings=(), actions=tuple(_as_held(action) for action in plan.actions))

        def work(conn: Connection) -> tuple[StoredPlan | None, StoredPlan | None]:
            if not plan.actions and plan.held is None and run.request.trigger != "cli":
                stored_plans.supersede(conn, plan, now)
                approvals.hand_on(conn, approval, None)
                return None, None
            stored, waiting = stored_plans.keep(conn, run.id, bare, self.settings, now)
            approvals.hand_on(conn, approval, stored)
            return stored, waiting

        return self.store.write(work)

    def _decided(self, stored: StoredPlan, picked: list[Action], moved: list[int], run: CurrentRun) -> None:
        now = self.clock()
        numbers = [action.n for action in picked]

        def work(conn: Connection) -> None:
            decision = approvals.APPROVE if run.request.trigger == "approve" else "apply"
            approve = numbers if run.request.trigger == "approve" else None
            plans.decide(conn, stored.id, actor=run.request.actor, decision=decision, now=now, approve=approve)
            plans.mark(conn, stored.id, moved, ActionState.STALE, now, error="it has moved since the plan was made")

        self.store.write(work)

    # --- the account row

    def _pin(self, binding: Binding, draft: Proposal, actor: str, let_go: StoredPlan | None = None) -> None:
        """The first apply that a person let go, or that has nothing to do; never a single reconcile.

        ``let_go``: the plan that is applied without having been held first, kept as approved together with the pins.
        """
        if draft.facts.pinned or draft.swept_at is None:
            return
        now, app = self.clock(), binding.app
        numbers = [action.n for action in let_go.plan.actions if action.held is None] if let_go else []

        def work(conn: Connection) -> None:
            account.pin(conn, org_id=binding.org_id, app_id=app.id, app_label=app.label, actor=actor, now=now)
            if let_go is not None and numbers:
                plans.decide(conn, let_go.id, actor=actor, decision=approvals.APPROVE, now=now, approve=numbers)

        self.store.write(work)

    def _note_good_sweep(self, draft: Proposal, *, dry: bool) -> None:
        """A dry run before the pins says nothing about the org that this account will belong to."""
        swept = draft.swept_at
        if swept is None or (dry and not draft.facts.pinned):
            return
        self.store.write(lambda conn: account.good_sweep(conn, at=swept, people=draft.plan.source_size))

    def _look_again(self, draft: Proposal) -> None:
        """Whose own push gets time is looked at alone when that time is over."""
        if not draft.due:
            return
        now = self.clock()

        def work(conn: Connection) -> None:
            for okta_id, due in draft.due.items():
                attention.add(conn, reason=SETTLE, okta_id=okta_id, not_before=due, now=now)

        self.store.write(work)


def _departures(plan: Plan, people: frozenset[str]) -> frozenset[Identity]:
    return frozenset(a.identity for a in plan.actions if ends_access(a) and a.okta_id in people)


def _request(asked: Asked | None, *, trigger: str, actor: str, dry: bool) -> RunRequest:
    scope = () if asked is None else (*asked.logins, *asked.okta_ids, *asked.directory_ids)
    kind = "sweep" if asked is None else "single"
    return RunRequest(kind=kind, trigger=trigger, actor=actor, dry=dry, scope=scope)


def _holds(plan: Plan) -> bool:
    return (plan.held is not None) or any(action.held is not None for action in plan.actions)


def _passed_over(stored: StoredPlan, run: CurrentRun) -> bool:
    """Applying a plan leaves what is held in it. Who approved a part knows that the rest waits."""
    return run.request.trigger == "plan" and any(a.state is ActionState.HELD for a in stored.plan.actions)


def _as_held(action: Action) -> Action:
    return replace(action, state=ActionState.HELD) if action.held is not None else action


def _held_detail(plan: Plan, waiting: StoredPlan | None) -> str:
    if plan.held is not None:
        return plan.held_detail
    return _waiting(sum(1 for action in plan.actions if action.held is not None), waiting)


def _still_held(plan: Plan, waiting: StoredPlan | None) -> str:
    """After an apply: why the plan or an action was held before it was approved is over."""
    return _waiting(sum(1 for action in plan.actions if action.state is ActionState.HELD), waiting)


def _waiting(held: int, waiting: StoredPlan | None) -> str:
    if not held:
        return ""
    where = f" in plan {waiting.id}: opshelm-agent plans show {waiting.id}" if waiting else ""
    return f"{held} {'action waits' if held == 1 else 'actions wait'} for a person{where}"


def _without_states(counts: dict[str, int]) -> dict[str, int]:
    """What the actions were in before they were applied says nothing any more."""
    return {name: count for name, count in counts.items() if name not in STATE_COUNTS}


def _outcome(result: Result, *, held: bool) -> Outcome:
    if result.paused:
        return Outcome.PAUSED
    if result.stopped:
        return Outcome.STOPPED
    if held:
        return Outcome.HELD
    if result.failed:
        return Outcome.PARTIAL
    return Outcome.APPLIED if result.done or result.stale else Outcome.IN_STEP


def _intersection(picked: Sequence[Action], fresh: Sequence[Action]) -> tuple[tuple[Action, ...], list[int]]:
    """The fresh actions that were picked, under their old numbers; and the old numbers of what has moved."""
    new = {action.identity: action for action in fresh}
    common: dict[int, Action] = {}
    for action in sorted((a for a in picked if a.identity in new), key=lambda a: new[a.identity].n):
        mine = new[action.identity]
        if all(n in common for n in mine.needs):
            common[mine.n] = replace(mine, n=action.n, needs=tuple(common[n].n for n in mine.needs))
    done = {action.n for action in common.values()}
    return tuple(common.values()), [action.n for action in picked if action.n not in done]
