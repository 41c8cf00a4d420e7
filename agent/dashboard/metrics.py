"""Prometheus metrics that are read from the store when they are asked for. No names, ids or addresses in labels."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.dashboard.status import StatusPage
from agent.model.codes import ActionKind
from agent.model.holds import Decision
from agent.settings import Loaded
from agent.store.journal import Signature

_PREFIX = "opshelm_agent_"


class OktaBudget(Protocol):
    """What is shown of a bucket (agent.okta_org.limits.RateBudget fulfils it)."""

    @property
    def limit(self) -> int | None: ...
    @property
    def remaining(self) -> int | None: ...
    @property
    def waited(self) -> float: ...
    @property
    def refused(self) -> int: ...


class CheckLine(Protocol):
    """One line of ``check`` (agent.checks.check.Check fulfils it)."""

    @property
    def name(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def detail(self) -> str: ...
    @property
    def fix(self) -> str: ...


class Daemon(Protocol):
    """The process that serves this, as it tells about itself. Nothing here waits for a loop or for the database."""

    def ages(self) -> Mapping[str, float]:
        """Seconds since each loop last showed life."""

    def overdue(self) -> Mapping[str, float]:
        """Loops that stand still, and since how many seconds."""

    def in_force(self) -> str:
        """A digest of the settings that it works with."""

    def since(self) -> datetime:
        """Since when."""

    def loaded(self) -> Loaded:
        """These settings, and where each of them came from."""

    def check(self, by: Signature) -> Iterator[CheckLine]:
        """Whether everything is set up; reads Okta and the receiver from outside while it is asked."""


class DaemonCollector(Collector):
    """Whether the loops tick, and which settings are in force."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        ages = GaugeMetricFamily(
            f"{_PREFIX}loop_last_tick_seconds", "Since the loop last showed life.", labels=["loop"]
        )
        for loop, age in sorted(self._daemon.ages().items()):
            ages.add_metric([loop], age)
        overdue = GaugeMetricFamily(f"{_PREFIX}loop_overdue", "1 where the loop stands still.", labels=["loop"])
        for loop in sorted(self._daemon.overdue()):
            overdue.add_metric([loop], 1)
        settings = GaugeMetricFamily(
            f"{_PREFIX}settings_since_timestamp_seconds",
            "Since when the settings with this digest are in force; secrets have no part in it.",
            labels=["digest"],
        )
        settings.add_metric([self._daemon.in_force()], self._daemon.since().timestamp())
        yield from (ages, overdue, settings)


class StatusCollector(Collector):
    """``read`` answers how things stand now, or None while the database can't be read."""

    def __init__(self, read: Callable[[], StatusPage | None]) -> None:
        self._read = read

    def describe(self) -> Iterator[Metric]:
        """Nothing is read while it is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        status = self._read()
        yield _gauge("up", "1 while the database can be read.", float(status is not None))
        if status is None:
            return
        yield from _sweeps(status)
        yield from _drift(status)
        yield _gauge(
            "in_step", "1 while a good sweep within its interval found nothing, and nothing is held.", status.in_step
        )
        account, counts = status.account, status.counts
        yield _gauge("managed_active", "Active accounts that Okta manages.", account.managed_active)
        yield _gauge(
            "active_owners", "Active owners; with one left nobody can be deactivated who is it.", account.active_owners
        )
        yield _gauge("paused", "1 while applies are paused.", float(account.paused))
        yield _gauge(
            "distrust",
            "1 while this database is a restored copy that nobody has accepted.",
            float(bool(account.distrust)),
        )
        yield _gauge("refused_pushes", "Pushed deactivations that got 429 and wait.", len(status.refused))
        yield _gauge("attention_waiting", "People that are to be looked at alone.", status.waiting_people)
        if status.last_key_ends is not None:
            left = (status.last_key_ends - status.at).total_seconds()
            yield _gauge(
                "last_key_ends_seconds", "Until the last key ends that Okta can push with; none: it doesn't.", left
            )
        limits = GaugeMetricFamily(
            f"{_PREFIX}deactivations", "Deactivations in the guard's windows.", labels=["window", "what"]
        )
        limits.add_metric(["24h", "counted"], counts.last_day)
        limits.add_metric(["24h", "limit"], status.day_limit)
        limits.add_metric(["60m", "counted"], counts.last_hour)
        limits.add_metric(["60m", "limit"], status.hour_limit)
        yield limits
        if status.slowest_action is not None:
            seconds = status.slowest_action.total_seconds()
            yield _gauge("last_apply_seconds", "From the last applied plan to its last finished action.", seconds)
        yield _gauge("lease_held", "1 while a run holds the lease.", float(status.lease_holder is not None))
        yield _gauge("journal_head_block", "Number of the newest sealed journal block.", account.journal_block)
        head = GaugeMetricFamily(
            f"{_PREFIX}journal_head",
            "Always 1; the label is the journal's head, to compare from outside.",
            labels=["hash"],
        )
        head.add_metric([account.journal_hash], 1)
        yield head
        alarms = GaugeMetricFamily(
            f"{_PREFIX}alarms_open",
            "Open alarms by code; acked: an operator has silenced them.",
            labels=["code", "acked"],
        )
        open_ones = Counter((alarm.code, "no" if alarm.acked_at is None else "yes") for alarm in status.alarms)
        for (code, acked), count in sorted(open_ones.items()):
            alarms.add_metric([code, acked], count)
        yield alarms


class OktaCollector(Collector):
    """Okta's limits as its own headers told them. ``budgets`` answers None while there is no Okta."""

    def __init__(self, budgets: Callable[[], Mapping[str, OktaBudget] | None]) -> None:
        self._budgets = budgets

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        found = self._budgets() or {}
        left = GaugeMetricFamily(f"{_PREFIX}okta_remaining", "Calls left in Okta's window.", labels=["bucket"])
        limit = GaugeMetricFamily(f"{_PREFIX}okta_limit", "Calls in Okta's window.", labels=["bucket"])
        waited = CounterMetricFamily(
            f"{_PREFIX}okta_waited_seconds", "Time spent waiting for Okta's limits.", labels=["bucket"]
        )
        refused = CounterMetricFamily(f"{_PREFIX}okta_refused", "Answers with status 429.", labels=["bucket"])
        for bucket, budget in sorted(found.items()):
            if budget.remaining is not None:
                left.add_metric([bucket], budget.remaining)
            if budget.limit is not None:
                limit.add_metric([bucket], budget.limit)
            waited.add_metric([bucket], budget.waited)
            refused.add_metric([bucket], budget.refused)
        yield from (left, limit, waited, refused)


def _sweeps(status: StatusPage) -> Iterator[Metric]:
    last = status.account.last_good_sweep
    if last is not None:
        yield _gauge("last_good_sweep_timestamp_seconds", "When the last good sweep ended.", last.timestamp())
        yield _gauge("last_good_sweep_age_seconds", "Age of the last good sweep.", (status.at - last).total_seconds())
        yield _gauge("last_good_sweep_people", "People that it saw.", status.account.last_good_people or 0)
    run = status.last_run
    if run is not None and run.ended is not None:
        outcome = GaugeMetricFamily(
            f"{_PREFIX}last_run", "Always 1; how the last run ended.", labels=["outcome", "exit_code"]
        )
        outcome.add_metric([run.outcome or "", str(run.exit_code)], 1)
        yield outcome
        yield _gauge("last_run_timestamp_seconds", "When it ended.", run.ended.timestamp())
        yield _gauge("last_run_seconds", "How long it took.", (run.ended - run.started).total_seconds())


def _drift(status: StatusPage) -> Iterator[Metric]:
    if status.drift is not None:
        drift = GaugeMetricFamily(f"{_PREFIX}drift", "What the newest plan has left to do, by kind.", labels=["kind"])
        for kind in ActionKind:
            drift.add_metric([kind.value], status.drift.get(kind, 0))
        yield drift
        yield _gauge("leavers_active", "People whose access should have ended and hasn't.", status.leavers_active)
    held = GaugeMetricFamily(f"{_PREFIX}held", "Runs and actions that wait for a person, by code.", labels=["code"])
    for code, count in sorted(status.held.items()):
        held.add_metric([code.value], count)
    yield held
    waiting = [hold.since for hold in status.holds if hold.decision is Decision.WAITING]
    waiting += [stored.created for stored in status.held_plans if stored.held]
    ages = [(status.at - since).total_seconds() for since in waiting]
    yield _gauge("held_oldest_age_seconds", "Age of the oldest hold that waits; 0 without one.", max(ages, default=0.0))
    yield _gauge(
        "blocked",
        "People whom an operator's block keeps out.",
        sum(h.decision is Decision.BLOCKED for h in status.holds),
    )


def _gauge(name: str, doc: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, doc, value=value)
