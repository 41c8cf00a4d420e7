"""How many calls to a remote are under way at once follows from how busy the agent itself is."""

from hypothesis import given
from hypothesis import strategies as st

from agent.directory.remote.batches import Width

#: Seconds, and seconds of CPU in them.
NOTES = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 200)), max_size=50)


@given(st.integers(1, 64), NOTES)
def test_it_is_at_least_one_and_at_most_what_the_setting_says(most: int, notes: list[tuple[float, float]]) -> None:
    width = Width(most)
    for seconds, cpu in notes:
        width.note(seconds, cpu, 8)
        assert 1 <= width.calls <= most
        assert most <= width.together <= width.most_together


@given(st.integers(1, 64), NOTES)
def test_a_remote_that_takes_its_time_gets_as_many_as_may_be(most: int, notes: list[tuple[float, float]]) -> None:
    width = Width(most)
    for seconds, cpu in notes:
        width.note(seconds, cpu, 8)
    for _ in range(6):
        width.note(1.0, 0.05, 8)
    assert width.calls == most


@given(st.integers(1, 64), NOTES)
def test_an_agent_that_is_busy_by_itself_comes_down_to_one_call_at_a_time(
    most: int, notes: list[tuple[float, float]]
) -> None:
    width = Width(most)
    for seconds, cpu in notes:
        width.note(seconds, cpu, 8)
    for _ in range(64):
        width.note(1.0, 1.0, 8)
    assert width.calls == 1


def test_what_keeps_the_agent_busy_enough_stays() -> None:
    width = Width(8)
    assert width.calls == 8
    for _ in range(7):
        width.note(1.0, 1.0, 8)
    width.note(1.0, 0.1, 8)
    assert width.calls == 2
    for _ in range(10):
        width.note(1.0, 0.75, 8)
    assert width.calls == 2


def test_a_remote_that_is_quick_gets_more_together_and_one_that_is_slow_fewer() -> None:
    width = Width(4)
    first = width.together
    width.note(0.5, 0.1, first - 1)
    assert width.together == first
    width.note(0.5, 0.1, first)
    assert width.together == 2 * first
    width.note(2.0, 0.1, 2 * first)
    assert width.together == 2 * first
    for _ in range(20):
        width.note(60.0, 0.1, 8)
    assert width.together == width.most
