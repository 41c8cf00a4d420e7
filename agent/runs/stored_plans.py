"""A stored plan's life: which one a run keeps, what a person may still do with it, how it ends. Of both kinds.

::

    ready, held ── applied     done, or what is left of it will not be
         ├─────── stale       a newer plan replaces it, or nothing of it was still wanted
         ├─────── expired     nobody applied it within guard.plan_expiry
         └─────── rejected    a person said no

A later run whose held set is the same keeps the old plan: else nobody could approve what they have read for longer than
until the next sweep. How long somebody waits, and what was decided about them, is the register's (store/holds.py). Of the
others of its kind and scope only the newest stays, so that a daemon that only plans doesn't fill the database.
"""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import OPEN_PLANS, UNDECIDED, ActionState, HeldCode, PlanStatus
from agent.model.errors import Frozen, HeldBack, NotFound, UsageError
from agent.model.guard import APPROVABLE_RUNS, NEED_COUNT, Grant, typed
from agent.model.holds import APPROVABLE, ONE_BY_ONE
from agent.model.plan import PLAN_FORMAT, Action, Plan
from agent.model.times import when
from agent.runs.frame import CurrentRun, Outcome, RunReport, counts_of
from agent.settings import Settings
from agent.store import plans
from agent.store.engine import Connection, Store
from agent.store.plans import StoredPlan

#: Characters of a checksum that suffice, and that hints show.
SHORT_CHECKSUM = 12

#: Numbers that mean something in this process alone: all of what a first run holds takes a tenth of a gigabyte.
HeldSet = frozenset[int]


class PlanKind(StrEnum):
    RECONCILE = "reconcile"
    IMPORT = "import"
    UNDO = "undo"
    #: Of what an import did in Okta.
    UNDO_IMPORT = "undo_import"


class PlanDecision(Struct, frozen=True, kw_only=True):
    """What a person says about a stored plan."""

    #: Let what is held pass too.
    approve: bool = False
    #: These actions alone.
    only: frozenset[int] | None = None
    #: At most so many links, creates, reactivations and deactivations.
    count: int | None = None


APPLY = PlanDecision()
_MAKE = {
    PlanKind.RECONCILE: "opshelm-agent reconcile",
    PlanKind.IMPORT: "opshelm-agent import plan --all",
    PlanKind.UNDO: "opshelm-agent runs undo RUN",
    PlanKind.UNDO_IMPORT: "opshelm-agent runs undo RUN",
}
#: What ``plans apply`` and ``plans approve`` carry out.
OPSHELM_S = (PlanKind.RECONCILE, PlanKind.UNDO)


def waiting(conn: Connection, plan: Plan) -> StoredPlan | None:
    """The oldest open plan that waits for exactly the same. Asked before the writer's turn: it reads plans whole."""
    if plan.held is HeldCode.ABSENCE_DISPROVED:
        return None
    waits = plans.open_held(conn, PlanKind.RECONCILE, plan.scope)
    mine = held_set(plan) if waits else None
    if not mine:
        return None
    stored = (plans.get(conn, plan_id, beside=plan) for plan_id in waits)
    return next((one for one in stored if one is not None and held_set(one.plan) == mine), None)


def keep(
    conn: Connection, run_id: int, plan: Plan, same: StoredPlan | None, settings: Settings, now: datetime
) -> tuple[StoredPlan, StoredPlan | None]:
    """Store a reconcile's plan unless an older open one waits for ``same``.

    Answers this run's plan, and the older one whose held set is the same (then the held actions are approved there).
    """
    same = supersede(conn, plan, same, now)
    doable = plan.held is None and any(action.held is None for action in plan.actions)
    if same is not None and not doable:
        return same, same
    status = PlanStatus.HELD if held_any(plan) and same is None else PlanStatus.READY
    if plan.held is HeldCode.ABSENCE_DISPROVED:
        status = PlanStatus.STALE  # the listing was wrong, so is what follows from it
    expires = now + settings.guard.plan_expiry
    return plans.save(conn, run_id=run_id, kind=PlanKind.RECONCILE, plan=plan, expires=expires, status=status), same


def keep_beside(
    conn: Connection, run_id: int, kind: PlanKind, plan: Plan, settings: Settings, now: datetime
) -> StoredPlan:
    """Store a plan of another kind; older ones stay, since each may be about other accounts."""
    plans.expire(conn, now)
    held = plan.holds_back if kind is PlanKind.UNDO else plan.held is not None
    expires, status = now + settings.guard.plan_expiry, PlanStatus.HELD if held else PlanStatus.READY
    return plans.save(conn, run_id=run_id, kind=kind, plan=plan, expires=expires, status=status)


def supersede(conn: Connection, plan: Plan, same: StoredPlan | None, now: datetime) -> StoredPlan | None:
    """End the open plans that this one replaces; answers ``same`` where it still waits, and therefore stays."""
    plans.expire(conn, now)
    if plan.held is HeldCode.ABSENCE_DISPROVED:
        return None
    stays = same if same is not None and plans.is_held(conn, same.id) else None
    plans.replaced(conn, PlanKind.RECONCILE, plan.scope, but=None if stays is None else stays.id)
    return stays


def held_set(plan: Plan) -> HeldSet:
    """What waits for a person: all of a plan that is held, else its held actions."""
    if plan.held is not None:
        return frozenset(hash((plan.held.value, a.identity)) for a in plan.actions if a.state in UNDECIDED)
    return frozenset(
        hash((a.held.value, a.identity)) for a in plan.actions if a.held is not None and a.state in UNDECIDED
    )


def held_any(plan: Plan) -> bool:
    """Something waits for a person."""
    return any(a.state in UNDECIDED and (plan.held is not None or a.held is not None) for a in plan.actions)


def close(conn: Connection, known: StoredPlan) -> StoredPlan:
    """After an apply: what still waits keeps a held plan open. A plan that was rejected meanwhile stays so."""
    stored = plans.again(conn, known)
    if stored.status is PlanStatus.REJECTED:
        plans.reject_held(conn, stored.id)
        return plans.again(conn, stored)
    states = {action.state for action in stored.plan.actions if action.held is None}
    if stored.status is PlanStatus.HELD and held_any(stored.plan):
        status = PlanStatus.HELD
    else:
        status = PlanStatus.STALE if states == {ActionState.STALE} else PlanStatus.APPLIED
    plans.set_status(conn, stored.id, status)
    return replace(stored, status=status)


def end_undo(
    run: CurrentRun, store: Store, stored: StoredPlan, numbers: Collection[int], left: tuple[Outcome, str] | None
) -> RunReport:
    """After an undo's apply: a plan of which something waits stays open, so that the same approval goes on.

    ``numbers``: of the actions that were picked; ``left``: why the rest of them was left.
    """

    def close(conn: Connection) -> StoredPlan:
        known = existing(conn, stored.id)
        states = {action.state for action in known.plan.actions}
        if known.status is not PlanStatus.REJECTED and states.isdisjoint((*UNDECIDED, ActionState.SENT)):
            done = PlanStatus.APPLIED if states - {ActionState.STALE} else PlanStatus.STALE
            plans.set_status(conn, stored.id, done)
        return existing(conn, stored.id)

    ended = store.write(close)
    mine = [action for action in ended.plan.actions if action.n in numbers]
    waits = stored.kind == PlanKind.UNDO and any(action.state in UNDECIDED for action in ended.plan.actions)
    failed = any(action.state is ActionState.FAILED for action in mine)
    outcome = Outcome.PARTIAL if failed else Outcome.HELD if waits else Outcome.APPLIED
    outcome, detail = left or (outcome, "")
    counts = counts_of(mine)
    return RunReport(run_id=run.id, outcome=outcome, detail=detail, counts=counts, plan=ended, held=waits, dry=False)


def existing(conn: Connection, plan_id: int, beside: Plan | None = None) -> StoredPlan:
    stored = plans.get(conn, plan_id, beside)
    if stored is None:
        raise NotFound(f"There is no plan {plan_id}. See: opshelm-agent plans list")
    return stored


def usable(
    store: Store, plan_id: int, kinds: Collection[PlanKind], now: datetime, checksum: str | None = None
) -> StoredPlan:
    """The plan, if it may still be applied or approved. ``checksum``: as a person has typed it."""
    with store.read() as conn:
        stored = existing(conn, plan_id)
        intact = plans.intact(conn, stored)
    again = f"Make a new one: {_MAKE[PlanKind(stored.kind)]}"
    if stored.kind not in kinds:
        how = "import apply" if stored.kind == PlanKind.IMPORT else "plans apply"
        raise UsageError(f"Plan {plan_id} is no run's but of kind {stored.kind}: opshelm-agent {how} {plan_id}")
    if checksum is not None and not is_checksum(checksum, stored.checksum):
        raise UsageError(f"The checksum is not that of plan {plan_id}. Look again: opshelm-agent plans show {plan_id}")
    if stored.plan.format.partition(".")[0] != PLAN_FORMAT.partition(".")[0]:
        raise UsageError(f"Plan {plan_id} was made by another version ({stored.plan.format}). {again}")
    if not intact:
        raise Frozen(f"Plan {plan_id} is not what was stored when it was made. Nothing was changed. {again}")
    if stored.status in OPEN_PLANS and stored.expires <= now:
        store.write(lambda conn: plans.expire(conn, now))
        raise UsageError(f"Plan {plan_id} expired at {when(stored.expires)}. {again}")
    if stored.status not in OPEN_PLANS:
        raise UsageError(f"Plan {plan_id} is {stored.status.value}; a plan is applied once. {again}")
    return stored


def is_checksum(typed: str, whole: str) -> bool:
    """Its first 12 characters say which plan was reviewed as well as all of it."""
    return len(typed) >= SHORT_CHECKSUM and whole.startswith(typed.lower())


def picked(stored: StoredPlan, decision: PlanDecision) -> list[Action]:
    """The actions that a person wants done. Raises HeldBack for what no approval lifts."""
    pending = [a for a in stored.plan.actions if a.state in UNDECIDED]
    if decision.only is not None:
        unknown = decision.only - {a.n for a in pending}
        if unknown:
            raise UsageError(f"Plan {stored.id} has no open action {', '.join(map(str, sorted(unknown)))}")
        named = [a for a in pending if a.n in decision.only]
        final = next((a for a in named if a.held is not None and a.held not in APPROVABLE | ONE_BY_ONE), None)
        if final is not None and final.held is not None:
            raise HeldBack(final.held, f"Action {final.n} can't be approved: {final.held_detail}")
        return named
    if not decision.approve:
        return [a for a in pending if a.held is None]
    found = [a for a in pending if a.held is None or a.held in APPROVABLE]
    if pending and not found and stored.plan.held is None:
        first = pending[0]
        raise HeldBack(
            first.held or HeldCode.LINK_NEEDS_DECISION,
            f"Nothing in plan {stored.id} can be approved as a whole; its actions need a decision each (--action N, or what "
            f"the detail says). Action {first.n}: {first.held_detail}",
        )
    return found


def grant_for(stored: StoredPlan, actions: list[Action], decision: PlanDecision) -> Grant:
    """What the decision lifts. Raises HeldBack where it lifts too little to be worth starting."""
    count = decision.count
    if not decision.approve:
        return Grant(count=count)
    held = stored.plan.held
    if held is not None and held not in APPROVABLE_RUNS:
        raise HeldBack(held, f"Plan {stored.id} can't be approved: {stored.plan.held_detail}")
    if held in NEED_COUNT and count is None:
        raise HeldBack(held or HeldCode.FIRST_RUN, f"Plan {stored.id} needs --count N. {stored.plan.held_detail}")
    lifted = frozenset({held} if held else ())
    if held is HeldCode.FIRST_RUN:
        lifted |= typed(first_run=count).lifted
    elif held is HeldCode.EMPTY_SOURCE:
        lifted |= typed(allow_empty=count).lifted
    approved = frozenset(action.identity for action in actions)
    named = approved if decision.only is not None else frozenset()
    return Grant(lifted=lifted, count=count, approved=approved, named=named)
