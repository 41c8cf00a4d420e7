"""``serve`` as a process whose machine's clock is set under it (libfaketime): everything goes on, and it is told."""

import json
import os
import shutil
import sqlite3
import urllib.request
from pathlib import Path

import pytest

from agent.simulator import SimulatedOrg
from support.processes import Daemon, agent, database, document

_LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not _LIBRARIES and "OPSHELM_TEST_FORBID_SKIPS" not in os.environ, reason="libfaketime is not installed"
    ),
]


@pytest.mark.parametrize("step", ["-5h", "+5h"])
def test_a_step_of_the_clock_stops_nothing_and_is_told(tmp_path: Path, step: str) -> None:
    offset = tmp_path / "offset"
    with SimulatedOrg.start(users=12) as org:
        org.provisioning(mode="off")
        settings = {
            "OPSHELM_OKTA__ORG_URL": org.url,
            "OPSHELM_OKTA__APP_ID": org.app_id,
            "OPSHELM_OKTA__API_TOKEN": org.token,
            "OPSHELM_SCHEDULE__RECONCILE": "5s",
            "OPSHELM_SCHEDULE__EVENTS": "2s",
            "OPSHELM_SCHEDULE__HEALTH_INTERVAL": "2s",
        }
        database(tmp_path)
        done = agent("reconcile", "--apply", "--first-run", "100", cwd=tmp_path, env=settings)
        assert done.returncode == 0, done.stderr
        org.api("DELETE", f"/apps/{org.app_id}/users/{org.state()[-1]['okta_id']}")
        agent("reconcile", "--apply", cwd=tmp_path, env=settings)
        agent("guard", "allow", "--count", "3", "--for", "2h", "--reason", "announced", cwd=tmp_path, env=settings)
        set_to(offset, "+0s")
        faked = {
            "LD_PRELOAD": str(_LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        with Daemon(tmp_path, settings | faked) as daemon:
            daemon.wait_for("run ended")
            set_to(offset, step)
            said = daemon.wait_for("the machine's clock was stepped")
            assert abs(said["seconds"] - (-18000 if step == "-5h" else 18000)) < 60
            person = org.state()[0]
            org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Captain"}})
            daemon.wait_for_outcome("applied")
            before = len([line for line in daemon.events if line["event"] == "run ended"])
            daemon.wait_for("run ended", before + 2)
            with urllib.request.urlopen(f"{daemon.admin}/readyz", timeout=30) as answer:
                assert json.loads(answer.read())["status"] == "ok"
            guard = document(agent("guard", "show", "--output", "json", cwd=tmp_path, env=settings | faked))["guard"]
            assert daemon.stop() == 0
        # What was counted an hour ago at most, and announced for two hours, is so still.
        assert (guard["limits"]["hour"]["used"], len(guard["allowances"])) == (1, 1)
        with sqlite3.connect(tmp_path / "opshelm-agent.db") as conn:
            assert conn.execute("select count(*) from journal where block is null").fetchone() == (0,)
            codes = [code for (code,) in conn.execute("select code from alarms where cleared is null")]
        assert codes == ["clock_step"]


def set_to(file: Path, offset: str) -> None:
    """In one step: the daemon reads it every second."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{offset}\n")
    shutil.move(fresh, file)
