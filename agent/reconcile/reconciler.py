"""Compare Okta with the directory and act on what is read now: sweep → compare → plan → guard → apply.

::

    run, look       read → propose → judge → store the plan → let go → apply
    apply_plan      read → propose → what the stored plan wants too → judge → let go → apply

One object serves the command line, the daemon's clock and events. A dry run takes no lease and changes nothing but its own
rows. Reading and planning is planner.py's, judging agent.model.guard's, writing applier.py's; here they are put in order.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from agent.directory.port import Directory
from agent.model.codes import ActionState, HeldCode
from agent.model.desired import Wanted, user_status
from agent.model.errors import Unaddressable, Unreadable, UsageError
from agent.model.guard import NO_GRANT, Grant, ends_access, is_of_limits
from agent.model.holds import ChangeKind, Decision, Hold, broad_kind, key_of, releasable, way_out
from agent.model.okta import NO_OKTA_ID, is_okta_id
from agent.model.plan import Action, Plan
from agent.model.users import DirectoryUser
from agent.okta_org.org import OktaOrg
from agent.reconcile import explanation, hold_register, look_queue, undo
from agent.reconcile.applier import APPROVE, NOTHING_LEFT, Applier, Apply, Approval, approval_left, hand_on, recover
from agent.reconcile.direct_read import Selection
from agent.reconcile.explanation import Explanation
from agent.reconcile.look_queue import Coverage, DueLook
from agent.reconcile.planner import TOO_MANY_FAILED, Planner, Proposal
from agent.reconcile.sweeper import Projector
from agent.reconcile.undo import Undo, UndoRequest
from agent.runs import frame, stored_plans
from agent.runs.frame import STATE_COUNTS, Brake, CurrentRun, Frame, Outcome, Progress, RunReport, counts_of
from agent.runs.stored_plans import OPSHELM_S, PlanDecision, PlanKind
from agent.settings import Settings
from agent.store import account, alarms, attention, brakes, holds, lease, plans
from agent.store.engine import Connection, Store, crash_point
from agent.store.journal import Signature
from agent.store.plans import StoredPlan
from agent.store.runs import Asker, RunRequest

#: The reason of attention rows for people whose own push gets time to settle.
SETTLE = "settle"
_BY_CLI = Asker(trigger="cli", actor="agent")
_BY_EVENT = Asker(trigger="event", actor="daemon")


class Judged(Struct, frozen=True, kw_only=True):
    """A plan that the guard has judged, and where it is stored."""

    proposal: Proposal
    plan: Plan
    #: None: there is nothing to do, and nobody who would look at it.
    stored: StoredPlan | None
    #: The older plan that waits with the same held actions.
    waiting: StoredPlan | None = None
    #: Numbers of the actions that a person has let go, where it is a stored plan; those of them that have moved since.
    let_go: tuple[int, ...] | None = None
    moved: tuple[int, ...] = ()
    #: Something in the stored plan waits that was not asked for.
    passed_over: bool = False
    #: Who has let it go.
    by: Signature | None = None

    @property
    def held(self) -> bool:
        return self.plan.holds_back or self.passed_over


class Reconciler:
    def __init__(
        self,
        store: Store,
        directory: Directory,
        okta: OktaOrg,
        settings: Settings,
        clock: Callable[[], datetime],
        stop: threading.Event | None = None,
    ) -> None:
        self.store, self.settings, self.clock = store, settings, clock
        #: Set it to let the running batch finish and end the run.
        self.stop = stop or threading.Event()
        self._directory, self._okta = directory, okta
        self._brake = Brake(store=store, stop=self.stop)
        self.planner = Planner(
            store=store,
            directory=directory,
            okta=okta,
            settings=settings,
            projector=Projector.of(settings),
            clock=clock,
        )
        self._applier = Applier(planner=self.planner, brake=self._brake)
        self._undo = Undo(store=store, directory=directory, settings=settings, clock=clock, brake=self._brake)
        ttl = settings.reconcile.lease_ttl
        self._frame = Frame(store=store, okta=okta, clock=clock, lease_ttl=ttl, stop=self.stop)

    # --- the ways in

    def run(
        self,
        *,
        apply: bool,
        users: Sequence[str] = (),
        grant: Grant = NO_GRANT,
        by: Asker = _BY_CLI,
        wait: float = 60,
        progress: Progress | None = None,
    ) -> RunReport:
        """Everybody, or ``users`` alone. Without ``apply`` the plan is only made, stored and answered."""
        who = Selection(logins=tuple(users)) if users else None
        covers = Coverage.of(self.store, self.clock(), sweep=who is None)

        def work(run: CurrentRun) -> RunReport:
            approval = self._approval_left() if who is None else NOTHING_LEFT
            proposal = self._propose(run, who, replace(grant, approved=grant.approved | approval.identities))
            report = self._act(run, self._judged(run, proposal, approval))
            return replace(report, detail=report.detail or approval.words)

        report = self._frame.run(_request(who, by, apply=apply), work, progress=progress, wait=wait)
        look_queue.after(self.store, covers, report, self.clock())
        return report

    def look(self, *, apply: bool, by: Asker = _BY_EVENT, progress: Progress | None = None) -> RunReport | None:
        """The people who are due to be looked at alone, or everybody if a sweep was asked for.

        None where nobody is due, nothing may be applied yet, or another agent is at work: they stay due.
        """
        now = self.clock()
        with self.store.read() as conn:
            row = account.get(conn)
            due = look_queue.due(conn, now) if row.pinned and not (apply and row.paused) else None
        if due is None or (apply and lease.busy(self.store, lease.RECONCILE, self.settings.reconcile.lease_ttl)):
            return None
        try:
            if due.sweep:
                report = self.run(apply=apply, by=by, wait=0, progress=progress)
            else:
                report = self._look_at(due, _request(due.who, by, apply=apply), now, progress)
        except Unreadable:
            self.store.write(lambda conn: look_queue.postpone(conn, due.rows, self.clock()))
            raise
        except Unaddressable:
            # No ids of Okta's: there is nobody to be read, now or later. A sweep reports the accounts.
            odd = [row for row in due.rows if not is_okta_id(row.okta_id)]
            if not odd:
                raise
            self.store.write(lambda conn: attention.done(conn, odd))
            return None
        self.store.write(lambda conn: look_queue.looked(conn, due.rows, report, self.clock()))
        return report

    def _look_at(self, due: DueLook, request: RunRequest, now: datetime, progress: Progress | None) -> RunReport:
        def work(run: CurrentRun) -> RunReport:
            proposal = self._propose(run, due.who, NO_GRANT)
            plan = replace(proposal.plan, findings=(*proposal.plan.findings, *due.findings))
            gone = frozenset(a.identity for a in plan.actions if ends_access(a) and a.okta_id in due.unlimited)
            proposal = replace(proposal, plan=plan, grant=Grant(approved=gone))
            return self._act(run, self._judged(run, proposal))

        report = self._frame.run(request, work, progress=progress, wait=0)
        look_queue.after(self.store, Coverage(now=now, people=due.who.okta_ids), report, self.clock())
        return report

    def apply_plan(
        self,
        plan_id: int,
        checksum: str,
        decision: PlanDecision = stored_plans.APPLY,
        *,
        by: Signature | None = None,
        wait: float = 60,
        progress: Progress | None = None,
    ) -> RunReport:
        """Read again, plan again, carry out what the stored plan and the new one have in common; the rest is stale."""

        def usable() -> StoredPlan:
            return stored_plans.usable(self.store, plan_id, OPSHELM_S, self.clock(), checksum)

        stored = usable()
        picked = stored_plans.picked(stored, decision)
        if stored.kind == PlanKind.UNDO:
            undo.check_count(picked, decision.count)
            by = by or Signature(actor="agent", source="cli", at=self.clock())
            asked = RunRequest(kind=undo.KIND, trigger=APPROVE, actor=by.actor, dry=False, scope=())
            take_back = partial(self._undo.apply, picked=picked, by=by, count=decision.count)
            return self._frame.run(asked, lambda run: take_back(run, usable()), progress=progress, wait=wait)
        grant = stored_plans.grant_for(stored, picked, decision)
        who = Selection(scope=stored.plan.scope) if stored.plan.scope else None
        let_go = tuple(action.n for action in picked)

        def work(run: CurrentRun) -> RunReport:
            usable()  # it may have been applied while this one waited for the lease
            proposal = self._propose(run, who, grant)
            with self.store.read() as conn:
                known = stored_plans.existing(conn, plan_id, beside=proposal.plan)
            return self._act(run, replace(self._rejudged(proposal, known, let_go), by=by))

        # It may name everybody, and is read again beside the new plan.
        del stored, picked
        asker = Asker(trigger=APPROVE if decision.approve else "plan", actor=by.actor if by else "agent")
        return self._frame.run(_request(who, asker, apply=True), work, progress=progress, wait=wait)

    def undo(self, request: UndoRequest, by: Signature, *, progress: Progress | None = None) -> RunReport:
        """A plan that takes back what a run or pushes did; nothing is changed before it is applied or approved."""
        asked = RunRequest(
            kind=undo.KIND, trigger=by.source, actor=by.actor, dry=True, scope=tuple(sorted(request.only))
        )
        return self._frame.run(asked, lambda run: self._undo.plan(run, request), progress=progress, wait=0)

    def approve_holds(
        self, chosen: Sequence[Hold], by: Signature, *, wait: float = 60, progress: Progress | None = None
    ) -> RunReport:
        """Read both sides of these people again, and make the changes that are still wanted; the rest is closed."""
        for hold in chosen:
            if hold.decision in (Decision.REJECTED, Decision.BLOCKED) or not releasable(hold.code):
                why = hold.decision.value if hold.decision is not Decision.WAITING else hold.code.value
                raise UsageError(f"{hold.login}: approving releases nothing that is {why}. Instead: {way_out(hold)}")
            if hold.waits_for and hold.waits_for not in {one.login for one in chosen}:
                raise UsageError(f"{hold.login} waits for {hold.waits_for}, who comes first: {way_out(hold)}")
        keys = {(hold.subject, hold.kind): hold for hold in chosen}
        who = Selection(
            okta_ids=tuple({hold.okta_id for hold in chosen if hold.okta_id}),
            directory_ids=tuple({h.directory_id for h in chosen if h.directory_id and not h.okta_id}),
        )

        def work(run: CurrentRun) -> RunReport:
            proposal = self._propose(run, who, NO_GRANT)
            wanted = {a.identity: keys[key_of(a)] for a in proposal.plan.actions if key_of(a) in keys}
            until = self.clock() + self.settings.guard.plan_expiry
            approved = self.store.write(lambda conn: self._approve_holds(conn, by, list(wanted.values()), until))
            ids = {hold.id for hold in approved}
            let_go = frozenset(identity for identity, hold in wanted.items() if hold.id in ids)
            return self._act(run, self._judged(run, replace(proposal, grant=Grant(approved=let_go, named=let_go))))

        asker = Asker(trigger=APPROVE, actor=by.actor)
        return self._frame.run(_request(who, asker, apply=True), work, progress=progress, wait=wait)

    def _approve_holds(self, conn: Connection, by: Signature, chosen: list[Hold], until: datetime) -> list[Hold]:
        if account.lock(conn).paused:
            # While nothing may be applied nothing is approved either: the run says so, and a later one must not do it unasked.
            return []
        approved = brakes.approve_holds(conn, by, chosen, until)
        if any(hold.code is HeldCode.FIRST_ROLES for hold in approved):
            from agent.reconcile import roles

            roles.approve_holds(conn, by, self.settings.roles)
        return approved

    def look_again(self, chosen: Sequence[Hold]) -> str:
        """Both sides of these people, before a person says no or takes a decision back: what isn't wanted any more is closed.

        Answers why that was not found out; "" where it was.
        """
        report = self.run(apply=False, users=[hold.okta_id or hold.login for hold in chosen], wait=0)
        return "" if report.plan is not None or report.exit_code == 0 else report.detail

    def named(self, okta_id: str, account: DirectoryUser) -> str:
        """Who that is in Okta, in a sentence, and whether the account would lose its access as theirs.

        UsageError where Okta knows nobody by that id: whoever was linked to it would be a leaver in the next run.
        """
        with self._okta.run():
            (found,) = self._okta.people([okta_id])
        if isinstance(found, Unaddressable):
            raise UsageError(NO_OKTA_ID)
        user = found.okta_user
        if user is None:
            raise UsageError(f"Okta has no user {okta_id}. Nothing was changed: is the id right?")
        said = f"In Okta that is {user.profile.get('login', okta_id)} ({user_status(user)})."
        wanted = self.planner.projector.absent(found, self.clock()).wanted
        if wanted in (Wanted.INACTIVE, Wanted.ABSENT) and account.active and not account.protected:
            said += " Okta gives them no access: the next run ends this account's, unless something holds it."
        return said

    def heirs(self, leaver: DirectoryUser) -> tuple[str, ...]:
        """Okta user ids of those who have this leaver's userName now. UsageError where Okta still has the leaver."""
        with self.store.read() as conn:
            waiting = holds.open_holds(conn, people=[leaver.id])
        claims = {hold.okta_id for hold in waiting if hold.kind is ChangeKind.LINK and hold.okta_id}
        with self._okta.run():
            self.planner.require_gone(leaver)
            user = self._okta.user(leaver.user_name)
        claims |= {user.id} if user is not None else set()
        return tuple(sorted(claims - {leaver.okta_id or ""}))

    def new_account(self, leaver: DirectoryUser, heirs: tuple[str, ...], by: Signature) -> RunReport:
        """A person's word that whoever has this leaver's userName is somebody else: they get an account of their own.

        It takes the leaver's id, to which Okta may push already.
        """

        def work(run: CurrentRun) -> RunReport:
            proposal = self._propose(run, Selection(okta_ids=heirs), Grant(new_accounts=frozenset({leaver.id})))
            let_go = frozenset(a.identity for a in proposal.plan.actions if a.directory_id == leaver.id)
            self.store.write(lambda conn: brakes.let_name_go(conn, by, leaver, heirs))
            grant = replace(proposal.grant, approved=let_go)
            return self._act(run, self._judged(run, replace(proposal, grant=grant)))

        asker = Asker(trigger=APPROVE, actor=by.actor)
        return self._frame.run(_request(Selection(okta_ids=heirs), asker, apply=True), work)

    def explain(self, login: str) -> Explanation:
        """One person step by step, from both sides to what would happen now. Stores and changes nothing."""
        with self._okta.run():
            return explanation.explain(login, self._okta, self.planner, self.store, self.clock())

    # --- sweep → compare → plan

    def _propose(self, run: CurrentRun, who: Selection | None, grant: Grant) -> Proposal:
        """``who`` None: everybody."""
        if not run.dry:
            run.progress.step("reading back what was left unfinished")
            self._directory.read_back(self.clock())
            recover(self.store, self._directory, self.clock())
        with self.store.read() as conn:
            row, push_mark = account.get(conn), holds.newest_push_mark(conn)
        if row.pinned and HeldCode.FIRST_RUN in grant.lifted:
            raise UsageError(
                "The first run is over: this agent is pinned already, so --first-run lifts nothing. Nothing was changed. "
                "Review what is held: opshelm-agent holds list"
            )
        run.progress.step("asking Okta which org and app this is")
        binding = frame.bind(self._okta, row)
        if who is None:
            compared = self.planner.sweep(binding, grant, run.progress)
        else:
            run.progress.step("reading people")
            compared = self.planner.single(self.planner.reader().read(who, run.progress), binding)
        proposal = self.planner.proposal(compared, binding, grant, push_mark, run.request.scope)
        people = proposal.plan.source_size
        if people and HeldCode.EMPTY_SOURCE in grant.lifted and run.request.trigger != APPROVE:
            raise UsageError(f"Okta lists {people} people, so --allow-empty lifts nothing. Nothing was changed.")
        return proposal

    # --- guard

    def _judged(self, run: CurrentRun, proposal: Proposal, approval: Approval = NOTHING_LEFT) -> Judged:
        """A run's own plan, stored before anything happens."""
        plan = kept = self.planner.judged(proposal)
        if plan.held is HeldCode.COUNT_EXCEEDED:
            # So that an approval knows what it lifts.
            kept = self.planner.judged(replace(proposal, grant=NO_GRANT))
        now = self.clock()
        held = tuple(replace(a, state=ActionState.HELD) if a.held is not None else a for a in kept.actions)
        bare = replace(kept, findings=(), actions=held)

        with self.store.read() as conn:
            same = stored_plans.waiting(conn, bare)

        def work(conn: Connection) -> tuple[StoredPlan | None, StoredPlan | None]:
            if not kept.actions and kept.held is None and run.request.trigger != "cli":
                stored_plans.supersede(conn, kept, same, now)
                hand_on(conn, approval, None)
                hold_register.note(conn, proposal, plan, now, run_id=run.id, plan_id=None)
                _note_roles(conn, proposal, plan, now, dry=run.dry)
                return None, None
            stored, waiting = stored_plans.keep(conn, run.id, bare, same, self.settings, now)
            hand_on(conn, approval, stored)
            hold_register.note(conn, proposal, plan, now, run_id=run.id, plan_id=(waiting or stored).id)
            _note_roles(conn, proposal, plan, now, dry=run.dry)
            return stored, waiting

        stored, waiting = self.store.write(work)
        crash_point("plan.stored")
        return Judged(proposal=proposal, plan=plan, stored=stored, waiting=waiting)

    def _rejudged(self, proposal: Proposal, stored: StoredPlan, let_go: tuple[int, ...]) -> Judged:
        """What is left of a stored plan: its actions that the new plan wants too, by kind, person, before and after."""
        numbers = frozenset(let_go)
        picked = [action for action in stored.plan.actions if action.n in numbers]
        common, moved = _intersection(picked, proposal.plan.actions)
        proposal = replace(proposal, plan=replace(proposal.plan, actions=common))
        return Judged(
            proposal=proposal,
            plan=self.planner.judged(proposal),
            stored=stored,
            let_go=let_go,
            moved=tuple(moved),
            # Applying a plan leaves what is held in it, and approving a part leaves the rest.
            passed_over=any(a.state is ActionState.HELD and a.n not in numbers for a in stored.plan.actions),
        )

    def _act(self, run: CurrentRun, judged: Judged) -> RunReport:
        """What the guard has let through is carried out; every other way to end is said here."""
        plan, proposal, stored, waiting = judged.plan, judged.proposal, judged.stored, judged.waiting
        held = sum(action.held is not None for action in plan.actions)
        report = RunReport(
            run_id=run.id,
            dry=run.dry,
            outcome=Outcome.HELD if judged.held else Outcome.IN_STEP,
            detail=plan.held_detail if plan.held else _waiting(held, waiting),
            counts=proposal.counts | counts_of(plan.actions),
            plan=stored,
            waiting=waiting,
            findings=proposal.plan.findings,
            drift=bool(plan.actions),
            held=judged.held,
        )
        if plan.held is HeldCode.ABSENCE_DISPROVED:
            return replace(report, outcome=Outcome.DISPROVED)
        if plan.held is None and not proposal.grant.lifted:
            self._note_good_sweep(proposal, dry=run.dry)
        if run.dry:
            return report if report.held or not report.drift else replace(report, outcome=Outcome.DRIFT)
        self._note_judgement(run, judged)
        pulled = self._brake.pulled(stored.id if stored else None)
        if pulled is None and plan.held is not None:
            return report
        if pulled is None:
            pulled = self._let_go(run, judged)
        if pulled is not None:
            return replace(report, outcome=pulled[0], detail=pulled[1])
        pins = self._pin(run, judged)
        if stored is not None and stored is not waiting:
            report = self._apply(Apply(run=run, stored=stored, plan=plan, proposal=proposal), report)
        return replace(report, detail=" ".join(filter(None, (report.detail, pins))))

    def _note_judgement(self, run: CurrentRun, judged: Judged) -> None:
        """For ``guard replay``: what the limits looked at, and what they said."""
        plan, proposal = judged.plan, judged.proposal
        if plan.held is None and not any(map(is_of_limits, plan.actions)):
            return
        from agent.model.replay import judged_run
        from agent.store import judgements

        kept = judged_run(proposal.plan, plan, proposal.facts, proposal.grant)
        self.store.write(lambda conn: judgements.note_run(conn, run.id, kept, proposal.facts.now))

    def _let_go(self, run: CurrentRun, judged: Judged) -> tuple[Outcome, str] | None:
        """The decision is kept; whose own push gets time is looked at alone when that time is over.

        Answers why not, where somebody has just rejected the plan.
        """
        if judged.let_go is not None:
            if not self.store.write(lambda conn: self._keep_decision(conn, run, judged)):
                return self._brake.pulled(judged.stored.id if judged.stored else None)
            crash_point("plan.decided")
        if judged.proposal.grant.lifted:
            self._note_good_sweep(judged.proposal, dry=False)
        if judged.proposal.compared.due:
            self.store.write(lambda conn: self._look_again(conn, judged.proposal))
        return None

    # --- apply

    def _apply(self, apply: Apply, report: RunReport) -> RunReport:
        left = self._applier.apply(apply)
        now = self.clock()
        stored = self.store.write(lambda conn: _closed(conn, apply, left, now))
        crash_point("plan.closed")
        held = report.held or apply.counts[ActionState.HELD] > 0
        failed = " ".join(apply.failed.values())
        # What the actions were in before they were applied says nothing any more.
        found = {name: count for name, count in report.counts.items() if name not in STATE_COUNTS}
        waits = sum(action.state is ActionState.HELD for action in stored.plan.actions)
        before = report.plan.plan.actions if report.plan else ()
        earlier = {a.n for a in before if a.state not in (ActionState.PENDING, ActionState.HELD)}
        mine = [action for action in stored.plan.actions if action.n not in earlier]
        return replace(
            report,
            outcome=_outcome(apply, left, held=held),
            detail=left[1] if left else failed or _waiting(waits, report.waiting),
            counts=found | counts_of(mine),
            plan=stored,
            held=held,
        )

    # --- what is written down on the way

    def _approval_left(self) -> Approval:
        with self.store.read() as conn:
            return approval_left(conn, self.clock(), self.settings.guard.plan_expiry)

    def _keep_decision(self, conn: Connection, run: CurrentRun, judged: Judged) -> bool:
        """False: the plan was rejected meanwhile."""
        assert judged.stored is not None
        account.lock(conn)
        if plans.is_rejected(conn, judged.stored.id):
            return False
        now, approved = self.clock(), run.request.trigger == APPROVE
        decision, approve = (APPROVE, judged.let_go) if approved else ("apply", None)
        plans.decide(conn, judged.stored.id, actor=run.request.actor, decision=decision, now=now, approve=approve)
        if approved:
            source = judged.by.source if judged.by else "cli"
            by = Signature(actor=run.request.actor, source=source, at=now, reason=f"plan {judged.stored.id} approved")
            until = now + self.settings.guard.plan_expiry
            brakes.approve_plan(conn, by, judged.stored, judged.let_go or (), until, judged.proposal.grant.count)
            if any(action.held is HeldCode.FIRST_ROLES for action in judged.stored.plan.actions):
                from agent.reconcile import roles

                roles.approve(conn, by, judged.stored, judged.let_go or (), self.settings.roles)
        why = "it has moved since the plan was made"
        plans.mark(conn, judged.stored.id, judged.moved, ActionState.STALE, now, error=why)
        return True

    def _pin(self, run: CurrentRun, judged: Judged) -> str:
        """The first apply that a person let go, or that sees people in step and nothing to do; never a single reconcile.

        Answers what is pinned, or what the pins wait for.
        """
        proposal, stored = judged.proposal, judged.stored
        if proposal.facts.pinned or proposal.compared.swept_at is None:
            return ""
        app, org_id, now = proposal.binding.app, proposal.binding.org_id, self.clock()
        if not proposal.plan.actions and not (proposal.plan.source_size and proposal.facts.managed_active):
            whom = (
                "none of the people assigned in Okta has"
                if proposal.plan.source_size
                else "Okta has nobody assigned, so nobody has"
            )
            return (
                f"Nothing is pinned yet: {whom} an active account in OpsHelm, which says nothing about whether {app.label} "
                f"({app.id}) is the right app. The first apply that finds somebody there pins it."
            )
        by = Signature(actor=run.request.actor, source=proposal.source.value, at=now, reason="the first apply")
        # A plan that is applied without having been held first is kept as approved together with the pins.
        numbers = [a.n for a in stored.plan.actions if a.held is None] if stored and judged.let_go is None else []

        def work(conn: Connection) -> None:
            brakes.pin(conn, by, org_id=org_id, app_id=app.id, app_label=app.label)
            if stored is not None and numbers:
                plans.decide(conn, stored.id, actor=by.actor, decision=APPROVE, now=now, approve=numbers)
                until = now + self.settings.guard.plan_expiry
                brakes.approve_plan(conn, by, stored, numbers, until, proposal.grant.count)

        self.store.write(work)
        return (
            f"Pinned to the app {app.label} ({app.id}) of the org {org_id}: nothing else is ever applied from now on."
        )

    def _note_good_sweep(self, proposal: Proposal, *, dry: bool) -> None:
        """A dry run before the pins says nothing about the org that this account will belong to."""
        swept, now = proposal.compared.swept_at, self.clock()
        if swept is None or (dry and not proposal.facts.pinned):
            return

        def work(conn: Connection) -> None:
            account.good_sweep(conn, at=swept, people=proposal.plan.source_size)
            wanted = {broad_kind(action.kind).value for action in proposal.plan.actions}
            for alarm in alarms.open_alarms(conn):
                # What nobody wants any more fails no more.
                if alarm.code == TOO_MANY_FAILED and alarm.subject not in wanted:
                    alarms.clear(conn, TOO_MANY_FAILED, alarm.subject, now)
                elif alarm.code == "role_group" and proposal.compared.roles is None:
                    alarms.clear(conn, alarm.code, alarm.subject, now)

        self.store.write(work)

    def _look_again(self, conn: Connection, proposal: Proposal) -> None:
        for okta_id, due in proposal.compared.due.items():
            attention.add(conn, reason=SETTLE, okta_id=okta_id, not_before=due, now=self.clock())


def _note_roles(conn: Connection, proposal: Proposal, plan: Plan, now: datetime, *, dry: bool) -> None:
    compared = proposal.compared.roles
    if compared is not None and proposal.facts.pinned:
        from agent.reconcile import roles

        roles.note(conn, compared, plan, now, apply=not dry and plan.held is None)


def _request(who: Selection | None, by: Asker, *, apply: bool) -> RunRequest:
    scope = () if who is None else (*who.logins, *who.scope, *who.okta_ids, *who.directory_ids)
    kind = "sweep" if who is None else "single"
    return RunRequest(kind=kind, trigger=by.trigger, actor=by.actor, dry=not apply, scope=scope)


def _waiting(held: int, waiting: StoredPlan | None) -> str:
    if not held:
        return ""
    where = f" in plan {waiting.id}: opshelm-agent plans show {waiting.id}" if waiting else ""
    return f"{held} {'action waits' if held == 1 else 'actions wait'} for a person{where}"


def _closed(conn: Connection, apply: Apply, left: tuple[Outcome, str] | None, now: datetime) -> StoredPlan:
    for kind, why in apply.failed.items():
        alarms.raise_alarm(conn, TOO_MANY_FAILED, kind.value, why, now)
    for kind, state in apply.by_kind:
        if state is ActionState.DONE and kind not in apply.failed:
            alarms.clear(conn, TOO_MANY_FAILED, kind.value, now)
    goes_on = left is not None and left[0] is not Outcome.REJECTED
    stored = (plans.again if goes_on else stored_plans.close)(conn, apply.stored)
    if apply.proposal.facts.pinned and apply.counts[ActionState.HELD]:
        newly = tuple(a for a in stored.plan.actions if apply.ended.get(a.n) is ActionState.HELD)
        pushed = holds.pushed_after(conn, apply.proposal.push_mark)
        late = replace(stored.plan, actions=newly, held=None)
        hold_register.found(conn, late, now, run_id=apply.run.id, plan_id=apply.plan_id, pushed=pushed)
    return stored


def _outcome(apply: Apply, left: tuple[Outcome, str] | None, *, held: bool) -> Outcome:
    if left is not None:
        return left[0]
    if held:
        return Outcome.HELD
    if apply.counts[ActionState.FAILED]:
        return Outcome.PARTIAL
    return Outcome.APPLIED if apply.counts[ActionState.DONE] or apply.counts[ActionState.STALE] else Outcome.IN_STEP


def _intersection(picked: Sequence[Action], fresh: Sequence[Action]) -> tuple[tuple[Action, ...], list[int]]:
    """The fresh actions that were picked, under their old numbers; and the old numbers of what has moved."""
    new = {action.identity: action for action in fresh}
    pairs = [(mine, action.n) for action in picked if (mine := new.get(action.identity)) is not None]
    common: dict[int, Action] = {}
    for mine, n in sorted(pairs, key=lambda pair: pair[0].n):
        if all(needed in common for needed in mine.needs):
            common[mine.n] = replace(mine, n=n, needs=tuple(common[needed].n for needed in mine.needs))
    done = {action.n for action in common.values()}
    return tuple(common.values()), [action.n for action in picked if action.n not in done]
