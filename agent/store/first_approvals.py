"""What one person has approved on a page, where the settings want a second one: nothing is done before somebody else says the same."""

import hashlib
from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from agent.store import journal
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
    key = _key(mine.subject, mine.numbers)
    row = conn.execute(select(table).where(table.c.sha256 == key, table.c.expires > mine.at)).first()
    conn.execute(delete(table).where(table.c.sha256 == key))
    if row is not None and row.identity != mine.identity:
        return _made(row)
    values = {name: getattr(mine, name) for name in mine.__struct_fields__}
    conn.execute(insert(table).values(**{**values, "numbers": _text(mine.numbers)}, sha256=key))
    by = Signature(actor=mine.name, source="dashboard", at=mine.at, reason="somebody else has to approve it too")
    entry = journal.Entry(
        kind=journal.Kind.APPLIED,
        verb="first approval",
        actor=by.actor,
        source=by.source,
        reason=by.reason,
        before=msgspec.json.encode({"subject": mine.subject, "numbers": mine.numbers}).decode(),
    )
    journal.append(conn, entry, by.at)
    return None


def waiting(conn: Connection, subject: str, now: datetime) -> list[FirstApproval]:
    """Oldest first."""
    mine = select(table).where(table.c.subject == subject, table.c.expires > now)
    return [_made(row) for row in conn.execute(mine.order_by(table.c.at))]


def forget(conn: Connection, now: datetime) -> None:
    conn.execute(delete(table).where(table.c.expires <= now))


def _made(row: Any) -> FirstApproval:
    values = row._asdict()
    del values["sha256"]
    values["numbers"] = tuple(msgspec.json.decode(values["numbers"], type=list[int]))
    return FirstApproval(**values)


def _key(subject: str, numbers: Collection[int]) -> str:
    return hashlib.sha256(f"{subject} {_text(numbers)}".encode()).hexdigest()


def _text(numbers: Collection[int]) -> str:
    return msgspec.json.encode(sorted(numbers)).decode()
