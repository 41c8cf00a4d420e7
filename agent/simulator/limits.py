"""Okta's rate limits: which bucket a call falls into, and the three headers that tell the client how it stands.

Only the apps bucket is ever enforced, and only when a limit is asked for. Without one the headers show a fresh window.
"""

import re
import time
from typing import NamedTuple

_WINDOW = 60.0
#: Path pattern → bucket, calls a minute (a token's half of a Workforce org's limits); the first that fits.
_BUCKETS = (
    (r"/api/v1/apps/[^/]+$", "app", 250),
    (r"/api/v1/apps(/|$)", "apps", 50),
    (r"/api/v1/users/[^/]+$", "user", 1000),
    (r"/api/v1/users$", "users", 300),
    (r"/api/v1/groups/[^/]+$", "group", 500),
    (r"/api/v1/groups(/|$)", "groups", 250),
    (r"/api/v1/logs$", "logs", 60),
    (r"/oauth2/", "oauth", 240),
    (r"", "other", 600),
)


class LimitState(NamedTuple):
    """What the headers of one answer say. ``allowed`` False: this call is over the limit."""

    limit: int
    remaining: int
    reset: int
    allowed: bool

    def headers(self) -> list[tuple[bytes, bytes]]:
        said = {"limit": self.limit, "remaining": self.remaining, "reset": self.reset}
        return [(f"x-rate-limit-{name}".encode(), str(value).encode()) for name, value in said.items()]


class RateLimiter:
    """``enforced`` calls per ``window`` seconds on the apps bucket; a window begins with its first call."""

    def __init__(self, enforced: int | None, window: float = _WINDOW) -> None:
        self.enforced = enforced
        self._window = window
        self._used = 0
        self._ends = 0.0

    def count(self, path: str) -> LimitState:
        name, limit = next((name, limit) for pattern, name, limit in _BUCKETS if re.match(pattern, path))
        now = time.time()
        if name != "apps" or self.enforced is None:
            return LimitState(limit, limit - 1, int(now + self._window), allowed=True)
        if now >= self._ends:
            self._ends, self._used = now + self._window, 0
        allowed = self._used < self.enforced
        self._used += allowed
        # Rounded up: a client that waits until then must find the new window.
        return LimitState(self.enforced, self.enforced - self._used, int(self._ends) + 1, allowed=allowed)
