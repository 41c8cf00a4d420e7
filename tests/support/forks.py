"""The agent as real processes that start at once: forks of one that has imported everything.

For tests that need many processes, each killed somewhere. What a command does is what it does when it is started afresh;
only the second of imports is saved.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from support.processes import environment

_SERVER = """
import json, os, sys
import agent.cli.reconcile, agent.cli.plans, agent.cli.imports, agent.cli.keys, agent.cli.answers, agent.cli.import_answers
import agent.bootstrap, agent.reconcile.reconciler, agent.imports, agent.directory.sql, agent.okta_org.sdk, agent.checks
import agent.cli.progress, agent.logs, okta.api_client, okta.models, okta.configuration, aiohttp
import agent.cli.serve, agent.daemon, agent.receiver.app, agent.receiver.hooks, agent.dashboard.app, agent.dashboard.metrics
from agent.cli.root import run

def start(order):
    child = os.fork()
    if child:
        return child
    os.chdir(order["cwd"])
    os.environ.update(order["env"])
    for name, number in (("out", 1), ("err", 2)):
        os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    code = 99
    try:
        code = run(order["args"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)

for line in sys.stdin:
    order = json.loads(line)
    child = order["pid"] if "pid" in order else start(order)
    wait = "pid" in order or order["wait"]
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if wait else child, flush=True)
"""
_SECONDS = 120.0


class Done(NamedTuple):
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Warm:
    """``run`` answers when the command has ended, one after the other. A kill -9 is the exit code -9."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self._process.communicate()

    def run(self, *args: str, cwd: Path, env: Mapping[str, str]) -> Done:
        out, err = cwd / "stdout.txt", cwd / "stderr.txt"
        code = self._ask(wait=True, args=args, cwd=str(cwd), env=dict(env), out=str(out), err=str(err))
        return Done(code, out.read_text(), err.read_text())

    def start(self, *args: str, cwd: Path, env: Mapping[str, str]) -> int:
        """The same without waiting: the process's id, for ``reap``."""
        out, err = cwd / "stdout.txt", cwd / "stderr.txt"
        err.write_text("")
        return self._ask(wait=False, args=args, cwd=str(cwd), env=dict(env), out=str(out), err=str(err))

    def serve(self, cwd: Path, env: Mapping[str, str]) -> "Serving":
        """``serve``, once it serves."""
        ports = {"OPSHELM_SERVER__PORT": "0", "OPSHELM_SERVER__ADMIN_PORT": "0", "OPSHELM_SERVER__HOST": "127.0.0.1"}
        pid = self.start("serve", cwd=cwd, env=ports | dict(env))
        return Serving(self, pid, cwd / "stderr.txt")

    def reap(self, pid: int) -> int:
        return self._ask(pid=pid)

    def _ask(self, **order: Any) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Serving:
    """A daemon that was forked. ``log`` is all that it has said."""

    def __init__(self, warm: Warm, pid: int, log: Path) -> None:
        self.pid = pid
        self._warm, self._log = warm, log
        deadline = time.monotonic() + _SECONDS
        while not (said := [line for line in self.log() if line["event"] == "serving"]):
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.01)
        self.url, self.admin = said[0]["receiver"], said[0]["admin"]

    def log(self) -> list[dict[str, Any]]:
        lines = self._log.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")]

    def wait_for_event(self, event: str, **fields: Any) -> None:
        """Until the log has such a line."""
        deadline = time.monotonic() + _SECONDS
        while not any(line["event"] == event and fields.items() <= line.items() for line in self.log()):
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.01)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Until it has ended: its exit code. One that does not end is killed after a while."""
        patience = threading.Timer(_SECONDS, self.send, (signal.SIGKILL,))
        patience.start()
        try:
            return self._warm.reap(self.pid)
        finally:
            patience.cancel()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.send(number)
        return self.wait()
