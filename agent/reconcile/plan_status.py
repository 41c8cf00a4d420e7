"""Which stored plan somebody waits in, why, and what ends it: for explain. Reads the store; decides and changes nothing."""

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct

from agent.model.codes import ActionState, PlanStatus
from agent.model.guard import APPROVABLE, APPROVABLE_RUNS, BOUNDED, NEED_COUNT, ONE_BY_ONE
from agent.model.plan import Action
from agent.runs.stored_plans import Kind
from agent.store import plans
from agent.store.engine import Connection
from agent.store.plans import StoredPlan

#: Further back nothing waits any more.
_NEWEST = 50
_OVER = (PlanStatus.REJECTED, PlanStatus.EXPIRED)


class Told(Struct, frozen=True, kw_only=True):
    #: False: the plan is at its end, so that nothing of it can be approved.
    waits: bool
    detail: str


def look(conn: Connection, people: Collection[str], now: datetime) -> Told | None:
    """The plan that is open comes before newer ones: a run that holds the same again leaves the old one to be approved."""
    found = plans.about(conn, people, _NEWEST)
    for stored in found:
        held = _held(stored, stored.plan.actions)
        if held and stored.status is PlanStatus.HELD and stored.expires > now:
            return Told(waits=True, detail=_open(conn, stored, held))
    for stored in found:
        held = _held(stored, stored.plan.actions)
        if held and (stored.status in _OVER or stored.status is PlanStatus.HELD):
            return Told(waits=False, detail=_over(stored, held))
        if any(action.state is ActionState.DONE for action in stored.plan.actions):
            return None
    return None


def _held(stored: StoredPlan, actions: Collection[Action]) -> list[Action]:
    waiting = (ActionState.PENDING, ActionState.HELD, ActionState.REJECTED)
    whole = stored.plan.held is not None
    return [a for a in actions if a.state in waiting and (whole or a.held is not None)]


def _open(conn: Connection, stored: StoredPlan, held: list[Action]) -> str:
    why = f"{_name(stored)} waits for a person ({_why(stored, held)}) until {stored.expires:%Y-%m-%d %H:%M} UTC."
    approve = f"opshelm-agent plans approve {stored.id} --checksum {stored.checksum}"
    if stored.kind != Kind.RECONCILE:
        return f"{why} See: opshelm-agent plans show {stored.id}"
    if stored.plan.held is not None:
        if stored.plan.held not in APPROVABLE_RUNS:
            return f"{why} No approval lifts that."
        count = f" --count {_bounded(conn, stored)}" if stored.plan.held in NEED_COUNT else ""
        return f"{why} Approve it, for all who wait in it: {approve}{count}"
    liftable = [a for a in held if a.held in APPROVABLE | ONE_BY_ONE]
    if not liftable:
        return f"{why} No approval lifts that."
    return f"{why} Approve it for this person: {approve}{''.join(f' --action {a.n}' for a in liftable)}"


def _over(stored: StoredPlan, held: list[Action]) -> str:
    again = "A later run that wants the same makes a new plan: opshelm-agent reconcile"
    if stored.status is PlanStatus.REJECTED:
        said = (stored.decision or "").removeprefix("reject: ")
        at = f" at {stored.decided_at:%Y-%m-%d %H:%M} UTC" if stored.decided_at else ""
        return f"{_name(stored)}, which held this, was rejected by {stored.decided_by}{at} ({said}). {again}"
    return (
        f"{_name(stored)} held this ({_why(stored, held)}) and expired at {stored.expires:%Y-%m-%d %H:%M} UTC, "
        f"approved by nobody. {again}"
    )


def _name(stored: StoredPlan) -> str:
    return f"plan {stored.id}" if stored.kind == Kind.RECONCILE else f"{stored.kind} plan {stored.id}"


def _why(stored: StoredPlan, held: list[Action]) -> str:
    code, detail = (
        (stored.plan.held, stored.plan.held_detail) if stored.plan.held else (held[0].held, held[0].held_detail)
    )
    return f"{code}: {detail}" if code and detail else str(code or "held")


def _bounded(conn: Connection, stored: StoredPlan) -> int:
    whole = plans.get(conn, stored.id)
    return sum(action.kind in BOUNDED for action in whole.plan.actions) if whole else 0
