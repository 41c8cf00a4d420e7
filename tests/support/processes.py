"""The agent as real processes: one-shot commands and the daemon, each with a folder and an environment of its own."""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.databases import sqlite_in

_AGENT = [sys.executable, "-m", "agent"]
_TIMEOUT = 120


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the tests, without any setting of the agent."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OPSHELM_")}
    return {
        **kept,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONWARNINGS": "error::ResourceWarning",
        **(extra or {}),
    }


def agent(
    *args: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = _TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run(
        [*_AGENT, *args], cwd=cwd, env=environment(env), capture_output=True, text=True, timeout=timeout, check=False
    )


def database(folder: Path) -> None:
    """As ``db init`` leaves it, which an operator does first where no daemon has run yet."""
    sqlite_in(folder, "opshelm-agent.db")


def document(done: subprocess.CompletedProcess[str]) -> Any:
    """The one JSON document on stdout."""
    return json.loads(done.stdout)


def free_port() -> int:
    """None that the system gives to somebody's outgoing connection while the agent is away."""
    while True:
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("127.0.0.1", secrets.choice(range(20_000, 32_000))))
            return int(taken.getsockname()[1])


class Daemon:
    """``serve`` as a process. Entering waits until it serves; leaving stops it. ``events`` are its log lines.

    ``under`` is a command that starts it, ``files`` are descriptors that it gets.
    """

    def __init__(
        self, cwd: Path, env: Mapping[str, str] | None = None, *, under: Sequence[str] = (), files: Sequence[int] = ()
    ) -> None:
        ports = {"OPSHELM_SERVER__PORT": "0", "OPSHELM_SERVER__ADMIN_PORT": "0", "OPSHELM_SERVER__HOST": "127.0.0.1"}
        self.process = subprocess.Popen(
            [*under, *_AGENT, "serve"],
            cwd=cwd,
            pass_fds=files,
            env=environment({**ports, **(env or {})}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events: list[dict[str, Any]] = []
        self._seen = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        serving = self.wait_for("serving")
        self.url, self.admin = serving["receiver"], serving["admin"]
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.stop()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(_TIMEOUT)
        self._reader.join(_TIMEOUT)
        return code

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """The ``count``th log line with this text."""
        with self._seen:
            self._seen.wait_for(lambda: len(self._found(event)) >= count or self._ended, _TIMEOUT)
            found = self._found(event)
        assert len(found) >= count, f"no {event!r} in {self.events}"
        return found[count - 1]

    def wait_for_line(self, is_it: Callable[[dict[str, Any]], bool]) -> None:
        """Until the log has such a line."""
        with self._seen:
            assert self._seen.wait_for(lambda: any(map(is_it, self.events)) or self._ended, _TIMEOUT)
            assert any(map(is_it, self.events)), self.events

    def wait_for_outcome(self, outcome: str, after: str | None = None) -> dict[str, Any]:
        """The first ``run ended`` with this outcome, or the first behind the last one with the outcome ``after``."""

        def found() -> dict[str, Any] | None:
            ended = self._found("run ended")
            start = max((n + 1 for n, line in enumerate(ended) if line["outcome"] == after), default=0)
            return next((line for line in ended[start:] if line["outcome"] == outcome), None)

        with self._seen:
            self._seen.wait_for(lambda: found() is not None or self._ended, _TIMEOUT)
            line = found()
        assert line is not None, f"no run ended {outcome!r} in {self.events}"
        return line

    _ended = False

    def _found(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.events if line["event"] == event]

    def _read(self) -> None:
        assert self.process.stderr
        with self.process.stderr as lines:
            for line in lines:
                with self._seen:
                    self.events.append(json.loads(line) if line.startswith("{") else {"event": line.rstrip()})
                    self._seen.notify_all()
        with self._seen:
            self._ended = True
            self._seen.notify_all()
