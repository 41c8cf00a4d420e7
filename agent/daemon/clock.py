"""The daemon's clock: when to sweep, when to look at single people, when to seal and to look after what waits.

APScheduler only tells when, by the monotonic clock; what must not happen twice is guarded by leases in the database. Nothing
that a job raises may end the daemon: agent errors are logged in one line, anything else with its traceback, and the next tick
comes. Whether it comes is the watchdog's to see.
"""

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from agent.bootstrap import Agent
from agent.daemon import memory
from agent.daemon.housekeeping import Housekeeping
from agent.daemon.loops import Loops
from agent.daemon.monotonic import Every, MonotonicZone
from agent.daemon.reload import Reload
from agent.daemon.watchdog import Watchdog
from agent.model.errors import AgentError, DirectoryError
from agent.notify.notifier import Notifier
from agent.settings import Loaded, Settings
from agent.store.journal import Signature
from agent.store.runs import Asker
from agent.store.steps import CLOCK

if TYPE_CHECKING:
    from agent.model.check import Check
    from agent.reconcile.system_log import SystemLogReader

_log = structlog.get_logger("agent.daemon")
#: How often alarms are looked for that somebody is to be told of.
_NOTIFY_EVERY = timedelta(seconds=1)
#: How often the queue of people to look at is asked; one indexed read when nobody waits.
_LOOK_EVERY = timedelta(seconds=2)
#: Looks one after the other; the next tick goes on, so that a sweep that is due gets its turn.
_LOOKS = 20
#: Instances of what may be asked for between two ticks: one under way, a tick, and one that was asked for.
_ASKED_FOR = 3
#: The first sweep comes soon after the start: what happened while nothing ran is repaired first.
_FIRST_SWEEP = timedelta(seconds=2)
_IMPERSONAL = ("frozen", "incomplete")
_BY_SCHEDULE = Asker(trigger="schedule", actor="daemon")
#: A late tick is still one: the library would drop it after a second.
_JOB: dict[str, Any] = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}


class Clock:
    """``start``, then ``ask_to_stop`` (does not wait) and ``stop`` (waits for what is under way)."""

    def __init__(self, agent: Agent, reload: Reload, renewed: Callable[[Settings], None] = lambda _: None) -> None:
        """``renewed`` is told of settings by which this process writes from now on."""
        self._agent = agent
        self._reload = reload
        self._renewed = renewed
        self._housekeeping = Housekeeping(agent.store, lambda: agent.settings)
        self._notifier = Notifier(agent.store, lambda: agent.settings.notify, stopping=lambda: agent.stopping)
        self.loops = Loops()
        self._watchdog = Watchdog(agent.store, self.loops, settle=lambda: CLOCK.settle(agent.store))
        self._zone = MonotonicZone()
        self._scheduler: Any = BackgroundScheduler(
            timezone=self._zone,
            job_defaults=_JOB,
            # One thread for the reconciler: a sweep and a look at single people are never at the same time.
            executors={
                "reconcile": ThreadPoolExecutor(1),
                "default": ThreadPoolExecutor(1),
                # The log is read while a sweep runs: whoever it names is looked at right after.
                "events": ThreadPoolExecutor(1),
                # Waits for a remote OpsHelm, if it must.
                "remote": ThreadPoolExecutor(1),
                # Waits for webhooks and mail servers.
                "notify": ThreadPoolExecutor(1),
            },
        )
        self._log_reader: SystemLogReader | None = None
        #: A look was asked for that has not begun.
        self._woken = threading.Event()

    def start(self) -> None:
        schedule = self._agent.settings.schedule
        self._every("housekeeping", self._housekeeping.tick, schedule.health_interval, "default")
        self._every("memory", memory.give_back, schedule.health_interval, "default")
        self._every("reload", self._look_for_changes, schedule.health_interval, "reconcile", at_once=_ASKED_FOR)
        self._every("notify", self._notifier.tick, _NOTIFY_EVERY, "notify")
        self._every("read back", self._read_back, schedule.health_interval, "remote", first=timedelta(0))
        self._schedule(self._agent.settings)
        self._scheduler.start()
        self._watchdog.start()

    def look_for_changes(self) -> None:
        """Now (SIGHUP), as soon as no run is under way."""
        self._now("reload")

    def wake(self) -> None:
        """Somebody is to be looked at: now, or as soon as the run that is under way has ended. From any thread."""
        if not self._woken.is_set() and self._now("look"):
            self._woken.set()

    def _now(self, name: str) -> bool:
        """False where there is no such job, as without [okta]."""
        job = self._scheduler.get_job(name) if self._scheduler.running else None
        if job is not None:
            job.modify(next_run_time=self._zone.now())
        return job is not None

    # What the admin port says of it

    def ages(self) -> dict[str, float]:
        return self.loops.ages()

    def overdue(self) -> dict[str, float]:
        return self.loops.overdue()

    def in_force(self) -> str:
        return self._reload.in_force

    def since(self) -> datetime:
        return self._reload.since

    def loaded(self) -> Loaded:
        return self._reload.loaded

    def check(self, by: Signature) -> "Iterator[Check]":
        from agent import bootstrap
        from agent.checks.everything import Everything

        return Everything(self._reload.loaded, by, bootstrap).lines()

    # Its end

    def ask_to_stop(self) -> None:
        """A running apply finishes its batch; no other job begins, and nobody waits any more."""
        self._agent.ask_to_stop()

    def stop(self) -> None:
        self.ask_to_stop()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)
        self._watchdog.stop()
        self._housekeeping.last()

    def _schedule(self, settings: Settings) -> None:
        """Jobs that follow the settings; called again when they change, which puts none of them off."""
        schedule, okta = settings.schedule, self._agent.okta is not None
        self._log_reader = self._agent.system_log(lambda seconds, _bucket: self.loops.alive("events", seconds))
        health = schedule.health_interval
        self._every("look", self._look, _LOOK_EVERY if okta else None, "reconcile", at_once=_ASKED_FOR)
        self._every("imports", self._watch_imports, health if okta else None, "reconcile")
        self._every("sweep", self._sweep, schedule.reconcile if okta else None, "reconcile", first=_FIRST_SWEEP)
        self._every("events", self._read_log, schedule.events if okta else None, "events")

    def _every(
        self,
        name: str,
        work: Callable[[], None],
        period: timedelta | None,
        lane: str,
        first: timedelta | None = None,
        at_once: int = 1,
    ) -> None:
        """``period`` None: not any more. A job that is there keeps its turn, or comes sooner."""
        job = self._scheduler.get_job(name)
        if period is None:
            self.loops.forget(name)
            if job is not None:
                job.remove()
            return
        self.loops.watch(name, lane, period)
        at = self._zone.now() + (period if first is None else first)
        if job is not None:
            job.modify(trigger=Every(period), next_run_time=min(job.next_run_time, at))
            return
        self._scheduler.add_job(
            self._guarded,
            Every(period),
            args=[name, work],
            id=name,
            executor=lane,
            next_run_time=at,
            max_instances=at_once,
        )

    def _guarded(self, name: str, work: Callable[[], None]) -> None:
        if self._agent.stopping:
            return
        try:
            with self.loops.tick(name):
                work()
        except AgentError as exc:
            # What is wrong with one account names a person; the journal and the run have it.
            detail = "" if isinstance(exc, DirectoryError) else exc.detail
            _log.warning("job failed", job=name, code=exc.code, detail=detail, soft=exc.soft)
        except Exception:  # noqa: BLE001 - the next tick must come
            _log.exception("job failed unexpectedly", job=name)

    def _read_back(self) -> None:
        """What became of writes whose answer was lost, before a restart too."""
        self._agent.directory.read_back(CLOCK.now())

    def _sweep(self) -> None:
        reconciler, settings = self._agent.reconciler, self._agent.settings
        if reconciler is not None:
            shown = _Shown(self.loops, "sweep")
            self._notifier.beat("start")
            exit_code = 1
            try:
                report = reconciler.run(apply=settings.schedule.apply, by=_BY_SCHEDULE, wait=0, progress=shown)
                exit_code = report.exit_code
            finally:
                self._notifier.beat(str(exit_code) if exit_code else "")
            log_run(report)

    def _look(self) -> None:
        self._woken.clear()
        shown = _Shown(self.loops, "look")
        for _ in range(_LOOKS):
            reconciler = self._agent.reconciler
            report = (
                None
                if reconciler is None
                else reconciler.look(apply=self._agent.settings.schedule.apply, progress=shown)
            )
            if report is None or self._agent.stopping:
                return
            log_run(report)

    def _read_log(self) -> None:
        if self._log_reader is not None and self._log_reader.poll().anything:
            self.wake()

    def _watch_imports(self) -> None:
        """Which imported accounts are linked by now, and which should be."""
        self._agent.importer().watch(_Shown(self.loops, "imports"))

    def _look_for_changes(self) -> None:
        """What could not be taken on is tried again at the next tick: only then it counts as read."""
        settings = self._reload.changed()
        if settings is not None:
            self._agent.renew(settings, lambda: self._renewed(settings))
            self._schedule(settings)
            self._reload.took(settings)


class _Shown:
    """A run's progress, as far as the watchdog wants to know it."""

    def __init__(self, loops: Loops, name: str) -> None:
        self._loops, self._name = loops, name

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:  # noqa: ARG002 - that it goes on is enough
        self._loops.alive(self._name)

    def wait(self, seconds: float, what: str) -> None:  # noqa: ARG002
        self._loops.alive(self._name, seconds)


def log_run(report: Any) -> None:
    """One line for a run; held and failed ones are warnings."""
    say = _log.info if report.exit_code == 0 else _log.warning
    # These say what is wrong with Okta or OpsHelm; the details of other outcomes may name people.
    why = {"detail": report.detail} if str(report.outcome) in _IMPERSONAL else {}
    say(
        "run ended",
        run_id=report.run_id,
        outcome=str(report.outcome),
        exit_code=report.exit_code,
        **why,
        **report.counts,
    )
