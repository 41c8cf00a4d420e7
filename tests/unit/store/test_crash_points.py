"""Crash points: registered, used where the import says so, and silent without the variable."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.store.engine import CRASH_POINTS, VARIABLE, crash_point

AGENT = Path(__file__).parents[3] / "agent"


def test_every_place_is_registered_and_every_registered_place_exists() -> None:
    used = {
        name for file in AGENT.rglob("*.py") for name in re.findall(r"crash_point\(\"([^\"]+)\"\)", file.read_text())
    }
    assert used == set(CRASH_POINTS)


def test_nothing_happens_without_the_variable() -> None:
    for name in CRASH_POINTS:
        crash_point(name)


def test_a_place_that_is_not_registered_is_a_mistake() -> None:
    done = _reaching("import.nowhere", where="import.created")
    assert done.returncode == 1
    assert "LookupError: import.nowhere is no crash point" in done.stderr


@pytest.mark.parametrize(
    ("where", "printed"), [("import.created", ""), ("import.created:3", "1\n2\n"), ("import.assigned", "1\n2\n3\n4\n")]
)
def test_the_process_ends_at_the_named_time(where: str, printed: str) -> None:
    done = _reaching("import.created", where=where)
    assert done.stdout == printed
    assert done.returncode == (0 if where == "import.assigned" else -signal.SIGKILL)


def _reaching(place: str, *, where: str) -> "subprocess.CompletedProcess[str]":
    """A process that comes by that place four times."""
    code = (
        "from agent.store.engine import crash_point\n"
        f"for n in range(1, 5):\n    crash_point({place!r})\n    print(n, flush=True)"
    )
    command = [sys.executable, "-c", code]
    env = {VARIABLE: where}
    return subprocess.run(command, env=env, cwd=AGENT.parent, capture_output=True, text=True, check=False)
