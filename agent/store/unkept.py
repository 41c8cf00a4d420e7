"""What a remote doesn't keep of an account, as its answers have shown. Decides nothing, calls nobody."""

from collections.abc import Collection
from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select, update

from agent.store.connect import as_structs
from agent.store.tables import unkept as table


class Loss(StrEnum):
    """How that shows."""

    #: It says yes to the attribute, and doesn't have it then.
    DROPS = "drops"
    #: It says no to whatever has the attribute.
    REFUSES = "refuses"
    #: Its Schemas and ResourceTypes don't have it.
    UNLISTED = "unlisted"
    #: It says yes to the attribute, and has a value of its own then, say one that it makes out of others.
    OWN = "own"
    #: It keeps the value in another spelling.
    RESPELLS = "respells"
    #: It came otherwise once, which may have been chance: nothing is left out for that.
    DOUBTED = "doubted"


class Unkept(Struct, frozen=True, kw_only=True):
    attribute: str
    how: Loss
    #: The remote's own, of a refusal.
    words: str = ""
    since: datetime
    #: When it was tried last; None: it is to be tried with the next write.
    asked: datetime | None = None


def of(conn: Connection, remote: str) -> list[Unkept]:
    return as_structs(conn, Unkept, select(table).where(table.c.remote == remote).order_by(table.c.attribute))


def note(conn: Connection, remote: str, found: Unkept) -> None:
    """Anew, or tried once more."""
    mine = table.c.remote == remote, table.c.attribute == found.attribute
    values = {"how": found.how.value, "words": found.words, "asked": found.asked}
    if not conn.execute(update(table).where(*mine).values(values)).rowcount:
        conn.execute(insert(table).values(remote=remote, attribute=found.attribute, since=found.since, **values))


def forget(conn: Connection, remote: str, attributes: Collection[str]) -> None:
    conn.execute(delete(table).where(table.c.remote == remote, table.c.attribute.in_(attributes)))


def ask_again(conn: Connection, attributes: Collection[str]) -> list[str]:
    """Of any remote; answers what there is to be asked about. None given: all."""
    chosen = [table.c.how != Loss.DOUBTED.value]
    if attributes:
        chosen.append(table.c.attribute.in_(attributes))
    conn.execute(update(table).where(*chosen).values(asked=None))
    return list(conn.execute(select(table.c.attribute).where(*chosen).distinct().order_by(table.c.attribute)).scalars())
