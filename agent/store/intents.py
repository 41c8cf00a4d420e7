"""Calls to a remote OpsHelm that change it: written before the call, ended once its outcome is known. No rules, no calls.

An open intent counts as done, for owners and for the guard's windows. Ended ones are kept for a day: whoever read the
remote before one was done still has to hear of it.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, func, insert, literal_column, or_, select, update

from agent.store.connect import Fixed, as_structs, micros, read
from agent.store.tables import intents as table

OPEN, DONE, UNDONE = "open", "done", "undone"
_KEPT = timedelta(days=1)


class NewIntent(Struct, frozen=True, kw_only=True):
    """What is known before the call."""

    at: datetime
    #: The process that calls.
    holder: str
    directory_id: str | None
    okta_id: str | None
    user_name_key: str
    #: The row of the guard's windows that counts a deactivation.
    window_id: int | None
    #: The call takes an active owner away.
    ends_owner: bool
    #: The caller's own words of what it does, to be read back after a crash.
    body: str


class Intent(NewIntent, frozen=True, kw_only=True):
    """A row: ``state`` is one of OPEN, DONE, UNDONE."""

    id: int
    state: str
    ended: datetime | None


_columns = [table.c[name] for name in Intent.__struct_fields__]
_begin = Fixed(
    insert(table)
    .values({name: bindparam(name) for name in (*NewIntent.__struct_fields__, "state")})
    .returning(table.c.id)
)
_get = Fixed(select(*_columns).where(table.c.id == bindparam("key")))
_state = Fixed(select(table.c.state).where(table.c.id == bindparam("key")))
_end = Fixed(
    update(table)
    .where(table.c.id == bindparam("key"))
    .values(
        state=bindparam("to"),
        ended=bindparam("at"),
        window_id=bindparam("window"),
        directory_id=func.coalesce(bindparam("account"), table.c.directory_id),
    )
)
_open_for = Fixed(
    select(*_columns).where(table.c.directory_id == bindparam("account"), table.c.state == OPEN).order_by(table.c.id)
)
_open_ids = Fixed(
    select(table.c.directory_id).where(table.c.state == literal_column(f"'{OPEN}'"), table.c.directory_id.is_not(None))
)


def _read(row: Any) -> Intent:
    return read(Intent, row, times=("at", "ended"), ends_owner=bool)


def begin(conn: Connection, new: NewIntent) -> int:
    """Its number, from now on open."""
    made = _begin(conn, **{**msgspec.structs.asdict(new), "at": micros(new.at)}, state=OPEN)
    return int(made.fetchone()[0])


def get(conn: Connection, intent_id: int) -> Intent | None:
    row = _get(conn, key=intent_id).fetchone()
    return None if row is None else _read(row)


def is_open(conn: Connection, intent_id: int) -> bool:
    row = _state(conn, key=intent_id).fetchone()
    return row is not None and row[0] == OPEN


def end(
    conn: Connection,
    intent_id: int,
    state: str,
    now: datetime,
    *,
    directory_id: str | None = None,
    window_id: int | None = None,
) -> None:
    """``window_id`` is the row that still counts for it."""
    _end(conn, key=intent_id, to=state, at=micros(now), window=window_id, account=directory_id)


def open_on(conn: Connection, directory_id: str) -> list[Intent]:
    return [_read(row) for row in _open_for(conn, account=directory_id).fetchall()]


def open_intents(conn: Connection) -> list[Intent]:
    return as_structs(conn, Intent, select(table).where(table.c.state == OPEN).order_by(table.c.id))


def open_creates(conn: Connection, *, okta_id: str | None, user_name_key: str) -> list[Intent]:
    """Open intents on an account still to be made for this person."""
    mine = [table.c.user_name_key == user_name_key]
    if okta_id is not None:
        mine.append(table.c.okta_id == okta_id)
    unmade = (table.c.state == OPEN, table.c.directory_id.is_(None), or_(*mine))
    return as_structs(conn, Intent, select(table).where(*unmade).order_by(table.c.id))


def open_ids(conn: Connection) -> set[str]:
    return {row[0] for row in _open_ids(conn).fetchall()}


def forget(conn: Connection, now: datetime) -> None:
    conn.execute(delete(table).where(table.c.state != OPEN, table.c.ended < now - _KEPT))
