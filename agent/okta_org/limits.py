"""Okta's rate limits, one budget per bucket, fed by the headers of every answer. Slows down before the 429.

Lives on the event loop's thread; ``snapshot`` may be read from any thread. Makes no call itself.

A window is what ``X-Rate-Limit-Reset`` names. Of what a window still holds the agent uses its share, then waits for the
reset. Nothing is known of a bucket before its first answer, so that the first call goes alone.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from msgspec import Struct

from agent.model.errors import OktaThrottled
from agent.okta_org.calls import Headers

#: Okta's window, for the time between a reset and the first answer after it.
WINDOW = 60.0
#: The longest pause between two tries when Okta names none.
LONGEST_BACK_OFF = 60.0


class RateBudget(Struct, frozen=True, kw_only=True):
    """What is known of one bucket. None: Okta has not said."""

    limit: int | None = None
    remaining: int | None = None
    #: When the window ends, in seconds since 1970 by Okta's clock.
    reset: float | None = None
    #: Seconds waited for it so far.
    waited: float = 0.0
    #: Answers with status 429.
    refused: int = 0


def _untold(_seconds: float, _bucket: str) -> None:
    """Nobody wants to know."""


class CallAllowance:
    """How long one run may still wait. Waits that overlap count once. ``on_wait`` is told of each, on Okta's thread."""

    def __init__(self, seconds: float, on_wait: Callable[[float, str], None] = _untold) -> None:
        self.seconds = seconds
        self.on_wait = on_wait
        self.used = 0.0
        self._until = -math.inf

    def take(self, seconds: float, now: float) -> bool:
        more = max(0.0, now + seconds - max(now, self._until))
        if self.used + more > self.seconds:
            return False
        self.used += more
        self._until = max(self._until, now + seconds)
        return True


@dataclass
class Bucket:
    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None
    #: On my clock: when the window ends. None: no window is known.
    ends: float | None = None
    #: On my clock: nothing goes before; set by a 429.
    paused: float = -math.inf
    #: Calls that may still start in this window.
    left: int = 0
    in_flight: int = 0
    #: It answered without rate-limit headers, so there is nothing to wait for.
    silent: bool = False
    waited: float = 0.0
    refused: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class RateLimits:
    def __init__(
        self,
        share: float,
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        sleep: Callable[[float], Coroutine[Any, Any, None]],
        jitter: Callable[[], float],
    ) -> None:
        self._share, self._clock, self._wall = share, clock, wall
        self._sleep, self._jitter = sleep, jitter
        self._buckets: dict[str, Bucket] = {}
        self._naps: set[asyncio.Future[None]] = set()
        #: The process is to end: nothing waits any more.
        self.ended = False
        #: Seconds that Okta's clock is ahead of mine, by the last answer.
        self.skew: float | None = None

    def end(self) -> None:
        """Whoever waits goes on at once, to be told that there is no more time; nobody waits from now on."""
        self.ended = True
        for nap in self._naps:
            nap.cancel()

    async def enter(self, name: str, allowance: CallAllowance) -> None:
        """Take a slot, when there is one. Every ``enter`` needs its ``leave``."""
        bucket = self._bucket(name)
        async with bucket.turn:  # first come, first served; one sleeps for all
            while bucket.ends is None and not bucket.silent and bucket.in_flight:
                bucket.answered.clear()
                await bucket.answered.wait()
            while (seconds := self._wait(bucket)) > 0:
                await self._pause(name, bucket, seconds, allowance)
            bucket.left -= 1
            bucket.in_flight += 1

    def leave(self, name: str, headers: Headers | None) -> None:
        """Give the slot back with what the answer said; None when there was no answer."""
        bucket = self._bucket(name)
        bucket.in_flight -= 1
        if headers is not None:
            self._observe(bucket, headers)
        bucket.answered.set()

    def refuse(self, name: str, headers: Headers) -> None:
        """A 429: nothing of this bucket goes before the moment that Okta names, if it names one."""
        bucket = self._bucket(name)
        bucket.refused += 1
        seconds = self._named_pause(headers)
        if seconds is not None:
            bucket.paused = self._clock() + seconds + self._jitter()

    async def back_off(
        self, name: str, tries: int, allowance: CallAllowance, *, whole_bucket: bool, headers: Headers, why: str = ""
    ) -> bool:
        """Pause after a failed try. False when the allowance is used up or the process is to end. With ``whole_bucket`` ``enter`` does the waiting.

        ``why``: what went wrong, for whoever is told of the pause.
        """
        bucket = self._bucket(name)
        if whole_bucket and bucket.paused > self._clock():
            return True
        seconds = retry_after(headers, self._wall) or min(LONGEST_BACK_OFF, 2.0 ** (tries - 1)) * (0.5 + self._jitter())
        if whole_bucket:
            bucket.paused = self._clock() + seconds
            return True
        if self.ended or not allowance.take(seconds, self._clock()):
            return False
        allowance.on_wait(seconds, f"the next try: {why}" if why else "the next try")
        await self._nap(seconds)
        return not self.ended

    def snapshot(self) -> dict[str, RateBudget]:
        return {
            name: RateBudget(limit=b.limit, remaining=b.remaining, reset=b.reset, waited=b.waited, refused=b.refused)
            for name, b in list(self._buckets.items())
        }

    def _bucket(self, name: str) -> Bucket:
        return self._buckets.setdefault(name, Bucket())

    def _wait(self, bucket: Bucket) -> float:
        now = self._clock()
        if bucket.paused > now:
            return bucket.paused - now
        if bucket.ends is None:
            return 0.0
        if now >= bucket.ends:
            self._assume_new_window(bucket, now)
        return 0.0 if bucket.left > 0 else bucket.ends - now + self._jitter()

    def _assume_new_window(self, bucket: Bucket, now: float) -> None:
        bucket.remaining, bucket.reset, bucket.ends = bucket.limit, None, now + WINDOW
        # At least one, or a limit of 1 would be waited for without end.
        bucket.left = max(1, math.floor((bucket.limit or 1) * self._share) - bucket.in_flight)

    async def _pause(self, name: str, bucket: Bucket, seconds: float, allowance: CallAllowance) -> None:
        if self.ended:
            raise _stopped(name, seconds)
        if not allowance.take(seconds, self._clock()):
            raise OktaThrottled(
                f"Okta's limit on {name} asks for {seconds:.0f} s more; {allowance.used:.0f} s were waited and "
                f"okta.max_wait is {allowance.seconds:.0f} s. The run ends as incomplete."
            )
        bucket.waited += seconds
        allowance.on_wait(seconds, f"Okta's limit on {name}")
        await self._nap(seconds)
        if self.ended:
            raise _stopped(name, seconds)

    async def _nap(self, seconds: float) -> None:
        nap = asyncio.ensure_future(self._sleep(seconds))
        self._naps.add(nap)
        try:
            await asyncio.wait((nap,))  # says nothing of how it ended: ``end`` cancels it
        finally:
            self._naps.discard(nap)
            nap.cancel()

    def _observe(self, bucket: Bucket, headers: Headers) -> None:
        okta_now = moment(headers, "date")
        if okta_now is not None:
            self.skew = okta_now - self._wall()
        limit, remaining, reset = (lowest(headers, f"x-rate-limit-{part}") for part in ("limit", "remaining", "reset"))
        if limit == 0:
            return  # too many calls at once; says nothing of the window
        if remaining is None or reset is None:
            bucket.silent = bucket.ends is None
            return
        if bucket.reset is not None and reset < bucket.reset:
            return  # a late answer from the window before
        room = math.floor(remaining * self._share) - bucket.in_flight
        bucket.left = max(0, min(bucket.left, room) if reset == bucket.reset else room)
        bucket.limit = int(limit) if limit is not None else bucket.limit
        bucket.remaining, bucket.reset = int(remaining), reset
        bucket.ends = self._clock() + max(0.0, reset - (self._wall() if okta_now is None else okta_now))

    def _named_pause(self, headers: Headers) -> float | None:
        reset = lowest(headers, "x-rate-limit-reset")
        if reset is not None and lowest(headers, "x-rate-limit-limit") != 0:
            okta_now = moment(headers, "date")
            return max(0.0, reset - (self._wall() if okta_now is None else okta_now)) + 1.0
        return retry_after(headers, self._wall)


def _stopped(name: str, seconds: float) -> OktaThrottled:
    return OktaThrottled(f"The agent was asked to stop while it waited for Okta's limit on {name} ({seconds:.0f} s).")


def lowest(headers: Headers, name: str) -> float | None:
    """Okta may send several values of one header; the lowest binds."""
    values = []
    for text in headers.get(name, ()):
        for part in text.split(","):
            try:
                value = float(part)
            except ValueError:
                continue
            if math.isfinite(value):
                values.append(value)
    return min(values, default=None)


def moment(headers: Headers, name: str) -> float | None:
    try:
        return parsedate_to_datetime(next(iter(headers.get(name, ())), "")).timestamp()
    except ValueError:
        return None


def retry_after(headers: Headers, wall: Callable[[], float]) -> float | None:
    seconds = lowest(headers, "retry-after")
    if seconds is not None:
        return max(0.0, seconds)
    at = moment(headers, "retry-after")
    okta_now = moment(headers, "date")
    return None if at is None else max(0.0, at - (wall() if okta_now is None else okta_now))
