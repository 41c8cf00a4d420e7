"""What the guard's rolling windows count: deactivations, and announced ones (allowances). No limits.

Each row of ``deactivations`` carries running totals, so that a window's count is one difference, however long the list.
Times go by the agent's clock, which steps of the machine's don't move (agent.store.steps); where one was not seen, rows of the
next 24 hours stay as they are, and what is written now joins them; later ones are pulled back to now.
"""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Connection, bindparam, delete, func, insert, select, update

from agent.store import account
from agent.store.connect import Fixed, as_structs, micros, remembered
from agent.store.journal import Signature
from agent.store.tables import allowances, deactivations, identity_changes

#: The window that the population and the daily limit look back.
DAY = timedelta(hours=24)
#: The window of pushed bursts.
_HOUR = timedelta(minutes=60) // timedelta(microseconds=1)
_DAY = DAY // timedelta(microseconds=1)

_totals = (deactivations.c.counted, deactivations.c.managed)
_newest = Fixed(select(deactivations.c.at, *_totals).order_by(deactivations.c.id.desc()).limit(1))


def _until(column: Column[Any], moment: str) -> ColumnElement[int]:
    """The running total of the last row up to then; 0 where there was none yet."""
    last = (
        select(column)
        .where(deactivations.c.at <= bindparam(moment))
        .order_by(deactivations.c.at.desc(), deactivations.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return func.coalesce(last, 0)


_windows = Fixed(
    select(
        deactivations.c.at,
        *_totals,
        _until(deactivations.c.counted, "hour"),
        _until(deactivations.c.counted, "day"),
        _until(deactivations.c.managed, "day"),
    )
    .order_by(deactivations.c.id.desc())
    .limit(1)
)
_pull_back = Fixed(update(deactivations).where(deactivations.c.at > bindparam("now")).values(at=bindparam("to")))
_insert = Fixed(
    insert(deactivations)
    .inline()
    .values({name: bindparam(name) for name in ("at", "source", "directory_id", "exempt", "counted", "managed")})
)


#: In a transaction's memory: time and totals of the newest deactivation; the open allowances.
_NEWEST, _ALLOWANCES = "newest deactivation", "allowances"


class Counts(Struct, frozen=True, kw_only=True):
    """``population``: managed active accounts plus managed ones deactivated within the last 24 hours."""

    population: int
    last_hour: int
    last_day: int


def counts(conn: Connection, now: datetime, *, managed_active: int | None = None) -> Counts:
    """All that the limits are computed from. Rows from the future count as happening now."""
    if managed_active is None:
        managed_active = account.get(conn).managed_active
    moment = micros(now)
    found = _windows(conn, hour=moment - _HOUR, day=moment - _DAY).fetchone()
    at, counted, managed, hour_ago, day_ago, managed_day_ago = found or (0,) * 6
    remembered(conn)[_NEWEST] = at, counted, managed
    return Counts(
        population=managed_active + managed - managed_day_ago, last_hour=counted - hour_ago, last_day=counted - day_ago
    )


def record(conn: Connection, *, directory_id: str, source: str, exempt: bool, managed: bool, now: datetime) -> None:
    """One deactivation. Call it in the transaction of the write; exempt ones don't fill the windows."""
    at, here = micros(now), remembered(conn)
    newest = here.get(_NEWEST) or _newest(conn).fetchone() or (0, 0, 0)
    if newest[0] >= at + _DAY:
        _pull_back(conn, now=at, to=at)
    else:
        at = max(at, newest[0])
    counted, managed_too = newest[1] + (not exempt), newest[2] + bool(managed)
    _insert(conn, at=at, source=source, directory_id=directory_id, exempt=exempt, counted=counted, managed=managed_too)
    here[_NEWEST] = at, counted, managed_too


def newest_id(conn: Connection) -> int | None:
    """The row that ``record`` has just written, in the same transaction."""
    return conn.execute(select(func.max(deactivations.c.id))).scalar()


def give_back(conn: Connection, row_id: int) -> None:
    """The deactivation turned out not to be done: it counts nowhere any more. Call it with the account row locked."""
    remembered(conn).pop(_NEWEST, None)
    row = conn.execute(select(deactivations).where(deactivations.c.id == row_id)).first()
    if row is None:
        return
    before = conn.execute(
        select(*_totals).where(deactivations.c.id < row_id).order_by(deactivations.c.id.desc()).limit(1)
    ).first() or (0, 0)
    counted, managed = row.counted - before[0], row.managed - before[1]
    conn.execute(
        update(deactivations)
        .where(deactivations.c.id >= row_id)
        .values(counted=deactivations.c.counted - counted, managed=deactivations.c.managed - managed)
    )
    conn.execute(delete(deactivations).where(deactivations.c.id == row_id))


def forget(conn: Connection, before: datetime) -> None:
    """Drop what no window reaches and what was announced for before; of deactivations all but the newest: the totals go on from it."""
    newest = select(deactivations.c.id).order_by(deactivations.c.id.desc()).limit(1).scalar_subquery()
    last_before = (
        select(deactivations.c.id)
        .where(deactivations.c.at <= before)
        .order_by(deactivations.c.at.desc(), deactivations.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    conn.execute(delete(deactivations).where(deactivations.c.id < last_before, deactivations.c.id < newest))
    conn.execute(delete(identity_changes).where(identity_changes.c.at < before))
    conn.execute(delete(allowances).where(allowances.c.expires < before))


def identity_change(conn: Connection, directory_id: str, now: datetime) -> None:
    """One pushed change of userName or primary e-mail."""
    conn.execute(insert(identity_changes).values(at=now, directory_id=directory_id))


def identity_changes_in_day(conn: Connection, now: datetime, at_most: int) -> int:
    """How many there were in 24 hours; counts no further than ``at_most``."""
    recent = select(identity_changes.c.id).where(identity_changes.c.at > now - DAY).limit(at_most).subquery()
    return conn.execute(select(func.count()).select_from(recent)).scalar_one()


# Allowances


class Allowance(Struct, frozen=True, kw_only=True):
    """An announced number of deactivations; ``directory_id`` None: of anybody."""

    id: int
    directory_id: str | None
    count: int
    used: int
    created: datetime
    expires: datetime
    actor: str
    reason: str


_open_allowances = Fixed(
    select(allowances.c.directory_id, allowances.c.expires, allowances.c.id).where(
        allowances.c.expires > bindparam("now"), allowances.c.used < allowances.c.count
    )
)
_use = Fixed(update(allowances).where(allowances.c.id == bindparam("key")).values(used=allowances.c.used + 1))


def allow(conn: Connection, by: Signature, *, count: int, until: datetime, directory_id: str | None = None) -> int:
    """Announce deactivations; answers the allowance's id."""
    remembered(conn).pop(_ALLOWANCES, None)
    values = {"count": count, "expires": until, "actor": by.actor, "reason": by.reason, "created": by.at}
    made = conn.execute(insert(allowances).values(directory_id=directory_id, **values).returning(allowances.c.id))
    return int(made.scalar_one())


def _allowance(conn: Connection, directory_id: str, now: datetime) -> int | None:
    """The person's own first, then the one that ends first."""
    at, here = micros(now), remembered(conn)
    if _ALLOWANCES not in here:
        here[_ALLOWANCES] = _open_allowances(conn, now=at).fetchall()
    # There are a handful at most; sorting here is cheaper than asking the database to be ready for it.
    usable = [
        (row[0] is None, row[1], row[2]) for row in here[_ALLOWANCES] if row[0] in (None, directory_id) and row[1] > at
    ]
    return min(usable)[2] if usable else None


def allowed(conn: Connection, directory_id: str, now: datetime) -> bool:
    return _allowance(conn, directory_id, now) is not None


def use_allowance(conn: Connection, directory_id: str, now: datetime) -> bool:
    """Take one from an open allowance, if there is any."""
    found = _allowance(conn, directory_id, now)
    if found is None:
        return False
    _use(conn, key=found)
    remembered(conn).pop(_ALLOWANCES, None)
    return True


def open_allowances(conn: Connection, now: datetime) -> list[Allowance]:
    live = allowances.c.expires > now
    found = select(allowances).where(live, allowances.c.used < allowances.c.count)
    return as_structs(conn, Allowance, found.order_by(allowances.c.id))
