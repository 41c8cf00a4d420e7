"""What one person has approved on a page, where the settings want a second one: nothing is done before somebody else says the same."""

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from agent.store import journal
from agent.store.connect import as_struct, as_values
from agent.store.journal import Signature
from agent.store.tables import first_approvals as table


class FirstApproval(Struct, frozen=True, kw_only=True):
    #: "plan 81 CHECKSUM", or "holds".
    subject: str
    #: Of the actions, or of the holds.
    numbers: tuple[int, ...]
    #: Who it is, whatever name they gave; the second one has to be another.
    identity: str
    name: str
    at: datetime
    expires: datetime


def agree(conn: Connection, mine: FirstApproval) -> FirstApproval | None:
    """The other person's approval of the very same, which is used up with this; None: mine is the first, and is kept."""
    key = hashlib.sha256(f"{mine.subject} {_text(mine.numbers)}".encode()).hexdigest()
    row = conn.execute(select(table).where(table.c.sha256 == key, table.c.expires > mine.at)).first()
    conn.execute(delete(table).where(table.c.sha256 == key))
    if row is not None and row.identity != mine.identity:
        return _made(row)
    conn.execute(insert(table).values(**{**as_values(mine), "numbers": _text(mine.numbers)}, sha256=key))
    by = Signature(actor=mine.name, source="dashboard", at=mine.at, reason="somebody else has to approve it too")
    journal.note(conn, "first approval", by, before={"subject": mine.subject, "numbers": mine.numbers})
    return None


def waiting(conn: Connection, subject: str, now: datetime) -> list[FirstApproval]:
    """Oldest first."""
    mine = select(table).where(table.c.subject == subject, table.c.expires > now)
    return [_made(row) for row in conn.execute(mine.order_by(table.c.at))]


def forget(conn: Connection, now: datetime) -> None:
    conn.execute(delete(table).where(table.c.expires <= now))


def _made(row: Any) -> FirstApproval:
    return as_struct(FirstApproval, row, numbers=msgspec.json.decode(row.numbers))


def _text(numbers: Collection[int]) -> str:
    return msgspec.json.encode(sorted(numbers)).decode()
