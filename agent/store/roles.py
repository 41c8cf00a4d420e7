"""Roles by Okta's groups: which groups the settings mean, whom they made owner, and how many lately. Decides nothing.

A grant says that a group stands behind an owner: ``give`` and ``take`` are part of the one guarded write, so that a role and its
grant change together. A role that changes in any other way has no group behind it any more. ``adopt`` puts a group behind whoever
was an owner before.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, and_, delete, false, func, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from agent.model.roles import RoleAccount
from agent.model.users import Origin, Role, is_managed
from agent.store import journal
from agent.store.attention import batched
from agent.store.compare import WANTED_ACTIVE, sweep_rows
from agent.store.journal import Signature
from agent.store.tables import role_grants as grants
from agent.store.tables import role_groups as groups
from agent.store.tables import users

#: What the caps count.
WINDOW = timedelta(minutes=60)


class RoleGroup(Struct, frozen=True, kw_only=True):
    """What one entry of roles.owner means."""

    asked: str
    group_id: str
    name: str
    #: roles.manage when a person looked at what the group would do; "": nobody has yet.
    approved: str = ""

    def seen(self, manage: str) -> bool:
        """A person has let this group give roles; to take those given by hand is more than to give some."""
        return self.approved in ("all", manage)


def known(conn: Connection) -> dict[str, RoleGroup]:
    """By the setting's entry."""
    return {row.asked: RoleGroup(**row._asdict()) for row in conn.execute(select(groups))}


def group_ids(conn: Connection) -> frozenset[str]:
    return frozenset(conn.execute(select(groups.c.group_id)).scalars())


def keep(conn: Connection, found: Iterable[RoleGroup], asked: Collection[str]) -> None:
    """What the entries mean from now on; entries that the settings have no more are forgotten.

    A known one gets the name that it has here. A new one for a group that a person has seen already, under another name, is seen.
    """
    before = known(conn)
    seen = {one.group_id: one.approved for one in before.values() if one.approved}
    conn.execute(delete(groups).where(groups.c.asked.not_in(list(asked))))
    for one in found:
        if one.asked not in before:
            values = {"asked": one.asked, "group_id": one.group_id, "name": one.name}
            conn.execute(groups.insert().values(**values, approved=seen.get(one.group_id, "")))
        else:
            conn.execute(update(groups).where(groups.c.asked == one.asked).values(name=one.name))


def approve(conn: Connection, by: Signature, asked: Collection[str], manage: str) -> None:
    """A person has seen whom these groups make owner, and has let it go."""
    conn.execute(update(groups).where(groups.c.asked.in_(list(asked))).values(approved=manage))
    journal.note(conn, "roles approve", by, reason=f"{by.reason}: {', '.join(sorted(asked))}")


# Grants


def give(conn: Connection, directory_id: str, group_id: str, at: datetime | None) -> None:
    """``at`` None: it doesn't count for the cap."""
    values = {"group_id": group_id, "given": at, "taken": None}
    dialect = sqlite if conn.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(grants).values(directory_id=directory_id, **values)
    conn.execute(statement.on_conflict_do_update(index_elements=[grants.c.directory_id], set_=values))


def take(conn: Connection, directory_id: str, group_id: str, at: datetime) -> None:
    """The group gives it no more; counted for the cap."""
    give(conn, directory_id, group_id, None)
    conn.execute(update(grants).where(grants.c.directory_id == directory_id).values(taken=at))


def drop(conn: Connection, directory_id: str) -> None:
    """No group stands behind this account's role."""
    conn.execute(delete(grants).where(grants.c.directory_id == directory_id))


def adopt(conn: Connection, behind: dict[str, str], now: datetime) -> None:
    """``behind``: account → the group that has its owner. Grants of those who are owners no more go, and so do old counts."""
    owners = select(users.c.id).where(users.c.role == Role.OWNER.value)
    gone = and_(grants.c.taken.is_(None), grants.c.directory_id.not_in(owners))
    over = and_(grants.c.taken.is_not(None), grants.c.taken <= now - WINDOW)
    conn.execute(delete(grants).where(gone | over))
    mine = select(grants.c.directory_id, grants.c.group_id).where(grants.c.taken.is_(None))
    open_ones = {row.directory_id: row.group_id for row in conn.execute(mine)}
    still = set(conn.execute(owners).scalars())
    for directory_id, group_id in behind.items():
        if directory_id in still and open_ones.get(directory_id) != group_id:
            if directory_id in open_ones:
                moved = update(grants).where(grants.c.directory_id == directory_id)
                conn.execute(moved.values(group_id=group_id))
            else:
                give(conn, directory_id, group_id, None)


def lately(conn: Connection, now: datetime) -> tuple[int, int]:
    """How many were made owners and members by groups within the window, but for those that a person let pass."""
    since = now - WINDOW
    counted = select(
        func.count().filter(and_(grants.c.given > since, grants.c.given <= now)),
        func.count().filter(and_(grants.c.taken > since, grants.c.taken <= now)),
    )
    given, taken = conn.execute(counted).one()
    return given, taken


# Accounts, as far as their roles go

_COLUMNS = (
    *(users.c.id, users.c.user_name, users.c.okta_id, users.c.role, users.c.active, users.c.version),
    *(users.c.origin, users.c.protected, grants.c.group_id),
)
_WITH_GRANT = users.outerjoin(grants, and_(grants.c.directory_id == users.c.id, grants.c.taken.is_(None)))


def owners(conn: Connection) -> list[RoleAccount]:
    """All of them, also those who are inactive for no other reason than a suspension."""
    found = select(*_COLUMNS).select_from(_WITH_GRANT).where(users.c.role == Role.OWNER.value)
    return [_account(row) for row in conn.execute(found.order_by(users.c.user_name_key))]


def of_people(conn: Connection, okta_ids: Sequence[str]) -> list[RoleAccount]:
    """The accounts that are bound to these Okta users."""
    return list(_bound(conn, okta_ids))


def members(conn: Connection, okta_ids: Sequence[str]) -> list[RoleAccount]:
    """Those of them who are active and no owners: who could be made one."""
    return [one for one in _bound(conn, okta_ids, active=True) if one.role is Role.MEMBER]


def _bound(conn: Connection, okta_ids: Sequence[str], *, active: bool = False) -> Iterator[RoleAccount]:
    for some in batched(okta_ids):
        found = select(*_COLUMNS).select_from(_WITH_GRANT).where(users.c.okta_id.in_(some), users.c.hidden == false())
        if active:
            found = found.where(users.c.active == true())
        yield from map(_account, conn.execute(found))


def _account(row: Any) -> RoleAccount:
    key, user_name, okta_id, role, active, version, origin, protected, granted = row
    managed = is_managed(Origin(origin), okta_id)
    return RoleAccount(
        id=key,
        user_name=user_name,
        okta_id=okta_id,
        role=Role(role),
        active=active,
        touched=managed and okta_id is not None and not protected,
        version=version,
        granted=granted,
    )


def wanted_active(conn: Connection, okta_ids: Sequence[str]) -> frozenset[str]:
    """Those of them whom the sweep wants to have access. ``conn`` is that of ``Staging.snapshot``."""
    found: set[str] = set()
    for some in batched(okta_ids):
        mine = (sweep_rows.c.okta_id.in_(some), WANTED_ACTIVE)
        found.update(conn.execute(select(sweep_rows.c.okta_id).where(*mine)).scalars())
    return frozenset(found)
