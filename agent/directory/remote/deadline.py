"""When all must have ended: one call, however its answer drips in, and all the calls of a push. Makes no call, retries nothing.

A deadline belongs to the thread and to what it calls; a deadline within another one never ends later. httpx bounds each wait
for a piece of an answer, not all of them together, so the connections of a route are made to look at the deadline.
"""

import math
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore
import httpx

#: Okta gives a push 60 s; the answer must have left well before.
PUSH = 40.0
#: Of these, what is kept for reading back a write whose answer didn't come.
READING_BACK = 10.0

_until: ContextVar[float] = ContextVar("remote_deadline", default=math.inf)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    token = _until.set(min(_until.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _until.reset(token)


def left() -> float:
    """Seconds; infinite where nothing presses."""
    return _until.get() - time.monotonic()


def acquired(lock: "threading.Lock | threading.RLock") -> bool:
    """Whether it could be had until then."""
    rest = left()
    return lock.acquire(timeout=-1 if rest == math.inf else max(0.0, rest))


def bound(transport: httpx.HTTPTransport) -> None:
    """Every connection that it will make, by way of a proxy too."""
    # httpx has no public way to say how its connections are made; without these names the agent doesn't start.
    pool = transport._pool  # noqa: SLF001
    pool._network_backend = _Backend(pool._network_backend)  # noqa: SLF001


class _Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        rest = _rest(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, rest, local_address, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _rest(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _rest(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        rest = _rest(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, rest))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _rest(timeout: float | None, error: type[httpcore.TimeoutException]) -> float | None:
    rest = left()
    if rest <= 0:
        raise error("the whole call took too long")
    return timeout if rest == math.inf else rest if timeout is None else min(timeout, rest)
