"""Prometheus metrics that are read from the store when they are asked for. No names, ids or addresses in labels."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from agent.dashboard.status import StatusPage
from agent.model.check import Check
from agent.model.codes import ActionKind
from agent.model.holds import Decision
from agent.okta_org import RateBudget
from agent.settings import Loaded
from agent.store.journal import Signature

_PREFIX = "opshelm_agent_"


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

    def check(self, by: Signature) -> Iterator[Check]:
        """Whether everything is set up; reads Okta and the receiver from outside while it is asked."""


class DaemonCollector(Collector):
    """Whether the loops tick, and which settings are in force."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def collect(self) -> Iterator[Metric]:
        ages = ([loop, age] for loop, age in sorted(self._daemon.ages().items()))
        yield _gauges("loop_last_tick_seconds", "Since the loop last showed life.", ["loop"], ages)
        overdue = ([loop, 1] for loop in sorted(self._daemon.overdue()))
        yield _gauges("loop_overdue", "1 where the loop stands still.", ["loop"], overdue)
        yield _gauges(
            "settings_since_timestamp_seconds",
            "Since when the settings with this digest are in force; secrets have no part in it.",
            ["digest"],
            [[self._daemon.in_force(), self._daemon.since().timestamp()]],
        )


class StatusCollector(Collector):
    """``read`` answers how things stand now, or None while the database can't be read."""

    def __init__(self, read: Callable[[], StatusPage | None]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        status = self._read()
        yield _gauge("up", "1 while the database can be read.", status is not None)
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
        yield _gauge("paused", "1 while applies are paused.", account.paused)
        yield _gauge(
            "distrust", "1 while this database is a restored copy that nobody has accepted.", bool(account.distrust)
        )
        yield _gauge("refused_pushes", "Pushed deactivations that got 429 and wait.", len(status.refused))
        yield _gauge("attention_waiting", "People that are to be looked at alone.", status.waiting_people)
        if status.last_key_ends is not None:
            left = (status.last_key_ends - status.at).total_seconds()
            yield _gauge(
                "last_key_ends_seconds", "Until the last key ends that Okta can push with; none: it doesn't.", left
            )
        limits = [
            ["24h", "counted", counts.last_day],
            ["24h", "limit", status.day_limit],
            ["60m", "counted", counts.last_hour],
            ["60m", "limit", status.hour_limit],
        ]
        yield _gauges("deactivations", "Deactivations in the guard's windows.", ["window", "what"], limits)
        if status.slowest_action is not None:
            seconds = status.slowest_action.total_seconds()
            yield _gauge("last_apply_seconds", "From the last applied plan to its last finished action.", seconds)
        yield _gauge("lease_held", "1 while a run holds the lease.", status.lease_holder is not None)
        yield _gauge("journal_head_block", "Number of the newest sealed journal block.", account.journal_block)
        always = "Always 1; the label is the journal's head, to compare from outside."
        yield _gauges("journal_head", always, ["hash"], [[account.journal_hash, 1]])
        silenced = "Open alarms by code; acked: an operator has silenced them."
        opened = Counter((alarm.code, "no" if alarm.acked_at is None else "yes") for alarm in status.alarms)
        yield _gauges("alarms_open", silenced, ["code", "acked"], ([*which, n] for which, n in sorted(opened.items())))


class OktaCollector(Collector):
    """Okta's limits as its own headers told them. ``budgets`` answers None while there is no Okta."""

    def __init__(self, budgets: Callable[[], Mapping[str, RateBudget] | None]) -> None:
        self._budgets = budgets

    def collect(self) -> Iterator[Metric]:
        for name, doc, what, kind in (
            ("okta_remaining", "Calls left in Okta's window.", "remaining", GaugeMetricFamily),
            ("okta_limit", "Calls in Okta's window.", "limit", GaugeMetricFamily),
            ("okta_waited_seconds", "Time spent waiting for Okta's limits.", "waited", CounterMetricFamily),
            ("okta_refused", "Answers with status 429.", "refused", CounterMetricFamily),
        ):
            found = ((bucket, getattr(budget, what)) for bucket, budget in sorted((self._budgets() or {}).items()))
            yield _family(kind, name, doc, ["bucket"], ([bucket, n] for bucket, n in found if n is not None))


def _sweeps(status: StatusPage) -> Iterator[Metric]:
    last = status.account.last_good_sweep
    if last is not None:
        yield _gauge("last_good_sweep_timestamp_seconds", "When the last good sweep ended.", last.timestamp())
        yield _gauge("last_good_sweep_age_seconds", "Age of the last good sweep.", (status.at - last).total_seconds())
        yield _gauge("last_good_sweep_people", "People that it saw.", status.account.last_good_people or 0)
    run = status.last_run
    if run is not None and run.ended is not None:
        ended = [[run.outcome or "", str(run.exit_code), 1]]
        yield _gauges("last_run", "Always 1; how the last run ended.", ["outcome", "exit_code"], ended)
        yield _gauge("last_run_timestamp_seconds", "When it ended.", run.ended.timestamp())
        yield _gauge("last_run_seconds", "How long it took.", (run.ended - run.started).total_seconds())


def _drift(status: StatusPage) -> Iterator[Metric]:
    if status.drift is not None:
        left = ([kind.value, status.drift.get(kind, 0)] for kind in ActionKind)
        yield _gauges("drift", "What the newest plan has left to do, by kind.", ["kind"], left)
        yield _gauge("leavers_active", "People whose access should have ended and hasn't.", status.leavers_active)
    held = ([code.value, count] for code, count in sorted(status.held.items()))
    yield _gauges("held", "Runs and actions that wait for a person, by code.", ["code"], held)
    waiting = [hold.since for hold in status.holds if hold.decision is Decision.WAITING]
    waiting += [stored.created for stored in status.held_plans if stored.held]
    ages = [(status.at - since).total_seconds() for since in waiting]
    yield _gauge("held_oldest_age_seconds", "Age of the oldest hold that waits; 0 without one.", max(ages, default=0.0))
    blocked = sum(hold.decision is Decision.BLOCKED for hold in status.holds)
    yield _gauge("blocked", "People whom an operator's block keeps out.", blocked)


def _gauge(name: str, doc: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, doc, value=float(value))


def _gauges(name: str, doc: str, labels: Sequence[str], samples: Iterable[Sequence[Any]]) -> Metric:
    return _family(GaugeMetricFamily, name, doc, labels, samples)


def _family(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    name: str,
    doc: str,
    labels: Sequence[str],
    samples: Iterable[Sequence[Any]],
) -> Metric:
    """A sample is a value for each of the labels, and then the number."""
    family = kind(_PREFIX + name, doc, labels=labels)
    for *values, number in samples:
        family.add_metric(values, number)
    return family
