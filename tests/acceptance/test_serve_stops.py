"""``serve`` and one-shot commands as processes: whatever they wait for, SIGTERM ends it; a reload leaves nothing behind."""

import contextlib
import json
import re
import signal
import socket
import sqlite3
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.simulator import SimulatedOrg
from support.processes import Daemon, agent, database, document, free_port

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
    database(folder)
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
@pytest.mark.timeout(1200)
def test_a_reload_every_second_stops_nothing_and_leaves_nothing_behind(org: SimulatedOrg, tmp_path: Path) -> None:
    """While people are pushed, events are read and sweeps run."""
    file = tmp_path / "agent.toml"
    settings = {"OPSHELM_SCHEDULE__RECONCILE": "3s", "OPSHELM_SCHEDULE__EVENTS": "2s"}
    first_run(tmp_path, env(org))
    key = agent("keys", "create", "okta", cwd=tmp_path).stdout.strip()
    people = org.state()
    okta = f'[okta]\norg_url = "{org.url}"\napp_id = "{org.app_id}"\napi_token = "{org.token}"\nmax_retries = '
    file.write_text(f"{okta}1\n")
    with Daemon(tmp_path, settings) as daemon:
        org.provisioning(mode="on", scim_url=daemon.url, scim_key=key, time_scale=0.01, push_waiting=True)
        org.wait_idle()
        held = files(daemon)
        next_second = time.monotonic()
        for n in range(300):
            file.write_text(f"{okta}{n % 2 + 2}\n")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for("settings were read again", n + 1)
            person = people[n % len(people)]
            org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": f"Turn {n}"}})
            next_second = max(next_second + 1, time.monotonic())
            time.sleep(max(0.0, next_second - time.monotonic()))
        org.wait_idle()
        assert org.tasks() == []
        assert {push["status"] for push in org.pushes() if not push["dropped"]} == {200}
        # A person whose push is lost is found by their event, and one more sweep comes than were.
        org.provisioning(mode="off")
        org.api("POST", f"/users/{people[0]['okta_id']}", {"profile": {"title": "Captain"}})
        daemon.wait_for_outcome("applied")
        ended = [line for line in daemon.events if line["event"] == "run ended"]
        assert len(ended) >= 30
        assert {line["outcome"] for line in ended} <= {"applied", "in_step"}
        assert files(daemon) < held + 20
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < WITHIN


def files(daemon: Daemon) -> int:
    return sum(1 for _ in Path(f"/proc/{daemon.process.pid}/fd").iterdir())


@pytest.mark.slow
def test_a_reload_that_fails_half_way_is_tried_again_until_it_holds_and_told(org: SimulatedOrg, tmp_path: Path) -> None:
    """Okta says 401 and the database is locked when it comes; log, check, /readyz and metric name what is in force."""
    file = tmp_path / "agent.toml"
    first_run(tmp_path, env(org))
    okta = f'[okta]\norg_url = "{org.url}"\napp_id = "{org.app_id}"\napi_token = "{org.token}"\n'
    file.write_text(okta)
    settings = {
        "OPSHELM_SCHEDULE__RECONCILE": "1s",
        "OPSHELM_SCHEDULE__HEALTH_INTERVAL": "1s",
        "OPSHELM_DATABASE__BUSY_TIMEOUT": "1s",
        "OPSHELM_RECONCILE__LEASE_TTL": "1s",
        "OPSHELM_SERVER__HOST": "127.0.0.1",
        "OPSHELM_SERVER__PORT": str(free_port()),
        "OPSHELM_SERVER__ADMIN_PORT": str(free_port()),
    }
    with Daemon(tmp_path, settings) as daemon:

        def told() -> tuple[str, str, str]:
            checks = document(agent("check", "--output", "json", cwd=tmp_path, env=settings))["checks"]
            (state,) = (one["state"] for one in checks if one["name"] == "settings in force")
            with urllib.request.urlopen(f"{daemon.admin}/readyz", timeout=30) as answer:
                ready = json.loads(answer.read())["settings"]
            with urllib.request.urlopen(f"{daemon.admin}/metrics", timeout=30) as answer:
                (metric,) = re.findall(r'settings_since_timestamp_seconds\{digest="(\w+)"\}', answer.read().decode())
            return state, ready, metric

        daemon.wait_for("run ended")
        state, before, metric = told()
        assert (state, metric) == ("ok", before)
        with sqlite3.connect(tmp_path / "opshelm-agent.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            org.faults({"path": "/api/v1/apps/*", "status": 401, "times": 4})
            file.write_text(okta + "max_retries = 2\n[guard]\npush_floor = 7\n")
            daemon.process.send_signal(signal.SIGHUP)
            daemon.wait_for_line(lambda line: line["event"] == "job failed" and line["job"] == "reload")
            assert told() == ("warn", before, before)
            other.execute("ROLLBACK")
        other.close()
        taken = daemon.wait_for("settings were read again")
        assert taken["sections"] == ["okta", "guard"]
        assert told() == ("ok", taken["in_force"], taken["in_force"])
        org.api("POST", f"/users/{org.state()[0]['okta_id']}", {"profile": {"title": "Captain"}})
        daemon.wait_for_outcome("applied")


@pytest.mark.slow
def test_sigterm_ends_a_daemon_whose_webhook_answers_a_byte_now_and_then(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_drip, args=(listener,), daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
        settings = {"OPSHELM_NOTIFY__WEBHOOK_URL": address, "OPSHELM_SCHEDULE__HEALTH_INTERVAL": "1s"}
        database(tmp_path)
        with sqlite3.connect(tmp_path / "opshelm-agent.db") as conn:
            conn.execute("INSERT INTO alarms (code, subject, detail, raised, last_seen) VALUES ('held', 'x', '', 1, 1)")
        with Daemon(tmp_path, settings) as daemon:
            while not _waiting(tmp_path):
                time.sleep(0.05)
            began = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - began < WITHIN


def _waiting(folder: Path) -> bool:
    with sqlite3.connect(folder / "opshelm-agent.db") as conn:
        return bool(conn.execute("SELECT 1 FROM notices WHERE claimed IS NOT NULL").fetchall())


def _drip(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                time.sleep(1)
                connection.sendall(b"x: y\r\n")
