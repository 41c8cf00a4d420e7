"""``serve`` as a process: what it listens to, how it starts, changes, and stops."""

# ruff: noqa: F811 - fixtures are arguments by the same name

import http.client
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from agent.simulator import SimulatedOrg
from support.commands import command, document, folder  # noqa: F401 - fixtures
from support.processes import Daemon, agent, environment

Command = Callable[..., tuple[int, str, str]]


def get(url: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def root(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Path]]:
    """A daemon without [okta], for tests that change nothing."""
    folder = tmp_path_factory.mktemp("alone")
    with Daemon(folder) as daemon:
        yield daemon, folder


def test_without_okta_it_serves_the_receiver_alone_and_says_so(alone: tuple[Daemon, Path]) -> None:
    daemon, folder = alone
    assert daemon.wait_for("no [okta] section: serving the receiver alone, nothing is reconciled")["level"] == "warning"
    key = agent("keys", "create", "okta", cwd=folder).stdout.strip()
    assert get(f"{daemon.url}/Users")[0] == 401
    status, body = get(f"{daemon.url}/Users", Authorization=f"Bearer {key}")
    assert (status, json.loads(body)["totalResults"]) == (200, 0)


def test_health_is_on_both_ports_and_readiness_on_one(alone: tuple[Daemon, Path]) -> None:
    daemon, _ = alone
    assert get(f"{root(daemon.url)}/healthz")[0] == 200
    assert get(f"{daemon.admin}/healthz")[0] == 200
    status, body = get(f"{daemon.admin}/readyz")
    assert (status, json.loads(body)["status"]) == (200, "ok")


def test_admin_pages_are_not_on_the_public_port(alone: tuple[Daemon, Path]) -> None:
    daemon, _ = alone
    assert [get(f"{root(daemon.url)}{path}")[0] for path in ("/", "/metrics", "/readyz")] == [404, 404, 404]
    assert get(f"{daemon.admin}/scim/v2/Users")[0] == 404


def test_a_link_leads_to_pages_that_say_what_to_do_next_and_allow_no_script(alone: tuple[Daemon, Path]) -> None:
    daemon, folder = alone
    path = urlsplit(agent("dashboard", "link", cwd=folder).stdout.strip()).path
    with httpx.Client(follow_redirects=True, timeout=30) as browser:
        assert "Sign in" in browser.get(daemon.admin).text
        page = browser.get(f"{daemon.admin}{path}")
    assert daemon.url in page.text
    assert "Drift unknown" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert get(f"{daemon.admin}/static/pico.min.css")[0] == 200


def test_metrics_have_our_names(alone: tuple[Daemon, Path]) -> None:
    daemon, _ = alone
    status, text = get(f"{daemon.admin}/metrics")
    assert status == 200
    for name in (
        "up 1.0",
        "managed_active 0.0",
        'deactivations{what="limit",window="24h"}',
        "journal_head_block",
        "pushes_total",
    ):
        assert f"opshelm_agent_{name}" in text


@pytest.mark.parametrize("port", ["url", "admin"])
def test_a_head_without_end_is_cut_off(alone: tuple[Daemon, Path], port: str) -> None:
    parts = urlsplit(getattr(alone[0], port))
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        with pytest.raises(OSError):  # noqa: PT012 - reset, or nothing more to read
            for _ in range(100):
                connection.sendall(b"X-Long: " + b"a" * 1000 + b"\r\n")
            while chunk := connection.recv(4096):
                assert chunk.startswith(b"HTTP/1.1 431")
            raise ConnectionResetError


def test_a_head_that_is_too_long_gets_431(alone: tuple[Daemon, Path]) -> None:
    parts = urlsplit(alone[0].url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    connection.request("GET", "/healthz", headers={f"X-{n}": "a" * 4000 for n in range(10)})
    assert connection.getresponse().status == 431
    connection.close()


def test_a_body_in_chunks_that_is_too_large_gets_413_and_no_reset(alone: tuple[Daemon, Path]) -> None:
    """As a proxy may send it; a reset in the place of the answer would be an error of the network for Okta."""
    daemon, folder = alone
    key = agent("keys", "create", "chunks", cwd=folder).stdout.strip()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/scim+json"}
    connection = http.client.HTTPConnection(urlsplit(daemon.url).netloc, timeout=30)
    connection.request("POST", "/scim/v2/Users", iter([b" " * 65536] * 100), headers, encode_chunked=True)
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["status"]) == (413, "413")
    connection.close()


def test_check_sees_the_daemon(alone: tuple[Daemon, Path], command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    daemon, _ = alone
    monkeypatch.setenv("OPSHELM_SERVER__PORT", str(urlsplit(daemon.url).port))
    monkeypatch.setenv("OPSHELM_SERVER__ADMIN_PORT", str(urlsplit(daemon.admin).port))
    code, out, _ = command("check", "--output", "json")
    states = {one["name"]: one["state"] for one in json.loads(out)["checks"]}
    assert code == 0
    assert (states["database"], states["receiver"], states["okta"], states["owners"]) == ("ok", "ok", "warn", "warn")
    assert command("check", "--health")[0] == 0


def test_a_first_serve_on_a_terminal_shows_a_link_that_no_log_keeps(tmp_path: Path) -> None:
    ports = {"OPSHELM_SERVER__PORT": "0", "OPSHELM_SERVER__ADMIN_PORT": "0"}
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "agent", "serve"], cwd=tmp_path, env=environment(ports), stderr=theirs, stdout=theirs
    ) as process:
        said = ""
        while '"serving"' not in said:
            said += os.read(terminal, 4096).decode()
        process.terminate()
    shown = [line for line in said.splitlines() if "/sign-in/link/" in line]
    assert [line.startswith("Dashboard, once within 10 minutes: http://127.0.0.1:") for line in shown] == [True]


@pytest.mark.slow
def test_settings_are_read_again_and_wrong_ones_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    with SimulatedOrg.start(users=5) as org:
        good = f'[okta]\norg_url = "{org.url}"\napp_id = "{org.app_id}"\n'
        file.write_text(good)
        (tmp_path / "secrets").mkdir()
        (tmp_path / "secrets" / "okta__api_token").write_text("wrong")
        with Daemon(tmp_path, {"OPSHELM_SECRETS_DIR": str(tmp_path / "secrets")}) as daemon:
            assert daemon.wait_for("run ended")["outcome"] == "incomplete"
            file.write_text(good + '[guard]\npush_mode = "hodl"\n')
            daemon.process.send_signal(signal.SIGHUP)
            wrong = daemon.wait_for("the settings are wrong; those from before go on")
            assert wrong["problems"] == ["agent.toml:5 guard.push_mode: must be 'hold' or 'alarm'"]
            file.write_text(good + '[guard]\npush_mode = "alarm"\n[schedule]\nreconcile = "1s"\n')
            (tmp_path / "secrets" / "okta__api_token").write_text(org.token)
            daemon.process.send_signal(signal.SIGHUP)
            assert daemon.wait_for("settings were read again")["sections"] == ["okta", "schedule", "guard"]
            assert daemon.wait_for("run ended", 2)["outcome"] == "held"
            file.write_text(good + '[log]\nlevel = "debug"\n')
            daemon.process.send_signal(signal.SIGHUP)
            assert daemon.wait_for("these settings changed and need a restart")["sections"] == ["log"]
            assert daemon.stop(signal.SIGTERM) == 0
            assert daemon.events[-1]["event"] == "stopped"
