"""The worked values of the deactivation limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.guard import push_limit, run_limit, share, window_limit
from agent.settings import GuardSettings

WORKED = [
    # people, per run, pushed in 60 min, in 24 h
    (1, 1, 1, 1),
    (2, 1, 1, 1),
    (5, 2, 2, 2),
    (12, 3, 3, 5),
    (19, 3, 3, 5),
    (20, 5, 3, 5),
    (50, 5, 5, 10),
    (100, 10, 10, 20),
    (200, 20, 20, 40),
    (1000, 100, 100, 200),
    (5000, 200, 100, 400),
    (20000, 200, 100, 400),
]


@pytest.mark.parametrize(("people", "run", "push", "day"), WORKED)
def test_worked_values(people: int, run: int, push: int, day: int) -> None:
    limits = GuardSettings()
    assert (run_limit(people, limits), push_limit(people, limits), window_limit(people, limits)) == (run, push, day)


@given(st.integers(0, 100_000))
def test_one_person_always_passes_and_the_caps_always_hold(people: int) -> None:
    limits = GuardSettings()
    assert 1 <= run_limit(people, limits) <= 200
    assert 1 <= push_limit(people, limits) <= 100
    assert 1 <= window_limit(people, limits) <= 400


@given(st.integers(0, 1_000_000), st.integers(0, 100))
def test_a_share_is_rounded_up_exactly(people: int, percent: int) -> None:
    assert share(people, float(percent)) == -(-people * percent // 100)
