"""What the receiver counts. No names, ids or addresses in labels."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("opshelm_agent_pushes", "Requests at the receiver by method and status.", ["method", "status"])
UNAUTHORIZED = Counter("opshelm_agent_receiver_unauthorized", "Requests without a valid key.")
SECONDS = Histogram(
    "opshelm_agent_receiver_seconds",
    "Time from a request's headers to its answer.",
    ["method"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60),
)
DROPPED = Counter(
    "opshelm_agent_connections_dropped",
    "Connections closed because they were too slow, or for want of a place.",
    ["reason"],
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
#: Looked up on every request, so the labelled children are kept; both keys come from small closed sets.
_requests: dict[tuple[str, int], Counter] = {}
_seconds = {method: SECONDS.labels(method) for method in (*_METHODS, "other")}


def answered(method: str, status: int, seconds: float) -> None:
    """Count one answer."""
    known = method if method in _METHODS else "other"
    counter = _requests.get((known, status))
    if counter is None:
        counter = _requests[known, status] = REQUESTS.labels(known, str(status))
    counter.inc()
    _seconds[known].observe(seconds)


WAITING = Gauge("opshelm_agent_receiver_writes_waiting", "Writes that wait for their commit.")

HOOKS = Counter("opshelm_agent_hooks", "Requests at /hooks/okta by what became of them.", ["result"])
HOOK_EVENTS = Counter("opshelm_agent_hook_events", "Events that Okta's event hook delivered.", ["result"])
