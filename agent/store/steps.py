"""Steps of the machine's clock: what waits, lapses or is counted by stored times moves along, so that all of it lasts as long.

For each boot of a machine the database keeps how far its clock was ahead of the one that nobody sets. Whoever finds it
elsewhere moves the stored times by the difference, in one transaction, once: a step is seen by the daemon that lived through
it, and by whoever comes next where none did. What it can't see is a step while the machine was off, or where the system
gives a boot no name.

Times that say when something was (the journal, runs) stay as they were written, and keys end by the calendar.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, delete, insert, select, type_coerce, update

from agent.model.codes import PlanStatus
from agent.store import account, tables
from agent.store.connect import EPOCH, remembered
from agent.store.engine import Store

#: Less than this between two looks is a clock that is being put right, not one that was set.
STEP = timedelta(seconds=5)
#: A database remembers the boots of its machines so long.
_KEPT = timedelta(days=30)
_BOOT_FILE = Path("/proc/sys/kernel/random/boot_id")
#: Read once: no process outlives its machine's boot, and every push asks what time it is.
_BOOT = _BOOT_FILE.read_text().strip() if _BOOT_FILE.exists() else ""

_open_plans = tables.plans.c.status.in_((PlanStatus.READY.value, PlanStatus.HELD.value))
#: What moves, and of which rows.
MOVES: tuple[tuple[Column[datetime], ColumnElement[bool] | None], ...] = (
    (tables.deactivations.c.at, None),
    (tables.identity_changes.c.at, None),
    (tables.allowances.c.expires, None),
    (tables.plans.c.expires, _open_plans),
    (tables.plans.c.decided_at, _open_plans),
    (tables.holds.c.since, tables.holds.c.ended.is_(None)),
    (tables.holds.c.until, tables.holds.c.ended.is_(None)),
    (tables.attention.c.not_before, None),
    (tables.attention.c.created, None),
    (tables.imports.c.linking_since, tables.imports.c.ended.is_(None)),
    (tables.intents.c.at, tables.intents.c.ended.is_(None)),
    (tables.intents.c.ended, None),
    (tables.notices.c.created, tables.notices.c.sent.is_(None)),
    (tables.notices.c.due, tables.notices.c.sent.is_(None)),
    (tables.notices.c.claimed, tables.notices.c.sent.is_(None)),
    (tables.alarms.c.last_seen, tables.alarms.c.cleared.is_(None)),
    (tables.mirror.c.written, tables.mirror.c.written.is_not(None)),
    (tables.unkept.c.asked, None),
    (tables.role_grants.c.given, None),
    (tables.role_grants.c.taken, None),
    (tables.sessions.c.expires, None),
    (tables.sign_ins.c.expires, None),
    (tables.first_approvals.c.expires, None),
    (tables.account.c.last_good_sweep, None),
)


#: macOS has no boot time's clock, and its monotonic one does the same.
_STEADY: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Machine(NamedTuple):
    """``ahead`` is the machine's clock less the one that nobody sets; it changes only by a step."""

    boot: str
    ahead: timedelta

    @classmethod
    def read(cls) -> "Machine":
        ahead = timedelta(seconds=time.time() - steady())
        return cls(_BOOT, ahead)


def steady() -> float:
    """Seconds by the clock that nobody sets, the same in all processes of a machine; a suspended machine's goes on."""
    return time.clock_gettime(_STEADY)


class StoredClock:
    """What time it is, on the scale of what is stored: after a step it goes on as before, until ``settle`` has moved that."""

    def __init__(self, machine: Callable[[], Machine] = Machine.read, seconds: Callable[[], float] = steady) -> None:
        self._machine, self._seconds = machine, seconds
        self._ahead = machine().ahead
        self._settled = False

    def now(self) -> datetime:
        ahead = self._machine().ahead
        if abs(ahead - self._ahead) < STEP:
            self._ahead = ahead
        return EPOCH + self._ahead + timedelta(seconds=self._seconds())

    def settle(self, store: Store) -> None:
        """Cheap where nothing was stepped."""
        machine = self._machine()
        if not self._settled or abs(machine.ahead - self._ahead) >= STEP:
            settle(store, machine, self.now())
            self._ahead, self._settled = machine.ahead, True


#: Of this process: a machine has one.
CLOCK = StoredClock()


def settle(store: Store, machine: Machine, now: datetime) -> timedelta:
    """By how much the clock was stepped since anybody on this machine looked."""
    if not machine.boot:
        return timedelta()
    with store.read() as conn:
        known = _known(conn, machine.boot)
    if known is not None and abs(machine.ahead - known) < STEP:
        return timedelta()
    return store.write(lambda conn: _settle(conn, machine, now))


def _settle(conn: Connection, machine: Machine, now: datetime) -> timedelta:
    account.lock(conn)  # nothing is judged meanwhile
    known = _known(conn, machine.boot)
    _keep(conn, machine, now, new=known is None)
    step = timedelta() if known is None else machine.ahead - known
    if abs(step) < STEP:
        return timedelta()
    for column, mine in MOVES:
        moved = update(column.table).values(
            {column: type_coerce(column, BigInteger) + step // timedelta(microseconds=1)}
        )
        conn.execute(moved if mine is None else moved.where(mine))
    remembered(conn).clear()  # all of it was read before the step
    return step


def _known(conn: Connection, boot: str) -> timedelta | None:
    found = conn.execute(select(tables.clocks.c.ahead).where(tables.clocks.c.boot == boot)).scalar()
    return None if found is None else timedelta(microseconds=found)


def _keep(conn: Connection, machine: Machine, now: datetime, *, new: bool) -> None:
    values = {"ahead": machine.ahead // timedelta(microseconds=1), "seen": now}
    if new:
        conn.execute(delete(tables.clocks).where(tables.clocks.c.seen < now - _KEPT))
        conn.execute(insert(tables.clocks).values(boot=machine.boot, **values))
    else:
        conn.execute(update(tables.clocks).where(tables.clocks.c.boot == machine.boot).values(**values))
