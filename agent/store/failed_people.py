"""People of whom something failed and nothing has repaired it since, grouped by what went wrong. Tries nothing again.

Okta's own pushes that failed, actions that failed since the last sweep, and imports that stopped. What is the same but for
names, ids and numbers is one group.
"""

import hashlib
import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Select, func, null, select

from agent.model.codes import ActionState
from agent.store import overview
from agent.store.imports import OPEN
from agent.store.tables import FAILED, UtcTime, actions, imports, plans, push_failures, users


class FailedAt(StrEnum):
    #: Okta could not push.
    PUSH = "push"
    #: A run could not carry an action out.
    RUN = "run"
    #: An account did not get into Okta.
    IMPORT = "import"


class FailedPerson(Struct, frozen=True, kw_only=True):
    at: datetime
    where: FailedAt
    #: In the words of whoever refused.
    detail: str
    login: str
    okta_id: str | None
    directory_id: str | None
    plan_id: int | None = None

    @property
    def cause(self) -> str:
        return cause_of(self.detail)


class FailureGroup(Struct, frozen=True, kw_only=True):
    """``id`` is the same for the same cause, in every process."""

    id: str
    where: FailedAt
    cause: str
    people: int
    first: datetime
    last: datetime


#: Different texts that are read to find their causes; further ones wait until these are repaired.
_TEXTS = 1000
_VARIES = re.compile(
    r"[^\s\"'<>(),;:]+@[^\s\"'<>(),;:]+"  # an address
    r"|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
    r"|\b0[0ou][0-9A-Za-z]{16,}\b"  # an id of Okta's
    r"|\d+"
)


def cause_of(detail: str) -> str:
    """Without what differs from person to person."""
    return " ".join(_VARIES.sub("…", detail).split())


def group_id(where: FailedAt, cause: str) -> str:
    return hashlib.sha256(f"{where} {cause}".encode()).hexdigest()[:12]


# Which rows


def pushes() -> Select[Any]:
    """Okta ids of those with a failed push."""
    return select(push_failures.c.okta_id).where(push_failures.c.healed.is_(None))


def actions_since(conn: Connection) -> Select[Any]:
    """Directory ids of those with a failed action."""
    return select(actions.c.directory_id).where(*_failed_actions(conn), actions.c.directory_id.is_not(None))


def _failed_actions(conn: Connection) -> list[ColumnElement[bool]]:
    """Of the last sweep and of what ran since; not where a later run has done something for the same person."""
    swept = overview.last_sweep(conn)
    since = swept.id if swept else 0
    person = func.coalesce(actions.c.directory_id, actions.c.okta_id, actions.c.login)
    done = (
        select(person.label("person"), func.max(actions.c.plan_id).label("plan_id"))
        .join_from(actions, plans, actions.c.plan_id == plans.c.id)
        .where(plans.c.run_id > since, actions.c.state == ActionState.DONE.value)
        .group_by(person)
        .subquery()
    )
    repaired = select(done.c.person).where(done.c.person == person, done.c.plan_id > actions.c.plan_id).exists()
    recent = select(plans.c.id).where(plans.c.run_id >= since)
    return [actions.c.plan_id.in_(recent), FAILED, ~repaired]


def _sources(conn: Connection) -> list[tuple[FailedAt, Any, Any, list[ColumnElement[bool]]]]:
    """Where it failed; its text and its time; which rows."""
    f, i = push_failures.c, imports.c
    stopped = [i.error != "", i.state.in_([state.value for state in OPEN])]
    ended = func.coalesce(actions.c.done_at, actions.c.sent_at, plans.c.created, type_=UtcTime())
    return [
        (FailedAt.PUSH, f.reason, f.at, [f.healed.is_(None)]),
        (FailedAt.RUN, actions.c.error, ended, [actions.c.plan_id == plans.c.id, *_failed_actions(conn)]),
        (FailedAt.IMPORT, i.error, i.intended, stopped),
    ]


# Groups


def groups(conn: Connection) -> list[FailureGroup]:
    """The largest first."""
    found: dict[str, FailureGroup] = {}
    for where, text, at, wanted in _sources(conn):
        first, last = func.min(at, type_=UtcTime()), func.max(at, type_=UtcTime())
        rows = conn.execute(
            select(text, func.count(), first, last).where(*wanted).group_by(text).order_by(last.desc()).limit(_TEXTS)
        )
        for detail, people, begun, ended in rows:
            cause = cause_of(detail)
            key = group_id(where, cause)
            old = found.get(key)
            found[key] = FailureGroup(
                id=key,
                where=where,
                cause=cause,
                people=people + (old.people if old else 0),
                first=min(begun, old.first) if old else begun,
                last=max(ended, old.last) if old else ended,
            )
    return sorted(found.values(), key=lambda group: (-group.people, group.id))


def people(conn: Connection, group: str | None = None, *, limit: int) -> list[FailedPerson]:
    """Of all groups, or of one; newest first."""
    f, a, i = push_failures.c, actions.c, imports.c
    named: dict[FailedAt, tuple[Any, ...]] = {
        FailedAt.PUSH: (func.coalesce(users.c.user_name, f.okta_id), f.okta_id, users.c.id, null()),
        FailedAt.RUN: (a.login, a.okta_id, a.directory_id, a.plan_id),
        FailedAt.IMPORT: (i.login, i.okta_id, i.directory_id, i.plan_id),
    }
    found: list[FailedPerson] = []
    for where, text, at, wanted in _sources(conn):
        chosen = select(at, text, *named[where]).where(*wanted)
        if where is FailedAt.PUSH:
            chosen = chosen.select_from(push_failures.outerjoin(users, users.c.okta_id == f.okta_id))
        if group is not None:
            texts = _texts(conn, where, text, wanted, group)
            if not texts:
                continue
            chosen = chosen.where(text.in_(texts))
        rows = conn.execute(chosen.order_by(at.desc()).limit(limit))
        found += [
            FailedPerson(
                at=when, where=where, detail=detail, login=login, okta_id=okta, directory_id=account, plan_id=plan
            )
            for when, detail, login, okta, account, plan in rows
        ]
    return sorted(found, key=lambda one: one.at, reverse=True)[:limit]


def _texts(conn: Connection, where: FailedAt, text: Any, wanted: Iterable[Any], group: str) -> list[str]:
    rows = conn.execute(select(text).where(*wanted).distinct().limit(_TEXTS)).scalars()
    return [detail for detail in rows if group_id(where, cause_of(detail)) == group]
