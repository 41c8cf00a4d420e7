"""People that the reconciler should look at alone and soon: after a refused push, an event, a hook. A queue, no rules."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, delete, func, insert, select, update

from agent.store.tables import attention as table

#: A local account was pushed inactive; nothing was changed.
LOCAL_DEACTIVATE = "local_deactivate"
#: A push changed or reactivated an inactive bound account: is it still the same person?
CONFIRM_REUSE = "confirm_reuse"
#: A refused push that an operator has allowed since.
ALLOWED = "allowed"
#: A push failed because the remote OpsHelm did not answer.
REMOTE_DOWN = "remote_down"
#: The System Log or a hook named the person.
EVENT = "event"


class Attention(Struct, frozen=True, kw_only=True):
    id: int
    okta_id: str | None
    directory_id: str | None
    reason: str
    not_before: datetime
    attempts: int
    created: datetime


_columns = [table.c[name] for name in Attention.__struct_fields__]


def add(
    conn: Connection, *, reason: str, not_before: datetime, now: datetime,
    okta_id: str | None = None, directory_id: str | None = None,
) -> None:  # fmt: skip
    """Ask for a look; asking again while it waits only moves it forward."""
    subject = f"{reason} {okta_id or ''} {directory_id or ''}"
    known = conn.execute(select(table.c.id, table.c.not_before).where(table.c.subject == subject)).first()
    if known is None:
        values = {"reason": reason, "subject": subject, "okta_id": okta_id, "directory_id": directory_id}
        conn.execute(insert(table).values(not_before=not_before, created=now, **values))
    elif known.not_before > not_before:
        conn.execute(update(table).where(table.c.id == known.id).values(not_before=not_before))


def due(conn: Connection, now: datetime, limit: int) -> list[Attention]:
    rows = conn.execute(
        select(*_columns).where(table.c.not_before <= now).order_by(table.c.not_before).limit(limit)
    )
    return [Attention(**row._asdict()) for row in rows]


def waiting(conn: Connection) -> int:
    return conn.execute(select(func.count()).select_from(table)).scalar_one()


def done(conn: Connection, ids: list[int]) -> None:
    conn.execute(delete(table).where(table.c.id.in_(ids)))


def postpone(conn: Connection, ids: list[int], not_before: datetime) -> None:
    """They could not be looked at: one more attempt, later."""
    conn.execute(
        update(table).where(table.c.id.in_(ids)).values(not_before=not_before, attempts=table.c.attempts + 1)
    )
