"""Accounts as a list that is searched and filtered, a page at a time. No rules, and no account whole.

Pages go on behind a userName, so that one far in costs what the first one costs. The index on userNames gives the order and answers
what is typed of one, or a filter that most fit; for another filter or a name all rows are looked through once and the first of them are sorted, which takes the
same time whoever is found.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, false, func, not_, or_, select, true

from agent.model.holds import Decision
from agent.model.users import Origin, Role, account_state, identity_key, is_managed
from agent.store import account, failed_people, overview
from agent.store.connect import as_struct
from agent.store.tables import MANAGED, actions, holds, plans, users


class Which(StrEnum):
    """Whom a list shows."""

    ALL = "all"
    MANAGED = "managed"
    LOCAL = "local"
    INACTIVE = "inactive"
    OWNERS = "owners"
    #: The last sweep left something to do, or a plan waits.
    DRIFTED = "drifted"
    #: Something waits for a person's decision.
    HELD = "held"
    #: An operator's word keeps something from them.
    BLOCKED = "blocked"
    #: Something failed, and nothing has repaired it yet.
    FAILED = "failed"


class ListedPerson(Struct, frozen=True, kw_only=True):
    """A line of the list."""

    id: str
    user_name: str
    name: str
    active: bool
    suspended: bool
    hidden: bool
    managed: bool
    protected: bool
    role: Role
    okta_id: str | None
    updated: datetime

    @property
    def state(self) -> str:
        return account_state(active=self.active, suspended=self.suspended, hidden=self.hidden)


class PeoplePage(Struct, frozen=True, kw_only=True):
    people: list[ListedPerson]
    #: Give it as ``after`` for the next page; None: this is the last one.
    following: str | None


_COLUMNS = (
    *("id", "user_name", "user_name_key", "given_name", "family_name", "display_name", "active", "suspended", "hidden"),
    *("origin", "protected", "role", "okta_id", "updated"),
)
_columns = [users.c[name] for name in _COLUMNS]
#: The parts of a search, in their order: whose userName fits, whom only the name fits.
_LOGINS, _NAMES = "login ", "name "


def page(
    conn: Connection,
    *,
    which: Which = Which.ALL,
    also: Collection[Which] = (),
    search: str = "",
    after: str = "",
    limit: int = 50,
) -> PeoplePage:
    """By userName. ``also``: what they must be besides; ``search``: a whole id, else a part of the userName or of the name as shown; ``after``: where it goes on.

    Whose userName fits comes first; whom only the name fits comes after all of them.
    """
    groups = [group for one in dict.fromkeys((which, *also)) if (group := _which(conn, one)) is not None]
    text, c = search.strip(), users.c
    if not text:
        # Along the index on userNames only where most fit; else every row would be fetched out of its place.
        return _part(conn, _LOGINS, groups, after, limit, walks=not also and _is_most(conn, which))
    ids = conn.execute(select(*_columns).where(or_(c.okta_id == text, c.id == text), *groups)).all()
    if ids:
        return PeoplePage(people=[_person(row) for row in ids], following=None)
    named = c.user_name_key.contains(identity_key(text), autoescape=True)
    found: list[ListedPerson] = []
    if not after.startswith(_NAMES):
        first = _part(conn, _LOGINS, [*groups, named], after, limit, walks=not groups)
        if first.following is not None:
            return first
        found, after = first.people, ""
    rest = _part(conn, _NAMES, [*groups, _called(conn, text), not_(named)], after, limit - len(found))
    return PeoplePage(people=[*found, *rest.people], following=rest.following)


def is_owner(conn: Connection, user_id: str) -> bool:
    """Active, and with the owner role."""
    c = users.c
    mine = (c.id == user_id, c.role == Role.OWNER.value, c.active == true())
    return conn.execute(select(c.id).where(*mine)).first() is not None


def _part(
    conn: Connection,
    part: str,
    conditions: Sequence[ColumnElement[bool]],
    after: str,
    limit: int,
    *,
    walks: bool = False,
) -> PeoplePage:
    """``part`` begins what the next page is asked for with: it says in which of the two parts that goes on."""
    key = users.c.user_name_key
    wanted = list(conditions)
    if after:
        wanted.append(key > identity_key(after.removeprefix(part)))
    keys = select(key).where(*wanted).order_by(key if walks else key.concat("")).limit(limit + 1)
    rows = conn.execute(select(*_columns).where(key.in_(keys.subquery().select())).order_by(key)).all()
    people = [_person(row) for row in rows[:limit]]
    following = f"{part}{rows[limit - 1].user_name}" if len(rows) > limit and limit else None
    return PeoplePage(people=people, following=following or (part if len(rows) > limit else None))


def _is_most(conn: Connection, which: Which) -> bool:
    """Whether a walk in the order of userNames soon meets as many as a page shows."""
    if which is Which.ALL:
        return True
    row = account.get(conn)
    managed = row.managed_active if which is Which.MANAGED else row.visible - row.managed_active
    return which in (Which.MANAGED, Which.LOCAL) and managed * 4 > row.visible


def _which(conn: Connection, which: Which) -> ColumnElement[bool] | None:
    c = users.c
    simple: dict[Which, ColumnElement[bool]] = {
        Which.MANAGED: MANAGED,
        Which.LOCAL: not_(MANAGED),
        Which.INACTIVE: c.active == false(),
        Which.OWNERS: c.role == Role.OWNER.value,
        Which.HELD: _held(Decision.WAITING, Decision.APPROVED),
        Which.BLOCKED: _held(Decision.BLOCKED),
    }
    if which is Which.DRIFTED:
        return c.id.in_(_drifted(conn))
    if which is Which.FAILED:
        return or_(c.okta_id.in_(failed_people.pushes()), c.id.in_(failed_people.actions_since(conn)))
    return simple.get(which)


def _held(*decisions: Decision) -> ColumnElement[bool]:
    h = holds.c
    mine = (h.ended.is_(None), h.decision.in_([decision.value for decision in decisions]))
    by_account = select(h.directory_id).where(*mine, h.directory_id.is_not(None))
    by_okta = select(h.okta_id).where(*mine, h.directory_id.is_(None), h.okta_id.is_not(None))
    return or_(users.c.id.in_(by_account), users.c.okta_id.in_(by_okta))


def _drifted(conn: Connection) -> Select[Any]:
    swept = overview.last_sweep(conn)
    return (
        select(actions.c.directory_id)
        .join_from(actions, plans, actions.c.plan_id == plans.c.id)
        .where(
            overview.of_run_or_held(swept.id if swept else None),
            actions.c.state.in_([state.value for state in overview.OPEN]),
            actions.c.directory_id.is_not(None),
        )
    )


def _called(conn: Connection, text: str) -> ColumnElement[bool]:
    c = users.c
    names = (c.display_name, func.coalesce(c.given_name, "").concat(" ").concat(func.coalesce(c.family_name, "")))
    # SQLite's LIKE knows no case in ASCII; its lower() is a function of this program, too slow for every row.
    insensitive = conn.dialect.name == "postgresql"
    return or_(*((name.icontains if insensitive else name.contains)(text, autoescape=True) for name in names))


def _person(row: Any) -> ListedPerson:
    name = row.display_name or " ".join(part for part in (row.given_name, row.family_name) if part)
    return as_struct(ListedPerson, row, name=name, managed=is_managed(Origin(row.origin), row.okta_id))
