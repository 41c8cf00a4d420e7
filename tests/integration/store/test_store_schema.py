"""Migrations: they and the tables say the same, an older program refuses, a kill leaves the old or the new schema."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, make_url, text

from agent.model.errors import NoDatabase, SchemaTooNew
from agent.settings import DatabaseSettings
from agent.store import connect, schema
from agent.store.engine import Store
from agent.store.tables import metadata


def test_the_migrations_make_what_the_tables_say(store: Store) -> None:
    def work(conn) -> list[object]:
        context = MigrationContext.configure(conn, opts={"compare_type": True})
        return compare_metadata(context, metadata)

    assert store.write(work) == []


def test_the_list_of_revisions_is_that_of_the_files() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    files = ScriptDirectory.from_config(config).walk_revisions()
    assert tuple(reversed([file.revision for file in files])) == schema.REVISIONS


def test_there_is_one_account_row(store: Store) -> None:
    with store.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM account")).scalar_one() == 1


def test_opening_again_changes_nothing(database: DatabaseSettings) -> None:
    instances = []
    for _ in range(2):
        store = Store.open(database)
        with store.read() as conn:
            instances.append(conn.execute(text("SELECT instance FROM account")).scalar_one())
        store.close()
    assert instances[0] == instances[1]


def test_an_older_program_refuses_a_newer_schema(database: DatabaseSettings) -> None:
    store = Store.open(database)
    store.write(lambda conn: conn.execute(text("UPDATE alembic_version SET version_num = '9999'")).rowcount)
    store.close()
    with pytest.raises(SchemaTooNew, match="9999"):
        Store.open(database)
    # The database is used again.
    engine = connect.engine(database)
    with engine.begin() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = :now"), {"now": schema.REVISIONS[-1]})
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DatabaseSettings]:
    """There, but without tables."""
    if request.param == "sqlite":
        (tmp_path / "agent.db").touch()
        yield DatabaseSettings(url=f"sqlite:///{tmp_path}/agent.db")
        return
    url, name = make_url(request.getfixturevalue("postgres_url")), f"opshelm_empty_{os.getpid()}"
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield DatabaseSettings(url=url.set(database=name).render_as_string(hide_password=False))
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_without_leave_to_make_one_an_empty_database_stays_empty(empty_database: DatabaseSettings) -> None:
    with pytest.raises(NoDatabase, match="has no tables of the agent") as caught:
        Store.open(empty_database, make=False)
    assert connect.place(empty_database) in caught.value.detail
    engine = connect.engine(empty_database)
    with engine.connect() as conn:
        assert inspect(conn).get_table_names() == []
    engine.dispose()


def test_without_leave_to_make_one_no_file_appears(tmp_path: Path) -> None:
    with pytest.raises(NoDatabase, match=f"There is no database at {tmp_path}/agent.db"):
        Store.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/agent.db"), make=False)
    assert list(tmp_path.iterdir()) == []


MIGRATE = """
import os, signal, sys
from sqlalchemy import event
from sqlalchemy.engine import Engine
from agent.settings import DatabaseSettings
from agent.store.engine import Store

at, seen = int(sys.argv[2]), 0

@event.listens_for(Engine, "before_cursor_execute")
def count(*_):
    global seen
    seen += 1
    if seen == at:
        os.kill(os.getpid(), signal.SIGKILL)

Store.open(DatabaseSettings(url=sys.argv[1])).close()
"""


@pytest.mark.parametrize("at", [4, 30, 50])
def test_a_kill_in_a_migration_leaves_the_old_schema(tmp_path: Path, at: int) -> None:
    url = f"sqlite:///{tmp_path}/agent.db"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", MIGRATE, url, str(at)], env=environment, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    import sqlite3

    with sqlite3.connect(f"{tmp_path}/agent.db") as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == []
    store = Store.open(DatabaseSettings(url=url))
    with store.read() as conn:
        assert schema.revision(conn) == schema.REVISIONS[-1]
    store.close()
