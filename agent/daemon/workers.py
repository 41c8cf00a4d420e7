"""The daemon's further processes (``server.workers``): each receives at the same socket, with a store of its own.

They are forked before the daemon has a thread or a connection to its database, so that what is loaded is in memory once, and
belong to it: signals, clock, dashboard and metrics are the daemon's own. All end together: where one ends unasked, or stands
still for STILL, the daemon stops with exit code 1, and whatever started it starts all of them anew; where the daemon is gone they
stop.

========================  ====================================================================================
the daemon sends          then a worker
========================  ====================================================================================
that it serves            opens the database, which has its schema by now, and receives
changed settings          goes by them; until then its writes are refused where the database has another mapping
nothing more              finishes what was begun, and ends
========================  ====================================================================================

Each second a worker tells what it has counted and whether it found the disk full, by which the daemon knows that its loop goes
on, and at once that an event hook has named somebody.
"""

import asyncio
import math
import multiprocessing
import os
import queue
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing, suppress
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import structlog

from agent import traces
from agent.bootstrap import Agent, load_receiver, open_store
from agent.daemon import memory
from agent.daemon.web import LoopErrors, Web, WebServers
from agent.model.errors import AgentError, DiskFull, OtherMapping, StoreError
from agent.receiver.lookups import Lookups
from agent.receiver.metrics import Counts, counts
from agent.settings import Settings
from agent.store import account
from agent.store.steps import CLOCK

BEAT = timedelta(seconds=1)
#: One that says nothing for so long has connections, and may have the database's lock, that nobody else gets.
STILL = timedelta(minutes=1)
#: For those that finish what was begun; then they are ended.
_END_SECONDS = 30.0
_GIVE_BACK_SECONDS = 60.0
#: So long after the database has a new mapping the daemon has told of it.
_NEWER_SECONDS = 10.0
#: Connections that one of several takes at once: the others are to get some.
_AT_ONCE = 1

_log = structlog.get_logger("agent.daemon")


def receiving(settings: Settings, app: object, public: socket.socket) -> Web:
    """The receiver's app on its socket, in any of the processes."""
    proxies = settings.server.trusted_proxies
    return Web(app, public, proxies, at_once=_AT_ONCE) if settings.server.workers > 1 else Web(app, public, proxies)


class Said(NamedTuple):
    counts: Counts
    #: It has found the disk under the database full, and not yet otherwise.
    full: bool


class _Worker(NamedTuple):
    name: str
    process: BaseProcess
    channel: "Connection[Settings | None, Said | None]"


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
        #: When each was last heard of, and when that was last looked at.
        self._heard: dict[str, float] = {}
        self._looked = -math.inf
        if settings.server.workers > 1:
            load_receiver()
            memory.keep_loaded()  # a look for garbage in it would make it each one's own
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
            raise SystemExit(_work(name, settings, public, theirs, self.looked_for))

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
        self,
        alive: Callable[[str], None],
        queued: Callable[[], None],
        full: Callable[[], None],
        ended: Callable[[str, int | None], None],
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
            self._heard[worker.name] = time.monotonic()
            if said is None:
                queued()
                return
            self._counts[worker.name] = said.counts
            if said.full:
                full()

        def gone(worker: _Worker) -> None:
            loop.remove_reader(worker.process.sentinel)
            worker.process.join()
            ended(worker.name, worker.process.exitcode)

        for worker in self._workers:
            loop.add_reader(worker.channel, hear, worker)
            loop.add_reader(worker.process.sentinel, gone, worker)
            self._send(worker, None)
        self._look()

    def _look(self) -> None:
        """End who stands still. Where this process stood still itself, all begin anew."""
        now = time.monotonic()
        if now - self._looked > STILL.total_seconds() / 2:
            self._heard = dict.fromkeys(self.names, now)
        self._looked = now
        for worker in self._workers:
            if now - self._heard[worker.name] > STILL.total_seconds():
                _log.critical("a worker stands still; it is ended", worker=worker.name)
                worker.process.kill()
        if self._stopped is None and self._loop is not None:
            self._loop.call_later(BEAT.total_seconds(), self._look)

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
    name: str,
    settings: Settings,
    public: socket.socket,
    channel: "Connection[Said | None, Settings | None]",
    looked_for: Lookups,
) -> int:
    """A worker's life; its exit code."""
    log = _log.bind(worker=name)
    try:
        channel.recv()
    except EOFError:
        return 0  # the daemon could not start
    end_traces = traces.start()
    try:
        with ExitStack() as stack:
            agent = _opened(settings, channel, stack)
            receiver = _Receiver(agent, public, channel, looked_for, log)
            memory.keep_loaded()
            asyncio.run(receiver.serve())
            return receiver.exit_code
    except EOFError:
        return 0  # the daemon stops already
    except AgentError as exc:
        log.critical("a worker can't receive", code=exc.code, detail=exc.detail)
    except Exception:
        log.exception("a worker failed unexpectedly")
    finally:
        end_traces()
    return 1


def _opened(settings: Settings, channel: "Connection[Said | None, Settings | None]", stack: ExitStack) -> Agent:
    """With the newest settings: the daemon may have taken others on since this process was forked."""
    while True:
        while channel.poll():
            newest = channel.recv() or settings
            settings = newest.model_copy(update={"server": settings.server})  # which port it is was known at the fork
        store = stack.enter_context(closing(open_store(settings)))
        try:
            return stack.enter_context(closing(Agent(settings, store, None)))
        except OtherMapping:
            store.close()
            if not channel.poll(_NEWER_SECONDS):
                raise


class _Receiver:
    def __init__(
        self,
        agent: Agent,
        public: socket.socket,
        channel: "Connection[Said | None, Settings | None]",
        looked_for: Lookups,
        log: Any,
    ) -> None:
        self.exit_code = 0
        self._agent, self._channel, self._log = agent, channel, log
        app = agent.receiver(lambda: self._say(None), looked_for)
        self._web = WebServers(receiving(agent.settings, app, public))
        self._changed: queue.SimpleQueue[Settings] = queue.SimpleQueue()
        self._over = threading.Event()
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
        self._say(Said(counts(), full=self._agent.store.full is not None))

    def _say(self, what: Said | None) -> None:
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
            # Whatever it still waits for, a database that hangs for one, and where nobody is left to end it.
            last = threading.Timer(_END_SECONDS, os._exit, [1])
            last.daemon = True
            last.start()
            return
        if settings is not None:
            self._changed.put(settings)

    def _look_after(self) -> None:
        """What clock and watchdog do in the daemon: settings, steps of the machine's clock, a full disk, memory."""
        give_back_at = time.monotonic() + _GIVE_BACK_SECONDS
        while not self._over.is_set():
            try:
                with suppress(queue.Empty):
                    self._agent.follow(self._changed.get(timeout=BEAT.total_seconds()))
                CLOCK.settle(self._agent.store)
                if self._agent.store.full is not None:
                    # Nobody may have anything more to write here, and it would stay full for ever.
                    with suppress(DiskFull):
                        self._agent.store.write(account.touch)
                if time.monotonic() >= give_back_at:
                    memory.give_back()
                    give_back_at = time.monotonic() + _GIVE_BACK_SECONDS
            except AgentError as exc:
                self._log.warning(
                    "a worker could not look after itself; it tries again in a second", code=exc.code, detail=exc.detail
                )
            except Exception:  # noqa: BLE001 - the next look must come
                self._log.exception("a worker failed unexpectedly")

    def _fatal(self, error: StoreError) -> None:
        """The daemon stops too, by the exit code."""
        self._log.critical("the database failed; stopping", code=error.code, detail=error.detail)
        self.exit_code = 1
        self._loop.call_soon_threadsafe(self._web.stop)
