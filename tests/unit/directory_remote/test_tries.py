"""How often a call is tried again, and after which pauses."""

import math
import threading

import pytest

from agent.directory.remote import deadline, patience
from agent.directory.remote.patience import Tries


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of each pause; none of them is waited for, and none is made longer by chance."""
    found: list[float] = []

    def pause(_stop: threading.Event, seconds: float) -> bool:
        found.append(seconds)
        return False

    monkeypatch.setattr(patience, "pause", pause)
    monkeypatch.setattr("random.uniform", lambda low, _high: low)
    return found


def tries() -> Tries:
    return Tries(1.0, threading.Event())


def test_pauses_double_up_to_the_longest_and_end_with_the_twelfth_try(waits: list[float]) -> None:
    made = tries()
    while made.again("503", None, math.inf):
        pass
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0]
    assert made.made == 12


def test_a_pause_that_is_asked_for_counts_as_one_of_them(waits: list[float]) -> None:
    made = tries()
    assert made.again("429", 7.0, math.inf)
    assert made.again("503", None, math.inf)
    assert waits == [7.0, 2.0]


def test_no_pause_outlasts_the_patience_or_the_deadline(waits: list[float]) -> None:
    assert not tries().again("429", 30.0, 29.0)
    with deadline.within(5.0):
        assert not tries().again("429", 6.0, math.inf)
    with deadline.within(-1.0):
        assert not tries().again("lost", 0.0, math.inf)
    assert waits == []
