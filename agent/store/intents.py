"""Calls to a remote OpsHelm that change it: written before the call, ended once its outcome is known. No rules, no calls.

An open intent counts as done, for owners and for the guard's windows. Ended ones are kept for a day: whoever read the
remote before one was done still has to hear of it.
"""

from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, or_, select, update

from agent.store.tables import intents as table

OPEN, DONE, UNDONE = "open", "done", "undone"
_KEPT = timedelta(days=1)


class Intent(Struct, frozen=True, kw_only=True):
    id: int
    at: datetime
    holder: str
    state: str
    ended: datetime | None
    directory_id: str | None
    okta_id: str | None
    user_name_key: str
    window_id: int | None
    ends_owner: bool
    body: str


_columns = [table.c[name] for name in Intent.__struct_fields__]


def begin(
    conn: Connection,
    *,
    now: datetime,
    holder: str,
    directory_id: str | None,
    okta_id: str | None,
    user_name_key: str,
    window_id: int | None,
    ends_owner: bool,
    body: str,
) -> int:
    values = {"at": now, "holder": holder, "state": OPEN, "directory_id": directory_id, "okta_id": okta_id}
    made = conn.execute(
        insert(table)
        .values(user_name_key=user_name_key, window_id=window_id, ends_owner=ends_owner, body=body, **values)
        .returning(table.c.id)
    )
    return int(made.scalar_one())


def get(conn: Connection, intent_id: int) -> Intent | None:
    row = conn.execute(select(*_columns).where(table.c.id == intent_id)).first()
    return None if row is None else Intent(**row._asdict())


def is_open(conn: Connection, intent_id: int) -> bool:
    return conn.execute(select(table.c.state).where(table.c.id == intent_id)).scalar() == OPEN


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
    values = {"state": state, "ended": now, "window_id": window_id}
    if directory_id is not None:
        values["directory_id"] = directory_id
    conn.execute(update(table).where(table.c.id == intent_id).values(values))


def open_intents(conn: Connection) -> list[Intent]:
    rows = conn.execute(select(*_columns).where(table.c.state == OPEN).order_by(table.c.id))
    return [Intent(**row._asdict()) for row in rows]


def open_for(
    conn: Connection,
    *,
    directory_id: str | None,
    okta_id: str | None = None,
    user_name_key: str | None = None,
) -> list[Intent]:
    """Open intents on this account, or on an account still to be made for this person."""
    mine = [table.c.directory_id == directory_id] if directory_id is not None else []
    if user_name_key is not None:
        mine.append(table.c.directory_id.is_(None) & (table.c.user_name_key == user_name_key))
    if okta_id is not None:
        mine.append(table.c.directory_id.is_(None) & (table.c.okta_id == okta_id))
    if not mine:
        return []
    rows = conn.execute(select(*_columns).where(table.c.state == OPEN, or_(*mine)).order_by(table.c.id))
    return [Intent(**row._asdict()) for row in rows]


def newest(conn: Connection) -> int:
    return int(conn.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one())


def owners_ending(conn: Connection, *, after: int) -> set[str]:
    """Accounts whose ownership ends by a call that is open, or that was begun after intent ``after`` and not undone."""
    ending = (table.c.state == OPEN) | ((table.c.id > after) & (table.c.state == DONE))
    rows = conn.execute(select(table.c.directory_id).where(table.c.ends_owner, ending)).scalars()
    return {directory_id for directory_id in rows if directory_id is not None}


def forget(conn: Connection, now: datetime) -> None:
    """Drop intents that ended over a day ago."""
    conn.execute(delete(table).where(table.c.state != OPEN, table.c.ended < now - _KEPT))
