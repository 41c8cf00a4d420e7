"""uvicorn in this process: two listeners on one loop, stopped by us. Knows no route and no setting."""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import structlog
import uvicorn

from agent.daemon.connections import CappedProtocol, PlacesConfig, Room, places
from agent.model.errors import AgentError

#: What runs longer when the process is asked to stop is cut off.
_GRACE_SECONDS = 20
#: Connections that wait in the system until the agent takes them; also while it restarts, if systemd holds the socket.
_BACKLOG = 2048
#: asyncio takes as many at once before it looks at anything else; with them all it would run out of files first.
_AT_ONCE = 128
#: Operators and Prometheus.
ADMIN_PLACES = 100
#: What accept() says when the process or the system has no room for another connection.
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_SAY_EVERY = 60.0
#: The first descriptor that systemd passes.
_PASSED = 3

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
        listener.listen(_BACKLOG)
    except OSError as exc:
        listener.close()
        raise CannotListen(
            f"{host}:{port} ({setting}) can't be used: {exc.strerror or exc}. Set another one or stop what uses it."
        ) from exc
    listener.setblocking(False)
    return listener


def passed_listener() -> socket.socket | None:
    """The receiver's socket where systemd holds it (sd_listen_fds(3)): what connects during a restart waits in it."""
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    if pid != str(os.getpid()) or count in ("", "0"):
        return None
    if count != "1":
        raise CannotListen(
            f"The service got {count} sockets; its socket unit must have one ListenStream, the receiver's."
        )
    try:
        listener = socket.socket(fileno=_PASSED)
    except OSError as exc:
        raise CannotListen(f"The socket that the service got can't be used: {exc.strerror or exc}.") from exc
    if listener.type != socket.SOCK_STREAM or listener.family not in (socket.AF_INET, socket.AF_INET6):
        listener.close()
        raise CannotListen("The socket that the service got is none of TCP: ListenStream must be ADDRESS:PORT.")
    os.set_inheritable(_PASSED, False)
    listener.setblocking(False)
    return listener


class LoopErrors:
    """The loop's exception handler. Without room asyncio calls accept() once for each place in its backlog, a hundred
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


class Web(NamedTuple):
    """One app on its listener. ``proxies`` are those whose X-Forwarded-For is believed.

    ``at_once``: how many connections it takes before it looks at anything else; ``places``: how many in all, 0 for as many as may be.
    """

    app: Any
    listener: socket.socket
    proxies: Sequence[str] = ()
    at_once: int = _AT_ONCE
    places: int = 0


class _Server(uvicorn.Server):
    def __init__(self, web: Web) -> None:
        room = Room(web.places or places())
        config = PlacesConfig(
            web.app,
            room,
            http=CappedProtocol,
            ws="none",
            lifespan="on",  # the receiver warms up in it
            log_config=None,
            access_log=False,
            proxy_headers=bool(web.proxies),
            forwarded_allow_ips=list(web.proxies),
            server_header=False,
            backlog=web.at_once,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        super().__init__(config)
        self._room = room

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen(_BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:  # each second
            self._room.drop_overdue(asyncio.get_running_loop().time())
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Signals are the daemon's own, for both servers; uvicorn would raise SIGTERM once more at the end: exit code 143."""
        yield


class WebServers:
    """Serves all of them until ``stop``. Who is local to the admin port is decided by the connection: no header is believed there."""

    def __init__(self, *webs: Web) -> None:
        self._servers = [(_Server(web), web.listener) for web in webs]

    async def serve(self) -> None:
        await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in self._servers))

    def stop(self) -> None:
        """From the loop's own thread. Open requests are finished first."""
        for server, _ in self._servers:
            server.should_exit = True
