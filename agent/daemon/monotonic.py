"""Time for APScheduler that no step of the machine's clock moves. Knows no job.

The scheduler asks its time zone for the present, ``datetime.now(zone)``; this one answers from the monotonic clock. All moments
of its jobs come from there, so that they are compared among themselves alone.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo

from apscheduler.triggers.base import BaseTrigger

_START = datetime(2000, 1, 1)  # noqa: DTZ001 - any moment will do; it gets the zone below


class MonotonicZone(tzinfo):
    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic

    def now(self) -> datetime:
        return (_START + timedelta(seconds=self._monotonic())).replace(tzinfo=self)

    def fromutc(self, _wall: datetime) -> datetime:
        return self.now()

    def utcoffset(self, _: datetime | None) -> timedelta:
        return timedelta()

    def dst(self, _: datetime | None) -> None:
        return None

    def tzname(self, _: datetime | None) -> str:
        return "monotonic"


class Every(BaseTrigger):  # type: ignore[misc]
    """A period after each tick; ticks that were missed are not made up for."""

    def __init__(self, period: timedelta) -> None:
        self.period = period

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        return now + self.period
