"""The journal: append only, in the same transaction as the change, or the change doesn't happen. Sealing is in seal.py.

A row's hash covers its own contents but for its id and block; blocks chain rows (seal.py).
"""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, bindparam, insert

from agent.store.connect import Fixed, micros, write_later, write_now
from agent.store.tables import journal as table

#: An account steps aside: somebody new gets its id, and the row says which that was.
RELEASE = "release"
#: What an operator took back of somebody is held.
UNDO = "undo"


class Kind(StrEnum):
    APPLIED = "applied"
    #: An authenticated attempt that a rule refused.
    REFUSED = "refused"
    #: Written before something outside this database is changed.
    INTENT = "intent"
    #: An intent that was not carried out: the remote said no, or a read showed that nothing happened.
    FAILED = "failed"


class Signature(Struct, frozen=True, kw_only=True):
    """Who does something to the agent, from where, when and why: what every decision of an operator carries."""

    actor: str
    source: str
    at: datetime
    reason: str = ""


class Entry(Struct, frozen=True, kw_only=True):
    """One row to be. ``before`` and ``after`` are JSON text; never a secret in any field."""

    kind: Kind
    #: create, update, deactivate, reactivate, link, remove, role, …; keys create, pause, guard allow, …
    verb: str
    #: "key:3 okta-prod", "run 81", "operator root@host".
    actor: str
    source: str
    directory_id: str | None = None
    okta_id: str | None = None
    request_id: str = ""
    run_id: int | None = None
    plan_id: int | None = None
    action_n: int | None = None
    reason: str = ""
    before: str | None = None
    after: str | None = None


_encode = msgspec.json.Encoder().encode
_fields = Entry.__struct_fields__
_columns = ("at", *_fields, "hash")
_insert = Fixed(insert(table).inline().values({name: bindparam(name) for name in _columns}))


def row_hash(at: int, *values: str | int | None) -> str:
    """SHA-256 over the row's contents in the order of Entry's fields."""
    return hashlib.sha256(_encode((at, values))).hexdigest()


def append(conn: Connection, entry: Entry, now: datetime) -> None:
    """Write one row; in a store's transaction at its end, with those of the other works."""
    at = micros(now)
    kind, *rest = msgspec.structs.astuple(entry)
    values = (str(kind), *rest)
    row = dict(zip(_columns, (at, *values, row_hash(at, *values)), strict=True))
    write_later(conn, _insert.together, row)


def written(conn: Connection) -> None:
    """Who reads the journal in a write transaction finds its rows in it from now on."""
    write_now(conn, _insert.together)


def note(conn: Connection, verb: str, by: Signature, **more: Any) -> None:
    """Write a person's decision. ``before``: what it is about; ``after`` is left to changes of accounts, and to what is announced.
    Both as JSON text, or as what becomes that.
    """
    said = {"actor": by.actor, "source": by.source, "reason": by.reason, **more}
    for name in ("before", "after"):
        if name in said and not isinstance(said[name], str | None):
            said[name] = _encode(said[name]).decode()
    append(conn, Entry(kind=Kind.APPLIED, verb=verb, **said), by.at)
