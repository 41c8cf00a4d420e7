"""uvicorn in this process: two listeners on one loop, headers capped, stopped by us. Knows no route and no setting."""

import asyncio
import errno
import socket
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from agent.model.errors import AgentError
from agent.receiver.refusals import NO_MEMORY, RETRY_AFTER
from agent.scim.errors import error_body

#: Request line and headers together; Okta's are under 1 kB. The parser itself has no limit.
MAX_HEAD = 32_768
#: Made beforehand, for what there is no memory for. 429 is what Okta tries again by itself.
_NO_MEMORY_BODY = error_body(429, NO_MEMORY)
_NO_MEMORY = (
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: %d\r\ncontent-type: application/scim+json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (RETRY_AFTER, len(_NO_MEMORY_BODY), _NO_MEMORY_BODY)
)
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
#: What runs longer when the process is asked to stop is cut off.
_GRACE_SECONDS = 20
#: What accept() says when the process or the system has no room for another connection.
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SAY_EVERY = 60.0

_log = structlog.get_logger("agent.daemon")


class CannotListen(AgentError):
    code = "cannot_listen"


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A bound socket; ``setting`` is named where that fails. Port 0 takes any free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms for an ACK.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as exc:
        listener.close()
        raise CannotListen(
            f"{host}:{port} ({setting}) can't be used: {exc.strerror or exc}. Set another one or stop what uses it."
        ) from exc
    listener.setblocking(False)
    return listener


class LoopErrors:
    """The loop's exception handler. Without room asyncio calls accept() once for each place in its backlog, two thousand
    times a second; logged with its traceback each time, that alone kept the loop from ever answering again.
    """

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, MemoryError):
            self._say("no memory left to read a request; its connection was dropped")
        elif isinstance(error, OSError) and error.errno in _NO_ROOM:
            self._say("no room for another connection; trying again each second", reason=error.strerror)
        else:
            loop.default_exception_handler(context)

    def _say(self, what: str, **more: Any) -> None:
        if time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + _SAY_EVERY
            _log.error(what, **more)


class CappedProtocol(HttpToolsProtocol):
    """Refuses a request whose head is too long, also one that never ends; the parser would collect it without limit."""

    _head = 0
    _in_head = True
    _too_long = False

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > MAX_HEAD:
            self._refuse()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head = 0
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > MAX_HEAD:
            self._too_long = True
            raise ValueError("head too long")  # ends the parser; send_400_response answers
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        # Called while the parser's error is handled; what a callback of ours raised is behind it.
        error = sys.exception()
        if self._too_long:
            self._refuse()
        elif error is not None and isinstance(error.__context__, MemoryError):
            self._refuse(_NO_MEMORY)
        else:
            super().send_400_response(msg)

    def _refuse(self, answer: bytes = _TOO_LARGE) -> None:
        if not self.transport.is_closing():
            self.transport.write(answer)
            self.transport.close()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the daemon's own, for both servers; uvicorn would raise SIGTERM once more at the end: exit code 143."""
        yield


class WebServers:
    """Serves each app on its socket until ``stop``."""

    def __init__(self, apps: Sequence[tuple[Any, socket.socket]], trusted_proxies: Sequence[str] = ()) -> None:
        self._servers = [(_Server(_config(app, trusted_proxies)), listener) for app, listener in apps]

    async def serve(self) -> None:
        await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in self._servers))

    def stop(self) -> None:
        """From the loop's own thread. Open requests are finished first."""
        for server, _ in self._servers:
            server.should_exit = True

    @property
    def started(self) -> bool:
        return all(server.started for server, _ in self._servers)


def _config(app: Any, trusted_proxies: Sequence[str]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=CappedProtocol,
        ws="none",
        lifespan="on",  # the receiver warms up in it
        log_config=None,
        access_log=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
