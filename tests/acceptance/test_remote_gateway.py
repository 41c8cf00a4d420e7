"""The agent between Okta and a remote OpsHelm: pushes are passed on, answered with what is true, and journalled."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.receiver.app import build
from agent.settings import GuardSettings
from agent.simulator import SimulatedOrg
from agent.store import attention, intents, keys
from agent.store.journal import Signature
from support.processes import Daemon, agent, database
from support.receiver import deactivation, okta_user, running
from support.remotes import Remote
from support.sloppy import KEY, Call, Reply, Sloppy, error, sloppy_server
from support.world import World, open_world


class Gateway:
    """What Okta sees, the remote behind it, and the agent in between."""

    def __init__(self, world: World, server: Sloppy, client: httpx.Client) -> None:
        self.world, self.server, self.client = world, server, client

    def send(self, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = {"Content-Type": "application/scim+json"}
        return self.client.request(method, path, json=body, headers=headers if body is not None else {})

    def create(self, login: str, **more: Any) -> str:
        answer = self.send("POST", "/Users", okta_user(login, **more))
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def journal(self) -> list[str]:
        with self.world.store.read() as conn:
            rows = conn.exec_driver_sql("select kind, verb from journal where source = 'push' order by id")
            return [f"{kind} {verb}" for kind, verb in rows]


@contextmanager
def gateway(folder: Path, **sections: Any) -> Iterator[Gateway]:
    with sloppy_server() as server, open_world(folder, remote=Remote(server.url, KEY), **sections) as world:
        _, key = world.store.write(
            lambda conn: keys.create(conn, Signature(actor="test", source="test", at=datetime.now(UTC)), name="okta")
        )
        with (
            running(build(world.directory, world.store, world.settings)) as url,
            httpx.Client(base_url=f"{url}/scim/v2", headers={"Authorization": f"Bearer {key}"}, timeout=60) as client,
        ):
            yield Gateway(world, server, client)
        world.remote.client.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gateway]:
    with gateway(tmp_path) as found:
        yield found


def test_pushes_arrive_at_the_remote_and_carry_its_ids(gate: Gateway) -> None:
    user_id = gate.create("ann@example.com", externalId="00u1")
    assert list(gate.server.users) == [user_id]
    found = gate.send("GET", '/Users?filter=userName eq "ANN@example.com"').json()
    assert [user["id"] for user in found["Resources"]] == [user_id]
    put = gate.send("PUT", f"/Users/{user_id}", okta_user("ann@example.com", title="Chief"))
    assert (put.status_code, put.json()["title"], gate.server.users[user_id]["title"]) == (200, "Chief", "Chief")
    gone = gate.send("PATCH", f"/Users/{user_id}", deactivation())
    assert (gone.status_code, gone.json()["active"], gate.server.users[user_id]["active"]) == (200, False, False)
    assert gate.send("GET", f"/Users/{user_id}").json()["externalId"] == "00u1"
    kinds = [row for row in gate.journal() if not row.startswith("intent")]
    assert kinds == ["applied create", "applied update", "applied deactivate"]
    assert "password" not in json.dumps(gate.server.users)


def test_okta_imports_the_remotes_people_page_by_page(gate: Gateway) -> None:
    for n in range(25):
        gate.server.add(f"person{n}@example.com")
    first = gate.send("GET", "/Users?startIndex=1&count=10").json()
    last = gate.send("GET", "/Users?startIndex=21&count=10").json()
    assert (first["totalResults"], len(first["Resources"]), len(last["Resources"])) == (25, 10, 5)


def test_the_remotes_own_no_is_what_okta_reads(gate: Gateway) -> None:
    user_id = gate.create("ann@example.com", externalId="00u1")
    gate.server.scripted = lambda _, call: error(400, "Seats are used up; buy more.") if call.writes else None
    for answer in (
        gate.send("PUT", f"/Users/{user_id}", okta_user("ann@example.com", title="Chief")),
        gate.send("POST", "/Users", okta_user("bob@example.com", externalId="00u2")),
    ):
        assert (answer.status_code, answer.json()["detail"]) == (400, "Seats are used up; buy more.")
    assert gate.journal()[-1] == "refused create"


def test_a_remote_that_is_down_is_429_and_nothing_is_pretended(gate: Gateway) -> None:
    user_id = gate.create("ann@example.com", externalId="00u1")
    gate.server.scripted = lambda *_: Reply(503, **{"Retry-After": "3600"})
    for method, path, body in (
        ("GET", f"/Users/{user_id}", None),
        ("GET", '/Users?filter=userName eq "bob@example.com"', None),
        ("PATCH", f"/Users/{user_id}", deactivation()),
        ("POST", "/Users", okta_user("bob@example.com", externalId="00u2")),
    ):
        answer = gate.send(method, path, body)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60"), answer.text
        assert answer.json()["status"] == "429"
    later = gate.world.now() + timedelta(minutes=2)
    with gate.world.store.read() as conn:
        waiting = {(row.reason, row.directory_id, row.okta_id) for row in attention.due(conn, later, 10)}
    assert waiting == {(attention.REMOTE_DOWN, user_id, None), (attention.REMOTE_DOWN, None, "00u2")}


def test_a_key_that_the_remote_refuses_is_not_oktas_fault(gate: Gateway) -> None:
    user_id = gate.create("ann@example.com", externalId="00u1")
    gate.server.scripted = lambda *_: error(401, "no such key")
    answer = gate.send("PATCH", f"/Users/{user_id}", deactivation())
    assert answer.status_code == 429
    assert KEY not in answer.text


@pytest.mark.parametrize("did", [True, False])
def test_a_lost_answer_is_read_back_and_what_is_true_is_answered(gate: Gateway, did: bool) -> None:
    user_id = gate.create("ann@example.com", externalId="00u1")
    dropped: list[Call] = []

    def drop(server: Sloppy, call: Call) -> Reply | None:
        if call.writes and not dropped:
            dropped.append(call)
            if did:
                server.apply(call)
            return Reply(cut=0)
        return None

    gate.server.scripted = drop
    answer = gate.send("PATCH", f"/Users/{user_id}", deactivation())
    assert (answer.status_code, answer.json()["active"]) == (200, False)
    assert not gate.server.users[user_id]["active"]
    dropped.clear()
    made = gate.send("POST", "/Users", okta_user("bob@example.com", externalId="00u2"))
    assert made.status_code == 201
    assert [user["userName"] for user in gate.server.users.values()] == ["ann@example.com", "bob@example.com"]


def test_a_push_whose_call_another_process_has_ended_meanwhile_is_tried_again_by_okta(gate: Gateway) -> None:
    user_id = gate.create("ann@example.com", externalId="00u1")

    def ended_elsewhere(_: Sloppy, call: Call) -> Reply | None:
        if not call.writes:
            return None
        with gate.world.store.read() as conn:
            (intent,) = intents.open_intents(conn)
        gate.world.store.write(lambda conn: intents.end(conn, intent.id, intents.UNDONE, gate.world.now()))
        return error(503)

    gate.server.scripted = ended_elsewhere
    answer = gate.send("PATCH", f"/Users/{user_id}", deactivation())
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert gate.server.count("PATCH") == 1


def test_a_yes_that_did_nothing_is_no_success_for_okta(gate: Gateway) -> None:
    user_id = gate.create("ann@example.com", externalId="00u1")
    gate.server.scripted = lambda server, call: Reply(200, server.users[user_id]) if call.writes else None
    answer = gate.send("PATCH", f"/Users/{user_id}", deactivation())
    assert answer.status_code == 429
    assert "active" in answer.json()["detail"]


def test_a_burst_is_held_and_the_remote_never_hears_of_it(tmp_path: Path) -> None:
    with gateway(tmp_path, guard=GuardSettings()) as gate:
        ids = [gate.create(f"person{n}@example.com", externalId=f"00u{n}") for n in range(12)]
        answers = [gate.send("PATCH", f"/Users/{user_id}", deactivation()) for user_id in ids[:5]]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert answers[-1].headers["Retry-After"] == "300"
        assert sum(not user["active"] for user in gate.server.users.values()) == 3
        assert gate.journal()[-1] == "refused deactivate"


def test_who_got_a_refusal_is_reconciled_when_the_remote_answers_again(tmp_path: Path) -> None:
    with gateway(tmp_path, users=4) as gate:
        world, server = gate.world, gate.server
        world.first_run()
        person = world.people()[0]
        user = world.account(person["login"])
        world.org.set_app_user(person["okta_id"], status="INACTIVE")
        server.scripted = lambda *_: Reply(503, **{"Retry-After": "3600"})
        assert gate.send("PATCH", f"/Users/{user.id}", deactivation()).status_code == 429
        world.ahead = timedelta(minutes=2)
        world.reconciler.look(apply=True)
        assert server.users[user.id]["active"]
        server.scripted = None
        world.ahead = timedelta(minutes=10)
        world.reconciler.look(apply=True)
        assert not server.users[user.id]["active"]
        with world.store.read() as conn:
            assert attention.waiting(conn) == 0


# As real processes


@pytest.mark.slow
def test_one_agent_serves_another_as_processes(tmp_path: Path) -> None:
    """Okta (simulated) pushes to the gateway's daemon, which passes on to a second one; commands know the remote."""
    far, near = tmp_path / "far", tmp_path / "near"
    far.mkdir()
    near.mkdir()
    database(far)
    database(near)
    key = agent("keys", "create", "gateway", cwd=far).stdout.strip()
    with Daemon(far, {"OPSHELM_GUARD__PUSH_MODE": "alarm"}) as opshelm, SimulatedOrg.start(users=6, seed=3) as org:
        org.provisioning(mode="off")
        env = {
            "OPSHELM_OKTA__ORG_URL": org.url,
            "OPSHELM_OKTA__APP_ID": org.app_id,
            "OPSHELM_OKTA__API_TOKEN": org.token,
            "OPSHELM_DIRECTORY__BACKEND": "scim",
            "OPSHELM_DIRECTORY__BASE_URL": opshelm.url,
            "OPSHELM_DIRECTORY__API_KEY": key,
            "OPSHELM_DIRECTORY__MAX_PER_SECOND": "1000",
            "OPSHELM_SCHEDULE__RECONCILE": "off",
        }

        def run(*args: str) -> tuple[int, Any]:
            done = agent(*args, "--output", "json", cwd=near, env=env)
            return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

        code, report = run("reconcile", "--apply", "--first-run", "10")
        assert (code, report["run"]["counts"]["people"]) == (0, 6), report
        _, listed = run("users", "list")
        assert len(listed["users"]) == 6
        login, other = (user["userName"] for user in listed["users"][:2])
        assert agent("users", "role", login, "owner", cwd=near, env=env).returncode == 2
        assert agent("owner", "handover", "--to", login, "--deactivate", other, cwd=near, env=env).returncode == 2
        code, checks = run("check")
        states = {check["name"]: check["state"] for check in checks["checks"]}
        assert (code, states["remote"], states["owners"]) == (1, "ok", "fail")
        env["OPSHELM_DIRECTORY__OWNERS"] = json.dumps([login])
        _, checks = run("check")
        assert {check["name"]: check["state"] for check in checks["checks"]}["owners"] == "ok"
        leaver = other
        okta_key = agent("keys", "create", "okta", cwd=near, env=env).stdout.strip()
        with Daemon(near, env) as front, httpx.Client(headers={"Authorization": f"Bearer {okta_key}"}) as okta:
            found = okta.get(f"{front.url}/Users", params={"filter": f'userName eq "{leaver}"'}).json()
            user_id = found["Resources"][0]["id"]
            gone = okta.patch(f"{front.url}/Users/{user_id}", json=deactivation())
            assert (gone.status_code, gone.json()["active"]) == (200, False)
            opshelm.stop()
            down = okta.get(f"{front.url}/Users/{user_id}", timeout=60)
            assert (down.status_code, down.headers["Retry-After"]) == (429, "60")
        wrong = agent("check", "--output", "json", cwd=near, env=env)
        states = {check["name"]: check["state"] for check in json.loads(wrong.stdout)["checks"]}
        assert (wrong.returncode, states["remote"]) == (1, "fail")
        assert key not in wrong.stdout + wrong.stderr
