"""People that the reconciler should look at alone and soon: after a refused push, an event, a hook. A queue, no rules."""

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeVar

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, text, update

from agent.store.connect import Fixed, as_structs, micros
from agent.store.tables import attention as table

#: A local account was pushed inactive; nothing was changed.
LOCAL_DEACTIVATE = "local_deactivate"
#: A push touched an inactive bound account: is it still the same person?
CONFIRM_REUSE = "confirm_reuse"
#: A refused push of somebody who has the userName, or the id, of another one's account; or a push soon after Okta looked for
#: the userName of an account, which it may have linked to somebody else.
NAME_REUSE = "name_reuse"
#: An operator has bound an account to an Okta user.
LINKED = "linked"
#: A refused push that an operator has allowed since.
ALLOWED = "allowed"
#: A push failed because the remote OpsHelm did not answer.
REMOTE_DOWN = "remote_down"
#: A group that gives roles has somebody whose access has just begun.
ROLE = "role"
#: The System Log or a hook named the person.
EVENT = "event"
#: More people were named than a sweep costs, or an event named nobody in particular.
SWEEP = "sweep"


class Attention(Struct, frozen=True, kw_only=True):
    id: int
    okta_id: str | None
    directory_id: str | None
    reason: str
    not_before: datetime
    attempts: int
    #: When the look was asked for last.
    created: datetime


T = TypeVar("T")
#: As many values as any database takes in one statement.
_TOGETHER = 200

#: Who could not be looked at isn't put off for longer.
MOST = timedelta(hours=1)

_add = Fixed(
    text(
        "INSERT INTO attention (reason, subject, okta_id, directory_id, not_before, created) "
        "VALUES (:reason, :subject, :okta_id, :directory_id, :not_before, :created) "
        "ON CONFLICT (subject) DO UPDATE SET created = excluded.created, not_before = "
        "CASE WHEN attention.not_before < excluded.not_before THEN attention.not_before ELSE excluded.not_before END"
    )
)


def add(
    conn: Connection,
    *,
    reason: str,
    not_before: datetime,
    now: datetime,
    okta_id: str | None = None,
    directory_id: str | None = None,
) -> None:
    """Ask for a look; asking again while it waits moves it forward, and outlives a look that had begun before."""
    _add(
        conn,
        reason=reason,
        subject=f"{reason} {okta_id or ''} {directory_id or ''}",
        okta_id=okta_id,
        directory_id=directory_id,
        not_before=micros(not_before),
        created=micros(now),
    )


def add_events(conn: Connection, okta_ids: Collection[str], now: datetime) -> None:
    """``add`` for the people that events named, in two statements for each few hundred."""
    # In one order everywhere: two agents that queue the same people must not wait for each other.
    for some in batched(sorted(okta_ids)):
        subjects = {f"{EVENT} {okta_id} ": okta_id for okta_id in some}
        mine = table.c.subject.in_(subjects)
        known = conn.execute(
            update(table).where(mine).values(created=now).returning(table.c.subject, table.c.not_before)
        )
        waiting = {row.subject: row.not_before for row in known}
        if any(not_before > now for not_before in waiting.values()):
            conn.execute(update(table).where(mine, table.c.not_before > now).values(not_before=now))
        new = [
            {"reason": EVENT, "subject": subject, "okta_id": okta_id, "not_before": now, "created": now}
            for subject, okta_id in subjects.items()
            if subject not in waiting
        ]
        if new:
            conn.execute(insert(table), new)


def due(conn: Connection, now: datetime, limit: int) -> list[Attention]:
    return as_structs(conn, Attention, select(table).where(_is_due(now)).order_by(table.c.not_before).limit(limit))


def asked(conn: Connection, reason: str, now: datetime) -> Attention | None:
    """The oldest one that is due for this reason."""
    mine = select(table).where(table.c.reason == reason, _is_due(now)).order_by(table.c.id).limit(1)
    return next(iter(as_structs(conn, Attention, mine)), None)


def _is_due(now: datetime) -> ColumnElement[bool]:
    """Or it was written before the machine's clock was set back."""
    put_off_too_long = and_(table.c.attempts > 0, table.c.not_before > now + MOST)
    return or_(table.c.not_before <= now, table.c.created > now, put_off_too_long)


def of(conn: Connection, reasons: Collection[str]) -> list[Attention]:
    """All that wait for these reasons, due or not."""
    return as_structs(conn, Attention, select(table).where(table.c.reason.in_(reasons)))


def waiting(conn: Connection, reason: str | None = None) -> int:
    mine = select(func.count()).select_from(table)
    return conn.execute(mine if reason is None else mine.where(table.c.reason == reason)).scalar_one()


def done(conn: Connection, rows: Sequence[Attention]) -> None:
    """They were looked at – unless the look was asked for again meanwhile: it may have come too late for this one."""
    for some in batched(rows):
        same = (and_(table.c.id == row.id, table.c.created == row.created) for row in some)
        conn.execute(delete(table).where(or_(*same)))


def postpone(conn: Connection, ids: list[int], not_before: datetime) -> None:
    """They could not be looked at: one more attempt, later."""
    conn.execute(update(table).where(table.c.id.in_(ids)).values(not_before=not_before, attempts=table.c.attempts + 1))


def batched(items: Collection[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while some := list(islice(rest, _TOGETHER)):
        yield some
