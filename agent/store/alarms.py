"""Alarms: raised by any part, one open row for each code and subject. Delivery is agent.notify's; the log line the caller's."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from agent.model.errors import NotFound, UsageError
from agent.store import journal
from agent.store.connect import as_struct, as_structs
from agent.store.journal import Signature
from agent.store.tables import alarms as table

#: What to look at next, by the alarm's code; docs/codes.md says more.
NEXT = {
    "held": "holds list",
    "push_burst": "guard show",
    "push_burst_half": "guard show",
    "deactivations_24h": "guard show",
    "identity_changes": "journal export",
    "last_owner": "users list --owners",
    "old_key_in_use": "keys list",
    "last_key_ends": "keys list",
    "sweep_overdue": "runs list",
    "failed_actions": "plans list",
    "push_failed": "failures list",
    "import_linking": "import list",
}


def next_command(code: str) -> str:
    return f"opshelm-agent {NEXT.get(code, 'check')}"


class Alarm(Struct, frozen=True, kw_only=True):
    id: int
    code: str
    #: What it is about: "plan 81", an account's id, "key 3", "guard".
    subject: str
    detail: str
    raised: datetime
    last_seen: datetime
    cleared: datetime | None
    #: An operator has silenced it; it ends with its cause all the same.
    acked_at: datetime | None = None
    acked_by: str | None = None
    ack_reason: str | None = None

    @property
    def next(self) -> str:
        """The command to go on with."""
        return next_command(self.code)


def raise_alarm(conn: Connection, code: str, subject: str, detail: str, now: datetime) -> bool:
    """Open it, or refresh the one that is open; True if it is new."""
    mine = (table.c.code == code, table.c.subject == subject, table.c.cleared.is_(None))
    if conn.execute(update(table).where(*mine).values(detail=detail, last_seen=now)).rowcount:
        return False
    conn.execute(insert(table).values(code=code, subject=subject, detail=detail, raised=now, last_seen=now))
    return True


def clear(conn: Connection, code: str, subject: str, now: datetime) -> bool:
    """It is over; True if it was open."""
    mine = (table.c.code == code, table.c.subject == subject, table.c.cleared.is_(None))
    return bool(conn.execute(update(table).where(*mine).values(cleared=now)).rowcount)


def ack(conn: Connection, alarm_id: int, by: Signature) -> None:
    """Silence it while it is open: raised anew after its end it is another one."""
    found = get(conn, alarm_id)
    if found.cleared is not None:
        raise UsageError(f"Alarm {alarm_id} has ended. See: opshelm-agent alarms list")
    values = {"acked_at": by.at, "acked_by": by.actor, "ack_reason": by.reason}
    conn.execute(update(table).where(table.c.id == alarm_id).values(**values))
    journal.note(conn, "alarm ack", by, before={"alarm": alarm_id, "code": found.code})


def get(conn: Connection, alarm_id: int) -> Alarm:
    row = conn.execute(select(table).where(table.c.id == alarm_id)).first()
    if row is None:
        raise NotFound(f"There is no alarm {alarm_id}. See: opshelm-agent alarms list")
    return as_struct(Alarm, row)


def forget(conn: Connection, before: datetime) -> None:
    """Drop those that were over before."""
    conn.execute(delete(table).where(table.c.cleared < before))


def open_alarms(conn: Connection) -> list[Alarm]:
    return as_structs(conn, Alarm, select(table).where(table.c.cleared.is_(None)).order_by(table.c.raised, table.c.id))
