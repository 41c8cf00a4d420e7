"""A copy of what a run looks at, in a database of its own that is thrown away: nothing tried there reaches the real one.

Left out is what no plan is made from: the journal, earlier runs, keys, sessions, alarms. Works from either kind of database.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Table, delete, insert, select

from agent.settings import DatabaseSettings
from agent.store import tables
from agent.store.engine import Store

_LEFT_OUT = frozenset(
    {
        tables.journal,
        tables.journal_blocks,
        tables.runs,
        tables.plans,
        tables.actions,
        tables.findings,
        tables.lease,
        tables.api_keys,
        tables.alarms,
        tables.attention,
        tables.cursors,
        tables.events_seen,
        tables.push_failures,
        tables.sign_ins,
        tables.sessions,
    }
)
#: Rows that are held in memory at a time.
_PAGE = 2_000


@contextmanager
def copied(store: Store) -> Iterator[Store]:
    """Readable for this user alone, as long as it lasts."""
    with TemporaryDirectory(prefix="opshelm-rehearsal-") as folder:
        copy = Store.open(DatabaseSettings(url=f"sqlite:///{Path(folder, 'rehearsal.db')}"), make=True)
        try:
            with store.read() as conn:
                for table in tables.metadata.sorted_tables:
                    if table not in _LEFT_OUT:
                        _copy(conn, table, copy)
            yield copy
        finally:
            copy.close()


def _copy(conn: Connection, table: Table, copy: Store) -> None:
    # A new database has the account's one row already.
    copy.write(lambda there: there.execute(delete(table)))
    pages = conn.execute(select(table).execution_options(yield_per=_PAGE)).mappings().partitions(_PAGE)
    for page in pages:
        rows = [dict(row) for row in page]
        copy.write(lambda there, rows=rows: there.execute(insert(table), rows))  # type: ignore[misc]
