"""Loops that stand still and a clock that was stepped, by clocks that the test moves."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.daemon.loops import Loops
from agent.daemon.monotonic import Every, MonotonicZone
from agent.daemon.watchdog import Watchdog
from agent.model.errors import DiskFull
from agent.settings import DatabaseSettings
from agent.store import alarms, connect
from agent.store.engine import Store

HOST = "host-a"


class Clocks:
    """``passed`` seconds by the one that nobody sets; ``set_by`` of the other one."""

    def __init__(self) -> None:
        self.passed, self.set_by = 5000.0, timedelta()

    def monotonic(self) -> float:
        return self.passed

    def wall(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=self.passed) + self.set_by


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/agent.db"), make=True)
    yield opened
    opened.close()


def watchdog(store: Store, clocks: Clocks, loops: Loops | None = None) -> Watchdog:
    return Watchdog(store, loops or Loops(clocks.monotonic), clocks.monotonic, clocks.wall, HOST)


def raised(store: Store) -> list[tuple[str, str]]:
    with store.read() as conn:
        return [(alarm.code, alarm.subject) for alarm in alarms.open_alarms(conn)]


@pytest.mark.parametrize(("hours", "way"), [(-5, "back"), (5, "forward")])
def test_a_step_of_the_clock_is_said_and_an_alarm_until_an_hour_was_good(
    store: Store, clocks: Clocks, hours: int, way: str
) -> None:
    dog = watchdog(store, clocks)
    dog.look()
    clocks.passed += 5
    clocks.set_by = timedelta(hours=hours)
    with capture_logs() as said:
        dog.look()
    assert [(line["event"], line["seconds"]) for line in said] == [("the machine's clock was stepped", hours * 3600)]
    assert raised(store) == [("clock_step", HOST)]
    with store.read() as conn:
        assert f"set {way} by 5:00:00" in alarms.open_alarms(conn)[0].detail
    clocks.passed += 3599
    dog.look()
    assert raised(store) == [("clock_step", HOST)]
    clocks.passed += 1
    dog.look()
    assert raised(store) == []


def test_a_clock_that_is_put_right_slowly_is_no_step(store: Store, clocks: Clocks) -> None:
    dog = watchdog(store, clocks)
    for _ in range(100):
        clocks.passed += 5
        clocks.set_by += timedelta(seconds=1)
        dog.look()
    assert raised(store) == []


def test_a_loop_that_stands_still_is_said_and_an_alarm_until_it_goes_on(store: Store, clocks: Clocks) -> None:
    loops = Loops(clocks.monotonic)
    loops.watch("events", "events", timedelta(seconds=30))
    dog = watchdog(store, clocks, loops)
    clocks.passed += 91
    clocks.set_by = timedelta(hours=-5)
    with capture_logs() as said:
        dog.look()
    assert ("a loop stands still", "events") in [(line["event"], line.get("loop")) for line in said]
    assert ("loop_overdue", f"events at {HOST}") in raised(store)
    loops.alive("events")
    dog.look()
    assert raised(store) == [("clock_step", HOST)]


def test_what_a_process_left_that_is_gone_is_closed(store: Store, clocks: Clocks) -> None:
    loops = Loops(clocks.monotonic)
    loops.watch("events", "events", timedelta(seconds=30))
    dead = watchdog(store, clocks, loops)
    clocks.passed += 91
    clocks.set_by = timedelta(hours=1)
    dead.look()
    assert len(raised(store)) == 2
    mine = watchdog(store, clocks)
    mine.look()
    assert raised(store) == [("clock_step", HOST)]
    clocks.passed += 3600
    mine.look()
    assert raised(store) == []


def test_a_full_disk_is_said_once_and_tried_until_there_is_room(
    store: Store, clocks: Clocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    dog = watchdog(store, clocks)
    store.full = DiskFull("full")
    with capture_logs() as said:
        # A row fits into what the log of the database has already.
        monkeypatch.setattr(connect, "ENOUGH_ROOM", 2**62)
        dog.look()
        dog.look()
        assert store.full is not None
        monkeypatch.setattr(connect, "ENOUGH_ROOM", 0)
        dog.look()
        dog.look()
    assert store.full is None
    assert [line["event"] for line in said] == [
        "the disk under the database is full",
        "there is room for the database again",
    ]


def test_the_daemon_s_ticks_go_by_the_clock_that_nobody_sets(clocks: Clocks) -> None:
    zone = MonotonicZone(clocks.monotonic)
    before = datetime.now(zone)
    clocks.set_by = timedelta(hours=-5)
    clocks.passed += 10
    assert datetime.now(zone) - before == timedelta(seconds=10)
    assert Every(timedelta(seconds=30)).get_next_fire_time(None, datetime.now(zone)) - before == timedelta(seconds=40)


def test_what_is_open_is_said_anew_so_that_others_see_that_this_machine_is_there(store: Store, clocks: Clocks) -> None:
    dog = watchdog(store, clocks)
    dog.look()
    clocks.set_by = timedelta(hours=5)
    seen = []
    for seconds in (0, 599, 1):
        clocks.passed += seconds
        dog.look()
        with store.read() as conn:
            seen.append(alarms.open_alarms(conn)[0].last_seen)
    assert [moment - seen[0] for moment in seen] == [timedelta(), timedelta(), timedelta(minutes=10)]
