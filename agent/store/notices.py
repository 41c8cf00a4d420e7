"""The queue of what people outside are told: one row for each event and channel, however many agents notice the event.

Rows come of what the database holds already (alarms, runs), so that whoever raises an alarm knows nothing of this, and a kill
between the two loses nothing. A row is claimed for ``CLAIM`` before it is sent: of several agents one sends it, and what a dead
one had claimed is sent by the next. Only a kill between the receiver's answer and its record makes a second delivery, which
carries the same id.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Connection, String, cast, delete, func, insert, or_, select, update

from agent.store import alarms
from agent.store.connect import as_structs
from agent.store.tables import alarms as alarms_table
from agent.store.tables import notices as table
from agent.store.tables import runs as runs_table

CLAIM = timedelta(minutes=1)
#: Kept so long; what is still open then is told once more.
_KEPT = timedelta(days=90)
#: A channel that was set just now is not told of all that ever failed.
_BACK = timedelta(hours=1)
#: Runs that are looked at; an hour has fewer.
_LOOKED_AT = 1000
#: Outcomes that are no failure of the agent's or of Okta's, though their exit code isn't 0.
_MEANT = ("held", "paused", "rejected", "stopped", "lease_held")


class Notice(Struct, frozen=True, kw_only=True):
    id: int
    #: The event: "alarm 7 opened", "run 12 failed".
    about: str
    channel: str
    #: JSON text of agent.notify.message.Message.
    body: str
    created: datetime
    tries: int


def opened(conn: Connection, channel: str) -> list[alarms.Alarm]:
    """Open alarms that this channel doesn't know of and nobody has silenced."""
    wanted = (
        alarms_table.c.cleared.is_(None),
        alarms_table.c.acked_at.is_(None),
        ~_known(alarms_table.c.id, "alarm", "opened", channel),
    )
    return _alarms(conn, wanted)


def closed(conn: Connection, channel: str) -> list[alarms.Alarm]:
    """Alarms that this channel knows of and that are over."""
    wanted = (
        alarms_table.c.cleared.is_not(None),
        _known(alarms_table.c.id, "alarm", "opened", channel),
        ~_known(alarms_table.c.id, "alarm", "closed", channel),
    )
    return _alarms(conn, wanted)


def _alarms(conn: Connection, wanted: Iterable[ColumnElement[bool]]) -> list[alarms.Alarm]:
    return as_structs(conn, alarms.Alarm, select(alarms_table).where(*wanted).order_by(alarms_table.c.id))


def _known(number: Column[int], noun: str, what: str, channel: str) -> ColumnElement[bool]:
    about = f"{noun} " + cast(number, String) + f" {what}"
    return select(table.c.id).where(table.c.about == about, table.c.channel == channel).exists()


def failed_runs(conn: Connection, now: datetime, channel: str) -> list[int]:
    """Runs that went wrong lately and that this channel doesn't know of; dry ones are looked at by whoever asked."""
    newest = select(func.max(runs_table.c.id)).scalar_subquery()
    wanted = (
        runs_table.c.id > newest - _LOOKED_AT,
        runs_table.c.ended > now - _BACK,
        runs_table.c.exit_code.in_((1, 5)),
        runs_table.c.outcome.not_in(_MEANT),
        runs_table.c.dry.is_(False),
        ~_known(runs_table.c.id, "run", "failed", channel),
    )
    return list(conn.execute(select(runs_table.c.id).where(*wanted).order_by(runs_table.c.id)).scalars())


def add(conn: Connection, about: str, channel: str, body: str, now: datetime) -> bool:
    """Once for each event and channel; True if it is new. Of two agents at once the second meets the unique key, and sees it at its next look."""
    mine = (table.c.about == about, table.c.channel == channel)
    if conn.execute(select(table.c.id).where(*mine)).first() is not None:
        return False
    conn.execute(insert(table).values(about=about, channel=channel, body=body, created=now, due=now))
    return True


def due(conn: Connection, channels: Sequence[str], now: datetime, limit: int = 20) -> list[Notice]:
    """What may be sent now, oldest first."""
    wanted = select(table).where(*_open(now), table.c.channel.in_(channels))
    return as_structs(conn, Notice, wanted.order_by(table.c.id).limit(limit))


def claim(conn: Connection, notice_id: int, now: datetime) -> bool:
    """True: it is this agent's to send, for ``CLAIM``."""
    mine = update(table).where(table.c.id == notice_id, *_open(now))
    return bool(conn.execute(mine.values(claimed=now, tries=table.c.tries + 1)).rowcount)


def sent(conn: Connection, notice_id: int, now: datetime) -> None:
    conn.execute(update(table).where(table.c.id == notice_id).values(sent=now, claimed=None, error=""))


def failed(conn: Connection, notice_id: int, error: str, again: datetime | None, now: datetime) -> None:
    """``again`` None: it is given up."""
    values = {"claimed": None, "error": error, "due": again or now, "gave_up": None if again else now}
    conn.execute(update(table).where(table.c.id == notice_id).values(**values))


def forget(conn: Connection, now: datetime) -> None:
    over = or_(table.c.sent.is_not(None), table.c.gave_up.is_not(None))
    conn.execute(delete(table).where(table.c.created < now - _KEPT, over))


def _open(now: datetime) -> tuple[ColumnElement[bool], ...]:
    free = or_(table.c.claimed.is_(None), table.c.claimed < now - CLAIM, table.c.claimed > now + CLAIM)
    return table.c.sent.is_(None), table.c.gave_up.is_(None), table.c.due <= now, free
