"""The attribute mapping belongs to the database: all agents on it have the same, and ``users.mapped`` is built with it.

Whoever comes with another one is refused (OtherMapping); a change is one explicit step, with a version and a journal row. It
holds for every write from its first transaction on; then the rows are rebuilt page by page, so that pushes wait for one page
at most. Whoever was killed in between is followed by the next sweep, which does the rest before it compares.
"""

from sqlalchemy import Connection, bindparam, update

from agent.directory import rows
from agent.model.mapping import Mapping
from agent.store import account, journal
from agent.store.connect import Fixed
from agent.store.engine import Store
from agent.store.journal import Entry, Kind, Signature
from agent.store.tables import users

_PAGE = 500
_write = Fixed(update(users).where(users.c.id == bindparam("key")).values(mapped=bindparam("mapped")))


def require(store: Store, mapping: Mapping) -> None:
    """OtherMapping where the database has another one. A database without any takes it."""
    with store.read() as conn:
        row = account.get(conn)
    if row.mapping_hash is None:
        store.write(lambda conn: _take(conn, mapping, None))
        finish(store, mapping)
    else:
        account.require_mapping(row, mapping)


def change(store: Store, mapping: Mapping, by: Signature) -> int | None:
    """Make it the database's; answers its version, or None where it is that already. The rows are not rebuilt yet."""
    return store.write(lambda conn: _take(conn, mapping, by))


def finish(store: Store, mapping: Mapping) -> int:
    """Rebuild what is left of it; answers how many accounts that were."""
    done = 0
    while count := store.write(lambda conn: _page(conn, mapping)):
        done += count
    return done


def _take(conn: Connection, mapping: Mapping, by: Signature | None) -> int | None:
    row = account.lock(conn)
    if row.mapping_hash == mapping.hash:
        return None
    if row.mapping_hash is not None and by is None:
        account.require_mapping(row, mapping)
    version = row.mapping_version + 1
    account.set_mapping(conn, mapping, version)
    if by is not None:
        journal.append(
            conn,
            Entry(
                kind=Kind.APPLIED,
                verb="mapping",
                actor=by.actor,
                source=by.source,
                reason=by.reason or f"version {version}",
                before=row.mapping,
                after=mapping.text,
            ),
            by.at,
        )
    return version


def _page(conn: Connection, mapping: Mapping) -> int:
    row = account.lock(conn)
    account.require_mapping(row, mapping)
    if row.mapping_seq is None:
        return 0
    seq, found = rows.after(conn, row.mapping_seq, _PAGE)
    projected = [{"key": user.id, "mapped": mapping.project(user.profile)} for user in found]
    if projected:
        _write.many(conn, projected)
    account.set_mapping_seq(conn, seq if found else None)
    return len(found)
