"""The System Log, polled: who is to be looked at. The cursor moves in the transaction that stores what it passed.

===============================================  =================================================================
the log                                          what is done
===============================================  =================================================================
goes on from the cursor                          read on, page by page; it comes in the order in which Okta kept it
told late, behind the cursor                     the last five minutes are read again every two; what was met is left
other groups give roles than at the cursor       the log from the last reading on, with these groups in it
cursor refused, of another app, or a week old    one sweep, and the log from now on
another agent has just read it, or does now      nothing: whoever moves the cursor first has read it
===============================================  =================================================================

Nothing is read before the pins exist: nothing could be applied, and the first sweep sees everything. Applies nothing.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from agent.model.errors import OktaDenied, OktaNotFound, OktaRejected, UsageError
from agent.model.okta import LogEvent
from agent.model.structs import decoder
from agent.okta_org.org import OktaOrg
from agent.reconcile.event_names import log_filter
from agent.reconcile.look_queue import Queued, ask_for_sweep, queue
from agent.settings import Settings
from agent.store import account, alarms, events
from agent.store.engine import Connection, Store

CURSOR = "system_log"
#: How far back the log is read again, and how often.
OVERLAP = timedelta(minutes=5)
OVERLAP_EVERY = timedelta(minutes=2)
#: A cursor older than this is not followed: a sweep is cheaper, and Okta may not know it any more.
OLDEST = timedelta(days=7)
#: Okta's largest page.
PAGE = 1000
#: Pages of one poll; the next one goes on behind them.
MOST_PAGES = 50
#: Uuids are remembered for this long; Okta repeats a delivery within minutes.
REMEMBER = timedelta(days=1)
UNREAD = "events_unread"
_SUBJECT = "system log"

_log = structlog.get_logger("agent.events")


class Position(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the log goes on: Okta's next link, or a moment where there is none yet."""

    app_id: str
    next: str = ""
    since: datetime | None = None
    #: Ids of the groups that give roles: whose members it tells of.
    groups: tuple[str, ...] = ()


_position = decoder(Position)


class SystemLogReader:
    """One for each process. ``poll`` from one thread; set ``stopping`` to end it after a page."""

    def __init__(
        self,
        store: Store,
        okta: OktaOrg,
        settings: Settings,
        clock: Callable[[], datetime],
        stopping: Callable[[], bool] = bool,
        on_wait: Callable[[float, str], None] | None = None,
    ) -> None:
        self._store = store
        self._okta = okta
        self._settings = settings
        self._clock = clock
        self._stopping = stopping
        self._on_wait = on_wait
        self._app_id = settings.okta.app_id or ""
        self._overlapped: datetime | None = None

    def poll(self) -> Queued:
        now, done = self._clock(), Queued()
        with self._store.read() as conn:
            row, cursor = account.get(conn), events.cursor(conn, CURSOR)
        if not row.pinned or (cursor is not None and self._just_read(cursor, now)):
            return done
        try:
            with self._okta.run(self._on_wait):
                self._follow(cursor, row, now, done)
                # A clock that was set back is no reason to wait.
                if self._overlapped is None or not timedelta() <= now - self._overlapped < OVERLAP_EVERY:
                    self._again(now, done)
                    self._overlapped = now
        except OktaDenied as error:
            detail = f"{error.detail} Until then changes in Okta are found by the sweeps alone."
            self._store.write(lambda conn: alarms.raise_alarm(conn, UNREAD, _SUBJECT, detail, now))
            raise
        self._store.write(lambda conn: self._tidy(conn, now))
        return done

    # --- from the cursor on

    def _follow(self, cursor: events.Cursor | None, row: account.Account, now: datetime, done: Queued) -> None:
        at = self._position(cursor, row, now, done)
        for _ in range(MOST_PAGES):
            if at is None or self._stopping():
                return
            old, position = at
            try:
                found, link = self._read(position)
            except (OktaRejected, OktaNotFound, UsageError) as error:
                if not position.next or old is None:
                    raise
                self._after_gap(old, now, done, error.detail)
                return
            position = self._moved(position, link, now)
            queued = self._keep(found, old, _encode(position))
            if queued is None:
                return  # another agent was faster
            done.add(queued)
            if len(found) < PAGE:
                return
            at = _encode(position), position

    def _position(
        self, cursor: events.Cursor | None, row: account.Account, now: datetime, done: Queued
    ) -> tuple[str | None, Position] | None:
        """The stored cursor as it is, and where to read; None where another agent sees to it."""
        if cursor is None:
            # The last sweep saw everything up to its start.
            since = max(row.last_good_sweep or now, now - OLDEST) - OVERLAP
            return None, Position(app_id=self._app_id, since=since, groups=self._groups())
        position = _decode(cursor.value)
        if position is None or position.app_id != self._app_id:
            return self._after_gap(cursor.value, now, done, "the cursor is of another app")
        if now - cursor.updated > OLDEST:
            return self._after_gap(cursor.value, now, done, "the cursor is too old")
        groups = self._groups()
        if groups != position.groups:
            position = Position(app_id=self._app_id, since=cursor.updated - OVERLAP, groups=groups)
        return cursor.value, position

    def _groups(self) -> tuple[str, ...]:
        if not self._settings.roles.owner:
            return ()
        from agent.store import roles

        with self._store.read() as conn:
            return tuple(sorted(roles.group_ids(conn)))

    def _read(self, position: Position) -> tuple[list[LogEvent], str | None]:
        if position.next:
            return self._okta.log_events(cursor=position.next, limit=PAGE)
        return self._okta.log_events(since=position.since, filter=log_filter(self._app_id, position.groups), limit=PAGE)

    def _moved(self, before: Position, link: str | None, now: datetime) -> Position:
        if link:
            return Position(app_id=self._app_id, next=link, groups=before.groups)
        return before if before.next else replace(before, since=now - OVERLAP)

    def _after_gap(self, old: str, now: datetime, done: Queued, why: str) -> tuple[str, Position] | None:
        """What was missed is found by one sweep; None where another agent has seen to it."""
        position = Position(app_id=self._app_id, since=now - OVERLAP, groups=self._groups())
        fresh = _encode(position)

        def work(conn: Connection) -> bool:
            if not events.move_cursor(conn, CURSOR, old, fresh, now):
                return False
            ask_for_sweep(conn, now)
            return True

        if not self._store.write(work):
            return None
        _log.warning("gap in the System Log; one sweep looks at everybody", reason=why)
        done.sweep = True
        return fresh, position

    def _keep(self, found: list[LogEvent], old: str | None, new: str) -> Queued | None:
        """The page's work and the cursor behind it, together; None: another agent has moved the cursor meanwhile."""
        now = self._clock()

        def work(conn: Connection) -> Queued | None:
            if not events.move_cursor(conn, CURSOR, old, new, now):
                return None
            return self._queue(conn, found, now)

        return self._store.write(work)

    # --- what came late

    def _again(self, now: datetime, done: Queued) -> None:
        position: Position = Position(app_id=self._app_id, since=now - OVERLAP, groups=self._groups())
        for _ in range(MOST_PAGES):
            found, link = self._read(position)
            if found:
                done.add(self._store.write(partial(self._queue, found=found, now=self._clock())))
            if len(found) < PAGE or not link or self._stopping():
                return
            position = Position(app_id=self._app_id, next=link)

    def _queue(self, conn: Connection, found: list[LogEvent], now: datetime) -> Queued:
        return queue(conn, found, app_id=self._app_id, page_size=self._settings.reconcile.page_size, now=now)

    def _tidy(self, conn: Connection, now: datetime) -> None:
        alarms.clear(conn, UNREAD, _SUBJECT, now)
        events.forget(conn, now - REMEMBER)

    def _just_read(self, cursor: events.Cursor, now: datetime) -> bool:
        """Several agents take turns: half an interval after one has read, no other does."""
        every = self._settings.schedule.events
        return every is not None and timedelta() <= now - cursor.updated < every / 2


def _encode(position: Position) -> str:
    return msgspec.json.encode(position).decode()


def _decode(value: str | None) -> Position | None:
    try:
        return None if value is None else _position(value)
    except msgspec.DecodeError:
        return None
