"""``demo`` as a process: it tells its story and ends well, and otherwise stays to be looked at until Ctrl-C."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from support.processes import agent, document, environment


def test_once_ends_by_itself_with_one_document(tmp_path: Path) -> None:
    done = agent("demo", "--once", "--output", "json", cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    found = document(done)["demo"]
    assert found["pushed"] == 200
    assert set(found["drift"]) == {"create", "update", "reactivate", "deactivate"}
    assert "No changes. OpsHelm is as Okta wants it." in done.stderr
    assert "Traceback" not in done.stderr
    # Addresses of what has ended by now would only mislead.
    assert found.keys() == {"pushed", "drift", "seconds"}
    assert "dashboard" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_stays_with_a_dashboard_until_ctrl_c(tmp_path: Path) -> None:
    env = environment(
        {"TMPDIR": str(tmp_path), "OPSHELM_OKTA__ORG_URL": "https://not-this-one.example.com", "PYTHONUNBUFFERED": "1"}
    )
    with subprocess.Popen(
        [sys.executable, "-m", "agent", "demo", "--users", "50"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        link = next(line for line in said if line.strip().startswith("dashboard")).split()[1]
        with httpx.Client(follow_redirects=True, timeout=30) as browser:
            assert "In step with Okta" in browser.get(link).text
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("opshelm-demo")] == []
