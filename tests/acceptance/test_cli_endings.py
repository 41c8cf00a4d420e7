"""How a command ends when the world is against it: one line, the right exit code."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.simulator import SimulatedOrg
from support.processes import agent, database, document, environment


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


@pytest.mark.slow
@pytest.mark.parametrize("command", ["users list --csv", "journal list", "status --watch", "check", "reconcile"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_long_answers_end_so_too(folder: Path, command: str) -> None:
    okta = '[okta]\norg_url = "http://127.0.0.1:9"\napp_id = "0oa1"\napi_token = "t"\nmax_retries = 0\n'
    (folder / "agent.toml").write_text(okta)
    done = shell(f"AGENT {command} > /dev/full", folder)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: can't write: No space left on device"
    assert "Traceback" not in done.stderr
    done = shell(f"AGENT {command} | head -c 1 > /dev/null; echo ${{PIPESTATUS[0]}}", folder)
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() in ("0", "1")


def known(org: SimulatedOrg) -> dict[str, str]:
    """The environment of an agent that knows it."""
    values = {"ORG_URL": org.url, "APP_ID": org.app_id, "API_TOKEN": org.token}
    return {f"OPSHELM_OKTA__{name}": value for name, value in values.items()}


def test_ctrl_c_in_a_run_ends_the_run_as_interrupted(folder: Path) -> None:
    with SimulatedOrg.start(users=3) as org:
        org.faults({"method": "GET", "path": f"/api/v1/apps/{org.app_id}/users", "delay_s": 60, "times": 9})
        line = [sys.executable, "-m", "agent", "--output", "jsonl", "reconcile"]
        process = subprocess.Popen(
            line, cwd=folder, env=environment(known(org)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            assert "asking Okta" in process.stdout.readline()  # it is at work
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert err.strip() == "error: interrupted"
        assert json.loads(out.splitlines()[-1])["code"] == "interrupted"
        (run, *_) = document(agent("--output", "json", "runs", "list", cwd=folder))["runs"]
        assert run["outcome"] == "stopped"
        assert "Interrupted" in run["detail"]


def test_check_prints_each_line_as_it_comes(folder: Path) -> None:
    with SimulatedOrg.start(users=3) as org:
        org.faults({"method": "GET", "path": "*", "delay_s": 60, "times": 9})
        process = subprocess.Popen(
            [sys.executable, "-m", "agent", "check"],
            cwd=folder,
            env=environment(known(org)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("ok    settings")
            assert process.stdout.readline().startswith("ok    database")
            assert process.poll() is None, "Okta has not answered yet"
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        assert process.returncode == 130
