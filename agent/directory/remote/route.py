"""The way to the remote: one pool of connections, over the proxy that the environment names for its host; and how many calls a
second go it. Knows no calls.

There is one host and nobody's cookies, so no client of httpx stands between: what it adds to each call (cookies, redirects,
the choice of a proxy) costs as much as sending it.
"""

import ssl
import threading
import time
from collections.abc import Callable

import httpx

from agent.directory.remote import deadline
from agent.model.errors import ConfigError
from agent.settings import DirectorySettings
from agent.settings.proxy import proxy_for

#: How long a connection waits for the next call.
_IDLE = 30.0


def route(settings: DirectorySettings) -> httpx.HTTPTransport:
    """Thread-safe; close it. ConfigError where directory.ca_file holds no certificates, or the proxy is none."""
    limits = httpx.Limits(
        max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency, keepalive_expiry=_IDLE
    )
    trust, proxy = _trust(settings.ca_file), proxy_for(settings.base_url or "")
    try:
        made = httpx.HTTPTransport(verify=trust, limits=limits, proxy=proxy)
    except (ImportError, ValueError, httpx.InvalidURL) as exc:
        # Without the cause: it may hold a part of the proxy's password.
        problem = (
            f"the proxy that the environment names for it can't be used ({type(exc).__name__}); write http://HOST:PORT"
        )
        raise ConfigError([f"directory.base_url: {problem}, or name the host in NO_PROXY"]) from None
    deadline.bound(made)
    return made


def _trust(ca_file: str | None) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError([f"directory.ca_file: no certificates in PEM form ({type(exc).__name__})"]) from exc


class CallBudget:
    """Shared by all threads of the process; spaces calls evenly."""

    def __init__(
        self,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], bool | None] = time.sleep,
    ) -> None:
        """``sleep`` answers True where it was cut short."""
        self._gap = 1.0 / per_second
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> bool:
        """Return when the caller may send one call; False: the wait was cut short, and nothing is to be sent."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._gap
        return turn <= now or not self._sleep(turn - now)
