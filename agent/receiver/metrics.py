"""What the receiver counts. No names, ids or addresses in labels."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate, chain

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

#: What this process has counted; ``Received`` shows it.
_HERE = CollectorRegistry()

UNAUTHORIZED = Counter("opshelm_agent_receiver_unauthorized", "Requests without a valid key.", registry=_HERE)
DROPPED = Counter(
    "opshelm_agent_connections_dropped",
    "Connections closed because they were too slow, or for want of a place.",
    ["reason"],
    registry=_HERE,
)
WAITING = Gauge("opshelm_agent_receiver_writes_waiting", "Writes that wait for their commit.", registry=_HERE)

HOOKS = Counter("opshelm_agent_hooks", "Requests at /hooks/okta by what became of them.", ["result"], registry=_HERE)
HOOK_EVENTS = Counter(
    "opshelm_agent_hook_events", "Events that Okta's event hook delivered.", ["result"], registry=_HERE
)

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, float("inf"))


class Answers(Collector):
    """Requests by method and status, and their time. Counted by the event loop alone: no lock for each of them."""

    def __init__(self) -> None:
        #: Both labels come from small closed sets.
        self._answers: defaultdict[tuple[str, int], int] = defaultdict(int)
        #: By method: how many within each of _SECONDS and no shorter one, and the time of all.
        self._within = {method: [0] * len(_SECONDS) for method in (*_METHODS, "other")}
        self._sums = dict.fromkeys(self._within, 0.0)

    def count(self, method: str, status: int, seconds: float) -> None:
        known = method if method in self._sums else "other"
        self._answers[known, status] += 1
        self._within[known][bisect_left(_SECONDS, seconds)] += 1
        self._sums[known] += seconds

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "opshelm_agent_pushes", "Requests at the receiver by method and status.", labels=("method", "status")
        )
        for (method, status), count in [*self._answers.items()]:
            answers.add_metric((method, str(status)), count)
        yield answers
        seconds = HistogramMetricFamily(
            "opshelm_agent_receiver_seconds", "Time from a request's headers to its answer.", labels=("method",)
        )
        for method, within in self._within.items():
            buckets = [*zip(map(floatToGoString, _SECONDS), accumulate(within), strict=True)]
            seconds.add_metric((method,), buckets, self._sums[method])
        yield seconds


ANSWERS = Answers()
_HERE.register(ANSWERS)

#: A sample's name, labels and value, by the name of what it is of.
Counts = dict[str, list[tuple[str, dict[str, str], float]]]


def counts() -> Counts:
    """What this process has counted so far, for another one to add."""
    return {
        family.name: [(one.name, one.labels, one.value) for one in family.samples if not one.name.endswith("_created")]
        for family in _HERE.collect()
    }


class Received(Collector):
    """What this process has counted, and what others of the same daemon have told of theirs, added up."""

    def __init__(self, others: Callable[[], Iterable[Counts]] = tuple) -> None:
        self._others = others

    def collect(self) -> Iterator[Metric]:
        others = [*self._others()]
        for family in _HERE.collect():
            sums: defaultdict[tuple[str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
            mine = ((one.name, one.labels, one.value) for one in family.samples)
            for name, labels, value in chain(mine, *(theirs.get(family.name, ()) for theirs in others)):
                sums[name, (*labels.items(),)] += value
            added = Metric(family.name, family.documentation, family.type)
            for (name, labels_of), value in sums.items():
                added.add_sample(name, dict(labels_of), value)
            yield added
