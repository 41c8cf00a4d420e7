"""A copy of what a run looks at, in a database of its own: nothing tried there reaches the real one.

Left out is what no plan is made from: the journal, earlier runs, keys, sessions, alarms. ``copied`` is whole and is thrown away;
``rows`` and ``fill`` carry a directory from one database to another, with what the guard counts and what waits for a person, but
without groups' roles and a remote's own. Works from either kind of database.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Table, delete, insert, select, update

from agent.settings import DatabaseSettings
from agent.store import tables
from agent.store.engine import Store

_LEFT_OUT = (
    *("journal", "journal_blocks", "runs", "plans", "actions", "findings", "lease", "api_keys", "alarms", "attention"),
    *("cursors", "events_seen", "push_failures", "sign_ins", "sessions"),
)
_NAMES = ("account", "users", "user_emails", "holds", "deactivations", "allowances")
#: What ``rows`` gives, in the order in which ``fill`` can take it.
_CARRIED = {name: tables.metadata.tables[name] for name in _NAMES}
#: Rows that are held in memory at a time.
_PAGE = 2_000

Row = Mapping[str, object]


@contextmanager
def copied(store: Store) -> Iterator[Store]:
    """Readable for this user alone, as long as it lasts."""
    with TemporaryDirectory(prefix="opshelm-rehearsal-") as folder:
        copy = Store.open(DatabaseSettings(url=f"sqlite:///{Path(folder, 'rehearsal.db')}"), make=True)
        try:
            with store.read() as conn:
                for table in tables.metadata.sorted_tables:
                    if table.name not in _LEFT_OUT:
                        _copy(conn, table, copy)
            yield copy
        finally:
            copy.close()


def rows(conn: Connection) -> Iterator[tuple[str, Row]]:
    """Table and row; of the holds those that are open."""
    for name, table in _CARRIED.items():
        wanted = select(table).order_by(*table.primary_key)
        if table is tables.holds:
            wanted = wanted.where(tables.holds.c.ended.is_(None))
        for row in conn.execute(wanted.execution_options(yield_per=_PAGE)).mappings():
            yield name, dict(row)


def fill(store: Store, found: Iterable[tuple[str, Row]]) -> None:
    """Into a new database. Columns that a row doesn't have are as the table makes them; KeyError for a table that is not carried."""
    page: list[Row] = []
    last = ""
    for name, row in found:
        if page and (name != last or len(page) >= _PAGE):
            _put(store, _CARRIED[last], page)
            page = []
        last = name
        page.append(row)
    if page:
        _put(store, _CARRIED[last], page)


def _put(store: Store, table: Table, page: list[Row]) -> None:
    # A new database has the account's one row already.
    made = update(table).values(**page[0]) if table is tables.account else None
    store.write(lambda conn: conn.execute(insert(table), page) if made is None else conn.execute(made))


def _copy(conn: Connection, table: Table, copy: Store) -> None:
    # A new database has the account's one row already.
    copy.write(lambda there: there.execute(delete(table)))
    pages = conn.execute(select(table).execution_options(yield_per=_PAGE)).mappings().partitions(_PAGE)
    for page in pages:
        rows = [dict(row) for row in page]
        copy.write(lambda there, rows=rows: there.execute(insert(table), rows))  # type: ignore[misc]
