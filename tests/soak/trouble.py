"""The troubles of a soak: each begins, lasts some seconds and is over. Several are at once; none judges anything."""

import contextlib
import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

from soak.stage import Stage
from support.pusher import Pusher

#: On what, for how many seconds, and what decides the rest.
Trouble = Callable[[Stage, float, random.Random], None]


def reload(stage: Stage, seconds: float, draw: random.Random) -> None:
    """Other settings each time, [okta] among them; sometimes wrong ones first."""
    for _ in range(max(1, round(seconds / 2))):
        if draw.random() < 0.3:
            stage.write_settings(push_mode="hodl")
            hang_up(stage)
        stage.settings["reconcile"] = draw.choice(("3s", "5s", "8s"))
        stage.settings["page_size"] = draw.choice(("7", "20", "500"))
        stage.settings["read_timeout"] = draw.choice(("50s", "60s"))
        stage.write_settings()
        hang_up(stage)
        time.sleep(1)


def hang_up(stage: Stage) -> None:
    for name in stage.agents.alive():
        stage.agents.signal(name, signal.SIGHUP)


def step_clock(stage: Stage, _: float, draw: random.Random) -> None:
    """Up to five hours, either way."""
    if stage.clock_can_step:
        stage.step_clock(stage.hours + draw.uniform(-5, 5) if abs(stage.hours) < 10 else 0.0)


def kill(stage: Stage, seconds: float, _: random.Random) -> None:
    """Started again and again, as by systemd, until there is a database to start with."""
    stage.agents.kill("victim")
    time.sleep(seconds)
    stage.start("victim")


def freeze(stage: Stage, seconds: float, draw: random.Random) -> None:
    name = draw.choice(("steady", "victim"))
    stage.agents.signal(name, signal.SIGSTOP)
    time.sleep(seconds)
    stage.agents.signal(name, signal.SIGCONT)


def slow_database(stage: Stage, seconds: float, _: random.Random) -> None:
    stage.database.slow(seconds)


def no_database(stage: Stage, seconds: float, _: random.Random) -> None:
    """A full disk, or a server that dies."""
    stage.database.gone(seconds)


def wrong_keys(stage: Stage, seconds: float, _: random.Random) -> None:
    ends = time.monotonic() + seconds
    for name in stage.agents.alive():
        stranger = Pusher(stage.agents[name].url, "ohk_nobody", timeout=5)
        while time.monotonic() < ends:
            stranger.send("GET", "/Users?count=1")


def slow_clients(stage: Stage, seconds: float, draw: random.Random) -> None:
    """Connections that say nothing, or one byte at a time."""
    name = draw.choice(("steady", "victim"))
    parts = urlsplit(stage.agents[name].url)
    with contextlib.ExitStack() as held:
        taken = []
        for _ in range(60):
            with contextlib.suppress(OSError):
                taken.append(held.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=2)))
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for connection in taken[::2]:
                with contextlib.suppress(OSError):
                    connection.sendall(b"P")
            time.sleep(0.5)


def okta_is_ill(stage: Stage, seconds: float, draw: random.Random) -> None:
    """5xx, 429, 401 for a while, answers that come late or not at all."""
    faults = (
        {"status": 503, "times": 8},
        {"status": 429, "times": 4, "headers": {"x-rate-limit-reset": None}},
        {"status": 401, "times": 6},
        {"delay_s": 3.0, "times": 6},
        {"cut_after": 40, "times": 3},
    )
    chosen = draw.sample(faults, 2)
    stage.org.faults(*({"path": "/api/v1/*", **fault} for fault in chosen))
    time.sleep(seconds)
    stage.org.faults()


#: How likely each is.
TROUBLES: dict[Trouble, int] = {
    reload: 4,
    step_clock: 3,
    kill: 3,
    freeze: 3,
    slow_database: 2,
    no_database: 2,
    wrong_keys: 2,
    slow_clients: 2,
    okta_is_ill: 3,
}


class Running:
    """What is under way, each in a thread of its own; at most one of a name."""

    def __init__(self) -> None:
        self._threads: dict[str, threading.Thread] = {}
        self._errors: list[BaseException] = []
        self.counted: Counter[str] = Counter()

    def begin(self, name: str, work: Callable[[], None]) -> None:
        before = self._threads.get(name)
        if before is None or not before.is_alive():
            self.counted[name] += 1
            self._threads[name] = threading.Thread(target=self._run, args=(work,), name=name)
            self._threads[name].start()

    def over(self) -> None:
        """Waits for the end of all; what went wrong in one is raised here."""
        for thread in self._threads.values():
            thread.join()
        self._threads.clear()
        if self._errors:
            raise self._errors[0]

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as exc:
            self._errors.append(exc)
