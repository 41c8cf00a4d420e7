"""Ids that a path has to encode, all the way: Okta's request, the receiver, the remote's HTTP side, the commands.

Some servers take the userName for the id, and any text may be one.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from agent.model.errors import NotFound
from agent.receiver.app import build
from agent.store import keys
from agent.store.journal import Signature
from support.holding import Commands
from support.receiver import deactivation, okta_user, running
from support.remotes import Remote
from support.sloppy import KEY, Sloppy, sloppy_server
from support.world import World, open_world

IDS = {
    "an @": "ann@example.com",
    "slashes": "sales/emea/ann",
    "a percent": "100%",
    "an escape": "ann%40example.com",
    "an escaped slash": "a%2Fb",
    "blanks": "ann of the sea",
    "a plus": "ann+x",
    "marks of an address": "a?b#c;d=e&f",
    "quotes": "~a'b\"c\\d",
    "other alphabets": "Zoë-Ünal-東京",
    "a dot at each end": ".ann.",
}


class Gate:
    """Okta's side of the receiver, and the remote behind it: ``server.id_of`` says which ids it gives."""

    def __init__(self, world: World, server: Sloppy, client: httpx.Client) -> None:
        self.world, self.server, self.client = world, server, client

    def send(self, method: str, path: str, body: object = None) -> httpx.Response:
        return self.client.request(method, path, json=body, headers={"Content-Type": "application/scim+json"})

    def create(self, login: str, user_id: str, **more: str) -> httpx.Response:
        self.server.id_of = lambda _: user_id
        return self.send("POST", "/Users", okta_user(login, **more))


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    folder: Path = tmp_path_factory.mktemp("ids")
    with sloppy_server() as server, open_world(folder, remote=Remote(server.url, KEY)) as world:
        by = Signature(actor="test", source="test", at=datetime.now(UTC))
        _, key = world.store.write(lambda conn: keys.create(conn, by, name="okta"))
        with (
            running(build(world.directory, world.store, world.settings)) as url,
            httpx.Client(base_url=f"{url}/scim/v2", headers={"Authorization": f"Bearer {key}"}, timeout=60) as client,
        ):
            yield Gate(world, server, client)
        world.remote.client.close()


@pytest.mark.parametrize(("n", "user_id"), list(enumerate(IDS.values())), ids=IDS)
def test_a_push_reaches_the_account_whatever_its_id_is_made_of(gate: Gate, n: int, user_id: str) -> None:
    login = f"person{n}@example.com"
    made = gate.create(login, user_id, externalId=f"00u{n}")
    assert (made.status_code, made.json()["id"]) == (201, user_id)
    path = urlsplit(made.headers["location"]).path.removeprefix("/scim/v2")
    assert path == f"/Users/{quote(user_id, safe='')}"
    assert gate.send("GET", path).json()["userName"] == login
    put = gate.send("PUT", path, okta_user(login, externalId=f"00u{n}", title="Chief"))
    assert (put.status_code, gate.server.users[user_id]["title"]) == (200, "Chief")
    gone = gate.send("PATCH", path, deactivation())
    assert (gone.status_code, gate.server.users[user_id]["active"]) == (200, False)
    with gate.world.store.read() as conn:
        rows = conn.exec_driver_sql("select directory_id from journal where source = 'push' order by id desc limit 1")
        assert rows.scalar() == user_id


def test_an_id_is_decoded_once(gate: Gate) -> None:
    """The second reading of ``%2540`` would be somebody else's id."""
    gate.create("once@example.com", "once%40")
    gate.create("twice@example.com", "once@")
    assert gate.send("GET", "/Users/once%2540").json()["userName"] == "once@example.com"
    assert gate.send("GET", "/Users/once%40").json()["userName"] == "twice@example.com"
    assert gate.send("GET", "/Users/once@").json()["userName"] == "twice@example.com"


@pytest.mark.parametrize("segment", ["%00", "a%00b", "%ff", "%C3", "%"])
def test_what_no_id_can_be_is_nobody_and_the_remote_is_not_asked(gate: Gate, segment: str) -> None:
    before = len(gate.server.calls)
    target = f"/scim/v2/Users/{segment}".encode()
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        request = gate.client.build_request(
            method, "/Users/x", json=deactivation() if method != "GET" else None, extensions={"target": target}
        )
        answer = gate.client.send(request)
        assert answer.status_code in (400, 404)
    if segment != "%":
        assert len(gate.server.calls) == before


def test_commands_take_an_id_as_it_is(
    gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    w = gate.world
    for n, user_id in enumerate(IDS.values()):
        if user_id not in gate.server.users:
            gate.create(f"person{n}@example.com", user_id)
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "DATABASE__URL": w.store.settings.url,
        "DIRECTORY__BACKEND": "scim",
        "DIRECTORY__BASE_URL": gate.server.url,
        "DIRECTORY__API_KEY": KEY,
        "DIRECTORY__OWNERS": '["owner@example.com"]',
    }.items():
        monkeypatch.setenv(f"OPSHELM_{name}", value)
    run = Commands(capsys)
    for user_id in IDS.values():
        assert run.document("users", "show", "--id", user_id)["user"]["id"] == user_id


def test_a_former_name_is_nobody_though_it_is_a_renamed_persons_id(gate: Gate) -> None:
    """``explain OLDNAME`` described the colleague who had that name when the account was made."""
    w = gate.world
    person = w.people()[0]
    gate.create("former@example.com", "former@example.com", externalId=person["okta_id"])
    path = f"/Users/{quote('former@example.com', safe='')}"
    assert gate.send("PUT", path, okta_user(person["login"], externalId=person["okta_id"])).status_code == 200
    assert w.reconciler.explain(person["login"]).steps
    with pytest.raises(NotFound, match="Neither OpsHelm nor Okta knows former@"):
        w.reconciler.explain("former@example.com")
