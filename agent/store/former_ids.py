"""What was done to one account, whose id may have been another's before it.

The journal is never changed, so a row keeps the id that the account had then. Where a leaver's account has stepped aside
(verb ``release``: the row names the id that it had), its rows are those of that id up to there, and those of the account that
got the id begin with its ``create``. What can be changed goes along with the account: holds, what plans did, an import.
"""

from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, update

from agent.model.holds import ChangeKind
from agent.model.structs import decoder
from agent.model.users import DirectoryUser
from agent.store.connect import remembered
from agent.store.journal import RELEASE, Kind, written
from agent.store.tables import actions, allowances, holds, imports, journal


class AccountStep(Struct, frozen=True, kw_only=True):
    """One thing that was done to an account; ``before`` is the whole account as JSON."""

    at: datetime
    source: str
    before: str | None


class _Former(Struct, frozen=True):
    id: str = ""


_former = decoder(_Former)


def newest(conn: Connection, directory_id: str) -> Iterator[AccountStep]:
    """What was done to this account, newest first."""
    written(conn)
    done = (journal.c.kind == Kind.APPLIED.value, journal.c.after.is_not(None), mine(conn, directory_id))
    rows = select(journal.c.at, journal.c.source, journal.c.before).where(*done).order_by(journal.c.id.desc())
    for row in conn.execute(rows):
        yield AccountStep(at=row.at, source=row.source, before=row.before)


def mine(conn: Connection, directory_id: str) -> ColumnElement[bool]:
    """The condition for the rows about this account, those from before it stepped aside too."""
    spans, before = [], None
    account: str | None = directory_id
    while account is not None:
        c = journal.c
        upto = [c.directory_id == account] if before is None else [c.directory_id == account, c.id < before]
        made = conn.execute(
            select(func.max(c.id)).where(*upto, c.kind == Kind.APPLIED.value, c.verb == "create")
        ).scalar()
        spans.append(and_(*upto, c.id >= (made or 0)))
        released = select(c.id, c.before).where(*upto, c.kind == Kind.APPLIED.value, c.verb == RELEASE)
        row = conn.execute(released.order_by(c.id.desc()).limit(1)).first()
        account = None if row is None else _former(row.before).id or None
        before = None if row is None else row.id
    return or_(*spans)


def moved(conn: Connection, before: DirectoryUser, after: DirectoryUser) -> None:
    """The account has another id now; what concerns who gets the old one stays where it is."""
    whose = holds.c.okta_id
    theirs = and_(holds.c.kind == ChangeKind.LINK.value, whose.is_not(None), whose != (before.okta_id or ""))
    own = update(holds).where(holds.c.directory_id == before.id, ~theirs)
    conn.execute(own.values(subject=after.id, directory_id=after.id, login=after.user_name))
    done = update(actions).where(actions.c.directory_id == before.id, actions.c.okta_id == before.okta_id)
    conn.execute(done.values(directory_id=after.id, login=after.user_name))
    for table in (imports, allowances):
        conn.execute(update(table).where(table.c.directory_id == before.id).values(directory_id=after.id))
    remembered(conn).clear()  # it may know the old id


def released(conn: Connection, at: datetime) -> dict[str, int]:
    """Id that an account gave up until then → the journal's row of that; the newest where several did."""
    c = journal.c
    rows = select(c.id, c.before).where(c.kind == Kind.APPLIED.value, c.verb == RELEASE, c.at <= at).order_by(c.id)
    return {_former(row.before).id: row.id for row in conn.execute(rows)}


def stepped_aside(conn: Connection, directory_id: str) -> str | None:
    """The id by which the account goes now that had this one last; None where it has it still."""
    c = journal.c
    released = select(c.directory_id, c.before).where(c.kind == Kind.APPLIED.value, c.verb == RELEASE)
    for row in conn.execute(released.order_by(c.id.desc())):
        if _former(row.before).id == directory_id:
            return str(row.directory_id)
    return None
