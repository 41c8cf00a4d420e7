"""The proxy examples of config/, run by the real programs: no push is lost while the agent behind them restarts."""

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
import pytest

from agent.simulator import SimulatedOrg
from agent.simulator.provisioning import CONCURRENCY
from agent.store.schema import REVISIONS
from support.processes import Daemon, free_port
from support.pusher import ROOMY, new_key
from support.receiver import ERROR, SCIM_JSON

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PEOPLE = 100
#: Pushes that meet an agent which is away, each of the three times.
REFUSED = 4
#: The examples end TLS at addresses of their own; here they listen on loopback without.
PLAIN: dict[str, list[tuple[str, str]]] = {
    "nginx.conf": [
        (r"listen 443 ssl;", "listen 127.0.0.1:{port};"),
        (r"ssl_\w+ .*", ""),
        (r"\A", "error_log stderr; user root; pid {folder}/pid; events {{}} http {{ access_log off;\n"),
        (r"\A", "daemon off;"),
        (r"\Z", "}}"),
    ],
    "Caddyfile": [(r"scim\.example\.com \{", "http://127.0.0.1:{port} {{"), (r"\A", "{{\nadmin off\n}}\n")],
    "haproxy.cfg": [(r"bind :443 .*", "bind 127.0.0.1:{port}")],
}
COMMANDS = {
    "nginx.conf": ["nginx", "-p", "{folder}", "-e", "stderr", "-c"],
    "Caddyfile": ["caddy", "run", "--adapter", "caddyfile", "--config"],
    "haproxy.cfg": ["haproxy", "-db", "-f"],
}
#: A newer version has one more revision, with something to do in it.
REVISION = """
from alembic import op
revision, down_revision = "9999", "{before}"
def upgrade() -> None:
    op.execute("CREATE TABLE upgraded AS SELECT * FROM users")
"""


@contextmanager
def proxy(example: str, agent_port: int, folder: Path) -> Iterator[str]:
    """Its address, once it answers."""
    port = free_port()
    text = (ROOT / "config" / example).read_text(encoding="utf-8").replace("127.0.0.1:8765", f"127.0.0.1:{agent_port}")
    for pattern, plain in PLAIN[example]:
        # As a function, so that nothing in it is taken for a group.
        replacement = plain.format(port=port, folder=folder)
        text = re.sub(pattern, lambda _, new=replacement: new, text)
    file = folder / example
    file.write_text(text)
    command = [part.format(folder=folder) for part in COMMANDS[example]]
    env = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / "proxy.log").open("w") as log:
        process = subprocess.Popen([*command, str(file)], stdout=log, stderr=log, env=env)
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            assert client.get(f"{url}/elsewhere").status_code == 404, (folder / "proxy.log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)


class Upgrades:
    """The agent behind the proxy, on one port and one database, in one version after the other."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.url = folder, f"sqlite:///{folder}/agent.db"
        self.key = new_key(self.url)
        self._env = ROOMY | {
            "OPSHELM_DATABASE__URL": self.url,
            "OPSHELM_SERVER__PORT": str(port),
            "OPSHELM_SERVER__TRUSTED_PROXIES": "127.0.0.1",
        }
        self._running: Daemon | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._running is not None and self._running.process.poll() is None:
            self._running.stop(signal.SIGKILL)
            self._running.__exit__(None, None, None)

    def start(self) -> None:
        self._running = Daemon(self.folder, self._env)
        self._running.__enter__()

    def stop(self, number: signal.Signals) -> None:
        assert self._running is not None
        code = self._running.stop(number)
        self._running.__exit__(None, None, None)
        assert code == (0 if number is signal.SIGTERM else -number)

    def upgrade(self) -> None:
        """From the next start on it is a newer version, which migrates."""
        newer = self.folder / "newer"
        shutil.copytree(ROOT / "agent", newer / "agent")
        schema = newer / "agent" / "store" / "schema.py"
        schema.write_text(re.sub(r"(?ms)^(REVISIONS = \(.*?),?\s*\)$", r'\1, "9999")', schema.read_text()))
        versions = newer / "agent" / "store" / "migrations" / "versions"
        (versions / "r9999_newer.py").write_text(REVISION.format(before=REVISIONS[-1]))
        self._env["PYTHONPATH"] = str(newer)


@pytest.fixture(params=list(COMMANDS))
def example(request: pytest.FixtureRequest) -> str:
    assert shutil.which(COMMANDS[request.param][0]), "apt-get install nginx caddy haproxy"
    return str(request.param)


def wait_for_pushes(org: SimulatedOrg, more: int) -> None:
    """Until Okta has sent so many more than by now."""

    def sent() -> int:
        return int(org.call("GET", "/simulator/pushes?since=1000000")["sent"])

    enough = sent() + more
    while sent() < enough:
        time.sleep(0.02)


def meet_nobody(org: SimulatedOrg) -> None:
    """Until pushes have met an agent that is away; those that were under way when it went may have been answered by it."""
    wait_for_pushes(org, CONCURRENCY + REFUSED)


def failures(org: SimulatedOrg) -> list[Any]:
    """Okta's tasks, and the answers that made them."""
    wrong = [
        {name: push[name] for name in ("method", "path", "status", "error") if name in push}
        for push in org.pushes()
        if push.get("status") not in (200, 201, 429)
    ]
    return [*(task["error"] for task in org.tasks()), *wrong]


def change_everybody(org: SimulatedOrg) -> None:
    """Half of them get a title, half of them leave."""
    people = org.state()
    for stays, leaves in zip(people[: PEOPLE // 2], people[PEOPLE // 2 :], strict=True):
        org.api("POST", f"/users/{stays['okta_id']}", {"profile": {"title": "Captain"}})
        org.api("DELETE", f"/apps/{org.app_id}/users/{leaves['okta_id']}")


@pytest.mark.parametrize("style", ["oin", "wizard"])
def test_pushes_amid_restarts_kills_and_an_upgrade_leave_no_task(example: str, style: str, tmp_path: Path) -> None:
    port = free_port()
    with (
        Upgrades(tmp_path, port) as agent,
        SimulatedOrg.start(users=PEOPLE, seed=7, app_style=style, time_scale=0.02) as org,
        proxy(example, port, tmp_path) as url,
    ):
        agent.start()
        org.provisioning(mode="on", scim_url=f"{url}/scim/v2", scim_key=agent.key, push_waiting=True)
        wait_for_pushes(org, 40)
        agent.stop(signal.SIGTERM)
        meet_nobody(org)
        agent.start()
        wait_for_pushes(org, 40)
        agent.stop(signal.SIGKILL)
        meet_nobody(org)
        agent.start()
        org.wait_idle(300)
        assert failures(org) == []
        with ThreadPoolExecutor(1) as admin:
            changes = admin.submit(change_everybody, org)
            wait_for_pushes(org, 20)
            agent.stop(signal.SIGKILL)
            agent.upgrade()
            meet_nobody(org)
            agent.start()
            changes.result()
        org.wait_idle(300)
        assert failures(org) == []
        refused: list[Any] = [push for push in org.pushes() if push.get("status") not in (200, 201)]
        agent.stop(signal.SIGTERM)
    # Tries were made each time that the agent was away, and each got what Okta takes for "later".
    assert len(refused) >= 3 * REFUSED
    assert {push["status"] for push in refused} == {429}
    assert all(push["answer"]["schemas"] == [ERROR] for push in refused)
    with sqlite3.connect(tmp_path / "agent.db") as conn:
        counted = "SELECT active, count(*), count(json_extract(profile, '$.title') = 'Captain' OR NULL) FROM users"
        assert conn.execute(f"{counted} GROUP BY active ORDER BY active").fetchall() == [
            (0, PEOPLE // 2, 0),
            (1, PEOPLE // 2, PEOPLE // 2),
        ]
        assert conn.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    conn.close()


def test_what_the_proxy_answers_by_itself_is_for_okta(example: str, tmp_path: Path) -> None:
    with proxy(example, free_port(), tmp_path) as url, httpx.Client(timeout=60) as client:
        away = client.post(f"{url}/scim/v2/Users", json={"userName": "a"})
        assert (away.status_code, away.headers["retry-after"], away.headers["content-type"]) == (429, "60", SCIM_JSON)
        assert (away.json()["schemas"], away.json()["status"]) == ([ERROR], "429")
        assert client.post(f"{url}/hooks/okta", json={}).status_code in (502, 503)


@contextmanager
def dying(*, reset: bool, reads: bool) -> Iterator[int]:
    """The port of something that takes connections, may read a little, and is gone without an answer."""

    def die() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = listener.accept()
                with taken:
                    if reads:
                        taken.recv(65536)
                    if reset:
                        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", free_port())) as listener:
        thread = threading.Thread(target=die)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_an_agent_that_dies_amid_a_request_is_later_for_okta(
    example: str, reset: bool, reads: bool, tmp_path: Path
) -> None:
    head = "PUT /scim/v2/Users/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: 300\r\n\r\n"
    with dying(reset=reset, reads=reads) as port, proxy(example, port, tmp_path) as url:
        address = urlsplit(url)
        for _ in range(30):
            with socket.create_connection((address.hostname, address.port), timeout=30) as okta:
                # In two pieces, so that the agent may be gone before the second.
                okta.sendall(head.encode())
                okta.sendall(b" " * 300)
                assert okta.recv(65536).startswith(b"HTTP/1.1 429")


def test_a_body_that_is_too_large_for_the_proxy_is_refused_in_scim(example: str, tmp_path: Path) -> None:
    port = free_port()
    with Upgrades(tmp_path, port) as agent, proxy(example, port, tmp_path) as url, httpx.Client(timeout=60) as client:
        agent.start()
        headers = {"Authorization": f"Bearer {agent.key}", "Content-Type": SCIM_JSON}
        for size in (1_500_000, 3_000_000):
            answer = client.post(f"{url}/scim/v2/Users", content=b" " * size, headers=headers)
            assert (answer.status_code, answer.headers["content-type"]) == (413, SCIM_JSON)
            assert (answer.json()["schemas"], answer.json()["status"]) == ([ERROR], "413")


@contextmanager
def recording() -> Iterator[tuple[int, list[str]]]:
    """A port, and the targets of the requests that come to it, as they were sent."""
    targets: list[str] = []

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = listener.accept()
                with taken:
                    targets.append(taken.recv(65536).split(b" ")[1].decode())
                    taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with socket.create_server(("127.0.0.1", free_port())) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        yield int(listener.getsockname()[1]), targets
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_an_id_comes_through_as_it_was_sent(example: str, tmp_path: Path) -> None:
    """One that is decoded on the way, or has its slash split, is another one's."""
    ids = ["ann%40example.com", "ann@example.com", "a%2Fb", "100%25", "a%20b", "Zo%C3%AB", "a%2540b"]
    with recording() as (port, targets), proxy(example, port, tmp_path) as url, httpx.Client(timeout=60) as client:
        targets.clear()
        for segment in ids:
            request = client.build_request("GET", url, extensions={"target": f"/scim/v2/Users/{segment}".encode()})
            assert client.send(request).status_code == 200
    assert targets == [f"/scim/v2/Users/{segment}" for segment in ids]
