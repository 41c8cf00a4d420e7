"""What the receiver counts. No names, ids or addresses in labels."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import REGISTRY, Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

UNAUTHORIZED = Counter("opshelm_agent_receiver_unauthorized", "Requests without a valid key.")
DROPPED = Counter(
    "opshelm_agent_connections_dropped",
    "Connections closed because they were too slow, or for want of a place.",
    ["reason"],
)
WAITING = Gauge("opshelm_agent_receiver_writes_waiting", "Writes that wait for their commit.")

HOOKS = Counter("opshelm_agent_hooks", "Requests at /hooks/okta by what became of them.", ["result"])
HOOK_EVENTS = Counter("opshelm_agent_hook_events", "Events that Okta's event hook delivered.", ["result"])

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
REGISTRY.register(ANSWERS)
