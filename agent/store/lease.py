"""The lease: one holder at a time, for one run or one seal. Many receivers need none.

Taken over when its heartbeat has not changed for ``ttl`` on the taker's own monotonic clock, so that no two clocks are ever
compared. Each taking raises the fencing number; every write of a run checks it in its own transaction, so that a holder
that was frozen past its time writes nothing when it wakes.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, bindparam, insert, select, update

from agent.model.errors import AgentError, FenceLost, LeaseHeld, StoreError
from agent.store.connect import Fixed, remembered
from agent.store.engine import Store
from agent.store.tables import lease as table

RECONCILE = "reconcile"
SEAL = "seal"
_LOST = "Another agent took over this run's lease while it stood still. It changed nothing more."
#: Seconds between two tries of whoever waits.
_PAUSE = 0.5

# Shared lock: nobody takes over between this check and the commit that relies on it.
_fence = Fixed(select(table.c.fence, table.c.holder).with_for_update(read=True))
_HELD = "fence of the lease"
_holder = Fixed(select(table.c.holder).where(table.c.fence == bindparam("fence")))


class Lease:
    """A lease that is held, until it is released."""

    def __init__(self, store: Store, name: str, holder: str, fence: int, ttl: timedelta) -> None:
        self.name = name
        self.holder = holder
        self.fence = fence
        self._store = store
        self._every = ttl.total_seconds() / 3
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease-{name}", daemon=True)
        self._thread.start()

    def heartbeat(self) -> None:
        """Say that the holder is alive; FenceLost if somebody else has taken over."""
        fence = self.fence

        def work(conn: Connection) -> None:
            check(conn, fence)
            conn.execute(update(table).where(table.c.name == self.name).values(heartbeat=table.c.heartbeat + 1))

        self._store.write(work)

    def release(self) -> None:
        """Let go at once; the fencing number stays spent."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join()
        mine = (table.c.name == self.name, table.c.fence == self.fence)

        def work(conn: Connection) -> None:
            remembered(conn).pop(_HELD, None)
            conn.execute(update(table).where(*mine).values(holder=None))

        self._store.write(work)

    def _beat(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self.heartbeat()
            except FenceLost:
                return
            except StoreError:
                # The database may be back at the next beat; if not in time, the fence protects.
                continue


def check(conn: Connection, fence: int) -> None:
    """FenceLost unless the lease with this fencing number is still held. Fencing numbers are unique over all leases.

    Asked once in a transaction: until it ends nobody outside of it can take the lease.
    """
    here = remembered(conn)
    if here.get(_HELD) == fence:
        return
    if not any(number == fence and holder is not None for number, holder in _fence(conn).fetchall()):
        raise FenceLost(_LOST)
    here[_HELD] = fence


def look(conn: Connection, fence: int) -> None:
    """``check`` without the lock, for a read: before a call to another system, which no transaction holds together."""
    row = _holder(conn, fence=fence).fetchone()
    if row is None or row[0] is None:
        raise FenceLost(_LOST)


class Patience(NamedTuple):
    """Of whoever wants a lease that another holds. By default none."""

    seconds: float = 0.0
    #: Told the holder, once.
    told: Callable[[str], None] | None = None
    #: Set: the wait ends.
    stop: threading.Event | None = None


NONE = Patience()


class _Taken(NamedTuple):
    #: None: it is held by ``holder``.
    fence: int | None
    holder: str


class _Seen:
    """What a waiter has seen of the holder's heartbeat, on its own clock."""

    def __init__(self) -> None:
        self.mark: tuple[int, int] | None = None
        self.since = 0.0

    def fresh(self, mark: tuple[int, int], ttl: float) -> bool:
        """The heartbeat has changed within ``ttl``, as far as this process has watched it."""
        if self.mark != mark:
            self.mark, self.since = mark, time.monotonic()
        return time.monotonic() - self.since < ttl


#: Kept over calls: who only tries now and then must notice a dead holder too.
_watched: WeakKeyDictionary[Store, dict[str, _Seen]] = WeakKeyDictionary()


def _seen(store: Store, name: str) -> _Seen:
    return _watched.setdefault(store, {}).setdefault(name, _Seen())


def acquire(store: Store, name: str, holder: str, ttl: timedelta, patience: Patience = NONE) -> Lease | None:
    """The lease, or None where another holds it as long as ``patience`` lasts."""
    seen, stop = _seen(store, name), patience.stop or threading.Event()

    def take(conn: Connection) -> _Taken:
        return _take(conn, name, holder, seen, ttl.total_seconds())

    deadline = time.monotonic() + patience.seconds
    told = False
    while True:
        taken = store.write(take)
        if taken.fence is not None:
            return Lease(store, name, holder, taken.fence, ttl)
        if stop.is_set() or time.monotonic() >= deadline:
            return None
        if patience.told is not None and not told:
            patience.told(taken.holder)
            told = True
        stop.wait(min(_PAUSE, max(0.01, deadline - time.monotonic())))


@contextmanager
def held(store: Store, name: str, holder: str, ttl: timedelta) -> Iterator[Lease]:
    """``acquire`` for a ``with`` statement; LeaseHeld where it is held elsewhere."""
    lease = acquire(store, name, holder, ttl)
    if lease is None:
        who = store.ask(lambda conn: current_holder(conn, name)) or "just done"
        raise LeaseHeld(f"Another agent is at work ({who}). Nothing was changed; try again later.")
    try:
        yield lease
    finally:
        # Where it can't be released it runs out by itself.
        with suppress(AgentError):
            lease.release()


def current_holder(conn: Connection, name: str) -> str | None:
    return conn.execute(select(table.c.holder).where(table.c.name == name)).scalar()


def busy(store: Store, name: str, ttl: timedelta) -> str | None:
    """Who holds it and is alive; None where ``acquire`` would get it. Nothing is written."""
    with store.read() as conn:
        row = conn.execute(select(table).where(table.c.name == name)).first()
    if row is None or row.holder is None:
        return None
    alive = _seen(store, name).fresh((row.fence, row.heartbeat), ttl.total_seconds())
    return str(row.holder) if alive else None


def _take(conn: Connection, name: str, holder: str, seen: _Seen, ttl: float) -> _Taken:
    remembered(conn).pop(_HELD, None)
    rows = {row.name: row for row in conn.execute(select(table).with_for_update())}
    mine = rows.get(name)
    if mine is not None and mine.holder is not None and seen.fresh((mine.fence, mine.heartbeat), ttl):
        return _Taken(None, mine.holder)
    fence = 1 + max((row.fence for row in rows.values()), default=0)
    if mine is None:
        conn.execute(insert(table).values(name=name, holder=holder, fence=fence))
    else:
        changed = update(table).where(table.c.name == name, table.c.fence == mine.fence)
        conn.execute(changed.values(holder=holder, fence=fence, heartbeat=mine.heartbeat + 1))
    return _Taken(fence, holder)
