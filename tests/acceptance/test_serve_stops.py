"""``serve`` and one-shot commands as processes: whatever they wait for, SIGTERM ends it; a reload leaves nothing behind."""

import re
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.simulator import SimulatedOrg
from support.processes import Daemon, agent, database

#: Of the unit's TimeoutStopSec, 60 s.
WITHIN = 30.0


@pytest.fixture
def org() -> Iterator[SimulatedOrg]:
    with SimulatedOrg.start(users=12) as started:
        started.provisioning(mode="off")
        yield started


def env(org: SimulatedOrg, **more: str) -> dict[str, str]:
    return {
        "OPSHELM_OKTA__ORG_URL": org.url,
        "OPSHELM_OKTA__APP_ID": org.app_id,
        "OPSHELM_OKTA__API_TOKEN": org.token,
        **more,
    }


def metric(daemon: Daemon, name: str) -> float:
    with urllib.request.urlopen(f"{daemon.admin}/metrics", timeout=30) as answer:
        found = re.search(rf"^opshelm_agent_{re.escape(name)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def first_run(folder: Path, settings: dict[str, str]) -> None:
    database(folder, settings)
    done = agent("reconcile", "--apply", "--first-run", "100", cwd=folder, env=settings)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_sigterm_ends_a_daemon_that_waits_for_okta_s_limit(tmp_path: Path) -> None:
    with (
        SimulatedOrg.start(users=40, rate_limit=4, rate_window=600.0) as org,
        Daemon(tmp_path, env(org, OPSHELM_RECONCILE__PAGE_SIZE="2")) as daemon,
    ):
        while not metric(daemon, 'okta_waited_seconds_total{bucket="apps"}'):
            time.sleep(0.05)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < WITHIN
        assert daemon.wait_for("run ended")["outcome"] == "stopped"


@pytest.mark.slow
def test_a_reload_every_second_stops_nothing_and_leaves_nothing_behind(org: SimulatedOrg, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    settings = {"OPSHELM_SCHEDULE__RECONCILE": "3s", "OPSHELM_SCHEDULE__EVENTS": "2s"}
    first_run(tmp_path, env(org))
    okta = f'[okta]\norg_url = "{org.url}"\napp_id = "{org.app_id}"\napi_token = "{org.token}"\nmax_retries = '
    file.write_text(f"{okta}1\n")
    with Daemon(tmp_path, settings) as daemon:
        for n in range(30):
            file.write_text(f"{okta}{n % 2 + 2}\n")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for("settings were read again", n + 1)
            time.sleep(0.5)
        sweeps = len([line for line in daemon.events if line["event"] == "run ended"])
        assert sweeps >= 3
        person = org.state()[0]
        org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Captain"}})
        daemon.wait_for_outcome("applied")
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < WITHIN
