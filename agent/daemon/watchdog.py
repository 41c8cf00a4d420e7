"""Sees that loops stand still and that the machine's clock was stepped, says so in the log and raises alarms.

In a thread of its own and by the monotonic clock: it hangs on nothing that it watches. The log comes before the alarm, which
needs the database. It starts and ends nothing.
"""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog

from agent.daemon.loops import Loops
from agent.model.errors import AgentError, DiskFull
from agent.model.times import when
from agent.store import account, alarms, steps
from agent.store.engine import Connection, Store

OVERDUE = "loop_overdue"
STEP = "clock_step"
_NAME = "watchdog"
#: Another process of this machine may have moved what is stored along with a step; it isn't to be ahead of us for long.
_EVERY = timedelta(seconds=1)
#: What is open is said anew so often; who says nothing for ``GONE`` is gone, and others close its alarms.
_ANEW = timedelta(minutes=10)
GONE = timedelta(hours=1)
#: So long without a step closes the alarm.
_GOOD = timedelta(hours=1)

_log = structlog.get_logger("agent.daemon")


class Watchdog:
    def __init__(
        self,
        store: Store,
        loops: Loops,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        host: str = "",
        settle: Callable[[], None] = lambda: None,
    ) -> None:
        """``settle`` moves what is stored along with a step (agent.store.steps)."""
        self._store, self._loops = store, loops
        self._monotonic, self._wall = monotonic, wall
        self._settle = settle
        self._host = host or socket.gethostname()
        self._still: set[str] = set()
        self._was_full = False
        self._ahead = self._clocks_apart()
        #: Since when the clock was not stepped, and what is to be said of its last step; "" once that is over.
        self._good_since, self._step = monotonic(), ""
        #: The database knows: who stands still, the step. None: what an earlier process has left is not looked at yet.
        self._told: tuple[frozenset[str], str | None] | None = None
        self._told_at = monotonic()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._loops.watch(_NAME, _NAME, _EVERY)
        self._thread = threading.Thread(target=self._run, name=_NAME, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Doesn't wait for it: it may wait for the database."""
        self._stop.set()

    def look(self) -> None:
        """One look at loops, clock and disk."""
        self._look_at_disk()
        self._look_at_loops()
        self._look_at_clock()
        self._settle()
        step = None if self._is_good() else self._step
        found = (frozenset(self._still), step)
        anew = any(found) and self._monotonic() - self._told_at >= _ANEW.total_seconds()
        if found != self._told or anew:
            self._store.write(lambda conn: self._tell(conn, *found))
            self._told, self._told_at = found, self._monotonic()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY.total_seconds()):
            self._loops.alive(_NAME)
            try:
                self.look()
            except AgentError as exc:
                _log.warning("an alarm could not be stored", code=exc.code)
            except Exception:  # noqa: BLE001 - the next look must come
                _log.exception("the watchdog failed unexpectedly")

    def _look_at_disk(self) -> None:
        full = self._store.full
        if full is not None:
            # Nobody else may have anything to write, and would not see that there is room again.
            with suppress(DiskFull):
                self._store.write(account.touch)
        if (full is not None) != self._was_full:
            self._was_full = full is not None
            say = _log.error if self._was_full else _log.info
            say("the disk under the database is full" if self._was_full else "there is room for the database again")

    def _look_at_loops(self) -> None:
        still = self._loops.overdue()
        for name in sorted(still.keys() - self._still):
            _log.error("a loop stands still", loop=name, seconds=round(still[name]))
        for name in sorted(self._still - still.keys()):
            _log.info("a loop goes on", loop=name)
        self._still = set(still)

    def _look_at_clock(self) -> None:
        before, self._ahead = self._ahead, self._clocks_apart()
        step = self._ahead - before
        if abs(step) < steps.STEP.total_seconds():
            return
        self._good_since = self._monotonic()
        way = "back" if step < 0 else "forward"
        _log.error("the machine's clock was stepped", seconds=round(step))
        self._step = (
            f"The clock of {self._host} was set {way} by {timedelta(seconds=round(abs(step)))}; it shows "
            f"{when(self._wall())} now. Intervals, limits that look back and all that lapses go on as before; "
            "times in the journal and the ends of keys go by that clock. See that it keeps time: timedatectl; opshelm-agent check"
        )

    def _is_good(self) -> bool:
        return self._monotonic() - self._good_since >= _GOOD.total_seconds()

    def _clocks_apart(self) -> float:
        return self._wall().timestamp() - self._monotonic()

    def _tell(self, conn: Connection, still: frozenset[str], step: str | None) -> None:
        """``step``: None closes its alarm, "" leaves the one of an earlier process."""
        now = self._wall()
        mine = {name: f"{name} at {self._host}" for name in still}
        for name, subject in mine.items():
            detail = (
                f"The daemon's loop {name} at {self._host} stands still: what it does isn't done, and /readyz says 503. See the log; "
                "restarting the agent does no harm"
            )
            alarms.raise_alarm(conn, OVERDUE, subject, detail, now)
        for alarm in alarms.open_alarms(conn):
            if (
                alarm.code == OVERDUE
                and alarm.subject.endswith(f" at {self._host}")
                and alarm.subject not in mine.values()
            ):
                alarms.clear(conn, OVERDUE, alarm.subject, now)
        if step:
            alarms.raise_alarm(conn, STEP, self._host, step, now)
        elif step is None:
            alarms.clear(conn, STEP, self._host, now)
