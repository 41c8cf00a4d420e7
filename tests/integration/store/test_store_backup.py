"""A copy is consistent, private, and distrusts itself."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import insert, select, text

from agent.model.errors import StoreError, UsageError
from agent.settings import DatabaseSettings
from agent.store import account
from agent.store.backup import backup, stamp_sql
from agent.store.engine import Store
from agent.store.tables import cursors, lease

#: Changes before a backup counts as one that never ends; one takes the time of some thousands.
MANY = 60_000
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def note(store: Store, name: str) -> None:
    store.write(lambda conn: conn.execute(insert(cursors).values(name=name, value="x", updated=NOW)).close())


def test_a_copy_has_everything_and_distrusts_itself(sqlite_store: Store, tmp_path: Path) -> None:
    note(sqlite_store, "one")
    sqlite_store.write(lambda conn: conn.execute(insert(lease).values(name="reconcile", holder="a", fence=3)).close())
    target = tmp_path / "copy.db"
    backup(sqlite_store, target, NOW)
    note(sqlite_store, "two")
    copy = Store.open(DatabaseSettings(url=f"sqlite:///{target}"))
    with copy.read() as conn:
        assert set(conn.execute(select(cursors.c.name)).scalars()) == {"one"}
        assert account.get(conn).distrust == "this database is a copy of 2026-11-24 12:00:00Z"
        assert conn.execute(select(lease.c.holder, lease.c.fence)).one() == (None, 3)
    copy.close()
    with sqlite_store.read() as conn:
        assert account.get(conn).distrust is None


def test_a_backup_ends_while_changes_come_without_a_pause(sqlite_store: Store, tmp_path: Path) -> None:
    # So many pages that many of these commits come while they are copied.
    sqlite_store.write(lambda conn: conn.execute(text("CREATE TABLE much (t BLOB)")).close())
    sqlite_store.write(lambda conn: conn.execute(text("INSERT INTO much VALUES (zeroblob(40000000))")).close())
    ended, changes = threading.Event(), 0
    other = sqlite3.connect(sqlite_store.place, isolation_level=None)
    # Nothing that this one waits for, or the copy could get far meanwhile.
    for pragma in ("synchronous=OFF", "wal_autocheckpoint=0"):
        other.execute(f"PRAGMA {pragma}")
    with closing(other), ThreadPoolExecutor(1) as pool:
        copying = pool.submit(backup, sqlite_store, tmp_path / "copy.db", NOW)
        copying.add_done_callback(lambda _: ended.set())
        while not ended.is_set() and changes < MANY:
            changes += other.execute("UPDATE account SET visible = visible + 1").rowcount
        assert ended.is_set(), f"not within {changes} changes"
        copying.result()
    assert changes > 0


def test_a_copy_is_one_private_file(sqlite_store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    backup(sqlite_store, folder / "copy.db", NOW)
    (copy,) = folder.iterdir()
    assert copy.stat().st_mode & 0o077 == 0


def test_a_backup_overwrites_nothing(sqlite_store: Store, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    with pytest.raises(UsageError, match="exists already"):
        backup(sqlite_store, tmp_path / "there", NOW)


def test_a_backup_that_fails_leaves_nothing_behind(sqlite_store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="failed"):
        backup(sqlite_store, tmp_path / "no" / "copy.db", NOW)


def test_postgresql_is_sent_to_its_own_tools(postgres_url: str, tmp_path: Path) -> None:
    store = Store.open(DatabaseSettings(url=postgres_url))
    with pytest.raises(UsageError, match=r"pg_dump .* db backup --stamp-sql"):
        backup(store, tmp_path / "copy.db", NOW)
    store.close()


def test_the_stamp_at_the_end_of_a_postgresql_dump_works(postgres_url: str) -> None:
    """As pg_dump writes one: it empties the search path first, and all of it is one script for psql."""
    with psycopg.connect(postgres_url) as conn:
        conn.execute("INSERT INTO lease (name, holder, fence) VALUES ('reconcile', 'a', 3)")
    dump = "SELECT pg_catalog.set_config('search_path', '', false);\n" + stamp_sql(NOW)
    with psycopg.connect(postgres_url) as conn:
        conn.execute(dump.encode())
    restored = Store.open(DatabaseSettings(url=postgres_url))
    with restored.read() as conn:
        assert account.get(conn).distrust == "this database is a copy of 2026-11-24 12:00:00Z"
        assert conn.execute(select(lease.c.holder, lease.c.fence)).one() == (None, 3)
    restored.close()


def test_distrust_is_lifted_by_hand(sqlite_store: Store) -> None:
    sqlite_store.write(lambda conn: account.change(conn, distrust="a copy"))
    sqlite_store.write(lambda conn: account.change(conn, distrust=None))
    with sqlite_store.read() as conn:
        assert account.get(conn).distrust is None
