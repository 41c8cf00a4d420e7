"""Carry out what the guard let through: in batches, each in one transaction with its states; and settle what an apply that was
interrupted has left. Plans and judges nothing.

pending → sent → done, or stale (somebody else was quicker), failed, held (a rule refused). Between two batches, and in each
batch's own transaction, a run looks whether it was paused or its plan rejected; between two whether it was told to stop. What
gives or ends access is asked of Okta again where the answer is old. A kind of change that fails too often is held for the rest
of the run; the others go on.

Interrupted: actions whose outcome nobody recorded, and approvals that still hold. The former are read back, never sent again
blindly: an action whose account is as it wanted is done, any other is stale and the next plan sees what is true now. That is
done with the lease held, before anything else. (The run itself is ended by agent.runs.frame.)

What a person let go (``--first-run N``, ``plans approve``) holds for those very actions, each done once, until
``guard.plan_expiry`` after the decision – whether the process dies, is stopped or paused in between. The next sweep makes a
plan of its own; where it wants the same action for the same person, the approval counts there. What was tried and failed,
has moved, or was held meanwhile is not among it. Nothing is approved here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field

from agent.directory.port import Directory, Ended, WriteContext
from agent.model.codes import IN_OKTA, ActionKind, ActionState, HeldCode, PlanStatus
from agent.model.desired import Wanted
from agent.model.errors import Unaddressable
from agent.model.guard import ActionIdentity, ends_access, exempt, gives_access
from agent.model.holds import ChangeKind, broad_kind
from agent.model.okta import Person
from agent.model.plan import Action, Plan, fulfilled
from agent.model.times import when
from agent.model.users import DirectoryUser, identity_key
from agent.reconcile.planner import Planner, Proposal, essence
from agent.runs.frame import Brake, CurrentRun, Outcome
from agent.store import holds, plans
from agent.store.engine import Connection, Store, crash_point
from agent.store.plans import SentAction, StoredPlan


class Apply(Struct, frozen=True, kw_only=True):
    """One apply: what is carried out, and how far it has come."""

    run: CurrentRun
    stored: StoredPlan
    #: What the guard has let through, and what it has not.
    plan: Plan
    proposal: Proposal
    #: Number of an action → how it has ended.
    ended: dict[int, ActionState] = field(default_factory=dict)
    counts: Counter[ActionState] = field(default_factory=Counter)
    by_kind: Counter[tuple[ChangeKind, ActionState]] = field(default_factory=Counter)
    #: Kinds of which too many failed, and why.
    failed: dict[ChangeKind, str] = {}
    #: Okta user id → the newest push that a second look at Okta can know of.
    marks: dict[str, int] = {}

    @property
    def plan_id(self) -> int:
        return self.stored.id

    @property
    def todo(self) -> list[Action]:
        return [action for action in self.plan.actions if action.held is None]

    def note(self, actions: Iterable[Action], states: Mapping[int, ActionState]) -> None:
        """``states``: by the action's number; those that have none yet are left out."""
        for action in actions:
            state = states.get(action.n)
            if state is not None:
                self.ended[action.n] = state
                self.counts[state] += 1
                self.by_kind[broad_kind(action.kind), state] += 1

    def context(self, action: Action) -> WriteContext:
        return WriteContext(
            actor=f"run {self.run.id} ({self.run.request.actor})",
            source=self.proposal.source,
            run_id=self.run.id,
            plan_id=self.plan_id,
            action_n=action.n,
            reason=action.proof or action.rule,
            exempt=exempt(action, self.proposal.grant, self.proposal.facts),
            fence=self.run.fence,
            suspended=action.suspended,
            by_group=action.group,
            push_mark=self.marks.get(action.okta_id or "", self.proposal.push_mark),
        )


class Applier(Struct, frozen=True, kw_only=True):
    planner: Planner
    brake: Brake

    def apply(self, apply: Apply) -> tuple[Outcome, str] | None:
        """Why the rest was left: paused, rejected, or told to stop. None: all of it was tried, but for kinds that failed too
        often (``apply.failed``).
        """
        batches, todo = self.planner.directory.batches(), apply.todo
        for start in range(0, len(todo), batches.size):
            batch = todo[start : start + batches.size]
            pulled = self.brake.pulled(apply.plan_id)
            if pulled is not None:
                return pulled
            ready = self._ready(apply, batch)
            crash_point("apply.planned")
            if ready:
                ended = batches.write(apply.plan_id, ready, apply.context, self.planner.clock())
                apply.note(ready, {one.n: one.state for one in ended})
                if len(ended) < len(ready):
                    return self.brake.called_off(apply.plan_id)
            crash_point("apply.done")
            apply.run.progress.step("applying", len(apply.ended), len(todo))
            self._note_failures(apply)
        return None

    def _ready(self, apply: Apply, batch: Sequence[Action]) -> list[Action]:
        """Without those whose first step did not happen, whose kind fails too often, or who look different to a fresh look."""
        failing = [action for action in batch if broad_kind(action.kind) in apply.failed]
        if failing:
            self._hold(apply, failing)
        moved = self._moved(apply, batch)
        ready: list[Action] = []
        stale: list[Ended] = []
        for action in batch:
            undone = [n for n in action.needs if apply.ended.get(n, ActionState.DONE) is not ActionState.DONE]
            if action.n in apply.ended:
                continue
            if undone:
                stale.append(Ended.after(action.n, undone[0]))
            elif action.okta_id in moved and (gives_access(action) or ends_access(action)):
                stale.append(Ended(n=action.n, state=ActionState.STALE, error=moved[action.okta_id]))
            elif ends_access(action) and action.proof is None:
                stale.append(Ended(n=action.n, state=ActionState.STALE, error="the absence was not proven"))
            else:
                ready.append(action)
        if stale:
            now, ends = self.planner.clock(), [(one.n, one.state, one.error) for one in stale]
            self.planner.store.write(lambda conn: plans.mark_each(conn, apply.plan_id, ends, now))
            apply.note(batch, {one.n: one.state for one in stale})
        return ready

    def _moved(self, apply: Apply, batch: Sequence[Action]) -> dict[str, str]:
        """Okta user id → what changed since Okta was asked, of those of whom that is longer ago than reconcile.fresh.

        Nobody knows how old an answer is that a clock dated later than now.
        """
        proposal, now = apply.proposal, self.planner.clock()
        old = now - self.planner.settings.reconcile.fresh
        concerned = [a for a in batch if a.okta_id and (gives_access(a) or ends_access(a))]
        asked = {a.n: proposal.asked.get(a.okta_id or "") for a in concerned}
        again = [a for a in concerned if (at := asked[a.n]) is not None and not old <= at <= now]
        if not again:
            return {}
        mark = self.planner.store.ask(holds.newest_push_mark)
        moved: dict[str, str] = {}
        for action, person in zip(again, self.planner.okta.people([a.okta_id or "" for a in again]), strict=True):
            okta_id = action.okta_id or ""
            if isinstance(person, Unaddressable):
                moved[okta_id] = person.detail
                continue
            why = self._change(action, person, proposal)
            if why:
                moved[okta_id] = why
            else:
                apply.marks[okta_id] = mark
        return moved

    def _change(self, action: Action, person: Person, proposal: Proposal) -> str:
        """Why this person is no longer as the plan saw them; "" where they are."""
        now, want = self.planner.clock(), proposal.wants.get(action.okta_id or "")
        projectors = proposal.compared.projectors
        found = [projected[0] for projector in projectors if (projected := projector.read(person, now)) is not None]
        if ends_access(action):
            wanted = found[0].wanted if found else projectors[0].absent(person, now).wanted
            gone = wanted is Wanted.INACTIVE or (not found and wanted is not Wanted.LEAVE)
            return "" if gone else "assigned in Okta by now"
        if not found:
            return "no longer assigned in Okta"
        return "" if want is None or want in map(essence, found) else "changed in Okta since it was read"

    def _note_failures(self, apply: Apply) -> None:
        """Which kinds of change are not tried any more in this run."""
        guard = self.planner.settings.guard
        for kind in {kind for kind, state in apply.by_kind if state is ActionState.FAILED} - apply.failed.keys():
            failed = apply.by_kind[kind, ActionState.FAILED]
            tried = failed + apply.by_kind[kind, ActionState.DONE]
            if failed >= guard.failed_floor and failed > tried * guard.failed_percent / 100:
                limit = f"{guard.failed_percent:g} % and {guard.failed_floor}"
                apply.failed[kind] = f"{failed} of {tried} actions ({kind.value}) failed; the limit is {limit}."

    def _hold(self, apply: Apply, actions: Sequence[Action]) -> None:
        def work(conn: Connection) -> None:
            for action in actions:
                why = apply.failed[broad_kind(action.kind)]
                plans.hold(conn, apply.plan_id, action.n, HeldCode.FAILED_ACTIONS, why)

        self.planner.store.write(work)
        apply.note(actions, dict.fromkeys((action.n for action in actions), ActionState.HELD))


# What an interrupted one has left

#: How a stored plan says that a person let its marked actions go.
APPROVE = "approve"
#: Why an action ends that was sent and did not happen.
DIED = "the process died before it was done"


def recover(store: Store, directory: Directory, now: datetime) -> int:
    """Settle what was left; answers how many actions that were."""
    left = [sent for sent in store.ask(plans.sent_actions) if sent.action.kind not in IN_OKTA]
    if left:
        ended = [(sent, _happened(directory, sent.action)) for sent in left]
        store.write(lambda conn: _settle(conn, ended, now))
    return len(left)


def _happened(directory: Directory, action: Action) -> bool:
    if action.kind is ActionKind.RENAME_CYCLE:
        members = [(directory.get(account), name) for account, _, name in action.cycle]
        return all(user is not None and user.user_name_key == identity_key(name) for user, name in members)
    return fulfilled(action, _account(directory, action))


def _account(directory: Directory, action: Action) -> DirectoryUser | None:
    if action.directory_id is not None:
        return directory.get(action.directory_id)
    return directory.find(okta_id=action.okta_id) if action.okta_id else None


def _settle(conn: Connection, ended: list[tuple[SentAction, bool]], now: datetime) -> None:
    for sent, happened in ended:
        state = ActionState.DONE if happened else ActionState.STALE
        error = "" if happened else DIED
        plans.mark(conn, sent.plan_id, [sent.action.n], state, now, error=error)


class Approval(Struct, frozen=True, kw_only=True):
    """What is left of it."""

    #: The plans that were being applied.
    plan_ids: tuple[int, ...] = ()
    identities: frozenset[ActionIdentity] = frozenset()
    by: str = ""
    at: datetime | None = None

    @property
    def words(self) -> str:
        if self.at is None:
            return ""
        return (
            f"This goes on with plan {self.plan_ids[-1]}, whose apply was interrupted; {self.by} approved it at "
            f"{when(self.at)}."
        )


NOTHING_LEFT = Approval()


def approval_left(conn: Connection, now: datetime, expiry: timedelta) -> Approval:
    found = [
        (stored, identities)
        for stored in plans.open_decided(conn, APPROVE, since=now - expiry)
        if not stored.plan.scope
        and (identities := frozenset(a.identity for a in stored.plan.actions if _waits(stored, a)))
    ]
    if not found:
        return NOTHING_LEFT
    first = found[0][0]  # the oldest decision bounds the time of all
    return Approval(
        plan_ids=tuple(stored.id for stored, _ in found),
        identities=frozenset().union(*(identities for _, identities in found)),
        by=first.decided_by or "",
        at=first.decided_at,
    )


def _waits(stored: StoredPlan, action: Action) -> bool:
    if action.n not in stored.approved:
        return False
    begun = action.state is ActionState.STALE and action.error == DIED
    return begun or action.state in (ActionState.PENDING, ActionState.SENT)


def hand_on(conn: Connection, approval: Approval, to: StoredPlan | None) -> None:
    """The newer plan has it from now on, and no older one any more."""
    if to is not None and approval.at is not None and to.id not in approval.plan_ids:
        numbers = [a.n for a in to.plan.actions if a.identity in approval.identities]
        if numbers:
            plans.decide(conn, to.id, actor=approval.by, decision=APPROVE, now=approval.at, approve=numbers)
    for plan_id in approval.plan_ids:
        if to is None or plan_id != to.id:
            plans.set_status(conn, plan_id, PlanStatus.STALE)
