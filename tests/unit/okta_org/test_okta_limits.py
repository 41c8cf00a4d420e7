"""The budget against a model of Okta's windows, in virtual time."""

import asyncio
import math
from email.utils import formatdate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.model.errors import OktaThrottled
from agent.okta_org.limits import CallAllowance, RateLimits, lowest, retry_after

START = 1_800_000_000.0


class Time:
    def __init__(self, ahead: float = 0.0) -> None:
        self.now = 0.0
        self.ahead = ahead
        self.waits: list[tuple[float, str]] = []

    def clock(self) -> float:
        return self.now

    def wall(self) -> float:
        return START + self.now

    def okta(self) -> float:
        return START + self.now + self.ahead

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)


def limits(time: Time, share: float = 0.8, jitter: float = 0.0) -> RateLimits:
    return RateLimits(share, clock=time.clock, wall=time.wall, sleep=time.sleep, jitter=lambda: jitter)


class Okta:
    """Counts calls in windows of a minute, from the first call after the last window on."""

    def __init__(self, time: Time, limit: int) -> None:
        self.time, self.limit = time, limit
        self.ends = -math.inf
        self.windows: list[int] = []
        self.refused = 0

    def call(self) -> dict[str, list[str]]:
        if self.time.okta() >= self.ends:
            self.ends = math.floor(self.time.okta()) + 60
            self.windows.append(0)
        self.windows[-1] += 1
        self.refused += self.windows[-1] > self.limit
        return self.headers(max(0, self.limit - self.windows[-1]))

    def headers(self, remaining: int) -> dict[str, list[str]]:
        return {
            "date": [formatdate(self.time.okta(), usegmt=True)],
            "x-rate-limit-limit": [str(self.limit)],
            "x-rate-limit-remaining": [str(remaining)],
            "x-rate-limit-reset": [str(int(self.ends))],
        }


async def call(budget: RateLimits, okta: Okta, allowance: CallAllowance, bucket: str = "apps") -> None:
    await budget.enter(bucket, allowance)
    await asyncio.sleep(0)
    budget.leave(bucket, okta.call())


def forever(time: Time) -> CallAllowance:
    return CallAllowance(math.inf, lambda seconds, bucket: time.waits.append((seconds, bucket)))


@pytest.mark.parametrize("ahead", [0.0, 3600.0, -3600.0])
def test_it_slows_down_before_the_429_whatever_the_clocks_say(ahead):
    time = Time(ahead)
    okta, budget = Okta(time, 50), limits(time)

    async def sweep() -> None:
        for _ in range(200):
            await call(budget, okta, forever(time))

    asyncio.run(sweep())
    assert okta.refused == 0
    assert max(okta.windows) <= 41  # the first call, and 0.8 of the 49 that were then left
    assert sum(okta.windows) == 200
    assert time.now <= 5 * 62
    assert {bucket for _, bucket in time.waits} == {"Okta's limit on apps"}


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 120), st.sampled_from([0.1, 0.5, 0.8, 1.0]), st.integers(1, 8), st.floats(0, 0.99))
def test_alone_and_concurrent_it_never_meets_a_429(limit, share, workers, jitter):
    time = Time()
    okta, budget = Okta(time, limit), limits(time, share, jitter)
    todo = list(range(150))

    async def work() -> None:
        while todo:
            todo.pop()
            await call(budget, okta, forever(time))

    async def sweep() -> None:
        await asyncio.gather(*(work() for _ in range(workers)))

    asyncio.run(sweep())
    assert okta.refused == 0
    assert sum(okta.windows) == 150


def test_what_others_use_is_seen_and_left_to_them():
    time = Time()
    okta, budget = Okta(time, 50), limits(time)

    async def sweep() -> None:
        await call(budget, okta, forever(time))
        okta.windows[-1] += 44  # somebody else
        await call(budget, okta, forever(time))  # says that 4 are left
        for _ in range(3):
            await call(budget, okta, forever(time))
        assert time.waits == []
        await call(budget, okta, forever(time))

    asyncio.run(sweep())
    assert okta.refused == 0
    assert len(time.waits) == 1


def test_buckets_do_not_wait_for_each_other():
    time = Time()
    okta, budget = Okta(time, 1), limits(time)

    async def two() -> None:
        await call(budget, okta, forever(time), "apps")
        await budget.enter("users", forever(time))
        budget.leave("users", None)

    asyncio.run(two())
    assert time.waits == []


def test_nothing_being_known_the_first_call_goes_alone():
    time = Time()
    budget = limits(time)
    started: list[int] = []

    async def one(number: int) -> None:
        await budget.enter("apps", forever(time))
        started.append(number)

    async def three() -> None:
        tasks = [asyncio.ensure_future(one(n)) for n in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert started == [0]
        budget.leave("apps", {})  # no limits named: from here on nobody waits
        await asyncio.gather(*tasks)

    asyncio.run(three())
    assert started == [0, 1, 2]


def test_a_call_that_died_lets_the_next_one_go():
    time = Time()
    budget = limits(time)

    async def two() -> None:
        await budget.enter("apps", forever(time))
        second = asyncio.ensure_future(budget.enter("apps", forever(time)))
        await asyncio.sleep(0)
        budget.leave("apps", None)
        await asyncio.wait_for(second, 60)

    asyncio.run(two())


def test_a_limit_of_one_call_is_no_deadlock():
    time = Time()
    okta, budget = Okta(time, 1), limits(time)

    async def sweep() -> None:
        for _ in range(4):
            await call(budget, okta, forever(time))

    asyncio.run(sweep())
    assert okta.windows == [1, 1, 1, 1]


def test_a_late_answer_of_the_window_before_changes_nothing():
    time = Time()
    okta, budget = Okta(time, 50), limits(time)

    async def sweep() -> None:
        await call(budget, okta, forever(time))
        await budget.enter("apps", forever(time))
        old = okta.headers(0)
        time.now = 61.0
        await call(budget, okta, forever(time))
        before = budget.snapshot()["apps"].remaining
        budget.leave("apps", old)
        assert budget.snapshot()["apps"].remaining == before == 49

    asyncio.run(sweep())


def test_limit_and_remaining_of_zero_mean_too_many_at_once_and_say_nothing_of_the_window():
    time = Time()
    okta, budget = Okta(time, 50), limits(time)
    concurrency = {
        "date": [formatdate(START, usegmt=True)],
        "x-rate-limit-limit": ["0"],
        "x-rate-limit-remaining": ["0"],
        "x-rate-limit-reset": [str(int(START) + 3000)],
    }

    async def sweep() -> None:
        await call(budget, okta, forever(time))
        known = budget.snapshot()["apps"]
        await budget.enter("apps", forever(time))
        budget.leave("apps", concurrency)
        budget.refuse("apps", concurrency)
        after = budget.snapshot()["apps"]
        assert (after.limit, after.remaining, after.reset) == (known.limit, known.remaining, known.reset)
        await budget.back_off("apps", 1, forever(time), whole_bucket=True, headers=concurrency)
        await call(budget, okta, forever(time))

    asyncio.run(sweep())
    assert sum(seconds for seconds, _ in time.waits) <= 2  # a short back-off, not till that reset


def test_a_429_stops_the_whole_bucket_until_the_reset():
    time = Time()
    okta, budget = Okta(time, 50), limits(time)

    async def sweep() -> None:
        await call(budget, okta, forever(time))
        budget.refuse("apps", okta.headers(0))
        await asyncio.gather(*(call(budget, okta, forever(time)) for _ in range(5)))

    asyncio.run(sweep())
    assert time.waits == [(61.0, "Okta's limit on apps")]  # one waits for all


def test_waits_that_overlap_count_once():
    allowance = CallAllowance(100)
    assert all(allowance.take(60, now=0) for _ in range(8))
    assert allowance.used == 60
    assert allowance.take(60, now=40)
    assert allowance.used == 100
    assert not allowance.take(1, now=100)


def test_a_run_that_would_wait_too_long_ends_and_says_so():
    time = Time()
    okta, budget = Okta(time, 1), limits(time)

    async def sweep() -> None:
        allowance = CallAllowance(100)
        await call(budget, okta, allowance)
        await call(budget, okta, allowance)
        await call(budget, okta, allowance)

    with pytest.raises(OktaThrottled, match=r"okta\.max_wait is 100 s"):
        asyncio.run(sweep())


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["600", "50"], 50), (["600, 50"], 50), (["x"], None), ([], None), (["nan"], None), (["inf", "7"], 7), (["0"], 0)],
)
def test_of_several_values_the_lowest_binds(values, expected):
    assert lowest({"x": values}, "x") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30", 30.0), ("-1", 0.0), (formatdate(START + 90, usegmt=True), 90.0), ("soon", None), ("", None)],
)
def test_retry_after_in_both_its_forms(text, expected):
    assert retry_after({"retry-after": [text], "date": [formatdate(START, usegmt=True)]}, lambda: 0.0) == expected


def test_the_clock_skew_is_oktas_clock_less_mine():
    time = Time(ahead=90.0)
    okta, budget = Okta(time, 50), limits(time)
    assert budget.skew is None
    asyncio.run(call(budget, okta, forever(time)))
    assert budget.skew is not None
    assert abs(budget.skew - 90.0) <= 1.0


def test_asked_to_stop_nobody_waits_for_a_limit_any_more():
    async def go():
        time = Time()
        never = asyncio.Event()
        budget = RateLimits(0.8, clock=time.clock, wall=time.wall, sleep=lambda _s: never.wait(), jitter=lambda: 0.0)
        okta = Okta(time, 1)
        await call(budget, okta, forever(time))
        waiting = [asyncio.ensure_future(call(budget, okta, forever(time))) for _ in range(3)]
        pausing = asyncio.ensure_future(budget.back_off("users", 1, forever(time), whole_bucket=False, headers={}))
        for _ in range(10):  # each gets as far as it can
            await asyncio.sleep(0)
        budget.end()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in ended] == [OktaThrottled] * 3
        assert "asked to stop" in ended[0].detail
        assert await pausing is False
        with pytest.raises(OktaThrottled, match="asked to stop"):
            await call(budget, okta, forever(time))

    asyncio.run(go())
