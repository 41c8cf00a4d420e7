"""``serve`` with ``server.workers``: several processes at one socket, as one daemon, on both databases."""

import itertools
import os
import re
import secrets
import signal
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.simulator import SimulatedOrg
from support.processes import Daemon, agent

_TRIES = 2000


@contextmanager
def serving(folder: Path, url: str, **settings: str) -> Iterator[Daemon]:
    with Daemon(folder, {"OPSHELM_DATABASE__URL": url, "OPSHELM_SERVER__WORKERS": "3", **settings}) as daemon:
        yield daemon


@contextmanager
def clients(daemon: Daemon, folder: Path, url: str) -> Iterator[list[httpx.Client]]:
    """A connection to each of the three processes; requests count, so it is told by ``requests`` how many there were."""
    name = f"okta{secrets.token_hex(4)}"
    key = agent("keys", "create", name, cwd=folder, env={"OPSHELM_DATABASE__URL": url}).stdout.strip()
    with ExitStack() as stack:
        found: dict[str, httpx.Client] = {}
        for _ in range(_TRIES):
            one = httpx.Client(
                base_url=f"{daemon.url}/",
                timeout=60,
                headers={"Authorization": f"Bearer {key}", "Content-Type": "application/scim+json"},
            )
            process = whose(one.get("Schemas"))
            if process in found:
                one.close()
            else:
                found[process] = stack.enter_context(closing(one))
            if len(found) == 3:
                yield [*found.values()]
                return
        raise AssertionError(f"only {len(found)} of three processes ever answered")


def whose(answer: httpx.Response) -> str:
    """Each process numbers its requests by itself, behind a prefix of its own."""
    return answer.headers["x-request-id"].partition("-")[0]


def person(name: str, **more: Any) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": f"{name}@example.com",
        "externalId": f"00u{name}",
        "emails": [{"value": f"{name}@example.com", "primary": True}],
        "active": True,
        **more,
    }


def metric(daemon: Daemon, name: str) -> float:
    text = httpx.get(f"{daemon.admin}/metrics", timeout=30).text
    found = re.search(rf"^opshelm_agent_{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def until(what: Callable[[], bool]) -> None:
    """Each look is a request to the daemon, or waits by itself."""
    assert any(what() for _ in range(_TRIES))


def workers(daemon: Daemon) -> list[int]:
    pid = daemon.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in children]


def gone(pid: int) -> bool:
    """A process of the daemon's whose parent is gone is reaped by whoever that machine has for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_all_of_them_create_at_once_and_journal_counters_and_metrics_are_of_all(
    tmp_path: Path, database_url: str
) -> None:
    with serving(tmp_path, database_url) as daemon, clients(daemon, tmp_path, database_url) as three:
        with ThreadPoolExecutor(6) as pool:
            made = list(pool.map(lambda n: three[n % 3].post("Users", json=person(f"p{n}")), range(90)))
            again = list(pool.map(lambda n: three[(n + 1) % 3].post("Users", json=person(f"p{n}")), range(30)))
        assert {answer.status_code for answer in made} == {201}
        assert {answer.status_code for answer in again} == {409}
        assert {whose(answer) for answer in made} == {whose(one.get("Schemas")) for one in three}
        assert [one.get("Users?count=0").json()["totalResults"] for one in three] == [90, 90, 90]
        assert metric(daemon, "managed_active") == 90
        until(lambda: metric(daemon, 'pushes_total{method="POST",status="201"}') == 90)
        until(lambda: metric(daemon, 'pushes_total{method="POST",status="409"}') == 30)
        assert metric(daemon, 'receiver_seconds_count{method="POST"}') == 120
    told = agent("journal", "verify", cwd=tmp_path, env={"OPSHELM_DATABASE__URL": database_url})
    assert told.returncode == 0, told.stdout + told.stderr


def test_whose_name_one_process_was_asked_for_is_known_to_the_others(tmp_path: Path, sqlite_url: str) -> None:
    def asked_about() -> set[str]:
        with closing(sqlite3.connect(tmp_path / "agent.db")) as conn:
            return {row[0] for row in conn.execute("select okta_id from attention")}

    with serving(tmp_path, sqlite_url) as daemon, clients(daemon, tmp_path, sqlite_url) as three:
        ids = {n: three[0].post("Users", json=person(n)).json()["id"] for n in ("ann", "bob")}
        assert three[1].put(f"Users/{ids['ann']}", json=person("ann", title="A")).status_code == 200
        assert asked_about() == set()
        assert three[1].get('Users?filter=userName eq "bob@example.com"').json()["totalResults"] == 1
        for number, client in enumerate((three[0], three[2])):
            assert client.put(f"Users/{ids['bob']}", json=person("bob", title=f"B{number}")).status_code == 200
        assert asked_about() == {"00ubob"}


@pytest.mark.slow
def test_settings_that_are_read_again_hold_in_all_of_them_a_mapping_too(tmp_path: Path, sqlite_url: str) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("")
    tries = itertools.count()

    def refused(client: httpx.Client) -> bool:
        """Whoever has not taken them on yet makes the account, or can't say, since the database has the new mapping."""
        return client.post("Users", json=person(f"try{next(tries)}", title="t" * 300)).status_code == 400

    with serving(tmp_path, sqlite_url) as daemon:
        with clients(daemon, tmp_path, sqlite_url) as three:
            made = [one.post("Users", json=person(f"p{n}", title="t" * 300)) for n, one in enumerate(three)]
            assert [answer.status_code for answer in made] == [201, 201, 201]
        file.write_text('[receiver]\nmax_text = 255\n\n[mapping]\ntitle = "title"\n')
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("settings were read again")
        with clients(daemon, tmp_path, sqlite_url) as three:
            for one in three:
                until(lambda one=one: refused(one))
            changed = [
                one.put(f"Users/{answer.json()['id']}", json=person(f"p{n}", title="short"))
                for n, (one, answer) in enumerate(zip(three, made, strict=True))
            ]
            assert [answer.status_code for answer in changed] == [200, 200, 200]


@pytest.mark.slow
def test_they_serve_right_after_the_machine_came_up(tmp_path: Path, sqlite_url: str) -> None:
    """Where the monotonic clock shows seconds."""
    patch = "import time\nreal, began = time.monotonic, time.monotonic()\ntime.monotonic = lambda: real() - began\n"
    (tmp_path / "sitecustomize.py").write_text(patch)
    path = f"{tmp_path}:{Path(__file__).parents[3]}"
    with serving(tmp_path, sqlite_url, PYTHONPATH=path) as daemon, clients(daemon, tmp_path, sqlite_url) as three:
        assert [one.get("Users").status_code for one in three] == [200, 200, 200]
        assert daemon.stop() == 0


@pytest.mark.slow
@pytest.mark.parametrize("receives", [True, False])
def test_one_that_was_behind_brings_no_former_mapping_back(tmp_path: Path, sqlite_url: str, receives: bool) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("")
    with serving(tmp_path, sqlite_url) as daemon:
        behind, _ = workers(daemon)
        if receives:
            with clients(daemon, tmp_path, sqlite_url):
                pass
        os.kill(behind, signal.SIGSTOP)
        try:
            for count, source in enumerate(("department", "jobTitle"), 1):
                file.write_text(f'[mapping]\n{source} = "title"\n')
                daemon.process.send_signal(signal.SIGHUP)
                daemon.wait_for("settings were read again", count)
        finally:
            os.kill(behind, signal.SIGCONT)
        with clients(daemon, tmp_path, sqlite_url) as three:
            for number, one in enumerate(three):
                until(lambda one=one, number=number: one.post("Users", json=person(f"p{number}")).status_code == 201)
    with closing(sqlite3.connect(tmp_path / "agent.db")) as conn:
        assert conn.execute("select count(*) from journal where verb = 'mapping'").fetchone() == (2,)


@pytest.mark.slow
def test_one_that_stands_still_for_a_minute_is_ended_and_with_it_the_daemon(tmp_path: Path, sqlite_url: str) -> None:
    """It may have the database's lock, which then nobody else gets."""
    with serving(tmp_path, sqlite_url) as daemon:
        pids = workers(daemon)
        os.kill(pids[1], signal.SIGSTOP)
        assert daemon.wait_for("a worker stands still; it is ended")["worker"] == "worker 3"
        assert daemon.process.wait(60) == 1
        assert all(map(gone, pids))


def test_only_the_daemon_heeds_signals_and_all_end_with_it(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url) as daemon, clients(daemon, tmp_path, sqlite_url) as three:
        pids = workers(daemon)
        assert len(pids) == 2
        for pid, number in itertools.product(pids, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)):
            os.kill(pid, number)
        assert [one.get("Users").status_code for one in three] == [200, 200, 200]
        assert daemon.stop() == 0
        assert all(map(gone, pids))
        assert [line["event"] for line in daemon.events if line.get("level") in ("error", "critical")] == []


@pytest.mark.slow
def test_where_one_is_killed_the_daemon_ends_too_for_all_to_be_started_anew(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url) as daemon:
        pids = workers(daemon)
        os.kill(pids[0], signal.SIGKILL)
        ended = daemon.wait_for("a worker ended; stopping")
        assert ended["exit_code"] == -signal.SIGKILL
        assert daemon.process.wait(60) == 1
        assert all(map(gone, pids))


@pytest.mark.slow
def test_where_the_daemon_is_killed_the_others_end_and_leave_the_port(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url) as daemon:
        pids = workers(daemon)
        daemon.process.kill()
        daemon.process.wait(60)
        daemon.stop()  # reads its log to the end, which the workers have open too
        assert all(map(gone, pids))
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{daemon.url}/Users")


@pytest.mark.slow
def test_one_that_stands_still_shows_by_its_age_and_others_answer(tmp_path: Path, sqlite_url: str) -> None:
    with serving(tmp_path, sqlite_url) as daemon:
        still, other = workers(daemon)
        os.kill(still, signal.SIGSTOP)
        try:
            until(lambda: metric(daemon, 'loop_last_tick_seconds{loop="worker 2"}') > 2)
            assert metric(daemon, 'loop_last_tick_seconds{loop="worker 3"}') < 2
            os.kill(other, 0)
        finally:
            os.kill(still, signal.SIGCONT)
        until(lambda: metric(daemon, 'loop_last_tick_seconds{loop="worker 2"}') < 2)


@pytest.mark.slow
def test_whom_a_hook_names_to_any_of_them_is_looked_at(tmp_path: Path, sqlite_url: str) -> None:
    with SimulatedOrg.start(users=6) as org:
        org.provisioning(mode="off")
        settings = {
            "OPSHELM_OKTA__ORG_URL": org.url,
            "OPSHELM_OKTA__APP_ID": org.app_id,
            "OPSHELM_OKTA__API_TOKEN": org.token,
            "OPSHELM_OKTA__HOOK_SECRET": "a secret",
            "OPSHELM_SCHEDULE__RECONCILE": "off",
            "OPSHELM_SCHEDULE__EVENTS": "off",
        }
        first = agent(
            "reconcile",
            "--apply",
            "--first-run",
            "9",
            cwd=tmp_path,
            env={"OPSHELM_DATABASE__URL": sqlite_url, **settings},
        )
        assert first.returncode == 0, first.stderr
        with serving(tmp_path, sqlite_url, **settings) as daemon, clients(daemon, tmp_path, sqlite_url) as three:
            for someone, one in zip(org.state(), three, strict=False):
                org.api("POST", f"/users/{someone['okta_id']}", {"profile": {"title": "Night shift"}})
                where = f"{daemon.url.removesuffix('/scim/v2')}/hooks/okta"
                answer = one.post(
                    where, json=delivery(org.url, someone["okta_id"]), headers={"Authorization": "a secret"}
                )
                assert answer.status_code == 204
            until(
                lambda: (
                    [one.get('Users?filter=title eq "Night shift"&count=0').json()["totalResults"] for one in three]
                    == [3] * 3
                )
            )
            until(lambda: metric(daemon, 'hooks_total{result="queued"}') == 3)


def delivery(org_url: str, okta_id: str) -> dict[str, Any]:
    event = {
        "uuid": okta_id,
        "published": "2026-01-01T00:00:00.000Z",
        "eventType": "user.account.update_profile",
        "outcome": {"result": "SUCCESS"},
        "target": [{"id": okta_id, "type": "User"}],
    }
    return {
        "eventType": "com.okta.event_hook",
        "eventTypeVersion": "1.0",
        "cloudEventsVersion": "0.1",
        "source": f"{org_url}/api/v1/eventHooks/who1",
        "eventId": okta_id,
        "eventTime": "2026-01-01T00:00:00.000Z",
        "data": {"events": [event]},
    }


def test_with_a_remote_opshelm_there_is_one_process(tmp_path: Path) -> None:
    told = agent("serve", cwd=tmp_path, env={"OPSHELM_SERVER__WORKERS": "2", "OPSHELM_DIRECTORY__BACKEND": "scim"})
    assert told.returncode == 2
    assert "OPSHELM_SERVER__WORKERS: must be 1" in told.stderr
