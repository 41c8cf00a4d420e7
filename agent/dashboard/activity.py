"""Thirty days as bars and a line: counted once, remembered, and counted on from there. Draws with numbers alone."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from threading import Lock

from msgspec import Struct

from agent.store import activity
from agent.store.engine import Connection

DAYS = 30
_EPOCH = date(1970, 1, 1)
#: Of a drawing, in its own units.
WIDTH, HEIGHT, LEFT, TOP = 720, 150, 64, 8
_BASE = HEIGHT - 22


class Bar(Struct, frozen=True, kw_only=True):
    what: str
    x: float
    y: float
    height: float


class Day(Struct, frozen=True, kw_only=True):
    date: date
    pushes: int
    repairs: int
    holds: int
    #: Of the longest sweep; None where there was none.
    seconds: float | None


class Drawing(Struct, frozen=True, kw_only=True):
    days: tuple[Day, ...]
    bars: tuple[Bar, ...]
    bar_width: float
    #: Points of the line, ``x,y x,y``; days without a sweep are left out.
    line: str
    dots: tuple[tuple[float, float], ...]
    most: int
    longest: float
    #: Where days are named.
    ticks: tuple[tuple[float, date], ...]


class Activity:
    """One for each process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._row = self._hold = 0
        self._pushes, self._repairs, self._holds = Counter[int](), Counter[int](), Counter[int]()

    def read(self, conn: Connection, now: datetime) -> Drawing:
        today = (now.date() - _EPOCH).days
        first = today - DAYS + 1
        since = datetime.combine(_EPOCH + timedelta(days=first), datetime.min.time(), UTC)
        with self._lock:
            self._count(conn, since, first)
            took = activity.durations(conn, since)
            days = tuple(self._day(number, took.get(number)) for number in range(first, today + 1))
        return _drawn(days)

    def _count(self, conn: Connection, since: datetime, first: int) -> None:
        row, hold = activity.newest(conn)
        pushes, repairs = activity.changes(conn, after=self._row, upto=row, since=since)
        opened = activity.opened(conn, after=self._hold, upto=hold, since=since)
        self._row, self._hold = max(row, self._row), max(hold, self._hold)
        for kept, new in ((self._pushes, pushes), (self._repairs, repairs), (self._holds, opened)):
            kept.update(new)
            for number in [number for number in kept if number < first]:
                del kept[number]

    def _day(self, number: int, seconds: float | None) -> Day:
        return Day(
            date=_EPOCH + timedelta(days=number),
            pushes=self._pushes[number],
            repairs=self._repairs[number],
            holds=self._holds[number],
            seconds=seconds,
        )


def _drawn(days: tuple[Day, ...]) -> Drawing:
    step = (WIDTH - LEFT) / len(days)
    most = max((max(day.pushes, day.repairs, day.holds) for day in days), default=0)
    longest = max((day.seconds or 0.0 for day in days), default=0.0)
    bars, dots, width = [], [], step / 4
    for n, day in enumerate(days):
        left = LEFT + n * step + width / 2
        for k, (what, count) in enumerate((("pushes", day.pushes), ("repairs", day.repairs), ("holds", day.holds))):
            if count:
                height = max(1.5, (_BASE - TOP) * count / most)
                bars.append(Bar(what=what, x=left + k * width, y=_BASE - height, height=height))
        if day.seconds is not None:
            share = day.seconds / longest if longest else 0.0
            dots.append((left + 1.5 * width, _BASE - (_BASE - TOP) * share))
    return Drawing(
        days=days,
        bars=tuple(bars),
        bar_width=width,
        line=" ".join(f"{x:.1f},{y:.1f}" for x, y in dots),
        dots=tuple(dots),
        most=most,
        longest=longest,
        ticks=tuple((LEFT + n * step + 2 * width, day.date) for n, day in enumerate(days) if n % 7 == 0),
    )
