"""The two listings that a sweep compares: what Okta showed, and (for a remote directory) what the directory showed.

They are temporary tables on a connection of their own: nobody else sees them, they wait for no other writer and make none
wait, and they end with the sweep, however it ends. Comparing is in compare.py, over ``Staging.snapshot``.
Somebody who is listed twice (the list moved while it was paged) counts once, as seen last.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

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

from agent.model.cases import CurrentAccount, Want
from agent.store.connect import driver, micros, sqlite_path
from agent.store.engine import Store
from agent.store.failures import DATABASE_ERRORS, translate

_temporary = MetaData()

#: One row a person that a sweep saw (model.cases.Want). ``n``: in the order of the listing.
sweep_rows = Table(
    "sweep_rows",
    _temporary,
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

#: A listing of a remote directory (model.cases.Account), in the columns of users that the compare statement reads.
directory_rows = Table(
    "directory_rows",
    _temporary,
    Column("n", Integer, Identity(), primary_key=True),
    Column("id", String(255), nullable=False),
    Column("user_name", Text, nullable=False),
    Column("user_name_key", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    Column("okta_id", String(255)),
    Column("origin", String(8), nullable=False),
    Column("protected", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("suspended", Boolean, nullable=False),
    Column("role", String(8), nullable=False),
    Column("mapped", Text, nullable=False),
    Column("version", Integer, nullable=False),
    prefixes=["TEMPORARY"],
)

# Made when all rows are there: sorting them once takes a tenth of the time of keeping them sorted.
_KEYS = {
    sweep_rows: [Index("ix_sweep_rows_okta_id", sweep_rows.c.okta_id)],
    directory_rows: [
        Index("ix_directory_rows_id", directory_rows.c.id),
        Index("ix_directory_rows_name", directory_rows.c.user_name_key),
        Index("ix_directory_rows_okta_id", directory_rows.c.okta_id),
    ],
}


#: What directory_rows holds of one account: in its order without ``n``, as it is stored.
AccountRow = tuple[Any, ...]


class Contested(NamedTuple):
    """An account of a remote whose externalId another one has too."""

    id: str
    user_name: str
    okta_id: str


class Staging:
    """Used by one thread. Open it with ``opened``; what it raises are StoreErrors."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def add_people(self, wants: Iterable[Want]) -> None:
        """One page of app users, projected."""
        self._add(sweep_rows, [_sweep_row(want) for want in wants])

    def add_accounts(self, rows: Sequence[AccountRow]) -> None:
        """Some of a remote directory."""
        self._add(directory_rows, rows)

    def close_people(self) -> int:
        """All have come; answers how many there are."""
        return self._closed(sweep_rows, sweep_rows.c.okta_id)

    def close_accounts(self) -> list[Contested]:
        """All have come. An Okta id that several claim is taken from each that no link confirms: those are answered."""
        self._closed(directory_rows, directory_rows.c.id)
        rows = directory_rows.c
        with _translated():
            several = (
                select(rows.okta_id).where(rows.okta_id.is_not(None)).group_by(rows.okta_id).having(func.count() > 1)
            )
            unconfirmed = (rows.okta_id.in_(several), rows.origin == "local")
            wanted = select(rows.id, rows.user_name, rows.okta_id).where(*unconfirmed).order_by(rows.n)
            found = [Contested(*row) for row in self._conn.execute(wanted)]
            if found:
                self._conn.execute(directory_rows.update().where(*unconfirmed).values(okta_id=None))
        return found

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One snapshot of the database, with the listings in it, for all statements inside."""
        with _translated():
            raw = driver(self._conn)
            raw.execute("BEGIN" if _is_sqlite(self._conn) else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield self._conn
            finally:
                raw.execute("ROLLBACK")

    def _add(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        names = ", ".join(f'"{column.name}"' for column in table.c if column.name != "n")
        raw = driver(self._conn)
        with _translated():
            if _is_sqlite(self._conn):
                places = ", ".join("?" * (len(table.c) - 1))
                raw.execute("BEGIN")
                raw.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({places})", rows)
                raw.execute("COMMIT")
            else:
                with raw.cursor().copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)

    def _closed(self, table: Table, key: Any) -> int:
        with _translated():
            for index in _KEYS[table]:
                self._conn.execute(CreateIndex(index))
            if not _is_sqlite(self._conn):
                # Nothing else gathers statistics of a temporary table.
                driver(self._conn).execute(f"ANALYZE {table.name}")
            twice = select(key).group_by(key).having(func.count() > 1).limit(1)
            if self._conn.execute(twice).first() is not None:
                last = select(func.max(table.c.n)).group_by(key)
                self._conn.execute(table.delete().where(table.c.n.not_in(last)))
            return self._conn.execute(select(func.count()).select_from(table)).scalar_one()


@contextmanager
def opened(store: Store) -> Iterator[Staging]:
    """Two empty listings, gone when the block ends."""
    with _translated():
        conn = store.engine.execution_options(isolation_level="AUTOCOMMIT").connect()
    try:
        with _translated():
            if _is_sqlite(conn):
                _prepare_sqlite(driver(conn), sqlite_path(store.settings))
            for table in _temporary.sorted_tables:
                conn.execute(CreateTable(table))
        yield Staging(conn)
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


def account_row(account: CurrentAccount) -> AccountRow:
    return (
        account.id,
        account.user_name,
        account.user_name_key,
        account.email_key,
        account.okta_id,
        account.origin._value_,
        account.protected,
        account.active,
        account.suspended,
        account.role._value_,
        account.mapped,
        account.version,
    )
