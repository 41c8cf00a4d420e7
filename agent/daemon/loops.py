"""When each loop of the daemon last showed life, by the monotonic clock. Starts nothing, ends nothing.

A loop ticks in a lane: one thread, which may have several loops. A tick begins, ends, and says on the way that it goes on.

============================================  ========================================================================
the loop                                      it is overdue
============================================  ========================================================================
is at work                                    with no sign of life for three intervals, at least five minutes: one call
                                              to Okta or OpsHelm may take minutes; a wait that was announced doesn't count
waits for another loop of its lane            never: that one is overdue, or it isn't
waits for its time                            three intervals after its last sign of life, at least a minute
fails at each tick                            after three intervals, at least a minute, whatever it does meanwhile; not where
                                              Okta, OpsHelm or another agent is in the way: that has alarms of its own
============================================  ========================================================================
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from agent.model.errors import DirectoryError, FenceLost, Frozen, HeldBack, LeaseHeld, OktaError

#: What a tick ended with isn't this loop's own trouble.
_ELSEWHERE = (OktaError, DirectoryError, LeaseHeld, FenceLost, Frozen, HeldBack)
_INTERVALS = 3
_AT_LEAST = 60.0
_AT_WORK = 300.0


@dataclass
class _Loop:
    lane: str
    period: float
    #: When it last showed life, and until when it has said that it waits.
    seen: float
    until: float
    at_work: bool = False
    #: Since when no tick has come to its end.
    failing: float | None = None


class Loops:
    """Thread-safe, and never waits for a loop."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._loops: dict[str, _Loop] = {}
        #: When each lane was last free.
        self._free: dict[str, float] = {}

    def watch(self, name: str, lane: str, period: timedelta) -> None:
        """Begin, or go on with another period."""
        now = self._monotonic()
        with self._lock:
            loop = self._loops.setdefault(name, _Loop(lane=lane, period=0.0, seen=now, until=now))
            loop.period = period.total_seconds()

    def forget(self, name: str) -> None:
        with self._lock:
            self._loops.pop(name, None)

    @contextmanager
    def tick(self, name: str) -> Iterator[None]:
        self.alive(name)
        self._work(name, begins=True)
        try:
            yield
        except _ELSEWHERE:
            self._ended(name, well=True)
            raise
        except BaseException:
            self._ended(name, well=False)
            raise
        else:
            self._ended(name, well=True)
        finally:
            self._work(name, begins=False)
            self.alive(name)

    def alive(self, name: str, waits: float = 0.0) -> None:
        """It goes on. ``waits``: it will be still for so many seconds."""
        now = self._monotonic()
        with self._lock:
            if name in self._loops:
                self._loops[name].seen, self._loops[name].until = now, now + waits

    def ages(self) -> dict[str, float]:
        """Seconds since each last showed life."""
        now = self._monotonic()
        with self._lock:
            return {name: now - loop.seen for name, loop in self._loops.items()}

    def overdue(self) -> dict[str, float]:
        """Those that stand still, and for how many seconds."""
        now = self._monotonic()
        with self._lock:
            busy = {loop.lane for loop in self._loops.values() if loop.at_work}
            late = {
                name: now - loop.seen
                for name, loop in self._loops.items()
                if (loop.at_work or loop.lane not in busy) and self._is_late(loop, now)
            }
            failing = {n: now - loop.failing for n, loop in self._loops.items() if loop.failing is not None}
            return late | {n: seconds for n, seconds in failing.items() if seconds > _patience(self._loops[n])}

    def _is_late(self, loop: _Loop, now: float) -> bool:
        still = now - max(loop.until, 0.0 if loop.at_work else self._free.get(loop.lane, 0.0))
        return still > _patience(loop, _AT_WORK if loop.at_work else _AT_LEAST)

    def _ended(self, name: str, *, well: bool) -> None:
        now = self._monotonic()
        with self._lock:
            loop = self._loops.get(name)
            if loop is not None:
                loop.failing = None if well else now if loop.failing is None else loop.failing

    def _work(self, name: str, *, begins: bool) -> None:
        with self._lock:
            loop = self._loops.get(name)
            if loop is not None:
                loop.at_work = begins
                self._free[loop.lane] = self._monotonic()


def _patience(loop: _Loop, at_least: float = _AT_LEAST) -> float:
    return max(_INTERVALS * loop.period, at_least)
