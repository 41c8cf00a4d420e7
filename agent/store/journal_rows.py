"""The journal as people read it: newest first, filtered, with the login that a row is about. Writes nothing.

A filter may fit nothing for a million rows. So one page looks through ``LOOKED_THROUGH`` rows at most and then says where to go
on, however few it has found; of one person's rows there is an index.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, func, or_, select

from agent.store import former_ids
from agent.store.connect import as_struct
from agent.store.journal import Entry, Kind
from agent.store.tables import journal as table
from agent.store.tables import users

LOOKED_THROUGH = 20_000


class JournalRow(Entry, frozen=True, kw_only=True):
    id: int
    at: datetime
    #: The userName that the account has now, or had then where it is gone.
    login: str

    @property
    def done(self) -> str:
        """``deactivate``, or ``deactivate (refused)`` and the like where it wasn't done."""
        return self.verb if self.kind is Kind.APPLIED else f"{self.verb} ({self.kind.value})"

    @property
    def changes(self) -> dict[str, tuple[Any, Any]]:
        """What differs between before and after: path → both values."""
        return changes_between(decoded(self.before), decoded(self.after))


class JournalQuery(Struct, frozen=True, kw_only=True):
    """All that is said must fit; nothing said fits every row."""

    directory_id: str | None = None
    #: A part of the actor's name.
    actor: str = ""
    #: Such as "deactivate" or "keys create"; its first words suffice.
    verb: str = ""
    kind: Kind | None = None
    since: datetime | None = None
    until: datetime | None = None


class JournalPage(Struct, frozen=True, kw_only=True):
    rows: list[JournalRow]
    #: Give it as ``before`` to go on with what is older; None: there is nothing older.
    older: int | None


_columns = [table.c[name] for name in JournalRow.__struct_fields__ if name != "login"]
_rows = select(*_columns, users.c.user_name).join_from(table, users, users.c.id == table.c.directory_id, isouter=True)
#: Two looks at an index; min and max in one statement would count through the table.
_ends = select(select(func.min(table.c.id)).scalar_subquery(), select(func.max(table.c.id)).scalar_subquery())


def search(conn: Connection, query: JournalQuery, *, before: int | None = None, limit: int = 50) -> JournalPage:
    """Newest first."""
    oldest, newest = conn.execute(_ends).one()
    end = before or (newest or 0) + 1
    begin = 0 if query.directory_id is not None else max(0, end - LOOKED_THROUGH)
    wanted = [table.c.id < end, table.c.id >= begin, *_fits(query)]
    if query.directory_id is not None:
        wanted.append(former_ids.mine(conn, query.directory_id))
    rows = conn.execute(_rows.where(*wanted).order_by(table.c.id.desc()).limit(limit + 1)).all()
    found = [_read(row) for row in rows[:limit]]
    if len(rows) > limit:
        return JournalPage(rows=found, older=found[-1].id)
    over = begin <= (oldest or 0) or (query.since is not None and _all_before(conn, begin, query.since))
    return JournalPage(rows=found, older=None if over else begin)


def first(conn: Connection, query: JournalQuery, limit: int) -> list[JournalRow]:
    """The newest ``limit`` rows, however far they lie apart."""
    found: list[JournalRow] = []
    page = search(conn, query, limit=limit)
    while True:
        found += page.rows
        if page.older is None or len(found) >= limit:
            return found
        page = search(conn, query, before=page.older, limit=limit - len(found))


def newest(conn: Connection) -> int:
    """The number of the newest row of all; 0 where there is none."""
    return conn.execute(_ends).one()[1] or 0


def newer(conn: Connection, query: JournalQuery, after: int) -> tuple[list[JournalRow], int]:
    """What came after that row, oldest first, and the number to go on with."""
    last = newest(conn)
    wanted = [table.c.id > after, table.c.id <= last, *_fits(query)]
    return [_read(row) for row in conn.execute(_rows.where(*wanted).order_by(table.c.id))], max(after, last)


def _fits(query: JournalQuery) -> list[ColumnElement[bool]]:
    c = table.c
    said = [
        c.actor.contains(query.actor, autoescape=True) if query.actor else None,
        or_(c.verb == query.verb, c.verb.startswith(f"{query.verb} ", autoescape=True)) if query.verb else None,
        None if query.kind is None else c.kind == query.kind.value,
        None if query.since is None else c.at >= query.since,
        None if query.until is None else c.at < query.until,
    ]
    return [condition for condition in said if condition is not None]


def _all_before(conn: Connection, row_id: int, moment: datetime) -> bool:
    """What is older than this row was written before then."""
    newest = select(table.c.at).where(table.c.id < row_id).order_by(table.c.id.desc()).limit(1)
    at = conn.execute(newest).scalar()
    return at is None or at < moment


def _read(row: Any) -> JournalRow:
    login = row.user_name or decoded(row.after).get("userName") or decoded(row.before).get("userName") or ""
    return as_struct(JournalRow, row, login=str(login))


def changes_between(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs, in the order of ``after``; every change has another version."""
    return {
        path: (before.get(path), after.get(path))
        for path in dict.fromkeys((*after, *before))
        if path != "version" and before.get(path) != after.get(path)
    }


def decoded(text: str | None) -> dict[str, Any]:
    """``before`` or ``after`` of a row; empty where it holds nothing."""
    found = msgspec.json.decode(text) if text else {}
    return found if isinstance(found, dict) else {}
