"""The daemon's further processes (``server.workers``): each receives at the same socket, with a store of its own.

They are forked before the daemon has a thread or a connection to its database, so that what is loaded is in memory once, and
belong to it: signals, clock, dashboard and metrics are the daemon's own. All end together: where one ends unasked the daemon
stops, with exit code 1, and whatever started it starts all of them anew; where the daemon is gone they stop.

========================  ====================================================================================
the daemon sends          then a worker
========================  ====================================================================================
that it serves            opens the database, which has its schema by now, and receives
changed settings          takes them on; until then it works by those from before, or is refused where the
                          database has another mapping by now
nothing more              finishes what was begun, and ends
========================  ====================================================================================

Each second a worker sends what it has counted, by which the daemon knows that its loop goes on, and at once that an event
hook has named somebody.
"""

import asyncio
import multiprocessing
import queue
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import structlog

from agent import traces
from agent.bootstrap import Agent, open_store
from agent.daemon import memory
from agent.daemon.web import LoopErrors, Web, WebServers
from agent.model.errors import AgentError, StoreError
from agent.receiver.lookups import Lookups
from agent.receiver.metrics import Counts, counts
from agent.settings import Settings
from agent.store.steps import CLOCK

BEAT = timedelta(seconds=1)
#: For those that finish what was begun; then they are ended.
_END_SECONDS = 30.0
_GIVE_BACK_SECONDS = 60.0
#: So long one may wait for the database beside its loop before it counts as standing still.
_PATIENCE_SECONDS = 30.0
#: Connections that one of several takes at once: the others are to get some.
_AT_ONCE = 1

_log = structlog.get_logger("agent.daemon")


def receiving(settings: Settings, app: object, public: socket.socket) -> Web:
    """The receiver's app on its socket, in any of the processes."""
    proxies = settings.server.trusted_proxies
    return Web(app, public, proxies, at_once=_AT_ONCE) if settings.server.workers > 1 else Web(app, public, proxies)


class _Worker(NamedTuple):
    name: str
    process: BaseProcess
    channel: "Connection[Settings | None, Counts | None]"


class Workers:
    """The daemon's side. Made and closed on its main thread, used on its loop; ``renew`` from any thread."""

    def __init__(self, settings: Settings, public: socket.socket, admin: socket.socket) -> None:
        #: The daemon itself notes in it as the first writer.
        self.looked_for = Lookups(settings.server.workers)
        self._workers: list[_Worker] = []
        self._counts: dict[str, Counts] = {}
        self._sending = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        #: When they were to stop, by the monotonic clock.
        self._stopped: float | None = None
        for number in range(1, settings.server.workers):
            self._fork(number, settings, public, admin)

    def _fork(self, number: int, settings: Settings, public: socket.socket, admin: socket.socket) -> None:
        system = multiprocessing.get_context("fork")
        mine, theirs = system.Pipe()
        # Whoever has another one's end open too hides from it that the daemon is gone.
        not_mine: list[socket.socket | Connection] = [admin, mine, *(worker.channel for worker in self._workers)]

        def work() -> None:
            for told_by in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(told_by, signal.SIG_IGN)
            for other in not_mine:
                other.close()
            self.looked_for.writer = number
            raise SystemExit(_work(settings, public, theirs, self.looked_for))

        name = f"worker {number + 1}"
        process = system.Process(target=work, name=name)
        process.start()
        theirs.close()
        self._workers.append(_Worker(name, process, mine))

    @property
    def names(self) -> list[str]:
        return [worker.name for worker in self._workers]

    def counts(self) -> Iterable[Counts]:
        """What each has counted, as it last said."""
        return [*self._counts.values()]

    def start(
        self, alive: Callable[[str], None], queued: Callable[[], None], ended: Callable[[str, int | None], None]
    ) -> None:
        """They receive from now on. ``ended``: one has ended unasked, with this code (negative: by this signal)."""
        self._loop = loop = asyncio.get_running_loop()

        def hear(worker: _Worker) -> None:
            try:
                said = worker.channel.recv()
            except (EOFError, OSError):
                loop.remove_reader(worker.channel)
                return
            alive(worker.name)
            if said is None:
                queued()
            else:
                self._counts[worker.name] = said

        def gone(worker: _Worker) -> None:
            loop.remove_reader(worker.process.sentinel)
            worker.process.join()
            ended(worker.name, worker.process.exitcode)

        for worker in self._workers:
            loop.add_reader(worker.channel, hear, worker)
            loop.add_reader(worker.process.sentinel, gone, worker)
            self._send(worker, None)

    def renew(self, settings: Settings) -> None:
        """Have them take these on."""
        for worker in self._workers:
            self._send(worker, settings)

    def _send(self, worker: _Worker, what: Settings | None) -> None:
        with self._sending, suppress(OSError):  # of one that is gone ``ended`` tells
            if _writable(worker.channel):
                worker.channel.send(what)
            else:
                # It has read nothing of much that was sent, and must not go on by settings of long ago.
                worker.process.kill()

    def stop(self) -> None:
        """Have them finish what was begun. On the loop, if they have been started."""
        if self._stopped is not None:
            return
        self._stopped = time.monotonic()
        with self._sending:
            for worker in self._workers:
                if self._loop is not None:
                    self._loop.remove_reader(worker.channel)
                    self._loop.remove_reader(worker.process.sentinel)  # from here on ``close`` alone asks for its code
                worker.channel.close()

    def close(self) -> None:
        """Until they have ended."""
        self.stop()
        for worker in self._workers:
            worker.process.join(max(0.0, (self._stopped or 0.0) + _END_SECONDS - time.monotonic()))
            if worker.process.is_alive():
                _log.critical("a worker doesn't end; it is ended", worker=worker.name)
                worker.process.kill()
                worker.process.join()


def _writable(channel: "Connection[Any, Any]") -> bool:
    """There is room for what is sent here, so that nobody waits for the other side."""
    return bool(select.select([], [channel], [], 0)[1])


def _work(
    settings: Settings,
    public: socket.socket,
    channel: "Connection[Counts | None, Settings | None]",
    looked_for: Lookups,
) -> int:
    """A worker's life; its exit code."""
    try:
        channel.recv()
    except EOFError:
        return 0  # the daemon could not start
    traces.start()
    try:
        with closing(open_store(settings)) as store, closing(Agent(settings, store, None)) as agent:
            receiver = _Receiver(agent, public, channel, looked_for)
            memory.keep_loaded()
            asyncio.run(receiver.serve())
            return receiver.exit_code
    except AgentError as exc:
        _log.critical("a worker can't receive", code=exc.code, detail=exc.detail)
        return 1


class _Receiver:
    def __init__(
        self,
        agent: Agent,
        public: socket.socket,
        channel: "Connection[Counts | None, Settings | None]",
        looked_for: Lookups,
    ) -> None:
        self.exit_code = 0
        self._agent, self._channel = agent, channel
        app = agent.receiver(lambda: self._say(None), looked_for)
        self._web = WebServers(receiving(agent.settings, app, public))
        self._changed: queue.SimpleQueue[Settings] = queue.SimpleQueue()
        self._over = threading.Event()
        self._looked_after_at = time.monotonic()
        agent.store.on_fatal = self._fatal

    async def serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(LoopErrors())
        self._loop.add_reader(self._channel, self._hear)
        self._beat()
        looking = threading.Thread(target=self._look_after, name="look after", daemon=True)
        looking.start()
        try:
            await self._web.serve()
        finally:
            self._over.set()

    def _beat(self) -> None:
        self._loop.call_later(BEAT.total_seconds(), self._beat)
        if time.monotonic() - self._looked_after_at < _PATIENCE_SECONDS:
            self._say(counts())

    def _say(self, what: Counts | None) -> None:
        """Not where the daemon doesn't listen just now: pushes don't wait for that."""
        with suppress(OSError):
            if _writable(self._channel):
                self._channel.send(what)

    def _hear(self) -> None:
        try:
            settings = self._channel.recv()
        except (EOFError, OSError):
            self._loop.remove_reader(self._channel)
            self._web.stop()
            return
        if settings is not None:
            self._changed.put(settings)

    def _look_after(self) -> None:
        """What the clock does in the daemon: settings, steps of the machine's clock, memory."""
        wanted: Settings | None = None
        give_back_at = time.monotonic() + _GIVE_BACK_SECONDS
        while not self._over.is_set():
            with suppress(queue.Empty):
                wanted = self._changed.get(timeout=BEAT.total_seconds())
            try:
                if wanted is not None:
                    self._agent.follow(wanted)
                    wanted = None
                CLOCK.settle(self._agent.store)
                if time.monotonic() >= give_back_at:
                    memory.give_back()
                    give_back_at = time.monotonic() + _GIVE_BACK_SECONDS
            except AgentError as exc:
                _log.warning("tried again in a second", code=exc.code, detail=exc.detail)
            except Exception:  # noqa: BLE001 - the next look must come
                _log.exception("a worker failed unexpectedly")
            self._looked_after_at = time.monotonic()

    def _fatal(self, error: StoreError) -> None:
        """The daemon stops too, by the exit code."""
        _log.critical("the database failed; stopping", code=error.code, detail=error.detail)
        self.exit_code = 1
        self._loop.call_soon_threadsafe(self._web.stop)
