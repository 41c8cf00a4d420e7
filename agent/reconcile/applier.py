"""Carry out what the guard let through: in batches, each in one transaction with its states. Plans and judges nothing.

pending → sent → done, or stale (somebody else was quicker), failed, held (a rule refused). Between two batches a run looks
whether it was paused, told to stop, or fails too often. Creates and reactivations whose row is old are read again first.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct, field

from agent.directory.port import Ended, WriteContext
from agent.model.cases import Want
from agent.model.codes import ActionKind, ActionState, HeldCode
from agent.model.errors import Unaddressable
from agent.model.guard import ends_access, exempt
from agent.model.plan import Action, Plan
from agent.reconcile.planner import Planner, Proposal
from agent.runs.frame import CurrentRun
from agent.runs.preflight import Brake
from agent.runs.report import Outcome
from agent.store import plans
from agent.store.crash_points import crash_point
from agent.store.engine import Connection

_GRANTING = (ActionKind.CREATE, ActionKind.REACTIVATE)


class Apply(Struct, frozen=True, kw_only=True):
    """One apply: what is carried out, and how far it has come."""

    run: CurrentRun
    plan_id: int
    #: What the guard has let through, and what it has not.
    plan: Plan
    proposal: Proposal
    #: Number of an action → how it has ended.
    ended: dict[int, ActionState] = field(default_factory=dict)
    counts: Counter[ActionState] = field(default_factory=Counter)

    @property
    def todo(self) -> list[Action]:
        return [action for action in self.plan.actions if action.held is None]

    def note(self, numbers: Iterable[int], states: Sequence[ActionState]) -> None:
        self.ended.update(zip(numbers, states, strict=True))
        self.counts.update(states)

    def context(self, action: Action) -> WriteContext:
        return WriteContext(
            actor=f"run {self.run.id} ({self.run.request.actor})",
            source=self.proposal.source,
            run_id=self.run.id,
            plan_id=self.plan_id,
            action_n=action.n,
            reason=action.proof or action.rule,
            exempt=exempt(action, self.proposal.grant),
            fence=self.run.fence,
            suspended=action.suspended,
        )


class Left(Struct, frozen=True, kw_only=True):
    """Why the rest of an apply was left."""

    why: str
    #: Paused or stopped in between; None: too much failed.
    outcome: Outcome | None = None


class Applier(Struct, frozen=True, kw_only=True):
    planner: Planner
    brake: Brake

    def apply(self, apply: Apply) -> Left | None:
        """None: all of it was tried."""
        batches, todo = self.planner.directory.batches(), apply.todo
        for batch in _batches(todo, batches.size):
            pulled = self.brake.pulled()
            if pulled is not None:
                return Left(outcome=pulled[0], why=pulled[1])
            ready = self._ready(apply, batch)
            crash_point("apply.planned")
            if ready:
                ended = batches.write(apply.plan_id, ready, apply.context, self.planner.clock())
                apply.note([one.n for one in ended], [one.state for one in ended])
            crash_point("apply.done")
            apply.run.progress.step("applying", len(apply.ended), len(todo))
            why = self._fails_too_often(apply)
            if why:
                self._hold_rest(apply, why)
                return Left(why=why)
        return None

    def _ready(self, apply: Apply, batch: Sequence[Action]) -> list[Action]:
        """Without those whose first step did not happen, or who look different to a fresh look."""
        moved = self._moved(apply, batch)
        ready: list[Action] = []
        stale: list[Ended] = []
        for action in batch:
            undone = [n for n in action.needs if apply.ended.get(n, ActionState.DONE) is not ActionState.DONE]
            if undone:
                stale.append(Ended.after(action.n, undone[0]))
            elif action.kind in _GRANTING and action.okta_id in moved:
                stale.append(Ended(n=action.n, state=ActionState.STALE, error=moved[action.okta_id]))
            elif ends_access(action) and action.proof is None:
                stale.append(Ended(n=action.n, state=ActionState.STALE, error="the absence was not proven"))
            else:
                ready.append(action)
        if stale:
            now, ends = self.planner.clock(), [(one.n, one.state, one.error) for one in stale]
            self.planner.store.write(lambda conn: plans.mark_each(conn, apply.plan_id, ends, now))
            apply.note([one.n for one in stale], [one.state for one in stale])
        return ready

    def _moved(self, apply: Apply, batch: Sequence[Action]) -> dict[str, str]:
        """Okta user id → what changed since it was read, of those whose row is older than reconcile.fresh."""
        old = self.planner.clock() - self.planner.settings.reconcile.fresh
        granting = {action.okta_id for action in batch if action.kind in _GRANTING}
        again = [w for okta_id, w in apply.proposal.wants.items() if okta_id in granting and w.read_at < old]
        moved: dict[str, str] = {}
        for want, person in zip(again, self.planner.okta.people([w.okta_id for w in again]), strict=True):
            if isinstance(person, Unaddressable):
                moved[want.okta_id] = person.detail
                continue
            projected = self.planner.projector.read(person, self.planner.clock())
            if projected is None:
                moved[want.okta_id] = "no longer assigned in Okta"
            elif _essence(projected[0]) != _essence(want):
                moved[want.okta_id] = "changed in Okta since it was read"
        return moved

    def _fails_too_often(self, apply: Apply) -> str:
        """Why the rest is not tried, or ""."""
        guard, failed = self.planner.settings.guard, apply.counts[ActionState.FAILED]
        tried = failed + apply.counts[ActionState.DONE]
        if failed < guard.failed_floor or failed <= tried * guard.failed_percent / 100:
            return ""
        limit = f"{guard.failed_percent:g} % and {guard.failed_floor}"
        return f"{failed} of {tried} actions failed; the limit is {limit}."

    def _hold_rest(self, apply: Apply, why: str) -> None:
        rest = [action for action in apply.todo if action.n not in apply.ended]
        for some in _batches(rest, 1000):

            def hold(conn: Connection, some: Sequence[Action] = some) -> None:
                for action in some:
                    plans.hold(conn, apply.plan_id, action.n, HeldCode.FAILED_ACTIONS, why)

            self.planner.store.write(hold)
        apply.note([action.n for action in rest], [ActionState.HELD] * len(rest))


def _batches(actions: Sequence[Action], size: int) -> Iterator[Sequence[Action]]:
    for start in range(0, len(actions), size):
        yield actions[start : start + size]


def _essence(want: Want) -> tuple[object, ...]:
    return want.wanted, want.user_name_key, want.email_key, want.mapped, want.unsaid
