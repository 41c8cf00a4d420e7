"""What happened to one account, newest first: pushes, runs, operators' changes, holds, Okta's failed pushes. Judges nothing.

The journal gives the pages; what has no row there (a hold that opened or ended, a push that never came through) is put between
its rows by time.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from msgspec import Struct
from sqlalchemy import Connection

from agent.model.users import DirectoryUser
from agent.store import events, holds, imports, journal_rows
from agent.store.journal_rows import JournalQuery, JournalRow

_EVER = datetime(1970, 1, 1, tzinfo=UTC)


class Happened(Struct, frozen=True, kw_only=True):
    """One thing, in words; ``row`` where the journal has it."""

    at: datetime
    what: str
    by: str
    detail: str = ""
    row: JournalRow | None = None
    run_id: int | None = None
    plan_id: int | None = None


class Timeline(Struct, frozen=True, kw_only=True):
    entries: list[Happened]
    #: Where older ones begin; None: that was all.
    older: "Older | None"


class Older(NamedTuple):
    """A journal row, and the time down to which everything was shown."""

    before: int
    at: datetime


def of(conn: Connection, user: DirectoryUser, older: Older | None = None, limit: int = 50) -> Timeline:
    page = journal_rows.search(
        conn, JournalQuery(directory_id=user.id), before=older.before if older else None, limit=limit
    )
    following = None if page.older is None else Older(page.older, page.rows[-1].at)
    begin = following.at if following else _EVER
    beside = [one for one in _beside(conn, user) if begin <= one.at and (older is None or one.at < older.at)]
    entries = sorted([*(_journalled(row) for row in page.rows), *beside], key=lambda one: one.at, reverse=True)
    return Timeline(entries=entries, older=following)


def _journalled(row: JournalRow) -> Happened:
    return Happened(
        at=row.at, what=row.done, by=row.actor, detail=row.reason, row=row, run_id=row.run_id, plan_id=row.plan_id
    )


def _beside(conn: Connection, user: DirectoryUser) -> Iterator[Happened]:
    for hold in holds.history(conn, [name for name in (user.id, user.okta_id) if name]):
        what = f"{hold.kind.value} held: {hold.code.value}"
        yield Happened(at=hold.since, what=what, by=hold.opened_by, detail=hold.detail, plan_id=hold.plan_id)
        if hold.ended_at is not None and hold.ended is not None:
            yield Happened(at=hold.ended_at, what=f"hold of {hold.kind.value} ended: {hold.ended.value}", by="agent")
    failed = events.failures_of(conn, [user.okta_id]) if user.okta_id else {}
    for one in failed.values():
        yield Happened(at=one.at, what="Okta's push failed", by="Okta", detail=f"{one.event_type}: {one.reason}")
        if one.healed is not None:
            yield Happened(at=one.healed, what="the failed push is repaired", by="agent")
    row = imports.get(conn, user.id)
    if row is not None:
        yield Happened(
            at=row.intended, what="import into Okta begun", by="agent", detail=row.error, plan_id=row.plan_id
        )
        if row.ended is not None:
            yield Happened(at=row.ended, what=f"import into Okta: {row.state.value}", by="agent")
