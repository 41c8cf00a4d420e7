"""F-07, F-15, F-24, F-42, F-44, F-45, F-47, F-48: a log cut off, a clock that jumps, too many clients, no descriptors, no journal, no sweep."""

import random
import resource
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from agent.daemon.housekeeping import Housekeeping
from agent.directory.sql import SqlDirectory
from agent.model.codes import RefusalCode
from agent.model.errors import UsageError
from agent.settings import DatabaseSettings, OktaSettings, Settings
from agent.store import account, alarms
from agent.store.engine import Store
from agent.store.tables import users
from support.forks import Warm
from support.invariants import check
from support.place import Place, assert_whole
from support.pusher import ROOMY, Pusher, new_key
from support.receiver import deactivation
from support.world import open_world

CUTS = 25
CLIENTS = 100
NO_ROOM = "no room for another connection; trying again each second"


def test_f07_a_log_that_was_cut_off_anywhere_opens_with_what_was_committed_before(
    sqlite_store: Store, tmp_path: Path
) -> None:
    """What a power cut leaves: the database as it was last synced, and some beginning of its log."""
    world = Place(sqlite_store, Settings())
    names = [world.post(f"p{n}@example.com", okta=f"00u{n:017d}").user.user_name for n in range(30)]
    file = Path(sqlite_store.engine.url.database or "")
    before, log = tmp_path / "before.db", tmp_path / "log"
    shutil.copyfile(file, before)
    shutil.copyfile(f"{file}-wal", log)
    whole, draw = log.read_bytes(), random.Random(7)
    for turn in range(CUTS):
        place = tmp_path / str(turn)
        place.mkdir()
        shutil.copyfile(before, place / "agent.db")
        (place / "agent.db-wal").write_bytes(whole[: draw.randrange(len(whole))])
        opened = Store.open(DatabaseSettings(url=f"sqlite:///{place}/agent.db"))
        with opened.read() as conn:
            found = list(conn.execute(select(users.c.user_name).order_by(users.c.seq)).scalars())
        assert found == names[: len(found)]
        assert_whole(opened)
        opened.close()


@pytest.mark.parametrize("jump", [timedelta(hours=23), timedelta(days=-1), timedelta(minutes=-5)])
def test_f15_a_clock_that_jumps_neither_empties_the_windows_nor_fills_them_for_ever(
    sqlite_store: Store, jump: timedelta
) -> None:
    world = Place(sqlite_store, Settings())
    people = world.managed(10)
    for person in people[:2]:
        world.change(person, active=False)
    assert world.counts().last_hour == 2
    world.now += jump
    world.change(people[2], active=False)
    assert world.counts().last_day == 3
    assert world.counts().population == 10
    # Back again: what was written in what is now the future counts as of now, and no longer than a window.
    if jump > timedelta():
        world.now -= jump
        assert world.counts().last_day == 3
        assert world.refused(lambda: world.change(people[3], active=False)) is RefusalCode.PUSH_BURST
    world.later(hours=48)
    assert world.counts().last_day == 0
    assert_whole(sqlite_store)


def test_f24_a_hundred_clients_at_once_are_all_answered(warm: Warm, sqlite_url: str, tmp_path: Path) -> None:
    key = new_key(sqlite_url)
    limit = {"OPSHELM_RECEIVER__MAX_WAITING": "20"}
    daemon = warm.serve(tmp_path, ROOMY | limit | {"OPSHELM_DATABASE__URL": sqlite_url})
    pusher = Pusher(daemon.url, key)
    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = list(pool.map(pusher.create, range(3 * CLIENTS)))
    assert pusher.lost == 0
    assert {answer.status for answer in answers if answer} <= {201, 429}
    refused = [n for n, answer in enumerate(answers) if answer and answer.status == 429]
    for number in refused:
        again = pusher.create(number)
        assert again is not None
        assert again.status == 201
    assert daemon.stop() == 0
    store = Store.open(DatabaseSettings(url=sqlite_url))
    check(store, pusher.said())
    store.close()


@pytest.mark.slow
def test_f42_no_descriptors_left_ends_nothing(warm: Warm, sqlite_url: str, tmp_path: Path) -> None:
    key = new_key(sqlite_url)
    daemon = warm.serve(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": sqlite_url})
    pusher = Pusher(daemon.url, key)
    assert pusher.person(1)
    open_now = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (open_now + 5, open_now + 5))
    parts = urlsplit(daemon.url)
    crowd = [socket.create_connection((parts.hostname, parts.port)) for _ in range(30)]
    for connection in crowd:
        connection.close()
    assert pusher.person(2)
    assert pusher.statuses == [201, 200, 200] * 2
    # Said once, not once for each try.
    assert [line["event"] for line in daemon.log()].count(NO_ROOM) == 1
    assert daemon.stop() == 0


def test_f44_without_its_journal_row_no_change_happens(warm: Warm, database_url: str, tmp_path: Path) -> None:
    key = new_key(database_url)
    store = Store.open(DatabaseSettings(url=database_url))
    daemon = warm.serve(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": database_url})
    pusher = Pusher(daemon.url, key)
    assert pusher.person(1)
    rename(store, "journal", "gone")
    refused = pusher.create(2)
    assert refused is not None
    assert refused.status in (429, 500)
    assert pusher.find(2) == []
    rename(store, "gone", "journal")
    assert pusher.person(2)
    assert len(pusher.find(2)) == 1
    assert daemon.stop() == 0
    check(store, pusher.said())
    store.close()


def rename(store: Store, old: str, new: str) -> None:
    store.write(lambda conn: conn.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}").close())


def test_f47_no_good_sweep_for_three_intervals_is_an_alarm(sqlite_store: Store) -> None:
    okta = OktaSettings(org_url="https://example.okta.com", app_id="0oa1", api_token="x")
    now, passed = datetime.now(UTC), 0.0
    keeper = Housekeeping(sqlite_store, lambda: Settings(okta=okta), lambda: now, lambda: passed)
    keeper.tick()
    now += timedelta(hours=5)  # the machine's clock was set
    keeper.tick()
    assert raised(sqlite_store) == set()
    passed += 3 * 3600.0 + 60.0
    now -= timedelta(hours=10)
    keeper.tick()
    assert raised(sqlite_store) == {"sweep_overdue"}
    sqlite_store.write(lambda conn: account.good_sweep(conn, at=now, people=1))
    keeper.tick()
    assert raised(sqlite_store) == set()


def test_f45_nobody_who_reads_metrics_or_alarms_is_waited_for(warm: Warm, sqlite_url: str, tmp_path: Path) -> None:
    key = new_key(sqlite_url)
    often = {"OPSHELM_SCHEDULE__HEALTH_INTERVAL": "0.1s"}
    daemon = warm.serve(tmp_path, ROOMY | often | {"OPSHELM_DATABASE__URL": sqlite_url})
    parts = urlsplit(daemon.admin)
    hung = [socket.create_connection((parts.hostname, parts.port)) for _ in range(20)]
    for connection in hung:  # asks, and never reads what is answered; or never ends its question
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + (b"\r\n" if connection.fileno() % 2 else b""))
    store = Store.open(DatabaseSettings(url=sqlite_url))
    acts = SqlDirectory(store, Settings()).operator(actor="test", reason="test", now=datetime.now(UTC))
    owner = acts.link(acts.add("owner@example.com", owner=True).id, "00uOWNER")
    pusher = Pusher(daemon.url, key)
    refused = pusher.send("PATCH", f"/Users/{owner.id}", deactivation())
    assert refused is not None
    assert refused.status == 409
    assert pusher.person(1)
    daemon.wait_for_event("alarm", code="last_owner")
    assert raised(store) == {"last_owner"}
    for connection in hung:
        connection.close()
    assert daemon.stop() == 0
    check(store, pusher.said())
    store.close()


def raised(store: Store) -> set[str]:
    with store.read() as conn:
        return {alarm.code for alarm in alarms.open_alarms(conn)}


def test_f48_a_plan_of_another_format_is_refused(tmp_path: Path) -> None:
    with open_world(tmp_path, 5, window=1) as w:
        stored = w.reconcile(apply=False).plan
        assert stored is not None
        w.sql("UPDATE plans SET format = '0.9'")
        with pytest.raises(UsageError, match="another version"):
            w.reconciler.apply_plan(stored.id, stored.checksum)
        assert w.accounts() == {}
