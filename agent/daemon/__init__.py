"""The daemon: web servers, clock, signals. Holds no rules: the clock drives the reconciler, the receiver is its own app."""

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing

import structlog

from agent import logs, traces
from agent.bootstrap import Agent, open_agent
from agent.daemon import memory
from agent.daemon.clock import Clock
from agent.daemon.reload import Reload
from agent.daemon.web import ADMIN_PLACES, LoopErrors, Web, WebServers, listen, passed_listener
from agent.daemon.workers import BEAT, Workers, receiving
from agent.model.errors import StoreError
from agent.settings import Loaded, Settings
from agent.store import account

#: Seconds that one thread keeps the interpreter while others wait. A push gives it away several times; with Python's own five
#: milliseconds each time, pushes beside a sweep waited for tens of them.
_TURN = 0.0005

#: Of the unit's TimeoutStopSec, 60 s: then the process ends whatever it still waits for, a database that hangs for one.
_END_SECONDS = 45.0

_log = structlog.get_logger("agent.daemon")


def serve(loaded: Loaded, *, config: str | None = None, greet: Callable[["Service"], None] = lambda _: None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code. ``config`` is where settings are read again from. ``greet`` comes before."""
    logs.configure(loaded.settings.log)
    sys.setswitchinterval(_TURN)
    with ExitStack() as stack:
        server = loaded.settings.server
        public = stack.enter_context(closing(passed_listener() or listen(server.host, server.port, "server.port")))
        admin = stack.enter_context(closing(listen(server.admin_host, server.admin_port, "server.admin_port")))
        settings = with_ports(loaded.settings, public, admin)
        workers = stack.enter_context(closing(Workers(settings, public, admin)))
        traces.start()
        reload = Reload(loaded, config)
        agent = stack.enter_context(open_agent(settings, need_okta=False, make=True, secrets=reload.secrets))
        service = Service(agent, public, admin, reload, workers)
        greet(service)
        memory.keep_loaded()
        return service.run()


def with_ports(settings: Settings, public: socket.socket, admin: socket.socket) -> Settings:
    """Port 0 takes any free one; from here on the settings say which."""
    ports = {"port": public.getsockname()[1], "admin_port": admin.getsockname()[1]}
    return settings.model_copy(update={"server": settings.server.model_copy(update=ports)})


class Service:
    """One running daemon. ``run`` blocks; ``stop`` may be called from any thread."""

    def __init__(
        self, agent: Agent, public: socket.socket, admin: socket.socket, reload: Reload, workers: Workers
    ) -> None:
        from agent.dashboard.app import build as build_admin
        from agent.dashboard.metrics import OktaCollector
        from agent.receiver.metrics import Received

        self.agent = agent
        self.address = address(public)
        self.admin_address = address(admin)
        self.exit_code = 0
        self.started = threading.Event()
        self._workers = workers
        self.clock = Clock(agent, reload, workers.renew)
        collectors = (OktaCollector(agent.budget), Received(workers.counts))
        pages = build_admin(agent, self.address, self.clock, collectors)
        app = agent.receiver(self.clock.wake, workers.looked_for)
        self._web = WebServers(receiving(agent.settings, app, public), Web(pages, admin, places=ADMIN_PLACES))
        self._loop: asyncio.AbstractEventLoop | None = None
        agent.store.on_fatal = self._fatal

    def run(self, *, clock: bool = True, signals: bool = True) -> int:
        """Serve until ``stop``, then let a running apply finish its batch."""
        asyncio.run(self._serve(clock=clock, signals=signals))
        return self.exit_code

    def stop(self) -> None:
        self.clock.ask_to_stop()
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._web.stop)
            loop.call_soon_threadsafe(self._workers.stop)

    async def _serve(self, *, clock: bool, signals: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(LoopErrors())
        _beat(self._loop)
        if signals:
            self._handle_signals()
        for name in self._workers.names:
            self.clock.loops.watch(name, name, BEAT)
        self._workers.start(self.clock.loops.alive, self.clock.wake, self._look_at_disk, self._ended)
        if clock:
            self.clock.start()
        _log.info(
            "serving", receiver=f"{self.address}/scim/v2", admin=self.admin_address, okta=self.agent.okta is not None
        )
        if self.agent.okta is None:
            _log.warning("no [okta] section: serving the receiver alone, nothing is reconciled")
        self.started.set()
        try:
            await self._web.serve()
        finally:
            self._workers.stop()
            await asyncio.to_thread(self.clock.stop)
            await asyncio.to_thread(self._workers.close)
            _log.info("stopped", exit_code=self.exit_code)

    def _handle_signals(self) -> None:
        handlers: dict[signal.Signals, Callable[[], None]] = {
            signal.SIGTERM: self._end,
            signal.SIGINT: self._end,
            signal.SIGHUP: self.clock.look_for_changes,
        }
        for number, handler in handlers.items():
            asyncio.get_running_loop().add_signal_handler(number, handler)

    def _end(self) -> None:
        """``stop``, and an end to the process in any case: what was answered is in the database."""
        last = threading.Timer(_END_SECONDS, _end_anyway)
        last.daemon = True
        last.start()
        self.stop()

    def _look_at_disk(self) -> None:
        """A worker found it full: by a write of its own this process knows that too, and says so."""
        self.agent.store.submit(account.touch)

    def _ended(self, worker: str, code: int | None) -> None:
        """What it has answered is in the database; who has started the daemon starts all of it anew."""
        _log.critical("a worker ended; stopping", worker=worker, exit_code=code)
        self.exit_code = 1
        self._end()

    def _fatal(self, error: StoreError) -> None:
        """The database can't be trusted any more (a failed fsync): better to stop than to acknowledge what isn't kept."""
        _log.critical("the database failed; stopping", code=error.code, detail=error.detail)
        self.exit_code = 1
        self._end()


def _beat(loop: asyncio.AbstractEventLoop) -> None:
    """A thread that has done its work wakes the loop by a byte in a pipe. Where that byte is lost, the loop looks a second later."""
    loop.call_later(1.0, _beat, loop)


def _end_anyway() -> None:
    waiting = sorted(thread.name for thread in threading.enumerate() if thread is not threading.current_thread())
    _log.critical("something never ended; the process ends without it", threads=waiting)
    os._exit(1)


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
