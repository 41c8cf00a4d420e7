"""Calls are spaced, whoever makes them."""

from agent.directory.remote.route import CallBudget


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_calls_are_spaced_evenly() -> None:
    clock = Clock()
    budget = CallBudget(4, clock=lambda: clock.now, sleep=clock.sleep)
    for _ in range(5):
        budget.wait()
    assert clock.slept == [0.25] * 4


def test_time_that_passed_is_not_waited_for_again() -> None:
    clock = Clock()
    budget = CallBudget(4, clock=lambda: clock.now, sleep=clock.sleep)
    budget.wait()
    clock.now += 10
    budget.wait()
    budget.wait()
    assert clock.slept == [0.25]
