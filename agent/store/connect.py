"""Engines for the two databases, and statements on their drivers. Opens files and sockets; knows no schema.

Statements of the hot path are SQLAlchemy Core compiled once for each dialect, run on the driver's own cursor.

Not for statements whose shape depends on data; those go through ``Connection.execute``. Results are plain tuples with
times as microseconds and booleans as the driver gives them; parameters are given in the same raw form.
"""

import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from msgspec import Struct, convert, to_builtins
from sqlalchemy import ColumnElement, Connection, Engine, NullPool, Select, Table, create_engine, event
from sqlalchemy.engine import URL, Dialect, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.sql.expression import Executable

from agent.model.errors import ConfigError, NoDatabase, NoSessions, StoreUnavailable
from agent.model.structs import ready
from agent.settings import DatabaseSettings

T = TypeVar("T", bound=Struct)
#: Rows in one statement; a transaction has few of each, and SQLite keeps what it has prepared.
_SIZES = (32, 8, 1)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def database_errors() -> tuple[type[Exception], ...]:
    """What a database in use may raise. Of PostgreSQL's driver only where one is: it takes 0.15 s and 15 MB to load."""
    postgresql = sys.modules.get("psycopg")
    return (SQLAlchemyError, sqlite3.Error, *((postgresql.Error,) if postgresql else ()))


def from_postgresql(error: BaseException | None, kind: str = "Error") -> bool:
    """Whether psycopg raised it: its error of this name or a narrower one."""
    postgresql = sys.modules.get("psycopg.errors")
    return postgresql is not None and isinstance(error, getattr(postgresql, kind))


class _Compiled(NamedTuple):
    sql: str
    #: What the statement itself binds, a limit for instance.
    constants: dict[str, Any]
    #: All values as the driver takes them: in order for sqlite3, by name for psycopg.
    arranged: Callable[[dict[str, Any]], Any]


class Fixed:
    """One statement with named parameters. What it raises are the driver's errors; Store translates them."""

    __slots__ = ("_compiled", "_statement")

    def __init__(self, statement: Executable) -> None:
        self._statement = statement
        self._compiled: dict[str, _Compiled] = {}

    def __call__(self, conn: Connection, **params: Any) -> Any:
        """The driver's cursor."""
        sql, constants, arranged = self._compiled.get(conn.dialect.name) or self._compile(conn.dialect)
        if constants:
            params = {**constants, **params}
        return driver(conn).execute(sql, arranged(params))

    def many(self, conn: Connection, rows: list[dict[str, Any]]) -> None:
        sql, constants, arranged = self._compiled.get(conn.dialect.name) or self._compile(conn.dialect)
        whole = [{**constants, **row} for row in rows] if constants else rows
        driver(conn).cursor().executemany(sql, [arranged(row) for row in whole])

    def together(self, conn: Connection, rows: list[dict[str, Any]]) -> None:
        """An INSERT of many rows, in few statements: each lets go of the interpreter and has to get it back."""
        sql, _, arranged = self._compiled.get(conn.dialect.name) or self._compile(conn.dialect)
        if conn.dialect.name != "sqlite":
            self.many(conn, rows)
            return
        begin, raw = 0, driver(conn)
        for size in _SIZES:
            while len(rows) - begin >= size:
                values = [*chain.from_iterable(map(arranged, rows[begin : begin + size]))]
                raw.execute(_of_rows(sql, size), values)
                begin += size

    def _compile(self, dialect: Dialect) -> _Compiled:
        compiled = self._statement.compile(dialect=dialect)  # type: ignore[attr-defined]
        # A NULL that the statement itself sets is one too.
        constants = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
        found = _Compiled(str(compiled), constants, _arranging(compiled.positiontup))
        self._compiled[dialect.name] = found
        return found


@cache
def _of_rows(sql: str, size: int) -> str:
    """An INSERT of one row as one of so many."""
    begin = sql.index("VALUES (") + len("VALUES ")
    depth = 0
    for end, sign in enumerate(sql[begin:], begin + 1):
        depth += (sign == "(") - (sign == ")")
        if not depth:
            return sql[:end] + f", {sql[begin:end]}" * (size - 1) + sql[end:]
    raise ValueError(f"no INSERT of values: {sql}")


def _arranging(order: Sequence[str] | None) -> Callable[[dict[str, Any]], Any]:
    if order is None:
        return lambda values: values
    if len(order) > 1:
        return itemgetter(*order)
    # Of a single name, itemgetter gives no tuple.
    return lambda values: tuple(values[name] for name in order)


def as_struct(kind: type[T], row: Any, **other: Any) -> T:
    """A row of SQLAlchemy's as this struct: enumerations from their texts; columns that it hasn't are left out.

    ``other``: what stands in the place of a column's own value.
    """
    # SQLAlchemy's names are a kind of str that msgspec doesn't take.
    return convert({**{str(name): value for name, value in row._asdict().items()}, **other}, ready[kind])


def as_structs(conn: Connection, kind: type[T], statement: Select[Any]) -> list[T]:
    """Every row of the answer as this struct."""
    return [as_struct(kind, row) for row in conn.execute(statement)]


def equal(table: Table, **wanted: object) -> list[ColumnElement[bool]]:
    """Conditions on columns for what is asked for; what is None is not."""
    return [table.c[name] == value for name, value in wanted.items() if value is not None]


def as_values(value: Struct) -> dict[str, Any]:
    """Its fields as SQLAlchemy takes them: enumerations as their texts, times as they are."""
    fields = to_builtins(value, builtin_types=(datetime,))
    return dict(fields)


def read(kind: type[T], row: Sequence[Any], *, times: Iterable[str] = (), **how: Callable[[Any], Any]) -> T:
    """A row as the driver gave it, its columns in the order of the struct's fields; ``how`` makes a value of another kind."""
    values: dict[str, Any] = dict(zip(kind.__struct_fields__, row, strict=True))
    for name in times:
        if values[name] is not None:
            values[name] = moment(values[name])
    for name, make in how.items():
        values[name] = make(values[name])
    return kind(**values)


Row = TypeVar("Row")


class Transaction:
    """What the works of one write transaction have in common. The store makes one at its begin, and ``end`` is before COMMIT."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        #: Rows that are still to be written, by what writes them.
        self.left: dict[Callable[[Connection, list[Any]], None], list[Any]] = {}
        #: What was read under the account's lock and is so until this transaction changes it.
        self.remembered: dict[str, Any] = {}
        _under_way[conn] = self

    def waiting(self) -> int:
        return sum(map(len, self.left.values()))

    def end(self) -> None:
        for write in [*self.left]:
            write_now(self._conn, write)
        self.drop(self._conn)

    @staticmethod
    def drop(conn: Connection) -> None:
        _under_way.pop(conn, None)


#: Those that have begun and not ended. Every write asks here several times; SQLAlchemy's ``info`` takes five calls to say it.
_under_way: dict[Connection, Transaction] = {}


def remembered(conn: Connection) -> dict[str, Any]:
    """For what the works of a store's transaction need not read again; where there is none it is forgotten at once."""
    here = _under_way.get(conn)
    return {} if here is None else here.remembered


def write_later(conn: Connection, write: Callable[[Connection, list[Row]], None], row: Row) -> None:
    """Have it written at the end of the store's transaction, with what other works of it leave to the same ``write``.

    For rows that nobody reads before, or only after ``write_now``. Where no store has begun the transaction: at once.
    """
    here = _under_way.get(conn)
    if here is None:
        write(conn, [row])
    else:
        here.left.setdefault(write, []).append(row)


def write_now(conn: Connection, write: Callable[[Connection, list[Row]], None]) -> None:
    """What was left to it so far in this transaction."""
    here = _under_way.get(conn)
    rows = None if here is None else here.left.pop(write, None)
    if rows:
        write(conn, rows)


def driver(conn: Connection) -> Any:
    """The sqlite3 or psycopg connection below; both answer ``execute`` with a cursor."""
    return conn.connection.dbapi_connection


def micros(at: datetime) -> int:
    """Microseconds since 1970; a naive datetime is refused."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime has no place in the store")
    return (at - EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    return EPOCH + timedelta(0, 0, value)


#: Below so much an operator is told: a large run's log and a copy of the database need some.
LOW_ROOM = 256_000_000
#: What SQLite's log grows to before it is folded in: with less a disk that was full is full again at once.
ENOUGH_ROOM = 4_000_000
_CONNECT_SECONDS = 10
#: With no other clients one look suffices; among others the server may just be away.
_LOOKS = 3
_NO_SESSIONS = (
    "database.url: the pooler at {where} shares PostgreSQL's sessions between its clients (PgBouncer with pool_mode = "
    "transaction or statement), which the agent can't work with. Set pool_mode = session for this database in "
    "pgbouncer.ini, or name PostgreSQL itself"
)


def engine(settings: DatabaseSettings, *, make: bool = True) -> Engine:
    """An engine for the setting's address; nothing is connected yet. Without ``make`` a missing file is NoDatabase."""
    try:
        url = make_url(settings.url)
    except ArgumentError as exc:
        raise ConfigError(["database.url: not an address such as sqlite:///PATH or postgresql://HOST/NAME"]) from exc
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite(url, settings, make=make)
    if backend == "postgresql":
        return _postgresql(url, settings)
    raise ConfigError([f"database.url: {backend} is not supported; use sqlite or postgresql"])


def require_sessions(engine: Engine, where: str) -> None:
    """NoSessions where a pooler gives one session's server to another between two statements.

    Whatever belongs to a session (a sweep's rows, time-outs, locks) is then now here, now gone, or somebody else's. PgBouncer
    does so with ``pool_mode`` transaction or statement, and says it to nobody but its own console; but the server of a
    client that rests is given to the next one who asks, and what is not PostgreSQL itself shows by the process that a
    connection was told of at its start.
    """
    try:
        shared = _shares_sessions(engine)
    except DBAPIError as exc:
        # With pool_mode = statement PgBouncer refuses the first BEGIN.
        shared = from_postgresql(exc.orig, "ProtocolViolation") and "pooling mode" in str(exc.orig)
        if not shared:
            raise
    if shared:
        raise NoSessions([_NO_SESSIONS.format(where=where)])


def _shares_sessions(engine: Engine) -> bool:
    with engine.connect() as one:
        mine = _process(one)
        if mine == driver(one).info.backend_pid:
            return False
        for _ in range(_LOOKS):
            with engine.connect() as other:
                if _process(other) == mine or _process(one) != mine:
                    return True
    return False


def _process(conn: Connection) -> int:
    """The server's process that answers, with no transaction left open."""
    raw = driver(conn)
    found: int = raw.execute("SELECT pg_backend_pid()").fetchone()[0]
    raw.commit()
    return found


def sqlite_path(settings: DatabaseSettings) -> Path | None:
    """The database file, where it is one."""
    url = make_url(settings.url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def room(settings: DatabaseSettings) -> int | None:
    """Bytes that are free on the disk under the database file; None for a server, whose disk is elsewhere."""
    path = sqlite_path(settings)
    return None if path is None else shutil.disk_usage(path.absolute().parent).free


def place(settings: DatabaseSettings) -> str:
    """Host and port of the server, or the file: for texts, so never with user or password."""
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return str(Path(url.database or "").absolute())
    hosts = url.query.get("host", url.host or "localhost")
    if not isinstance(hosts, str):
        return ", ".join(hosts)
    port = url.port or url.query.get("port", "5432")
    return f"[{hosts}]:{port}" if ":" in hosts else f"{hosts}:{port}"


def no_database(where: str) -> NoDatabase:
    return NoDatabase(
        f"{where} (database.url). Nothing was done. If that is the right place: opshelm-agent db init, or start the "
        "daemon once. If not: name the settings file (--config FILE), or go to its folder."
    )


def _sqlite(url: URL, settings: DatabaseSettings, *, make: bool) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigError(["database.url: name a file (sqlite:///PATH); the agent's memory must outlive the process"])
    if not make and not Path(url.database).exists():
        raise no_database(f"There is no database at {place(settings)}")
    _make_private(Path(url.database))
    made = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        poolclass=NullPool,
        # BEGIN and COMMIT are ours alone: the driver's own would make readers wait and split group commits.
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "timeout": settings.busy_timeout.total_seconds()},
    )
    event.listen(made, "connect", _set_pragmas)
    return made


def _make_private(path: Path) -> None:
    """The file holds personal data and key hashes: nobody but its owner reads it. Its WAL gets the same mode."""
    if path.exists():
        # Never opened here: closing any descriptor of a file drops all locks that this process has on it, and another
        # process would then fold in and delete a log that is in use.
        return
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as exc:
        detail = f"The database {path} can't be opened: {exc.strerror}. Check database.url and who may write there."
        raise StoreUnavailable(detail) from exc


def _set_pragmas(connection: Any, record: Any) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    # SQLite's own 2 MB of pages for each of the pool's connections are kept: they fill as the database grows, and never shrink.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    # SQLite's own lower() knows ASCII alone; filters compare names in every alphabet.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _postgresql(url: URL, settings: DatabaseSettings) -> Engine:
    lock_timeout = int(settings.busy_timeout.total_seconds() * 1000)
    # By statement: of start-up parameters PgBouncer takes only those that it knows.
    session = (
        f"SET lock_timeout = {lock_timeout}; SET timezone = 'UTC'; SET tcp_keepalives_idle = 30; "
        # An agent that is frozen amid a transaction must not keep the account's lock from all others.
        f"SET idle_in_transaction_session_timeout = {lock_timeout}; "
        "SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
    )
    made = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=settings.pool_size,
        max_overflow=2,
        # A read on a connection that died meanwhile is not worth an error.
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "opshelm-agent",
            # Either side may vanish without a word: a dead writer must not keep the account's lock for hours.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            # What was sent and is never confirmed, which keepalives say nothing of: a quarter of an hour otherwise.
            "tcp_user_timeout": 30_000,
        },
    )

    def set_up(connection: Any, record: Any) -> None:  # noqa: ARG001 - SQLAlchemy's signature
        connection.execute(session)
        # Rolled back, a SET was never made.
        connection.commit()

    event.listen(made, "connect", set_up)
    return made
