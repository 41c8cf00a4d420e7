"""What the daemon does beside running: seal the journal, alarm on what waits too long, say new alarms in the log.

Every agent on a database does this; sealing is guarded by its own lease, and raising an alarm twice is raising it once.
"""

import socket
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from os import getpid

import structlog

from agent.daemon.watchdog import GONE, OVERDUE
from agent.daemon.watchdog import STEP as CLOCK_STEP
from agent.model.errors import LeaseHeld
from agent.model.guard import identity_limit, push_limit, window_limit
from agent.model.times import when
from agent.settings import Settings
from agent.store import (
    account,
    alarms,
    connect,
    first_approvals,
    holds,
    keys,
    lease,
    overview,
    people,
    retention,
    seal,
    sessions,
    windows,
)
from agent.store.engine import Connection, Store
from agent.store.steps import CLOCK

_log = structlog.get_logger("agent.daemon")
HOLDER = f"{socket.gethostname()}:{getpid()}"
#: No good sweep for so many intervals is an alarm.
_MISSED = 3
_HELD = "held"
_KEY_ENDS = "last_key_ends"
_KEYS = "keys"
#: Alarms of one machine, which it says anew while they last.
_OF_MACHINES = (CLOCK_STEP, OVERDUE, "disk_low")
_RETENTION_EVERY = timedelta(hours=1)


class Housekeeping:
    def __init__(
        self,
        store: Store,
        settings: Callable[[], Settings],
        clock: Callable[[], datetime] = CLOCK.now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` dates what is written; what is waited for goes by ``monotonic``, which nobody sets."""
        self._store = store
        self._settings = settings
        self._clock = clock
        self._monotonic = monotonic
        #: When retention last ran; an hour after the start for the first time.
        self._kept = monotonic()
        #: The last good sweep, and since when it is the last one that this process knows of.
        self._good: tuple[datetime | None, float] = (None, self._kept)
        #: Alarms that this process has said already.
        self._said: set[int] = set()

    def tick(self) -> None:
        now = self._clock()
        self._seal(now)
        self._store.write(lambda conn: self._watch(conn, now))
        if self._clock_was_set():
            # What looks old now may be so by a clock that is about to be put right.
            self._kept = self._monotonic()
        if self._monotonic() - self._kept >= _RETENTION_EVERY.total_seconds():
            self._kept = self._monotonic()
            gone = retention.keep_within(self._store, self._settings().retention, now)
            if gone:
                _log.info("journal blocks exported and deleted", blocks=gone)
        self._say_alarms()

    def last(self) -> None:
        """At the end of the process: nothing is left unsealed that need not be."""
        self._seal(self._clock())

    def _seal(self, now: datetime) -> None:
        ttl = self._settings().reconcile.lease_ttl
        try:
            with lease.held(self._store, lease.SEAL, HOLDER, ttl) as held:
                block = seal.seal(self._store, now, fence=held.fence)
        except LeaseHeld:
            return
        if block is not None:
            # The head outside the database is what makes a cut-off end noticeable.
            _log.info("journal sealed", block=block.n, rows=len(block.rows), head=block.hash)

    def _watch(self, conn: Connection, now: datetime) -> None:
        settings = self._settings()
        windows.forget(conn, now - timedelta(days=7))
        sessions.forget(conn, now)
        first_approvals.forget(conn, now)
        self._watch_holds(conn, settings, now)
        self._watch_sweeps(conn, settings, now)
        _watch_windows(conn, settings, now)
        _watch_keys(conn, now)
        self._watch_disk(conn, now)
        _end_those_of_machines_that_are_gone(conn, now)

    def _watch_holds(self, conn: Connection, settings: Settings, now: datetime) -> None:
        """By the age of each person's hold, however often the plan that they wait in is made anew."""
        holds.lapse(conn, now)
        holds.forget(conn, now - holds.KEPT)
        said = {}
        for code, since in holds.oldest_waiting(conn).items():
            said[code.value] = (since, f"holds list --code {code.value}")
        for plan in overview.held_plans(conn):
            if plan.held is not None and plan.held.value not in said:
                said[f"plan {plan.id}"] = (plan.created, f"plans show {plan.id}")
        late = {subject: value for subject, value in said.items() if now - value[0] > settings.guard.held_alarm}
        for subject, (since, review) in late.items():
            hours = (now - since).total_seconds() / 3600
            detail = f"{subject}: somebody has waited for a decision for {hours:.0f} h. Leavers among those who wait still have access. Review: opshelm-agent {review}"
            alarms.raise_alarm(conn, _HELD, subject, detail, now)
        for alarm in alarms.open_alarms(conn):
            if alarm.code == _HELD and alarm.subject not in late:
                alarms.clear(conn, _HELD, alarm.subject, now)

    def _watch_sweeps(self, conn: Connection, settings: Settings, now: datetime) -> None:
        every = settings.schedule.reconcile
        if every is None or not settings.okta.configured:
            alarms.clear(conn, "sweep_overdue", "sweep", now)
            return
        last = account.get(conn).last_good_sweep
        if last != self._good[0]:
            self._good = (last, self._monotonic())
        if self._monotonic() - self._good[1] > _MISSED * every.total_seconds():
            detail = "No good sweep for three intervals; drift is not repaired. See: opshelm-agent runs list"
            alarms.raise_alarm(conn, "sweep_overdue", "sweep", detail, now)
        elif last is not None:
            alarms.clear(conn, "sweep_overdue", "sweep", now)

    def _clock_was_set(self) -> bool:
        with self._store.read() as conn:
            found = alarms.open_alarms(conn)
        return any(alarm.code == CLOCK_STEP and alarm.subject == socket.gethostname() for alarm in found)

    def _watch_disk(self, conn: Connection, now: datetime) -> None:
        host, free = socket.gethostname(), connect.room(self._store.settings)
        # What comes and goes around the limit is one alarm, not one a minute.
        if free is None or free >= connect.LOW_ROOM + connect.LOW_ROOM // 4:
            alarms.clear(conn, "disk_low", host, now)
            return
        told = any((alarm.code, alarm.subject) == ("disk_low", host) for alarm in alarms.open_alarms(conn))
        if free >= connect.LOW_ROOM and not told:
            return
        detail = (
            f"{free / 1e6:,.0f} MB are free on the disk under {self._store.place}. Once it is full every push is refused (429) and no "
            "run begins. Make room: df -h"
        )
        alarms.raise_alarm(conn, "disk_low", host, detail, now)

    def _say_alarms(self) -> None:
        with self._store.read() as conn:
            found = alarms.open_alarms(conn)
        for alarm in found:
            if alarm.id not in self._said and alarm.acked_at is None:
                _log.warning("alarm", code=alarm.code, alarm_id=alarm.id, about=alarm.subject)
        self._said = {alarm.id for alarm in found}


def _watch_windows(conn: Connection, settings: Settings, now: datetime) -> None:
    """Alarms of a limit end when its window has room again: the next time that it is full is another alarm."""
    guard, counts = settings.guard, windows.counts(conn, now)
    hour, most_renames = push_limit(counts.population, guard), identity_limit(counts.population, guard)
    room = {
        "push_burst": counts.last_hour < hour,
        "push_burst_half": counts.last_hour <= hour // 2,
        "deactivations_24h": counts.last_day < window_limit(counts.population, guard),
        "identity_changes": windows.identity_changes_in_day(conn, now, most_renames + 1) <= most_renames,
    }
    owners = account.get(conn).active_owners
    for alarm in alarms.open_alarms(conn):
        # Nobody tells when the last owner's push has been put right in Okta; tried again it is raised again.
        done = alarm.code == "last_owner" and (
            owners > 1 or now - alarm.last_seen > windows.DAY or not people.is_owner(conn, alarm.subject)
        )
        if done or room.get(alarm.code, False):
            alarms.clear(conn, alarm.code, alarm.subject, now)


def _end_those_of_machines_that_are_gone(conn: Connection, now: datetime) -> None:
    """A container that starts anew is another machine by its name, and never ends what the one before has raised.

    What this machine has raised it ends itself; where its clock was set back just now, ``now`` may be of before.
    """
    host = socket.gethostname()
    for alarm in alarms.open_alarms(conn):
        mine = alarm.subject == host or alarm.subject.endswith(f" at {host}")
        if alarm.code in _OF_MACHINES and not mine and now - alarm.last_seen > GONE:
            alarms.clear(conn, alarm.code, alarm.subject, now)


def _watch_keys(conn: Connection, now: datetime) -> None:
    for key in keys.list_all(conn):
        if not key.valid(now):
            alarms.clear(conn, "old_key_in_use", f"key {key.id}", now)
    end = keys.last_end(keys.list_all(conn))
    if end is None or end - now > keys.ENDS_SOON:
        alarms.clear(conn, _KEY_ENDS, _KEYS, now)
        return
    verb = "ends" if end > now else "has ended"
    detail = (
        f"The last key that Okta can push with {verb} at {when(end)}; without one every push is a failed task in "
        "Okta. Make the next one and put it into Okta's API integration: opshelm-agent keys roll NAME"
    )
    alarms.raise_alarm(conn, _KEY_ENDS, _KEYS, detail, now)
