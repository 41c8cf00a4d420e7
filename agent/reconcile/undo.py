"""Take back what a run or a window of pushes did: a plan made from the journal, guarded and approved like any plan.

=====================================  ===============================================================================
the account                            then
=====================================  ===============================================================================
is still as that run left it           an action: as it was before, its role too, since a person approves it
was changed by somebody since          a finding that names the change; it is left alone, also where that happens
                                       between plan and apply
is as it was before already            nothing
was made by that run                   inactive and hidden, as after a SCIM DELETE
=====================================  ===============================================================================

The last change goes back first, so that names and ownership are free when they are needed; names in a ring go back at once.

Who is undone is held (``undone``): what the run wanted isn't done again by any path, until Okta wants something else for that
person or an operator lifts it. Taking an undo back lets that go, and taking that back holds them again. What an import did in Okta is agent.imports.withdrawal's.

Nothing is lost by a kill: an account that is as it was before is done, whoever made it so, and the rest of the plan goes on
with the same ``plans approve``.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from agent.directory.port import Directory, PlanStep, Undone
from agent.model.codes import ActionKind, ActionState, FindingCode, HeldCode, Source
from agent.model.errors import (
    AgentError,
    CalledOff,
    DirectoryUnavailable,
    NotFound,
    StoreError,
    UsageError,
    VersionConflict,
)
from agent.model.guard import judge
from agent.model.mapping import Mapping
from agent.model.plan import Action, Finding, Plan, resolve
from agent.model.times import when
from agent.model.undo import Past
from agent.model.users import Role, identity_key
from agent.reconcile.planner import facts_of
from agent.runs import stored_plans
from agent.runs.frame import Brake, CurrentRun, Outcome, RunReport, planned
from agent.runs.stored_plans import PlanKind
from agent.settings import Settings
from agent.store import brakes, history, plans
from agent.store.engine import Store, crash_point
from agent.store.history import RowSelection, Touched
from agent.store.journal import Signature
from agent.store.plans import StoredPlan

#: The kind of its runs.
KIND = "undo"
#: Actions whose ends are stored together, and after which it is looked whether to go on.
_TOGETHER = 100


class UndoRequest(Struct, frozen=True, kw_only=True):
    """What is to be taken back, and for whom. ``reason`` is kept in the journal with each account."""

    selection: RowSelection
    reason: str
    #: userNames; empty: everybody.
    only: Collection[str] = ()
    #: The journal's words for changes (deactivate, update, …); empty: all.
    kinds: Collection[str] = ()

    @property
    def rule(self) -> str:
        if self.selection.run_id is not None:
            return f"undo of run {self.selection.run_id}: {self.reason}"
        until = f" until {when(self.selection.until)}" if self.selection.until else ""
        return f"undo of pushes since {when(self.selection.since)}{until}: {self.reason}"


class Undo(Struct, frozen=True, kw_only=True):
    """Plans and carries out; the reconciler gives the frame of the run."""

    store: Store
    directory: Directory
    settings: Settings
    clock: Callable[[], datetime]
    brake: Brake

    def plan(self, run: CurrentRun, request: UndoRequest) -> RunReport:
        """Store the plan; it changes nothing."""
        run.progress.step("reading the journal")
        now = self.clock()
        with self.store.read() as conn:
            touched = sorted(history.touched(conn, request.selection), key=lambda one: one.last, reverse=True)
            selected = self._selected(touched, request)
            facts, population = facts_of(conn, now, sweep=True)
        actions: list[Action] = []
        findings: list[Finding] = []
        for n, one in enumerate(selected):
            run.progress.step("comparing accounts", n, len(selected))
            found = self._action(len(actions) + 1, one, request.rule)
            if isinstance(found, Finding):
                findings.append(found)
            elif found is not None:
                actions.append(found)
        # What an undo held doesn't hold its own undo.
        open_holds = {key: hold for key, hold in facts.holds.items() if hold.code is not HeldCode.UNDONE}
        owners = frozenset(a.directory_id or "" for a in actions if _was_owner(a))
        facts = replace(facts, pinned=True, last_good_people=None, managed_active=0, holds=open_holds, owners=owners)
        plan = Plan(actions=tuple(actions), population=population, source_size=0, created=now, findings=tuple(findings))
        plan = judge(plan, self.settings.guard, facts)
        stored = None
        if actions:
            kept = (PlanKind.UNDO, plan, self.settings, now)
            stored = self.store.write(lambda conn: stored_plans.keep_beside(conn, run.id, *kept))
        outcome = Outcome.HELD if plan.holds_back else Outcome.PLANNED if actions else Outcome.NOTHING
        return planned(run, stored, plan, outcome, "" if actions else _nothing(findings))

    def apply(
        self, run: CurrentRun, stored: StoredPlan, picked: Sequence[Action], by: Signature, count: int | None
    ) -> RunReport:
        """Account by account, each with its journal row and its hold in one transaction. ``count``: as it was typed."""
        left = None
        signed, numbers = replace(by, at=self.clock()), [action.n for action in picked]
        self.store.write(lambda conn: brakes.approve_undo(conn, signed, stored, numbers, count))
        rings = self._rings(picked)
        for start in range(0, len(rings), _TOGETHER):
            left = self.brake.pulled(stored.id)
            if left is not None:
                break
            some = rings[start : start + _TOGETHER]
            ends: list[tuple[int, ActionState, str]] = []
            try:
                for ring in some:
                    ends += self._ring(run, stored.id, ring, by)
            except CalledOff:
                left = self.brake.called_off(stored.id)
            now = self.clock()
            self.store.write(lambda conn, ends=ends, now=now: plans.mark_each(conn, stored.id, ends, now))  # type: ignore[misc]
            crash_point("undo.marked")
            run.progress.step("taking back", start + len(some), len(rings))
            if left is not None:
                break
        return stored_plans.end_undo(run, self.store, stored, numbers, left)

    def _rings(self, picked: Sequence[Action]) -> list[tuple[Action, ...]]:
        """One by one, but for those who have each other's names."""
        renames = {action.directory_id or "": action for action in picked if _renames(action)}
        holders = {identity_key(action.changes["userName"].before): one for one, action in renames.items()}
        wanted = {one: holders.get(identity_key(action.changes["userName"].after)) for one, action in renames.items()}
        cycles = resolve(wanted).cycles if self.directory.sets_roles else ()
        rings = {cycle[0]: tuple(renames[one] for one in cycle) for cycle in cycles}
        inside = {one for cycle in cycles for one in cycle[1:]}
        alone = [action for action in picked if action.directory_id not in inside]
        return [rings.get(action.directory_id or "", (action,)) for action in alone]

    def _ring(
        self, run: CurrentRun, plan_id: int, ring: Sequence[Action], by: Signature
    ) -> list[tuple[int, ActionState, str]]:
        """What became of one action, or of several that are done at once or not at all."""
        source = Source.DASHBOARD if by.source == Source.DASHBOARD else Source.CLI
        acts = self.directory.operator(actor=by.actor, reason=ring[0].rule, now=self.clock(), source=source)
        wanted = [self._wanted(run, plan_id, action) for action in ring]
        state, said = ActionState.DONE, ""
        try:
            if len(wanted) == 1:
                acts.restore(*wanted[0])
            else:
                acts.restore_together(wanted)
        except (StoreError, DirectoryUnavailable, CalledOff):
            raise
        except (VersionConflict, NotFound) as moved:
            state, said = ActionState.STALE, moved.detail
        except AgentError as error:
            state, said = ActionState.FAILED, f"{error.code}: {error.detail}"
        else:
            crash_point("undo.restored")
        return [(action.n, state, said) for action in ring]

    def _wanted(self, run: CurrentRun, plan_id: int, action: Action) -> tuple[Past, PlanStep, Undone]:
        first, last = action.undoes or (0, 0)
        with self.store.read() as conn:
            before, after, earlier = history.before_and_after(conn, first, last)
            # Of an undo that held somebody, the opposite is as Okta wants it; of one that let go of them, it isn't.
            lets_go = earlier is not None and history.held_by_undo(conn, action.directory_id or "", earlier)
        past = Past.of(action.directory_id or "", before, after)
        undone = Undone(wishes={} if lets_go else past.wishes(Mapping(self.settings.mapping)))
        return past, PlanStep(run_id=run.id, plan_id=plan_id, n=action.n, fence=run.fence), undone

    def _selected(self, found: Iterable[Touched], request: UndoRequest) -> list[Touched]:
        wanted = {identity_key(login) for login in request.only}
        found = [one for one in found if not request.kinds or not set(request.kinds).isdisjoint(one.verbs)]
        if not wanted:
            return found
        chosen = [one for one in found if identity_key(one.login) in wanted or one.directory_id in request.only]
        missing = wanted - {identity_key(one.login) for one in chosen} - {one.directory_id for one in chosen}
        if missing:
            raise UsageError(f"Nothing of that was done to {', '.join(sorted(missing))}.")
        return chosen

    def _action(self, n: int, one: Touched, rule: str) -> Action | Finding | None:
        with self.store.read() as conn:
            before, after, _ = history.before_and_after(conn, one.first, one.last)
        past = Past.of(one.directory_id, before, after)
        now = self.directory.get(one.directory_id)
        if now is None:
            return _moved(one, "the account is not there any more")
        if past.is_back(now):
            return None
        if one.since is not None:
            cause = one.since.cause
            said = f"{one.since.verb} by {cause.actor} at {when(cause.at)} (journal row {cause.row})"
            return _moved(one, f"changed since: {said}")
        if not past.left_in(now):
            return _moved(one, "changed since, in OpsHelm itself")
        return past.action(n, rule, (one.first, one.last), now.version)


def _renames(action: Action) -> bool:
    change = action.changes.get("userName")
    return change is not None and identity_key(change.before) != identity_key(change.after)


def _moved(one: Touched, detail: str) -> Finding:
    return Finding(code=FindingCode.CHANGED_SINCE, login=one.login, detail=detail, directory_id=one.directory_id)


def check_count(picked: Sequence[Action], count: int | None) -> None:
    """Raises UsageError where more people would get or lose access than somebody typed."""
    concerned = sum(action.kind in (ActionKind.DEACTIVATE, ActionKind.REACTIVATE) for action in picked)
    if count is not None and concerned > count:
        raise UsageError(f"{concerned} people would get or lose access; {count} were allowed. Nothing was changed.")


def _nothing(findings: Sequence[Finding]) -> str:
    if not findings:
        return "Nothing to take back: no account was changed, or all are as they were before."
    return "Nothing can be taken back; the findings say why, person by person."


def _was_owner(action: Action) -> bool:
    change = action.changes.get("role")
    return action.kind is ActionKind.DEACTIVATE and change is not None and change.before == Role.OWNER
