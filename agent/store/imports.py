"""Accounts on their way into Okta: what was wished, what Okta has done of it, whether the link is confirmed. No rules.

::

    intended ── created ── linking ── linked      the Okta user is new
        └───────────────────┘                     the Okta user was there

Any of them may end without a link (``ended``). The row is written before the first call, so that whoever starts after a
crash knows for whom to look before anything is done again.
"""

from collections.abc import Collection
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, update

from agent.model.matching import ImportState
from agent.store.connect import as_structs
from agent.store.tables import imports as table

OPEN = (ImportState.INTENDED, ImportState.CREATED, ImportState.LINKING)


class Import(Struct, frozen=True, kw_only=True):
    directory_id: str
    login: str
    state: ImportState
    okta_id: str | None
    #: The agent made the Okta user.
    made: bool
    #: Okta provisions at activation; as the last look at Okta found it.
    waits: bool
    plan_id: int | None
    intended: datetime
    linking_since: datetime | None
    asked: datetime | None
    ended: datetime | None
    error: str


def get(conn: Connection, directory_id: str) -> Import | None:
    found = as_structs(conn, Import, select(table).where(table.c.directory_id == directory_id))
    return found[0] if found else None


def open_rows(conn: Connection) -> list[Import]:
    """Oldest first."""
    return in_state(conn, *OPEN)


def in_state(conn: Connection, *states: ImportState) -> list[Import]:
    wanted = table.c.state.in_([state.value for state in states])
    return as_structs(conn, Import, select(table).where(wanted).order_by(table.c.intended))


def overdue(conn: Connection, before: datetime, limit: int) -> list[Import]:
    """Linking since before that, and not asked about since; the longest unasked first."""
    last = func.coalesce(table.c.asked, table.c.linking_since)
    wanted = (table.c.state == ImportState.LINKING.value, last <= before)
    return as_structs(conn, Import, select(table).where(*wanted).order_by(last).limit(limit))


def intend(
    conn: Connection, *, directory_id: str, login: str, plan_id: int | None, now: datetime, okta_id: str | None = None
) -> None:
    """Before the first call to Okta for this account. What an earlier try has found stays known."""
    known = get(conn, directory_id)
    if known is not None and known.state in (ImportState.INTENDED, ImportState.CREATED):
        _set(conn, directory_id, login=login, plan_id=plan_id, okta_id=known.okta_id or okta_id, error="")
        return
    conn.execute(delete(table).where(table.c.directory_id == directory_id))
    values = {"state": ImportState.INTENDED.value, "okta_id": okta_id, "plan_id": plan_id, "intended": now}
    conn.execute(insert(table).values(directory_id=directory_id, login=login, **values))


def created(conn: Connection, directory_id: str, okta_id: str) -> None:
    _set(conn, directory_id, state=ImportState.CREATED.value, okta_id=okta_id, made=True)


def assigned(conn: Connection, directory_id: str, okta_id: str, *, waits: bool, now: datetime) -> None:
    _set(
        conn, directory_id, state=ImportState.LINKING.value, okta_id=okta_id, waits=waits, linking_since=now, asked=None
    )


def asked(conn: Connection, directory_id: str, *, waits: bool, since: datetime | None, now: datetime) -> None:
    """A direct look at Okta: not linked yet."""
    values = {} if since is None else {"linking_since": since}
    _set(conn, directory_id, waits=waits, asked=now, **values)


def linked(conn: Connection, directory_ids: Collection[str], now: datetime) -> None:
    mine = table.c.directory_id.in_(list(directory_ids))
    conn.execute(update(table).where(mine).values(state=ImportState.LINKED.value, waits=False, ended=now, error=""))


def ended(conn: Connection, directory_id: str, error: str, now: datetime) -> None:
    """It won't be linked by this import; a later one begins anew."""
    _set(conn, directory_id, state=ImportState.ENDED.value, error=error, ended=now)


def failed(conn: Connection, directory_id: str, error: str) -> None:
    """Not done, and open: the next import looks before it tries again."""
    _set(conn, directory_id, error=error)


def _set(conn: Connection, directory_id: str, **values: object) -> None:
    conn.execute(update(table).where(table.c.directory_id == directory_id).values(**values))
