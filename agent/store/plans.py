"""Plans as they were made, and what became of each action. Judging and applying are the reconciler's.

An action goes pending → sent → done, or stale / failed / held / rejected. ``sent`` is written before a change is made
outside this database; a restart reads back what is still ``sent`` before it does anything.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, and_, bindparam, case, delete, exists, false, func, insert, or_, select, update

from agent.model.codes import ActionKind, ActionState, HeldCode, PlanStatus
from agent.model.errors import StoreError
from agent.model.holds import ChangeKind, broad_kind
from agent.model.plan import Action, Finding, Plan
from agent.model.structs import decoder
from agent.store import runs
from agent.store.attention import batched
from agent.store.connect import Fixed, as_struct, as_structs, equal, micros
from agent.store.tables import FAILED, SENT, actions, lease, plans

_decode_action = decoder(Action)
_encode = msgspec.json.Encoder().encode
_mark = Fixed(
    update(actions)
    .where(actions.c.plan_id == bindparam("key_plan"), actions.c.n.between(bindparam("first"), bindparam("last")))
    .values({name: bindparam(name) for name in ("state", "error", "sent_at", "done_at")})
)
_INSERTED = ("plan_id", "n", "kind", "state", "held", "login", "directory_id", "okta_id", "body", "error")
_insert = Fixed(insert(actions).inline().values({name: bindparam(name) for name in _INSERTED}))
#: Rows made or read at once, so that a long plan takes no more memory than it has.
_ROWS = 1000
_status = Fixed(select(plans.c.status).where(plans.c.id == bindparam("plan")))
_OPEN = (PlanStatus.READY.value, PlanStatus.HELD.value)
_ENDED = (ActionState.DONE, ActionState.STALE, ActionState.FAILED, ActionState.REJECTED)


class PlanFate(Struct, frozen=True, kw_only=True):
    """What a plan became, without what is in it."""

    id: int
    run_id: int
    #: reconcile or import.
    kind: str
    status: PlanStatus
    #: Over what was planned, as it was made; it never changes with the states.
    checksum: str
    expires: datetime
    decided_at: datetime | None = None
    decided_by: str | None = None
    #: What was decided: approve, reject and why.
    decision: str | None = None


class StoredPlan(PlanFate, frozen=True, kw_only=True):
    """A plan with its id and fate. The plan's actions carry their present state and error."""

    plan: Plan
    #: Numbers of the actions that a person approved one by one.
    approved: frozenset[int] = frozenset()


class SentAction(Struct, frozen=True, kw_only=True):
    """An action whose outcome nobody recorded: the process died between sending and knowing."""

    plan_id: int
    action: Action
    sent_at: datetime | None


def save(
    conn: Connection, *, run_id: int, kind: str, plan: Plan, expires: datetime, status: PlanStatus = PlanStatus.READY
) -> StoredPlan:
    """Store a plan, all of it, before anything happens."""
    checksum = plan.checksum
    values = {
        "run_id": run_id,
        "kind": kind,
        "status": status.value,
        "checksum": checksum,
        "format": plan.format,
        "held": None if plan.held is None else plan.held.value,
        "held_detail": plan.held_detail,
        "population": plan.population,
        "source_size": plan.source_size,
        "scope": _scope(plan.scope),
        "created": plan.created,
        "expires": expires,
    }
    plan_id = int(conn.execute(insert(plans).values(**values).returning(plans.c.id)).scalar_one())
    for start in range(0, len(plan.actions), _ROWS):
        _insert.together(conn, [_row(plan_id, action) for action in plan.actions[start : start + _ROWS]])
    if plan.findings:
        runs.add_findings(conn, run_id, plan.findings)
    return StoredPlan(
        id=plan_id, run_id=run_id, kind=kind, status=status, checksum=checksum, expires=expires, plan=plan
    )


def get(conn: Connection, plan_id: int, beside: Plan | None = None) -> StoredPlan | None:
    """``beside``: another plan that is there meanwhile; what both want of somebody is kept but once."""
    row = conn.execute(select(plans).where(plans.c.id == plan_id)).first()
    return None if row is None else _read(conn, row, beside)


def again(conn: Connection, known: StoredPlan) -> StoredPlan:
    """The same plan, and what has become of it since. What was planned never changes, and is not read again.

    StoreError where rows of it are gone: of such an action nobody may say that it was done.
    """
    c = actions.c
    row = conn.execute(select(plans).where(plans.c.id == known.id)).one()
    if conn.scalar(select(func.count()).where(c.plan_id == known.id)) != len(known.plan.actions):
        raise StoreError(f"Actions of plan {known.id} are gone from the database; what became of them is not known.")
    done = and_(c.state == ActionState.DONE.value, c.held.is_(None), c.error == "", c.approved == false())
    # Nearly all of a plan that was applied are simply done.
    rest = select(c.n, c.state, c.held, c.error, c.approved).where(c.plan_id == known.id, ~done)
    states = {action.n: action for action in conn.execute(rest)}
    actions_now = (
        _now(action, states[action.n])
        if action.n in states
        else replace(action, state=ActionState.DONE, error="", held=None)
        for action in known.plan.actions
    )
    plan = replace(known.plan, actions=tuple(actions_now))
    return as_struct(StoredPlan, row, plan=plan, approved=[n for n, action in states.items() if action.approved])


def intact(conn: Connection, stored: StoredPlan) -> bool:
    """What was planned is what the checksum was made of: nobody has changed a row since."""
    mine = select(actions.c.body).where(actions.c.plan_id == stored.id).order_by(actions.c.n)
    bodies = conn.scalars(mine.execution_options(yield_per=_ROWS))
    return stored.plan.checksum_of(map(_decode_action, bodies)) == stored.checksum


def recent(conn: Connection, limit: int, *, kind: str | None = None) -> list[StoredPlan]:
    """Those that want something or wait for somebody, newest first: most runs find that there is nothing to do."""
    anything = or_(plans.c.held.is_not(None), exists().where(actions.c.plan_id == plans.c.id))
    wanted = (anything, *equal(plans, kind=kind))
    rows = conn.execute(select(plans).where(*wanted).order_by(plans.c.id.desc()).limit(limit)).all()
    return [_read(conn, row) for row in rows]


def of_run(conn: Connection, run_id: int) -> list[StoredPlan]:
    rows = conn.execute(select(plans).where(plans.c.run_id == run_id).order_by(plans.c.id)).all()
    return [_read(conn, row) for row in rows]


def open_held(conn: Connection, kind: str, scope: Sequence[str]) -> list[int]:
    """Ids of plans of that kind and scope that wait for a person, oldest first; expired ones too, until expire says so."""
    mine = (plans.c.status == PlanStatus.HELD.value, plans.c.kind == kind, plans.c.scope == _scope(scope))
    return list(conn.execute(select(plans.c.id).where(*mine).order_by(plans.c.id)).scalars())


def is_held(conn: Connection, plan_id: int) -> bool:
    held = (plans.c.id == plan_id, plans.c.status == PlanStatus.HELD.value)
    return conn.execute(select(plans.c.id).where(*held)).first() is not None


def expire(conn: Connection, now: datetime) -> None:
    over = (plans.c.status.in_(_OPEN), plans.c.expires <= now)
    conn.execute(update(plans).where(*over).values(status=PlanStatus.EXPIRED.value))


def replaced(conn: Connection, kind: str, scope: Sequence[str], *, but: int | None) -> None:
    """A newer plan of that kind and scope is there: those that wait end, and so do others that nobody has decided on.

    What had ended before goes: one generation stays, so that who has just looked at it is told what became of it. While
    somebody holds the lease only those that wait end, since any other may be what is carried out.
    """
    alike = (plans.c.kind == kind, plans.c.scope == _scope(scope), plans.c.id != (but or 0))
    statuses = [PlanStatus.HELD.value]
    if conn.execute(select(lease.c.name).where(lease.c.holder.is_not(None)).limit(1)).first() is None:
        begun = exists().where(
            actions.c.plan_id == plans.c.id,
            actions.c.state.not_in((ActionState.PENDING.value, ActionState.HELD.value, ActionState.STALE.value)),
        )
        ended = plans.c.status.in_((PlanStatus.STALE.value, PlanStatus.EXPIRED.value))
        conn.execute(delete(plans).where(*alike, ended, plans.c.decided_at.is_(None), ~begun))
        statuses.append(PlanStatus.READY.value)
    # One that a person let go is ready until it is carried out.
    undecided = or_(plans.c.status == PlanStatus.HELD.value, plans.c.decided_at.is_(None))
    older = (*alike, plans.c.status.in_(statuses), undecided)
    conn.execute(update(plans).where(*older).values(status=PlanStatus.STALE.value))


def open_decided(conn: Connection, decision: str, *, since: datetime) -> list[StoredPlan]:
    """Plans of which a person said this since then, and which are not at their end, oldest decision first."""
    wanted = (
        plans.c.status.in_(_OPEN),
        plans.c.decision == decision,
        plans.c.decided_at >= since,
        plans.c.kind == "reconcile",
    )
    rows = conn.execute(select(plans).where(*wanted).order_by(plans.c.decided_at, plans.c.id)).all()
    return [_read(conn, row) for row in rows]


def about(conn: Connection, people: Collection[str], limit: int) -> list[StoredPlan]:
    """The newest plans with an action for one of these people, by Okta id, directory id or login; with those alone."""
    mine = or_(*(actions.c[name].in_(people) for name in ("okta_id", "directory_id", "login")))
    ids = select(actions.c.plan_id).where(mine).distinct().order_by(actions.c.plan_id.desc()).limit(limit)
    theirs: dict[int, list[Any]] = {plan_id: [] for plan_id in conn.execute(ids).scalars()}
    concerned = actions.c.plan_id.in_(theirs)
    for action in conn.execute(select(actions).where(mine, concerned).order_by(actions.c.n)):
        theirs[action.plan_id].append(action)
    rows = conn.execute(select(plans).where(plans.c.id.in_(theirs)).order_by(plans.c.id.desc()))
    return [_whole(row, theirs[row.id], ()) for row in rows]


def is_rejected(conn: Connection, plan_id: int) -> bool:
    row = _status(conn, plan=plan_id).fetchone()
    return row is not None and row[0] == PlanStatus.REJECTED.value


def called_off(conn: Connection, plan_id: int, ns: Sequence[int], now: datetime, *, paused: bool) -> bool:
    """Whether somebody has rejected the plan, or paused, since its apply began; then these actions are not under way any more.

    Belongs into the transaction that would do them, with the account row locked: a rejection can't pass a write.
    """
    if is_rejected(conn, plan_id):
        mark(conn, plan_id, ns, ActionState.REJECTED, now)
        return True
    if paused:
        mark(conn, plan_id, ns, ActionState.PENDING, now)
    return paused


def set_status(conn: Connection, plan_id: int, status: PlanStatus) -> None:
    conn.execute(update(plans).where(plans.c.id == plan_id).values(status=status.value))


def decide(
    conn: Connection, plan_id: int, *, actor: str, decision: str, now: datetime, approve: Iterable[int] | None = None
) -> None:
    """Keep who decided what; ``approve`` names the actions (None: as the decision says, none marked)."""
    values = {"decided_at": now, "decided_by": actor, "decision": decision}
    conn.execute(update(plans).where(plans.c.id == plan_id).values(**values))
    # A first run's are more than one statement takes.
    for numbers in batched([] if approve is None else list(approve)):
        mine = (actions.c.plan_id == plan_id, actions.c.n.in_(numbers))
        conn.execute(update(actions).where(*mine).values(approved=True))


def mark(
    conn: Connection, plan_id: int, ns: Sequence[int], state: ActionState, now: datetime, *, error: str = ""
) -> None:
    """Set the state of these actions; ``sent`` and the ends are stamped."""
    at = micros(now)
    times = {"sent_at": at if state is ActionState.SENT else None, "done_at": at if state in _ENDED else None}
    values = {"key_plan": plan_id, "state": state.value, "error": error, **times}
    for first, last in _stretches(ns):
        _mark(conn, first=first, last=last, **values)


def _stretches(ns: Iterable[int]) -> list[tuple[int, int]]:
    """First and last of each row of numbers without a gap."""
    found: list[tuple[int, int]] = []
    for n in sorted(ns):
        if found and n == found[-1][1] + 1:
            found[-1] = found[-1][0], n
        else:
            found.append((n, n))
    return found


def mark_each(conn: Connection, plan_id: int, outcomes: Iterable[tuple[int, ActionState, str]], now: datetime) -> None:
    """``mark`` for many with an outcome and error each."""
    alike: dict[tuple[ActionState, str], list[int]] = {}
    for n, state, error in outcomes:
        alike.setdefault((state, error), []).append(n)
    for (state, error), ns in alike.items():
        mark(conn, plan_id, ns, state, now, error=error)


def hold(conn: Connection, plan_id: int, n: int, held: HeldCode, error: str) -> None:
    """An action that a rule refused while applying waits for a person from now on."""
    mine = (actions.c.plan_id == plan_id, actions.c.n == n)
    conn.execute(update(actions).where(*mine).values(state=ActionState.HELD.value, held=held.value, error=error))


def reject_held(conn: Connection, plan_id: int) -> None:
    """Of a plan that was rejected while it was applied: what the register then refused waits for nobody."""
    mine = (actions.c.plan_id == plan_id, actions.c.state == ActionState.HELD.value)
    conn.execute(update(actions).where(*mine).values(state=ActionState.REJECTED.value))


def sent_actions(conn: Connection) -> list[SentAction]:
    """What a process that died has left: read it back before anything else is done."""
    rows = conn.execute(select(actions).where(SENT).order_by(actions.c.plan_id, actions.c.n))
    return [SentAction(plan_id=row.plan_id, action=_action(row), sent_at=row.sent_at) for row in rows]


class Failing(Struct, frozen=True, kw_only=True):
    """Whose actions of a kind failed lately, and how often in a row."""

    #: As agent.model.plan.Action.person.
    person: str
    kind: ChangeKind
    times: int
    last: datetime
    error: str


def failed_people(conn: Connection, start: datetime) -> list[Failing]:
    """Of those that were tried since ``start``: people whose last action of a kind failed."""
    c = actions.c
    tried = select(c.okta_id, c.directory_id, c.login, c.kind, c.done_at, c.error).where(c.done_at >= start)
    failed = tried.where(FAILED).order_by(c.done_at)
    found: dict[tuple[str, ChangeKind], Failing] = {}
    for row in conn.execute(failed):
        key = person, kind = row.okta_id or row.directory_id or row.login, broad_kind(ActionKind(row.kind))
        times = 1 + (found[key].times if key in found else 0)
        found[key] = Failing(person=person, kind=kind, times=times, last=row.done_at, error=row.error)
    if not found:
        return []
    people = {person for person, _ in found}
    mine = c.okta_id.in_(people) | c.directory_id.in_(people) | c.login.in_(people)
    for row in conn.execute(tried.where(c.state == ActionState.DONE.value, mine)):
        key = row.okta_id or row.directory_id or row.login, broad_kind(ActionKind(row.kind))
        if key in found and row.done_at > found[key].last:
            del found[key]
    return list(found.values())


def forget(conn: Connection, before: datetime) -> int:
    """Delete plans made before that wait for nobody."""
    old = delete(plans).where(plans.c.created < before, plans.c.status.not_in(_OPEN))
    return conn.execute(old).rowcount


#: What went wrong first, then what waits; deactivations before the rest.
_states = [ActionState.FAILED, ActionState.SENT, ActionState.HELD, ActionState.STALE]
_by_state = case({state.value: n for n, state in enumerate(_states)}, value=actions.c.state, else_=len(_states))
_by_kind = case({ActionKind.DEACTIVATE.value: 0}, value=actions.c.kind, else_=1)


def people_of(conn: Connection, plan_id: int, limit: int | None) -> list[Action]:
    """A plan's actions, those first that somebody has to look at."""
    mine = select(actions).where(actions.c.plan_id == plan_id)
    return [_action(row) for row in conn.execute(mine.order_by(_by_state, _by_kind, actions.c.n).limit(limit))]


class ActionFilter(Struct, frozen=True, kw_only=True):
    kind: ActionKind | None = None
    state: ActionState | None = None
    #: A part of the login.
    login: str = ""


def page_of(
    conn: Connection, plan_id: int, wanted: ActionFilter, *, offset: int, limit: int
) -> tuple[int, list[Action]]:
    """How many actions fit, and some of them as a person reviews them: deactivations first, then kind by kind."""
    fits = equal(actions, plan_id=plan_id, kind=wanted.kind, state=wanted.state)
    if wanted.login:
        fits.append(func.lower(actions.c.login).contains(wanted.login.lower(), autoescape=True))
    count = conn.execute(select(func.count()).where(*fits)).scalar_one()
    ordered = select(actions).where(*fits).order_by(_by_kind, actions.c.kind, actions.c.n)
    return count, [_action(row) for row in conn.execute(ordered.offset(offset).limit(limit))]


class Tally(Struct, frozen=True, kw_only=True):
    """How many actions of a plan are of one kind, in one state, and held for one reason."""

    kind: ActionKind
    state: ActionState
    held: HeldCode | None
    count: int


def tally(conn: Connection, plan_id: int) -> list[Tally]:
    c = actions.c
    same = (c.kind, c.state, c.held)
    found = select(*same, func.count().label("count")).where(c.plan_id == plan_id).group_by(*same)
    return as_structs(conn, Tally, found)


def _scope(scope: Sequence[str]) -> str:
    return _encode(list(scope)).decode()


def _row(plan_id: int, action: Action) -> dict[str, Any]:
    return {
        "plan_id": plan_id,
        "n": action.n,
        "kind": action.kind.value,
        "state": action.state.value,
        "held": None if action.held is None else action.held.value,
        "login": action.login,
        "directory_id": action.directory_id,
        "okta_id": action.okta_id,
        "body": _encode(action).decode(),
        "error": action.error,
    }


def _action(row: Any) -> Action:
    return _now(_decode_action(row.body), row)


def _now(action: Action, row: Any) -> Action:
    held = None if row.held is None else HeldCode(row.held)
    return replace(action, state=ActionState(row.state), error=row.error, held=held)


def _read(conn: Connection, row: Any, beside: Plan | None = None) -> StoredPlan:
    mine = select(actions).where(actions.c.plan_id == row.id).order_by(actions.c.n).execution_options(yield_per=_ROWS)
    return _whole(row, conn.execute(mine), runs.findings_of(conn, row.run_id), beside)


def _whole(row: Any, mine: Iterable[Any], findings: tuple[Finding, ...], beside: Plan | None = None) -> StoredPlan:
    same = {} if beside is None else {(one.kind, one.person): one.changes for one in beside.actions}
    whole, approved = [], set()
    for action in mine:
        one = _action(action)
        changes = same.get((one.kind, one.person))
        whole.append(replace(one, changes=changes) if changes == one.changes else one)
        if action.approved:
            approved.add(action.n)
    plan = as_struct(Plan, row, actions=whole, findings=findings, scope=msgspec.json.decode(row.scope))
    return as_struct(StoredPlan, row, plan=plan, approved=approved)
