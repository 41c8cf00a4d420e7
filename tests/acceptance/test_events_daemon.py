"""``serve`` as a process beside a simulated org whose pushes are lost: who repairs the directory, and when."""

import re
import socket
import sqlite3
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from agent.reconcile.event_names import HOOK_EVENTS
from agent.simulator import SimulatedOrg
from support.processes import Daemon, agent, database, document

SECRET = "a hook's secret"


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
        "OPSHELM_OKTA__HOOK_SECRET": SECRET,
        "OPSHELM_SCHEDULE__RECONCILE": "off",
        "OPSHELM_SCHEDULE__EVENTS": "off",
        **more,
    }


def first_run(folder: Path, settings: dict[str, str]) -> None:
    database(folder)
    done = agent("reconcile", "--apply", "--first-run", "100", cwd=folder, env=settings)
    assert done.returncode == 0, done.stderr


def hook(org: SimulatedOrg, daemon: Daemon) -> None:
    parts = urlsplit(daemon.url)
    channel = {
        "type": "HTTP",
        "version": "1.0.0",
        "config": {
            "uri": f"{parts.scheme}://{parts.netloc}/hooks/okta",
            "authScheme": {"type": "HEADER", "key": "Authorization", "value": SECRET},
        },
    }
    events = {"type": "EVENT_TYPE", "items": list(HOOK_EVENTS)}
    made = org.api("POST", "/eventHooks", {"name": "agent", "events": events, "channel": channel})
    assert org.api("POST", f"/eventHooks/{made['id']}/lifecycle/verify")["verificationStatus"] == "VERIFIED"


def repaired(daemon: Daemon, kind: str) -> int:
    """Of the first run with such an action, how many it had."""
    for count in range(1, 50):
        line = daemon.wait_for("run ended", count)
        if kind in line:
            return int(line[kind])
    raise AssertionError(daemon.events)


def titles(folder: Path, login: str) -> Any:
    with sqlite3.connect(folder / "opshelm-agent.db") as conn:
        return conn.execute(
            "select active, json_extract(profile, '$.title') from users where user_name = ?", [login]
        ).fetchone()


@pytest.mark.slow
def test_a_hook_repairs_what_the_push_lost(org: SimulatedOrg, tmp_path: Path) -> None:
    settings = env(org)
    first_run(tmp_path, settings)
    with Daemon(tmp_path, settings) as daemon:
        hook(org, daemon)
        someone = org.state()[0]
        org.api("POST", f"/users/{someone['okta_id']}", {"profile": {"title": "Night shift"}})
        assert repaired(daemon, "update") == 1
        assert titles(tmp_path, someone["login"]) == (1, "Night shift")
        org.api("DELETE", f"/apps/{org.app_id}/users/{someone['okta_id']}")
        assert repaired(daemon, "deactivate") == 1
        assert titles(tmp_path, someone["login"])[0] == 0


@pytest.mark.slow
def test_polling_repairs_too_and_check_makes_and_sees_the_hook(org: SimulatedOrg, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    settings = env(org, OPSHELM_SCHEDULE__EVENTS="1s", OPSHELM_SERVER__PUBLIC_URL=f"http://127.0.0.1:{port}")
    first_run(tmp_path, settings)
    with Daemon(tmp_path, {**settings, "OPSHELM_SERVER__PORT": str(port)}) as daemon:
        someone = org.state()[0]
        org.api("POST", f"/users/{someone['okta_id']}", {"profile": {"title": "Polled"}})
        assert repaired(daemon, "update") == 1
        assert titles(tmp_path, someone["login"]) == (1, "Polled")
        settings |= {"OPSHELM_SERVER__PORT": str(port), "OPSHELM_SERVER__HOST": "127.0.0.1"}
        before = states(agent("check", "--output", "json", cwd=tmp_path, env=settings))
        assert (before["event hook"], before["round trip"]) == ("warn", "ok")
        made = agent("check", "--create-event-hook", "--output", "json", cwd=tmp_path, env=settings)
        assert "VERIFIED" in made.stderr
        assert states(made)["event hook"] == "ok"
        assert len(org.api("GET", "/eventHooks")) == 1
        agent("check", "--create-event-hook", cwd=tmp_path, env=settings)
        assert len(org.api("GET", "/eventHooks")) == 1
    listed = agent("keys", "list", "--output", "json", cwd=tmp_path, env=settings)
    assert document(listed)["keys"] == []  # the key of the round trip is gone


def states(done: Any) -> dict[str, str]:
    return {one["name"]: one["state"] for one in document(done)["checks"]}


@pytest.mark.slow
def test_a_hook_needs_its_secret_and_the_public_address(org: SimulatedOrg, tmp_path: Path) -> None:
    done = agent("check", "--create-event-hook", cwd=tmp_path, env=env(org))
    assert done.returncode == 2
    assert "server.public_url" in done.stderr
    assert org.api("GET", "/eventHooks") == []


@pytest.mark.alone
def test_a_storm_at_the_hook_is_all_answered_in_time_and_costs_few_runs(org: SimulatedOrg, tmp_path: Path) -> None:
    settings = env(org)
    first_run(tmp_path, settings)
    with Daemon(tmp_path, settings) as daemon:
        hook(org, daemon)
        for person in org.state()[:3]:
            org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Stormy"}})
        org.wait_idle()
        org.events(count=10_000, duplicate=0.3, shuffle=True)
        org.wait_idle()
        with urllib.request.urlopen(f"{daemon.admin}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        counted = {name: float(n) for name, n in re.findall(r'hooks_total\{result="(\w+)"\} ([0-9.]+)', text)}
        assert set(counted) - {"duplicate"} == {"verified", "queued"}
        assert counted["queued"] > 100
        done = agent("reconcile", "--wait", "30", "--detailed-exitcode", cwd=tmp_path, env=settings)
        assert done.returncode == 0, done.stdout
        assert daemon.stop() == 0
    ended = [line for line in daemon.events if line["event"] == "run ended"]
    assert len(ended) < 20
    assert {line["exit_code"] for line in ended} == {0}
