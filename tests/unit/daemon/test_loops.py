"""Which loops stand still, by a clock that the test moves: one row of the table in agent.daemon.loops after the other."""

from datetime import timedelta

import pytest

from agent.daemon.loops import Loops
from agent.model.errors import LeaseHeld, OktaUnreachable, StoreUnavailable


class Passing:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Passing:
    return Passing()


@pytest.fixture
def loops(time: Passing) -> Loops:
    made = Loops(time)
    made.watch("sweep", "reconcile", timedelta(hours=1))
    made.watch("look", "reconcile", timedelta(seconds=2))
    made.watch("events", "events", timedelta(seconds=30))
    return made


def test_a_tick_that_hangs_is_overdue_after_five_minutes_and_is_the_only_one_named(loops: Loops, time: Passing) -> None:
    with loops.tick("look"):
        time.now += 299
        loops.alive("events")
        assert loops.overdue() == {}
        time.now += 2
        loops.alive("events")
        assert loops.overdue() == {"look": 301.0}
    assert loops.overdue() == {}


def test_a_tick_that_says_that_it_goes_on_or_waits_is_not_overdue(loops: Loops, time: Passing) -> None:
    with loops.tick("events"):
        loops.alive("events", waits=900.0)
        time.now += 1000
        assert "events" not in loops.overdue()
        time.now += 201
        assert "events" in loops.overdue()
        loops.alive("events")
        assert "events" not in loops.overdue()


def test_who_waits_for_its_lane_is_not_overdue_nor_right_after(loops: Loops, time: Passing) -> None:
    with loops.tick("sweep"):
        time.now += 1800
        loops.alive("sweep")
        loops.alive("events")
        assert loops.overdue() == {}
    assert loops.overdue() == {}
    time.now += 61
    loops.alive("events")
    assert loops.overdue() == {"look": 1861.0}


def test_a_tick_that_does_not_come_is_overdue_after_three_intervals_at_least_a_minute(
    loops: Loops, time: Passing
) -> None:
    time.now += 60
    assert loops.overdue() == {}
    time.now += 1
    assert loops.overdue() == {"look": 61.0}
    time.now += 30
    assert loops.overdue() == {"look": 91.0, "events": 91.0}
    assert loops.ages() == {"sweep": 91.0, "look": 91.0, "events": 91.0}
    time.now += 3 * 3600
    assert set(loops.overdue()) == {"sweep", "look", "events"}
    loops.forget("events")
    assert set(loops.overdue()) == {"sweep", "look"}


def failed(loops: Loops, name: str, error: Exception) -> None:
    with pytest.raises(type(error)), loops.tick(name):
        raise error


@pytest.mark.parametrize("error", [StoreUnavailable("the disk is full"), ZeroDivisionError()])
def test_a_loop_that_fails_at_each_tick_is_overdue_until_one_comes_to_its_end(
    loops: Loops, time: Passing, error: Exception
) -> None:
    """A full disk, a database that became read-only, a mistake of ours: it ticks, and does nothing."""
    for _ in range(4):
        failed(loops, "events", error)
        assert loops.overdue() == {}
        time.now += 30
        loops.alive("look")
    failed(loops, "events", error)
    assert loops.overdue() == {"events": 120.0}
    with loops.tick("events"):
        assert loops.overdue() == {"events": 120.0}, "not over before it is done"
    assert loops.overdue() == {}


@pytest.mark.parametrize("error", [OktaUnreachable("no answer"), LeaseHeld("another agent")])
def test_what_is_the_matter_elsewhere_is_no_loop_that_stands_still(
    loops: Loops, time: Passing, error: Exception
) -> None:
    for _ in range(10):
        failed(loops, "events", error)
        time.now += 30
    loops.alive("sweep")
    loops.alive("look")
    assert loops.overdue() == {}
