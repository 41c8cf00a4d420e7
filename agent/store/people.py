"""Accounts as a list that is searched and filtered, a page at a time. No rules, and no account whole.

Pages go on behind a userName, so that one far in costs what the first one costs. Without a filter the index on userNames gives
the order; with one, all rows are looked through once and the first of them are sorted, which takes the same time whoever is found.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, and_, false, func, not_, or_, select, true

from agent.model.codes import ActionState
from agent.model.holds import Decision
from agent.model.users import Origin, Role, account_state, identity_key, is_managed
from agent.store import failed_people, overview
from agent.store.tables import actions, holds, plans, users


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


class Person(Struct, frozen=True, kw_only=True):
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
    people: list[Person]
    #: The userName behind which the next page begins; None: this is the last one.
    following: str | None


_NAMES = (
    *("id", "user_name", "user_name_key", "given_name", "family_name", "display_name", "active", "suspended", "hidden"),
    *("origin", "protected", "role", "okta_id", "updated"),
)
_columns = [users.c[name] for name in _NAMES]
#: Of an action that is still to be done.
_OPEN = (ActionState.PENDING, ActionState.HELD, ActionState.SENT, ActionState.FAILED)


def page(
    conn: Connection, *, which: Which = Which.ALL, search: str = "", after: str = "", limit: int = 50
) -> PeoplePage:
    """By userName. ``search``: a part of the userName or of the name as shown, or a whole id; ``after``: a userName."""
    wanted = [_which(conn, which), _named(conn, search)]
    chosen = [condition for condition in wanted if condition is not None]
    behind = [users.c.user_name_key > identity_key(after)] if after else []
    # An expression is no index: with conditions a walk along one would fetch every row out of its order.
    order = users.c.user_name_key if not chosen else users.c.user_name_key.concat("")
    rows = conn.execute(select(*_columns).where(*chosen, *behind).order_by(order).limit(limit + 1)).all()
    people = [_person(row) for row in rows[:limit]]
    return PeoplePage(people=people, following=people[-1].user_name if len(rows) > limit else None)


def _which(conn: Connection, which: Which) -> ColumnElement[bool] | None:
    c = users.c
    managed = or_(c.origin == Origin.LINKED.value, and_(c.origin == Origin.OKTA.value, c.okta_id.is_not(None)))
    simple: dict[Which, ColumnElement[bool]] = {
        Which.MANAGED: managed,
        Which.LOCAL: not_(managed),
        Which.INACTIVE: c.active == false(),
        Which.OWNERS: and_(c.role == Role.OWNER.value, c.active == true()),
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
            actions.c.state.in_([state.value for state in _OPEN]),
            actions.c.directory_id.is_not(None),
        )
    )


def _named(conn: Connection, search: str) -> ColumnElement[bool] | None:
    text = search.strip()
    if not text:
        return None
    c = users.c
    # SQLite's LIKE knows no case in ASCII; its lower() is a function of this program, too slow for every row.
    like = c.display_name.icontains if conn.dialect.name == "postgresql" else c.display_name.contains
    full = func.coalesce(c.given_name, "").concat(" ").concat(func.coalesce(c.family_name, ""))
    name = full.icontains if conn.dialect.name == "postgresql" else full.contains
    return or_(
        c.user_name_key.contains(identity_key(text), autoescape=True),
        like(text, autoescape=True),
        name(text, autoescape=True),
        c.okta_id == text,
        c.id == text,
    )


def _person(row: Any) -> Person:
    values = row._asdict()
    name = " ".join(part for part in (values["given_name"], values["family_name"]) if part)
    return Person(
        name=values["display_name"] or name,
        managed=is_managed(Origin(values["origin"]), values["okta_id"]),
        role=Role(values["role"]),
        **{
            key: values[key]
            for key in ("id", "user_name", "active", "suspended", "hidden", "protected", "okta_id", "updated")
        },
    )
