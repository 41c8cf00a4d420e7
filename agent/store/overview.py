"""Counts over runs, plans and actions, for whoever shows how things stand. No plan is loaded whole: one may have a million actions."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, case, exists, func, or_, select

from agent.model.codes import SAID_NO, ActionKind, ActionState, HeldCode, PlanStatus
from agent.store import runs
from agent.store.connect import as_structs, equal
from agent.store.plans import PlanFate
from agent.store.tables import UtcTime, actions, plans
from agent.store.tables import runs as runs_table

#: Outcomes of a sweep that has seen everybody and made a plan.
_WHOLE = ("held", "partial", "applied", "drift", "in_step", "paused", "rejected", "stopped")
#: Of actions that are still to be done.
OPEN = (ActionState.PENDING, ActionState.HELD, ActionState.SENT, ActionState.FAILED)


class Header(PlanFate, frozen=True, kw_only=True):
    """A plan without its actions."""

    held: HeldCode | None
    held_detail: str
    #: Whom the guard's percentages are of.
    population: int
    created: datetime
    actions: int
    deactivations: int


def held_plans(conn: Connection) -> list[Header]:
    """Plans that wait for a person, oldest first. One that has nothing left but what an operator has said no to waits for nobody;
    a listing that is held as a whole does, whoever is in it: until somebody approves it each sweep is held.
    """
    c = actions.c
    undecided = or_(c.held.is_(None), c.held.not_in([code.value for code in SAID_NO]))
    waits = exists().where(c.plan_id == plans.c.id, c.state.in_([state.value for state in OPEN]), undecided)
    mine = (plans.c.status == PlanStatus.HELD.value, or_(plans.c.held.is_not(None), waits))
    ids = conn.scalars(select(plans.c.id).where(*mine)).all()
    return list(reversed(headers(conn, ids=ids))) if ids else []


def headers(
    conn: Connection,
    *,
    statuses: Sequence[PlanStatus] = (),
    ids: Sequence[int] = (),
    run_id: int | None = None,
    before: int | None = None,
    limit: int | None = None,
) -> list[Header]:
    """Plans that want something or wait, newest first; of these statuses, these ids, this run, older than ``before``."""
    mine = actions.c.plan_id == plans.c.id
    count = select(func.count()).where(mine).scalar_subquery()
    leaves = select(func.count()).where(mine, actions.c.kind == ActionKind.DEACTIVATE.value).scalar_subquery()
    wanted = [or_(plans.c.held.is_not(None), exists().where(mine)), *equal(plans, run_id=run_id)]
    if statuses:
        wanted.append(plans.c.status.in_([status.value for status in statuses]))
    if ids:
        wanted.append(plans.c.id.in_(ids))
    if before is not None:
        wanted.append(plans.c.id < before)
    found = select(plans, count.label("actions"), leaves.label("deactivations")).where(*wanted)
    return as_structs(conn, Header, found.order_by(plans.c.id.desc()).limit(limit))


def last_run(conn: Connection, kind: str, outcomes: Sequence[str]) -> runs.Run | None:
    """The newest run of this kind that ended in one of these ways."""
    wanted = (runs_table.c.kind == kind, runs_table.c.outcome.in_(outcomes))
    newest = conn.execute(select(func.max(runs_table.c.id)).where(*wanted)).scalar()
    return None if newest is None else runs.get(conn, newest)


def last_sweep(conn: Connection) -> runs.Run | None:
    """The newest one that has seen everybody."""
    return last_run(conn, "sweep", _WHOLE)


def of_run_or_held(run_id: int | None) -> ColumnElement[bool]:
    """Plans of that run, and those that wait for a person."""
    held = plans.c.status == PlanStatus.HELD.value
    return held if run_id is None else or_(held, plans.c.run_id == run_id)


def left_to_do(conn: Connection, run_id: int | None) -> dict[ActionKind, set[str]]:
    """Who is still to be changed, by kind: by that run's plan, or by one that waits for a person. Nobody counts twice, and
    nobody for what an operator blocks.
    """
    c = actions.c
    not_blocked = or_(c.held.is_(None), c.held != HeldCode.BLOCKED.value)
    rows = conn.execute(
        select(c.kind, c.okta_id, c.directory_id, c.login)
        .join_from(actions, plans, c.plan_id == plans.c.id)
        .where(of_run_or_held(run_id), c.state.in_([state.value for state in OPEN]), not_blocked)
    )
    found: dict[ActionKind, set[str]] = {}
    for kind, okta_id, directory_id, login in rows:
        found.setdefault(ActionKind(kind), set()).add(directory_id or okta_id or login)
    return found


class UnderWay(Struct, frozen=True, kw_only=True):
    """A run that applies at this moment."""

    run_id: int
    kind: str
    #: Actions that it has carried out.
    done: int
    #: Sent to OpsHelm or Okta, not answered yet.
    sent: int


def under_way(conn: Connection) -> UnderWay | None:
    """The run that applies now. One that died counts until the next one has ended its row."""
    run = next((run for run in reversed(runs.unfinished(conn)) if not run.dry), None)
    if run is None:
        return None
    done, sent = conn.execute(
        select(
            func.count(case((actions.c.done_at >= run.started, 1))),
            func.count(case((actions.c.sent_at >= run.started, 1))),
        ).where(or_(actions.c.state == ActionState.DONE.value, actions.c.state == ActionState.SENT.value))
    ).one()
    return UnderWay(run_id=run.id, kind=run.kind, done=done, sent=sent)


def slowest_action(conn: Connection, run_id: int) -> timedelta | None:
    """From the making of that run's plan to its last finished action."""
    last = func.max(actions.c.done_at, type_=UtcTime())
    row = conn.execute(
        select(plans.c.created, last)
        .join_from(plans, actions, actions.c.plan_id == plans.c.id)
        .where(plans.c.run_id == run_id, actions.c.state == ActionState.DONE.value)
        .group_by(plans.c.created)
    ).first()
    return None if row is None or row[1] is None else row[1] - row[0]
