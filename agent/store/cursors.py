"""Where listings of changes go on, by name: the System Log's next link. No meaning, only text."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from agent.store.tables import cursors as table


class Cursor(Struct, frozen=True, kw_only=True):
    value: str
    updated: datetime


def read(conn: Connection, name: str) -> Cursor | None:
    row = conn.execute(select(table.c.value, table.c.updated).where(table.c.name == name)).first()
    return None if row is None else Cursor(value=row.value, updated=row.updated)


def swap(conn: Connection, name: str, old: str | None, new: str, now: datetime) -> bool:
    """``put``, unless another agent has moved it since it was ``old``: then nothing, and False."""
    if old is None:
        if read(conn, name) is not None:
            return False
        conn.execute(insert(table).values(name=name, value=new, updated=now))
        return True
    moved = update(table).where(table.c.name == name, table.c.value == old).values(value=new, updated=now)
    return bool(conn.execute(moved).rowcount)


def get(conn: Connection, name: str) -> str | None:
    return conn.execute(select(table.c.value).where(table.c.name == name)).scalar()


def put(conn: Connection, name: str, value: str, now: datetime) -> None:
    """Call it in the transaction that stores what was read up to here: a crash must not skip anything."""
    if not conn.execute(update(table).where(table.c.name == name).values(value=value, updated=now)).rowcount:
        conn.execute(insert(table).values(name=name, value=value, updated=now))


def drop(conn: Connection, name: str) -> None:
    conn.execute(delete(table).where(table.c.name == name))
