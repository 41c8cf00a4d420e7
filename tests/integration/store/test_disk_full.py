"""A full disk under the database is called one, nothing is half done, and it is over with the first row that is written."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text

from agent.checks import database
from agent.daemon.housekeeping import Housekeeping
from agent.model.errors import DiskFull
from agent.receiver.refusals import translate
from agent.settings import DatabaseSettings, Settings
from agent.store import account, alarms, connect
from agent.store.engine import Store
from agent.store.failures import is_full
from support.databases import sqlite_in

#: Fails a write as a server does whose disk is full.
_REFUSE = """
CREATE FUNCTION full_disk() RETURNS trigger AS $$
BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'could not extend file'; END $$ LANGUAGE plpgsql;
CREATE TRIGGER full_disk BEFORE UPDATE ON account EXECUTE FUNCTION full_disk();
"""


def refused(store: Store, work: Any) -> DiskFull:
    with pytest.raises(DiskFull) as caught:
        store.write(work)
    assert caught.value.detail.startswith(f"The disk under the database {store.place} is full. Nothing was changed.")
    assert store.full is not None
    return caught.value


def test_on_sqlite(tmp_path: Path) -> None:
    sqlite_in(tmp_path)
    store = Store.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/agent.db"))
    raw: list[Any] = []
    event.listen(store.engine, "connect", lambda connection, _: raw.append(connection))

    def much(conn: Any) -> None:
        conn.execute(
            text("INSERT INTO alarms (code, subject, detail, raised, last_seen) VALUES ('x', 'x', :d, 0, 0)"),
            {"d": "x" * 90_000},
        )

    store.write(account.touch)
    pages = raw[-1].execute("PRAGMA page_count").fetchone()[0]
    raw[-1].execute(f"PRAGMA max_page_count = {pages}")
    error = refused(store, much)
    # A transaction that has nothing to write proves nothing.
    store.write(lambda _: None)
    assert store.full is not None
    raw[-1].execute("PRAGMA max_page_count = 1000000")
    store.write(much)
    assert store.full is None
    store.close()
    answer = translate(error, "POST")
    assert answer is not None
    assert (answer.status, answer.retry_after) == (429, 60)
    assert str(tmp_path) not in answer.detail  # Okta's admins need no path
    assert "disk" in answer.detail


def test_on_postgresql(postgres_url: str) -> None:
    store = Store.open(DatabaseSettings(url=postgres_url))
    store.write(lambda conn: conn.execute(text(_REFUSE)))
    refused(store, account.touch)
    store.write(lambda _: None)
    assert store.full is not None
    store.write(lambda conn: conn.execute(text("DROP TRIGGER full_disk ON account; DROP FUNCTION full_disk()")))
    store.write(account.touch)
    assert store.full is None
    store.close()


def test_other_troubles_are_none() -> None:
    assert not is_full(psycopg.errors.OutOfMemory())


def test_little_room_under_the_database_is_an_alarm_until_there_is_more(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = Housekeeping(sqlite_store, Settings)

    def open_alarms() -> list[str]:
        keeper.tick()
        with sqlite_store.read() as conn:
            return [alarm.code for alarm in alarms.open_alarms(conn)]

    monkeypatch.setattr(connect, "LOW_ROOM", 2**60)
    assert open_alarms() == ["disk_low"]
    assert [
        line.state for line in database.checks(sqlite_store, Settings(), datetime.now(UTC)) if line.name == "disk"
    ] == ["warn"]
    monkeypatch.setattr(connect, "LOW_ROOM", 1)
    assert open_alarms() == []


def test_room_that_comes_and_goes_around_the_limit_is_one_alarm(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper, seen = Housekeeping(sqlite_store, Settings), set()
    for percent in (101, 99, 101, 99, 124, 99, 125, 101):
        monkeypatch.setattr(connect, "room", lambda _, percent=percent: connect.LOW_ROOM * percent // 100)
        keeper.tick()
        with sqlite_store.read() as conn:
            seen.add(tuple(alarm.id for alarm in alarms.open_alarms(conn)))
    assert seen == {(), (1,)}
    with sqlite_store.read() as conn:
        assert alarms.open_alarms(conn) == []
