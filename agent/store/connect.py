"""Engines for the two databases. Opens files and sockets; knows no schema."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, NullPool, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from agent.model.errors import ConfigError, NoDatabase, StoreUnavailable
from agent.settings import DatabaseSettings

_CONNECT_SECONDS = 10


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


def sqlite_path(settings: DatabaseSettings) -> Path | None:
    """The database file, where it is one."""
    url = make_url(settings.url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


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
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")
    # SQLite's own lower() knows ASCII alone; filters compare names in every alphabet.
    connection.create_function("lower", 1, _lower, deterministic=True)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _postgresql(url: URL, settings: DatabaseSettings) -> Engine:
    lock_timeout = int(settings.busy_timeout.total_seconds() * 1000)
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=settings.pool_size,
        max_overflow=2,
        # A read on a connection that died meanwhile is not worth an error.
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": _CONNECT_SECONDS,
            "application_name": "opshelm-agent",
            "options": (
                f"-c lock_timeout={lock_timeout} -c timezone=UTC -c tcp_keepalives_idle=30 "
                # An agent that is frozen amid a transaction must not keep the account's lock from all others.
                f"-c idle_in_transaction_session_timeout={lock_timeout} "
                "-c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"
            ),
            # Either side may vanish without a word: a dead writer must not keep the account's lock for hours.
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
        },
    )
