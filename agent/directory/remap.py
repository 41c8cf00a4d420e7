"""``users.mapped`` follows the attribute mapping: rebuilt, all of it, when the mapping is another one than it was built with.

Page by page, so that pushes wait for one page at most. A kill in between is no harm: the hash that says "done" comes last.
"""

from sqlalchemy import Connection, bindparam, update

from agent.directory import rows
from agent.model.mapping import Mapping
from agent.store import account
from agent.store.engine import Store
from agent.store.statement import Fixed
from agent.store.tables import users

_PAGE = 500
_write = Fixed(update(users).where(users.c.id == bindparam("key")).values(mapped=bindparam("mapped")))


def follow(store: Store, mapping: Mapping) -> int:
    """Rebuild where needed; answers how many accounts were looked at."""
    with store.read() as conn:
        if account.get(conn).mapping_hash == mapping.hash:
            return 0
    seq, done = 0, 0
    while True:
        seq, count = store.write(lambda conn, seq=seq: _page(conn, seq, mapping))  # type: ignore[misc]
        if not count:
            break
        done += count
    store.write(lambda conn: account.set_mapping_hash(conn, mapping.hash))
    return done


def _page(conn: Connection, seq: int, mapping: Mapping) -> tuple[int, int]:
    account.lock(conn)
    seq, found = rows.after(conn, seq, _PAGE)
    projected = [{"key": user.id, "mapped": mapping.project(user.profile)} for user in found]
    if projected:
        _write.many(conn, projected)
    return seq, len(found)
