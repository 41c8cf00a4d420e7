"""Every stored negative case with target "server", sent byte for byte; after each the whole directory is compared.

The cases lie beside the repository; where they are missing, or a case needs what isn't here, it is skipped and says so.
"""

import base64
import contextlib
import csv
import http.client
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from sqlalchemy import select

from agent.directory.sql import SqlDirectory
from agent.settings import DatabaseSettings, Settings
from agent.store import keys, seal
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.tables import attention
from support.databases import sqlite_in
from support.forks import Serving, Warm
from support.pusher import new_key
from support.receiver import ERROR, SCIM_JSON, Served, okta_user

_FILE = Path(__file__).parents[3] / "shared" / "negative-cases.json"
_DOCUMENT = json.loads(_FILE.read_text()) if _FILE.exists() else {"cases": []}
CASES = [case for case in _DOCUMENT["cases"] if case["target"] in ("server", "hook")]
HOOK_SECRET = "the hook's secret"
ORG = "agent.example.com"
#: The words that tests/conftest.py accepts for a skip.
UNMET_NEED = "unmet need"
MET = {
    "etag_supported",
    "revoked_token",
    "fixture:local",
    "fixture:owner",
    "fixture:owner2",
    "fixture:100_users",
    "fixture:250_users",
    "push_guard=hold",
    "orphan_token",
    "export",
    "db_control",
    "hook",
}
_TOKEN = re.compile(
    r"\{(token\w*|revoked_token|orphan_token|hook|hook_secret|okta_org|repeat:.:\d+|base64:[\w:]+|n|(?:alice|bob|carol|owner2?|local|u_n)\.\w+(?:\|\w+)?)\}"
)
#: An org that nobody asks, since nothing is pinned and no clock sweeps.
SETTINGS = {
    "OPSHELM_OKTA__ORG_URL": f"https://{ORG}",
    "OPSHELM_OKTA__APP_ID": "0oaNEGATIVE",
    "OPSHELM_OKTA__API_TOKEN": "x",
    "OPSHELM_OKTA__HOOK_SECRET": HOOK_SECRET,
    "OPSHELM_SCHEDULE__RECONCILE": "off",
    "OPSHELM_SCHEDULE__EVENTS": "off",
    "OPSHELM_DATABASE__BUSY_TIMEOUT": "0.3s",
}
_WRITES = ("POST", "PUT", "PATCH", "DELETE")


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.text = response.read().decode()
        self.json: Any = json.loads(self.text) if self.text.startswith("{") else {}


class Runner:
    """One case on a receiver that has just been filled with the fixtures."""

    def __init__(self, receiver: Served, case: dict[str, Any]) -> None:
        self.receiver = receiver
        self.case = case
        self.values: dict[str, Any] = {
            "token": receiver.key,
            "token_same_length_wrong": receiver.key[:-1] + ("A" if receiver.key[-1] != "A" else "B"),
            "token_minus_last_char": receiver.key[:-1],
            "n": 0,
            "hook": "/hooks/okta",
            "hook_secret": HOOK_SECRET,
            "okta_org": ORG,
        }
        receiver.empty()
        self._people()

    def _people(self) -> None:
        for name, local, fixture in (("alice", "Alice", True), ("bob", "Bob", True), ("carol", "Carol", False)):
            known = _DOCUMENT["fixtures"][name]
            made = self.receiver.create(
                known["userName"],
                externalId=known["externalId"],
                active=fixture,
                name={"givenName": local, "familyName": "Negcase"},
                displayName=f"{local} Negcase",
            )
            self.keep(name, made)
        needs = set(self.case.get("needs", ()))
        acts = self.receiver.directory.operator(actor="test", reason="fixture", now=datetime.now(UTC))
        for name in ("owner", "owner2", "local"):
            if f"fixture:{name}" in needs:
                made = acts.add(f"{name}.negcase@example.com", owner=name != "local")
                if name != "local":
                    made = acts.link(made.id, f"00u{name.upper()}")
                self.keep(name, self.receiver.client.get(f"/Users/{made.id}").json())
        if "revoked_token" in needs:
            self.values["revoked_token"] = self._revoked()
        if "orphan_token" in needs:
            self.values["orphan_token"] = self._orphan()
        for need, count in (("fixture:100_users", 97), ("fixture:250_users", 247)):
            if need in needs:
                self.crowd = [
                    self.receiver.create(f"crowd{n}@example.com", externalId=f"00uCROWD{n}") for n in range(count)
                ]

    def keep(self, name: str, user: dict[str, Any]) -> None:
        self.values |= {f"{name}.{key}": value for key, value in user.items()}
        self.values[f"{name}.local"] = user["userName"].partition("@")[0]
        for part in ("givenName", "familyName"):
            self.values[f"{name}.{part}"] = user.get("name", {}).get(part, "x")

    def _revoked(self) -> str:
        now = datetime.now(UTC)
        store = self.receiver.store
        secret = store.write(
            lambda conn: keys.create(conn, Signature(actor="t", source="test", at=now), name=f"revoked {now}")
        )[1]
        store.write(lambda conn: keys.revoke(conn, Signature(actor="t", source="test", at=now), name=f"revoked {now}"))
        return str(secret)

    def _orphan(self) -> str:
        """A good key that is good for nothing here: one for the metrics."""
        now, store = datetime.now(UTC), self.receiver.store
        made = store.write(
            lambda conn: keys.create(
                conn, Signature(actor="t", source="test", at=now), name=f"m {now}", scope=keys.KeyScope.METRICS
            )
        )
        return str(made[1])

    def fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        return _TOKEN.sub(lambda match: self._value(match[1]), value) if isinstance(value, str) else value

    def _value(self, name: str) -> str:
        if name.startswith("repeat:"):
            _, char, count = name.split(":")
            return char * int(count)
        if name.startswith("base64:"):
            return base64.b64encode(b"okta:" + self.receiver.key.encode()).decode()
        name, _, change = name.partition("|")
        text = str(self.values[name])
        if change == "fullwidth":
            return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
        return text.upper() if change else text

    def body(self, request: dict[str, Any]) -> bytes | None:
        if "body" in request:
            return json.dumps(self.fill(request["body"])).encode()
        generator = request.get("raw_generator")
        if generator and generator["into"] == "body":
            return self.fill(_generated(generator)).encode()
        raw = request.get("raw")
        if raw is None:
            return None
        if raw == "{smuggle}":
            return f"0\r\n\r\nDELETE /scim/v2/Users/{self.values['alice.id']} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.receiver.key}\r\n\r\n".encode()
        if raw.startswith("{utf16:"):
            return str(raw[7:-1]).encode("utf-16")
        return str(raw).encode()

    def send(self, request: dict[str, Any], change: Callable[[bytes], bytes] = lambda body: body) -> Answer:
        address = urlsplit(self.receiver.url)
        path = self.fill(request["path"])
        generator = request.get("raw_generator")
        if generator and generator["into"].startswith("query:"):
            path = path.replace("{generated}", quote(_generated(generator)))
        body = self.body(request)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        try:
            root = "" if request["path"] == "{hook}" else address.path
            connection.putrequest(request["method"], root + path, skip_accept_encoding=True)
            headers = request.get("headers", {})
            for name, lines in headers.items():
                for line in lines if isinstance(lines, list) else [lines]:
                    connection.putheader(name, self.fill(line))
            if body is not None and "Content-Length" not in headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            if body is not None:
                # It may be refused before all of it was sent.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    connection.send(change(body))
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def snapshot(self) -> dict[str, Any]:
        return {user.id: user for page in self.receiver.directory.everyone() for user in page}


def _generated(generator: dict[str, Any]) -> str:
    text = generator.get("prefix", "") + generator["unit"] * generator["count"] + generator.get("middle", "")
    return str(text + generator.get("unit2", "") * generator.get("count2", 0) + generator.get("suffix", ""))


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Served]]:
    """A daemon as a process for each mode of the guard, with its database open here too, for set-up and inspection."""
    started: dict[str, tuple[Serving, Served]] = {}
    with Warm() as warm:

        def serve(mode: str) -> Served:
            if mode not in started:
                folder = Path(tmp_path_factory.mktemp("daemon"))
                url = sqlite_in(folder)
                store = Store.open(DatabaseSettings(url=url))
                key = new_key(url)
                daemon = warm.serve(
                    folder,
                    {"OPSHELM_DATABASE__URL": url, "OPSHELM_GUARD__PUSH_MODE": mode.partition(" ")[0], **SETTINGS},
                )
                directory = SqlDirectory(store, Settings())
                started[mode] = (daemon, Served(daemon.url, store, directory, key))
            return started[mode][1]

        yield serve
        for daemon, receiver in started.values():
            receiver.close()
            receiver.store.close()
            assert daemon.stop() == 0


@pytest.mark.skipif(not CASES, reason="negative-cases.json is not beside the repository")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_case(case: dict[str, Any], servers: Callable[[str], Served]) -> None:
    unmet = set(case.get("needs", ())) - MET
    if unmet:
        pytest.skip(f"{UNMET_NEED}: {', '.join(sorted(unmet))}")
    runner = Runner(servers(_daemon_for(case)), case)
    by_need = _hook if "hook" in case.get("needs", ()) else _export if "export" in case.get("needs", ()) else None
    special = SPECIAL.get(case["id"], by_need)
    if special is not None:
        special(runner)
        return
    before, rows = runner.snapshot(), len(runner.receiver.journal())
    answer = runner.send(case["request"])
    _check_answer(runner, case, answer)
    _check_effects(runner, case, answer, before, rows)
    for step in case.get("verify", ()):
        _check_step(runner, step, accepted=answer.status < 300)
    assert runner.receiver.client.get("/Users?count=1").status_code == 200


def _daemon_for(case: dict[str, Any]) -> str:
    if case["id"] == "NC-023":
        return "alarm flooded"  # for a minute, wrong keys from here are answered 429 by that one
    return "hold" if "push_guard=hold" in case.get("needs", ()) else "alarm"


def _check_answer(runner: Runner, case: dict[str, Any], answer: Answer) -> None:
    expected = case["expect"]
    assert answer.status in expected["status"], answer.text
    for text in _DOCUMENT["global_text_absent"]:
        assert runner.fill(text) not in answer.text
    # Broken HTTP is answered below the application, which has never seen it.
    if answer.status >= 400 and answer.headers["x-request-id"]:
        assert answer.headers["content-type"] == SCIM_JSON
        assert (answer.json["schemas"], answer.json["status"]) == ([ERROR], str(answer.status))
        assert answer.json["detail"]
        if "scimType" in expected and answer.status in (400, 409):
            assert answer.json.get("scimType") == expected["scimType"]
    if answer.status == 401:
        assert answer.headers["www-authenticate"].startswith("Bearer")
    if answer.status < 300:
        _check_accepted(runner, expected.get("on_2xx", {}), answer)


def _check_accepted(runner: Runner, checks: dict[str, Any], answer: Answer) -> None:
    for key, value in checks.get("equal", {}).items():
        assert answer.json[key] == runner.fill(value)
    for key, value in checks.get("not_equal", {}).items():
        assert answer.json[key] != runner.fill(value)
    assert not set(checks.get("absent", ())) & answer.json.keys()
    for text in checks.get("text_absent", ()):
        assert text not in answer.text.replace('"userType":"owner"', "")
    if "resources_max" in checks:
        assert len(answer.json.get("Resources", [])) <= checks["resources_max"]


def _check_effects(runner: Runner, case: dict[str, Any], answer: Answer, before: dict[str, Any], rows: int) -> None:
    """Refused: nobody changed, one row for a known caller. Accepted: at most the one account that it named changed."""
    after = runner.snapshot()
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    written = runner.receiver.journal()[rows:]
    method = case["request"]["method"]
    if answer.status >= 300 or method not in _WRITES:
        assert not changed
    else:
        assert changed <= {answer.json.get("id")}
        assert len(written) == len(changed)
    seen = answer.headers["x-request-id"] and answer.status not in (401, 431)
    if answer.status >= 300 and method in _WRITES and seen and ".search" not in case["request"]["path"]:
        assert [(row[0], row[2]) for row in written] == [("refused", answer.headers["x-request-id"])]


def _check_step(runner: Runner, step: dict[str, Any], *, accepted: bool) -> None:
    if step.get("if_2xx") and not accepted:
        return
    answer = runner.receiver.send(step["method"], runner.fill(step["path"]))
    assert answer.status_code in step["status"]
    for key, value in runner.fill(step.get("json", {})).items():
        assert answer.json()[key] == value
    for text in step.get("text_absent", ()):
        assert text not in answer.text


# Cases that are more than one request.


def _flood(runner: Runner) -> None:
    for n in range(120):
        runner.values["n"] = n
        assert runner.send(runner.case["request"]).status in runner.case["expect"]["status"]
    assert runner.receiver.client.get("/Users?count=1").status_code == 200


def _two_owners(runner: Runner) -> None:
    request = runner.case["request"]
    other = json.loads(json.dumps(request).replace("{owner.", "{owner2."))
    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(answer.status for answer in pool.map(runner.send, (request, other)))
    assert statuses == [200, 409]
    assert sum(user.active and user.role == "owner" for user in runner.snapshot().values()) == 1


def _race(runner: Runner) -> None:
    name = "Nc-RaCe2"
    spellings = [name if n % 2 else name.swapcase() for n in range(50)]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda spelling: runner.send(
                runner.case["request"], lambda body: body.replace(name.encode(), spelling.encode())
            ),
            spellings,
        )
        assert sorted(answer.status for answer in answers) == [201] + [409] * 49
    assert runner.receiver.find('userName eq "nc-race2@example.com"')["totalResults"] == 1


def _two_truths(runner: Runner) -> None:
    on = json.loads(json.dumps(runner.case["request"]))
    on["body"] |= {"active": True, "displayName": "On"}
    off = json.loads(json.dumps(runner.case["request"]))
    off["body"] |= {"active": False, "displayName": "Off"}
    for _ in range(20):
        with ThreadPoolExecutor(2) as pool:
            assert [answer.status for answer in pool.map(runner.send, (on, off))] == [200, 200]
        bob = runner.receiver.client.get(f"/Users/{runner.values['bob.id']}").json()
        assert (bob["active"], bob["displayName"]) in ((True, "On"), (False, "Off"))


def _stale_echo(runner: Runner) -> None:
    url = f"/Users/{runner.values['bob.id']}"
    patch = {"Operations": [{"op": "replace", "path": "active", "value": False}]}
    assert runner.receiver.send("PATCH", url, patch).status_code == 200
    answer = runner.send(runner.case["request"])
    assert answer.status in runner.case["expect"]["status"]
    if answer.status == 200:
        assert runner.receiver.journal()[-1][:3] == ("applied", "reactivate", answer.headers["x-request-id"])


def _burst(runner: Runner) -> None:
    statuses = []
    for user in runner.crowd[:20]:
        runner.keep("u_n", user)
        answer = runner.send(runner.case["request"])
        statuses.append(answer.status)
        if answer.status == 429:
            assert answer.headers["retry-after"] == "300"
            assert runner.receiver.client.get(f"/Users/{user['id']}").json()["active"] is True
    # 10 % of 99 managed active people, rounded up.
    assert statuses == [200] * 10 + [429] * 10
    assert runner.receiver.send("POST", "/Users", okta_user("newcomer@example.com")).status_code == 201


def _hook(runner: Runner) -> None:
    """Twice, as Okta may send it; nobody is touched, and at most alice is looked at, once."""
    before = runner.snapshot()
    for _ in range(2):
        answer = runner.send(runner.case["request"])
        assert answer.status in runner.case["expect"]["status"], answer.text
        assert HOOK_SECRET not in answer.text
    assert runner.snapshot() == before
    with runner.receiver.store.read() as conn:
        named = [row.okta_id for row in conn.execute(select(attention.c.okta_id))]
    assert named in ([], [runner.values["alice.externalId"]], [None])
    if runner.case["id"] in ("NC-206", "NC-210"):
        assert named == []


def _export(runner: Runner) -> None:
    answer = runner.send(runner.case["request"])
    assert answer.status in runner.case["expect"]["status"]
    lines = list(csv.reader(seal.csv_lines(seal.export(runner.receiver.store.read))))
    assert len(lines) > 3
    assert not [cell for line in lines[1:] for cell in line if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def _locked(runner: Runner) -> None:
    """What can't be written just now is 429, the one answer that Okta tries again by itself."""
    file = runner.receiver.store.engine.url.database
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = runner.send(runner.case["request"])
        assert (answer.status, answer.headers["retry-after"]) == (429, "60")
        assert answer.json["schemas"] == [ERROR]
        assert not re.search("Traceback|SELECT|INSERT|BEGIN", answer.text)
        other.execute("ROLLBACK")
    assert runner.send(runner.case["request"]).status == 201
    name = runner.fill(runner.case["request"]["body"]["userName"])
    assert runner.receiver.find(f'userName eq "{name}"')["totalResults"] == 1


SPECIAL: dict[str, Callable[[Runner], None]] = {
    "NC-023": _flood,
    "NC-073": _two_owners,
    "NC-173": _race,
    "NC-175": _two_truths,
    "NC-176": _stale_echo,
    "NC-178": _burst,
    "NC-188": _locked,
}
