"""What the receiver counts. No names, ids or addresses in labels."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "opshelm_agent_pushes", "Requests at the receiver by method and status.", ["method", "status"]
)
UNAUTHORIZED = Counter("opshelm_agent_receiver_unauthorized", "Requests without a valid key.")
SECONDS = Histogram(
    "opshelm_agent_receiver_seconds",
    "Time from a request's headers to its answer.",
    ["method"],
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60),
)
WAITING = Gauge("opshelm_agent_receiver_writes_waiting", "Writes that wait for their commit.")
