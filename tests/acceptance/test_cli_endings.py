"""How a command ends when the world is against it: one line, the right exit code."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes import database, environment


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    database(tmp_path)
    return tmp_path


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    line = command.replace("AGENT", f"{sys.executable} -m agent")
    return subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line_and_exit_code_1(folder: Path) -> None:
    done = shell("AGENT config example > /dev/full", folder)
    assert done.returncode == 1
    assert done.stderr == "error: can't write: No space left on device\n"


def test_a_closed_pipe_says_nothing(folder: Path) -> None:
    done = shell("AGENT config example | true; echo ${PIPESTATUS[0]}", folder)
    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "1")


def test_ctrl_c_is_one_line_and_exit_code_130(folder: Path) -> None:
    line = [sys.executable, "-m", "agent", "status", "--watch"]
    process = subprocess.Popen(
        line, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()  # it is at work
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.strip() == "error: interrupted"
