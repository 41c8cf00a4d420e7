"""What the agent keeps of Okta's events: how far it has read, which it has met, which pushes failed. Decides nothing."""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, union_all, update

from agent.store.attention import batched
from agent.store.connect import as_structs
from agent.store.tables import cursors, departed, events_seen, push_failures, users

_LONGEST = 64


class PushFailure(Struct, frozen=True, kw_only=True):
    okta_id: str
    event_type: str
    #: In Okta's words.
    reason: str
    at: datetime
    healed: datetime | None = None


# The System Log's cursor: only text here


class Cursor(Struct, frozen=True, kw_only=True):
    value: str
    updated: datetime


def cursor(conn: Connection, name: str) -> Cursor | None:
    row = conn.execute(select(cursors.c.value, cursors.c.updated).where(cursors.c.name == name)).first()
    return None if row is None else Cursor(value=row.value, updated=row.updated)


def move_cursor(conn: Connection, name: str, old: str | None, new: str, now: datetime) -> bool:
    """False, and nothing done, where another agent has moved it since it was ``old``.

    Call it in the transaction that stores what was read up to there: a crash must not skip anything.
    """
    if old is None:
        if cursor(conn, name) is not None:
            return False
        conn.execute(insert(cursors).values(name=name, value=new, updated=now))
        return True
    moved = update(cursors).where(cursors.c.name == name, cursors.c.value == old).values(value=new, updated=now)
    return bool(conn.execute(moved).rowcount)


# Which were met


def meet(conn: Connection, uuids: Iterable[str], now: datetime) -> set[str]:
    """Those that are new; from now on they are not."""
    keys = {_key(uuid): uuid for uuid in uuids}
    new = set(keys)
    for some in batched(sorted(keys)):
        new.difference_update(conn.execute(select(events_seen.c.uuid).where(events_seen.c.uuid.in_(some))).scalars())
    for some in batched(sorted(new)):
        conn.execute(insert(events_seen), [{"uuid": key, "at": now} for key in some])
    return {keys[key] for key in new}


def forget(conn: Connection, before: datetime) -> None:
    """Old uuids (Okta doesn't send them again) and failures that were healed long ago."""
    conn.execute(delete(events_seen).where(events_seen.c.at < before))
    conn.execute(delete(push_failures).where(push_failures.c.healed < before))


def _key(uuid: str) -> str:
    return uuid if len(uuid) <= _LONGEST else hashlib.sha256(uuid.encode()).hexdigest()


# Who is meant


def bound(conn: Connection, okta_ids: Collection[str]) -> set[str]:
    """Those whom an account here is bound to."""
    found: set[str] = set()
    for some in batched(sorted(okta_ids)):
        mine = union_all(
            select(users.c.okta_id).where(users.c.okta_id.in_(some)),
            select(departed.c.okta_id).where(departed.c.okta_id.in_(some)),
        )
        found.update(conn.execute(mine).scalars())
    return found


# Failed pushes


def failed(conn: Connection, failures: Iterable[PushFailure]) -> None:
    """The newest of each person, whatever the order in which they come."""
    newest: dict[str, PushFailure] = {}
    for one in failures:
        if one.okta_id not in newest or newest[one.okta_id].at <= one.at:
            newest[one.okta_id] = one
    known = failures_of(conn, newest)
    for okta_id in sorted(newest):
        one, before = newest[okta_id], known.get(okta_id)
        values = {"event_type": one.event_type, "reason": one.reason, "at": one.at, "healed": None}
        if before is None:
            conn.execute(insert(push_failures).values(okta_id=okta_id, **values))
        elif before.at < one.at:
            conn.execute(update(push_failures).where(push_failures.c.okta_id == okta_id).values(values))


def heal(conn: Connection, okta_ids: Collection[str], before: datetime, now: datetime) -> None:
    """They are as Okta wants them, or a later push came through; a failure that came after ``before`` stays open."""
    mine = update(push_failures).where(push_failures.c.healed.is_(None), push_failures.c.at <= before)
    for some in batched(sorted(okta_ids)):
        conn.execute(mine.where(push_failures.c.okta_id.in_(some)).values(healed=now))


def open_failures(conn: Connection) -> list[PushFailure]:
    """Newest first."""
    mine = select(push_failures).where(push_failures.c.healed.is_(None))
    return as_structs(conn, PushFailure, mine.order_by(push_failures.c.at.desc()))


def failures_of(conn: Connection, okta_ids: Collection[str]) -> dict[str, PushFailure]:
    """The last failed push of each, healed or not."""
    found: dict[str, PushFailure] = {}
    for some in batched(sorted(okta_ids)):
        last = as_structs(conn, PushFailure, select(push_failures).where(push_failures.c.okta_id.in_(some)))
        found |= {one.okta_id: one for one in last}
    return found
