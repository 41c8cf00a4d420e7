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


def test_nothing_happens_without_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    for name in CRASH_POINTS:
        crash_point(name)


def test_a_place_that_is_not_registered_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "import.created")
    with pytest.raises(LookupError):
        crash_point("import.nowhere")


@pytest.mark.parametrize(
    ("where", "printed"), [("import.created", ""), ("import.created:3", "1\n2\n"), ("import.assigned", "1\n2\n3\n4\n")]
)
def test_the_process_ends_at_the_named_time(where: str, printed: str) -> None:
    code = (
        "from agent.store.engine import crash_point\n"
        "for n in range(1, 5):\n    crash_point('import.created')\n    print(n, flush=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={VARIABLE: where},
        cwd=AGENT.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == printed
    assert done.returncode == (0 if where == "import.assigned" else -signal.SIGKILL)
