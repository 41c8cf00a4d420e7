"""The builds that are compared: this tree, and a revision in a worktree with an environment of its own. Measures processes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TREE = Path(__file__).parents[2]
#: Longer than this and it hangs.
_GIVE_UP = 1800


class Used(NamedTuple):
    """What a process took, from its start to its end."""

    cpu: float
    seconds: float
    megabytes: float


def cpu_seconds(process: int) -> float:
    """What a running process has taken so far, of all its threads, and with it the processes that it has started."""
    place = Path(f"/proc/{process}")
    fields = (place / "stat").read_text().rpartition(")")[2].split()
    started = (place / "task" / str(process) / "children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, map(int, started)))


class Build(NamedTuple):
    name: str
    tree: Path
    python: str

    def env(self, more: Mapping[str, str]) -> dict[str, str]:
        # An installed agent has its bytecode; where none may be kept, each command would compile all of it.
        left_out = ("OPSHELM_", "PYTHONDONTWRITEBYTECODE")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(left_out)}
        return {**kept, "PYTHONPATH": str(self.tree), **more}

    def run(self, *args: str, folder: Path, env: Mapping[str, str], codes: tuple[int, ...] = (0,)) -> Used:
        """One command to its end; its output is in the folder's ``out``."""
        with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
            began = time.perf_counter()
            process = self.start(*args, folder=folder, env=env, out=out, err=err)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in codes:
            raise RuntimeError(
                f"{self.name}: {args} ended with {process.returncode}: {(folder / 'err').read_text()[-800:]}"
            )
        return Used(used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss / 1024)

    def start(
        self, *args: str, folder: Path, env: Mapping[str, str], out: object, err: object
    ) -> "subprocess.Popen[bytes]":
        command = [self.python, "-m", "agent", *args]
        return subprocess.Popen(command, cwd=folder, env=self.env(env), stdout=out, stderr=err)  # type: ignore[call-overload,no-any-return]


def here() -> Build:
    return Build("here", TREE, sys.executable)


@contextmanager
def installed(revision: str | None, folder: Path) -> Iterator[Build]:
    """A revision, or this tree, in an environment that has what it needs and no more."""
    name = revision or "here"
    environment, tree = folder / f"{name}-venv", TREE if revision is None else folder / f"{name}-tree"
    if revision is not None:
        add = ["git", "-C", str(TREE), "worktree", "add", "--detach", "-q", str(tree), revision]
        subprocess.run(add, check=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        python = str(environment / "bin" / "python")
        install = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-e", str(tree)]
        subprocess.run(install, check=True, timeout=_GIVE_UP, capture_output=True)
        yield Build(name, tree, python)
    finally:
        if revision is not None:
            subprocess.run(["git", "-C", str(TREE), "worktree", "remove", "--force", str(tree)], check=False)
