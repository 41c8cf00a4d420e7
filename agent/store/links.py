"""What the store keeps of accounts at a remote OpsHelm: links and marks, the agent's last writes, owners. No rules."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, bindparam, delete, insert, select, update

from agent.store.account import get
from agent.store.connect import Fixed, driver, micros, moment, read
from agent.store.tables import account, remote_links, remote_owners


class Link(Struct, frozen=True, kw_only=True, gc=False):
    directory_id: str
    okta_id: str | None = None
    detached: bool = False
    origin: str
    protected: bool = False
    suspended: bool = False
    hidden: bool = False
    deactivated: datetime | None = None
    user_name_key: str = ""
    written: datetime | None = None
    #: model.users.DirectoryUser as JSON.
    state: str | None = None


_MARKS = "directory_id, okta_id, detached, origin, protected, suspended, hidden, deactivated"
_columns = [remote_links.c[name] for name in Link.__struct_fields__]


_get = Fixed(select(*_columns).where(remote_links.c.directory_id == bindparam("key")))
_by_okta_id = Fixed(select(*_columns).where(remote_links.c.okta_id == bindparam("key")))
_REST = Link.__struct_fields__[1:]
_update = Fixed(
    update(remote_links)
    .where(remote_links.c.directory_id == bindparam("key"))
    .values({name: bindparam(f"to_{name}") for name in _REST})
)
_insert = Fixed(
    insert(remote_links)
    .inline()
    .values({"directory_id": bindparam("key"), **{name: bindparam(f"to_{name}") for name in _REST}})
)


def _read(row: Any) -> Link:
    """A row as the driver gave it."""
    flags = dict.fromkeys(("detached", "protected", "suspended", "hidden"), bool)
    return read(Link, row, times=("deactivated", "written"), **flags)


def get_link(conn: Connection, directory_id: str) -> Link | None:
    row = _get(conn, key=directory_id).fetchone()
    return None if row is None else _read(row)


def of(conn: Connection, directory_ids: Collection[str]) -> dict[str, Link]:
    """For a page of a listing: on the driver's own cursor, and without what was written last."""
    ids = list(directory_ids)
    among: str
    given: str | list[str]
    if conn.dialect.name == "sqlite":
        # A join, since IN would sort them first, which takes as long again.
        among, given = (
            "json_each(?) CROSS JOIN remote_links ON directory_id = value",
            msgspec.json.encode(ids).decode(),
        )
    else:
        among, given = "remote_links WHERE directory_id = ANY(%s)", ids
    rows = driver(conn).execute(f"SELECT {_MARKS} FROM {among}", [given])
    return {
        row[0]: Link(
            directory_id=row[0],
            okta_id=row[1],
            detached=bool(row[2]),
            origin=row[3],
            protected=bool(row[4]),
            suspended=bool(row[5]),
            hidden=bool(row[6]),
            deactivated=None if row[7] is None else moment(row[7]),
        )
        for row in rows.fetchall()
    }


def by_okta_id(conn: Connection, okta_id: str) -> Link | None:
    row = _by_okta_id(conn, key=okta_id).fetchone()
    return None if row is None else _read(row)


def by_written_name(conn: Connection, user_name_key: str) -> list[Link]:
    """Accounts that had this userName when the agent last wrote them."""
    rows = conn.execute(select(*_columns).where(remote_links.c.user_name_key == user_name_key))
    return [Link(**row._asdict()) for row in rows]


def written_since(conn: Connection, since: datetime) -> list[Link]:
    rows = conn.execute(select(*_columns).where(remote_links.c.written >= since))
    return [Link(**row._asdict()) for row in rows]


def hidden_ids(conn: Connection) -> list[str]:
    return list(conn.execute(select(remote_links.c.directory_id).where(remote_links.c.hidden)).scalars())


def put(conn: Connection, link: Link) -> None:
    """Insert or replace; call it with the account row locked."""
    values = {f"to_{name}": getattr(link, name) for name in _REST}
    for name in ("to_deactivated", "to_written"):
        values[name] = None if values[name] is None else micros(values[name])
    if not _update(conn, key=link.directory_id, **values).rowcount:
        _insert(conn, key=link.directory_id, **values)


def drop(conn: Connection, directory_id: str) -> None:
    """Of an account that is there no more; call it with the account row locked."""
    conn.execute(delete(remote_links).where(remote_links.c.directory_id == directory_id))


# Owners and counters, as a whole listing showed them


class Owner(Struct, frozen=True):
    directory_id: str
    user_name: str


_owners = Fixed(select(remote_owners.c.directory_id, remote_owners.c.user_name).order_by(remote_owners.c.directory_id))


def owners(conn: Connection) -> list[Owner]:
    """Asked for at every read of an account."""
    return [Owner(*row) for row in _owners(conn).fetchall()]


def set_owners(conn: Connection, found: Sequence[Owner]) -> None:
    conn.execute(delete(remote_owners))
    if found:
        conn.execute(insert(remote_owners), [{"directory_id": o.directory_id, "user_name": o.user_name} for o in found])


def set_counters(conn: Connection, *, managed_active: int, active_owners: int, visible: int) -> None:
    """What a whole listing counted; writes go on from there."""
    now = get(conn)
    if (now.managed_active, now.active_owners, now.visible) != (managed_active, active_owners, visible):
        conn.execute(
            update(account).values(managed_active=managed_active, active_owners=active_owners, visible=visible)
        )
