"""From what the database holds to the channels: look, queue, send, try again. Never part of a run, and never raises for a channel.

==========================  =============================================================================================
what happens                then
==========================  =============================================================================================
an alarm opens              each channel gets it, unless somebody has silenced it before
an alarm ends               each channel that was told of it gets that
a run goes wrong            each channel gets it; held, paused, rejected and stopped runs are no failures
a channel doesn't take it   within half a minute in all: tried again after 2, 4, 8 … s, at most 10 min apart, for three days
the database can't be       each channel is told at once, by each agent: nothing can be queued. Its end once there was room
written: a full disk        for a minute
an agent dies               another one, or the next, sends what it had not
==========================  =============================================================================================
"""

import queue
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

import structlog

from agent.notify import message
from agent.notify.channels import Calls, Channel, Undelivered, beat, open_channels
from agent.settings.sections import NotifySettings
from agent.store import notices, runs
from agent.store.engine import Connection, Store
from agent.store.notices import Notice
from agent.store.steps import CLOCK

_FIRST_PAUSE = timedelta(seconds=2)
_LONGEST_PAUSE = timedelta(minutes=10)
_LONGEST = timedelta(days=3)
#: Between two tries to tell of a full disk, and how long there is room before its end is told.
_DISK_PAUSE = timedelta(seconds=10)
_DISK_WAS_FULL = timedelta(minutes=1)
_log = structlog.get_logger("agent.notify")


class Notifier:
    """``tick`` from one thread; ``beat`` from any."""

    def __init__(
        self,
        store: Store,
        settings: Callable[[], NotifySettings],
        clock: Callable[[], datetime] = CLOCK.now,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._stopping = stopping
        #: With those settings: what never ends with the old ones is nothing to the new ones.
        self._calls, self._calls_for = Calls(stopping), settings()
        #: Channels that were told of the full disk, when they are tried again, and since when there is room.
        self._told_full: set[str] = set()
        self._tell_again = self._room_since = clock()
        self._beats: queue.SimpleQueue[str] = queue.SimpleQueue()

    def beat(self, signal: str) -> None:
        """A sweep begins ("start"), went well (""), or ended with that exit code. Sent at the next tick; never waits."""
        self._beats.put(signal)

    def tick(self) -> None:
        settings = self._settings()
        channels = open_channels(settings)
        if settings != self._calls_for:
            self._calls, self._calls_for = Calls(self._stopping), settings
        while not self._beats.empty():
            signal = self._beats.get()
            if why := _tried(self._calls, "heartbeat", partial(beat, settings, signal)):
                _log.warning("heartbeat not delivered", why=why)
        if not channels or self._tell_of_disk(channels):
            return
        self._gather(list(channels))
        self._send(channels)

    def _tell_of_disk(self, channels: dict[str, Channel]) -> bool:
        """Whether the disk is full: then there is no queue."""
        full, now = self._store.full, self._clock()
        if full is not None:
            self._room_since = now
            if now >= self._tell_again:
                self._tell_again = now + _DISK_PAUSE
                untold = {name: channels[name] for name in channels.keys() - self._told_full}
                self._told_full |= self._told(untold, message.disk_full(full.detail, now))
        elif self._told_full and now - self._room_since >= _DISK_WAS_FULL:
            told = {name: channels[name] for name in channels.keys() & self._told_full}
            self._told(told, message.disk_has_room(now))
            self._told_full = set()
        return full is not None

    def _gather(self, channels: list[str]) -> None:
        now = self._clock()
        with self._store.read() as conn:
            found = [(about, name, text) for name in channels for about, text in _events(conn, name, now)]
        if found:
            self._store.write(lambda conn: _add(conn, found, now))

    def _send(self, channels: dict[str, Channel]) -> None:
        with self._store.read() as conn:
            waiting = notices.due(conn, list(channels), self._clock())
        silent: set[str] = set()
        for notice in waiting:
            # A channel that didn't take one doesn't keep the others waiting.
            if self._stopping():
                return
            if notice.channel not in silent and not self._deliver(channels[notice.channel], notice):
                silent.add(notice.channel)

    def _deliver(self, channel: Channel, notice: Notice) -> bool:
        if not self._store.write(lambda conn: notices.claim(conn, notice.id, self._clock())):
            return True  # another agent's
        try:
            what, delivery = message.decode(notice.body), f"{notice.id}-{int(notice.created.timestamp())}"
            self._calls.run(notice.channel, lambda: channel(what, delivery))
        except Undelivered as exc:
            why, now = str(exc), self._clock()
            again = _again(notice, now)
            _log.warning("not delivered", channel=notice.channel, about=notice.about, why=why, gave_up=again is None)
            self._store.write(lambda conn: notices.failed(conn, notice.id, why, again, now))
            return False
        self._store.write(lambda conn: notices.sent(conn, notice.id, self._clock()))
        _log.info("delivered", channel=notice.channel, about=notice.about)
        return True

    def _told(self, channels: dict[str, Channel], what: message.Message) -> set[str]:
        """Who has taken it."""
        found = _sent(self._calls, channels, what, "disk")
        for name, why in found.items():
            if why:
                _log.warning("not delivered", channel=name, about=what.headline, why=why)
        return {name for name, why in found.items() if not why}


def _sent(calls: Calls, channels: dict[str, Channel], what: message.Message, kind: str) -> dict[str, str]:
    """To each at once; why it was not delivered, "" where it was."""
    delivery = f"{kind}-{int(what.at.timestamp())}"
    return {name: _tried(calls, name, partial(channel, what, delivery)) for name, channel in channels.items()}


def _tried(calls: Calls, name: str, send: Callable[[], None]) -> str:
    try:
        calls.run(name, send)
    except Undelivered as exc:
        return str(exc)
    return ""


def _again(notice: Notice, now: datetime) -> datetime | None:
    if now - notice.created > _LONGEST:
        return None
    pause: timedelta = _FIRST_PAUSE * 2 ** min(notice.tries, 20)
    return now + min(_LONGEST_PAUSE, pause)


def _events(conn: Connection, channel: str, now: datetime) -> list[tuple[str, str]]:
    found = [(f"alarm {one.id} opened", message.alarm_opened(one)) for one in notices.opened(conn, channel)]
    found += [(f"alarm {one.id} closed", message.alarm_closed(one)) for one in notices.closed(conn, channel)]
    for run_id in notices.failed_runs(conn, now, channel):
        run = runs.get(conn, run_id)
        if run is not None:
            found.append((f"run {run_id} failed", message.run_failed(run)))
    return [(about, message.encode(one)) for about, one in found]


def _add(conn: Connection, found: list[tuple[str, str, str]], now: datetime) -> None:
    notices.forget(conn, now)
    for about, channel, body in found:
        notices.add(conn, about, channel, body, now)


def test(settings: NotifySettings, now: datetime) -> dict[str, str]:
    """Send a trial message to each channel at once: its name, and why it was not delivered ("" where it was)."""
    calls = Calls()
    found = _sent(calls, open_channels(settings), message.trial(now), "test")
    return found | (
        {"heartbeat": _tried(calls, "heartbeat", lambda: beat(settings, ""))} if settings.heartbeat_url else {}
    )
