"""What Okta showed in a sweep, to be compared with ``users``.

It is a temporary table on a connection of its own: nobody else sees it, it waits for no other writer and makes none
wait, and it ends with the sweep, however it ends. Comparing is in compare.py, over ``Staging.snapshot``.
Somebody who is listed twice (the list moved while it was paged) counts once, as seen last.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Identity,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    func,
    select,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from agent.model.cases import Want
from agent.model.errors import StoreUnavailable
from agent.store.connect import driver, micros, sqlite_path
from agent.store.engine import Store
from agent.store.failures import DATABASE_ERRORS, translate

#: One row a person that a sweep saw (model.cases.Want). ``n``: in the order of the listing.
sweep_rows = Table(
    "sweep_rows",
    MetaData(),
    Column("n", Integer, Identity(), primary_key=True),
    Column("okta_id", String(64), nullable=False),
    Column("external_id", Text),
    Column("user_name", Text, nullable=False),
    Column("user_name_key", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    Column("wanted", String(8), nullable=False),
    # Row of the desired-state table that decided.
    Column("row", String(40), nullable=False),
    Column("mapped", Text, nullable=False),
    Column("unsaid", BigInteger, nullable=False),
    Column("sync_error", Boolean, nullable=False),
    Column("read_at", BigInteger, nullable=False),
    prefixes=["TEMPORARY"],
)

# Made when all rows are there: sorting them once takes a tenth of the time of keeping them sorted.
_OKTA_ID = Index("ix_sweep_rows_okta_id", sweep_rows.c.okta_id)


class Staging:
    """Used by one thread. Open it with ``opened``; what it raises are StoreErrors."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        #: PostgreSQL's process that has the rows; None for SQLite, which is this one.
        self._session: int | None = None
        if not _is_sqlite(conn):
            self._session = driver(conn).execute("SELECT pg_backend_pid()").fetchone()[0]

    def add_people(self, wants: Iterable[Want]) -> None:
        """One page of app users, projected."""
        table, rows = sweep_rows, [_sweep_row(want) for want in wants]
        names = ", ".join(f'"{column.name}"' for column in table.c if column.name != "n")
        with self._transaction() as raw:
            if self._session is None:
                places = ", ".join("?" * (len(table.c) - 1))
                raw.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({places})", rows)
            else:
                with raw.cursor().copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)

    def close_people(self) -> int:
        """All have come; answers how many there are."""
        table, key = sweep_rows, sweep_rows.c.okta_id
        with self._transaction() as raw:
            self._conn.execute(CreateIndex(_OKTA_ID))
            if self._session is not None:
                # Nothing else gathers statistics of a temporary table.
                raw.execute(f"ANALYZE {table.name}")
            twice = select(key).group_by(key).having(func.count() > 1).limit(1)
            if self._conn.execute(twice).first() is not None:
                last = select(func.max(table.c.n)).group_by(key)
                self._conn.execute(table.delete().where(table.c.n.not_in(last)))
            return self._conn.execute(select(func.count()).select_from(table)).scalar_one()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One snapshot of the database, with the listing in it, for all statements inside."""
        with self._transaction(" ISOLATION LEVEL REPEATABLE READ READ ONLY", end="ROLLBACK"):
            yield self._conn

    @contextmanager
    def _transaction(self, mode: str = "", *, end: str = "COMMIT") -> Iterator[Any]:
        """The driver's connection, amid a transaction of the session that has the listing. ``mode`` is PostgreSQL's."""
        raw = driver(self._conn)
        with _translated():
            raw.execute("BEGIN" if self._session is None else f"BEGIN{mode}")
            try:
                self._require_session(raw)
                yield raw
            except BaseException:
                with suppress(*DATABASE_ERRORS):
                    raw.execute("ROLLBACK")
                raise
            raw.execute(end)

    def _require_session(self, raw: Any) -> None:
        """A pooler that shares sessions would answer from other rows than those of this sweep."""
        if self._session is not None and raw.execute("SELECT pg_backend_pid()").fetchone()[0] != self._session:
            raise StoreUnavailable(
                "PostgreSQL gave the sweep another session than the one that has its rows. Nothing was changed. A pooler in "
                "between needs pool_mode = session."
            )


@contextmanager
def opened(store: Store) -> Iterator[Staging]:
    """An empty listing, gone when the block ends."""
    with _translated():
        conn = store.engine.execution_options(isolation_level="AUTOCOMMIT").connect()
    try:
        with _translated():
            if _is_sqlite(conn):
                _prepare_sqlite(driver(conn), sqlite_path(store.settings))
            found = Staging(conn)
            conn.execute(CreateTable(sweep_rows))
        yield found
    finally:
        with suppress(*DATABASE_ERRORS):
            # Ended, whatever state it is in: back in a pool it would bring the tables along.
            conn.invalidate()
            conn.close()


def _prepare_sqlite(raw: Any, database: Path | None) -> None:
    """In a file without a name, where the database has its space too; elsewhere temporary things are small, and in memory."""
    raw.execute("PRAGMA temp_store=FILE")
    # All of it is written once and read a few times, most of it in order: fewer, larger pages take a third less time.
    raw.execute("PRAGMA temp.page_size=16384")
    # Nothing here is ever rolled back: after an error all of it is thrown away.
    raw.execute("PRAGMA temp.journal_mode=OFF")
    folder = str(database.absolute().parent) if database else ""
    # The setting is the whole process's, so it is made but once. Where it can't be made, the system's own folder does.
    with suppress(*DATABASE_ERRORS):
        if raw.execute("PRAGMA temp_store_directory").fetchone() != (folder,):
            raw.execute(f"PRAGMA temp_store_directory={_quoted(folder)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DATABASE_ERRORS as exc:
        raise translate(exc) from exc


def _is_sqlite(conn: Connection) -> bool:
    return conn.dialect.name == "sqlite"


#: One time for each page.
_read_at = lru_cache(maxsize=16)(micros)


# Of an enum's member, ``_value_`` is the attribute and ``value`` a slower way to it; these rows are many.
def _sweep_row(want: Want) -> tuple[Any, ...]:
    return (
        want.okta_id,
        want.external_id,
        want.user_name,
        want.user_name_key,
        want.email,
        want.email_key,
        want.wanted._value_,
        want.row._value_,
        want.mapped,
        want.unsaid,
        want.sync_error,
        _read_at(want.read_at),
    )
