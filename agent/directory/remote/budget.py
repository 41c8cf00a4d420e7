"""Calls a second towards the remote, shared by all threads of the process. Spaces calls evenly; knows no answers."""

import threading
import time
from collections.abc import Callable


class CallBudget:
    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], bool | None] = time.sleep,
    ) -> None:
        """``sleep`` answers True where it was cut short."""
        self._gap = 1.0 / per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0
        #: Seconds that calls have waited here in all.
        self.waited = 0.0

    def wait(self) -> bool:
        """Return when the caller may send one call; False: the wait was cut short, and nothing is to be sent."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._gap
            self.waited += turn - now
        return turn <= now or not self._sleep(turn - now)
