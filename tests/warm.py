"""Commands of the agent as real processes that start at once: forks of one that has imported everything.

For tests that need many processes, each killed somewhere. What a command does is what it does when it is started afresh;
only the second of imports is saved.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from processes import environment

_SERVER = """
import json, os, sys
import agent.cli.reconcile, agent.cli.plans, agent.cli.imports, agent.cli.keys, agent.cli.answers, agent.cli.import_answers
import agent.bootstrap, agent.reconcile.reconciler, agent.imports, agent.directory.sql, agent.okta_org.sdk, agent.checks
import agent.cli.progress, agent.logs, okta.api_client, okta.models, okta.configuration, aiohttp
from agent.cli.root import run

for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(order["cwd"])
        os.environ.update(order["env"])
        out = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        err = os.open(order["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(err, 2)
        code = 99
        try:
            code = run(order["args"])
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


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

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, *args: str, cwd: Path, env: Mapping[str, str]) -> Done:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out, err = cwd / "stdout.txt", cwd / "stderr.txt"
        order = {"args": args, "cwd": os.fspath(cwd), "env": dict(env), "out": os.fspath(out), "err": os.fspath(err)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return Done(code, out.read_text(), err.read_text())
