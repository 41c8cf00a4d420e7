"""Where listings of changes go on, by name: the System Log's next link. No meaning, only text."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

from agent.store.tables import cursors as table


def get(conn: Connection, name: str) -> str | None:
    return conn.execute(select(table.c.value).where(table.c.name == name)).scalar()


def put(conn: Connection, name: str, value: str, now: datetime) -> None:
    """Call it in the transaction that stores what was read up to here: a crash must not skip anything."""
    if not conn.execute(update(table).where(table.c.name == name).values(value=value, updated=now)).rowcount:
        conn.execute(insert(table).values(name=name, value=value, updated=now))


def drop(conn: Connection, name: str) -> None:
    conn.execute(delete(table).where(table.c.name == name))
