"""Clients from the registries, each as it is installed, at the receiver. docs/clients.md holds what comes out.

``python tests/acceptance/test_real_clients.py`` prints its table anew.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from support.authorities import to_the_registries
from support.databases import sqlite_in
from support.receiver import Served, served

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs" / "clients.md"
STEPS = ("create", "read", "find", "list", "PUT", "PATCH", "DELETE")

#: Each of them deactivates somebody, among very few.
ROOMY = dict.fromkeys(("push_floor", "push_cap", "window_floor", "window_cap"), 1000)
#: Before each client's own part: ``step`` notes what became of one thing that it does. "-": it has no such thing.
_FRAME = """
import json, sys
URL, KEY, NAME = sys.argv[1:]
found = {}
def step(name, work):
    try:
        found[name] = "yes" if work() is not False else "wrong"
    except Exception as exc:
        body = exc.read().decode() if hasattr(exc, "read") else str(exc)
        found[name] = f"no: {type(exc).__name__} {body}"[:300]
"""
_END = "\nprint(json.dumps(found))\n"

_SCIM2_CLIENT = """
from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_models import PatchOp, PatchOperation, SearchRequest
client = SyncSCIMClient(Client(base_url=URL, headers={"Authorization": f"Bearer {KEY}"}))
client.discover()
Person = client.get_resource_model("User")
made = None
def create():
    global made
    mails = [{"value": NAME, "type": "work", "primary": True}]
    made = client.create(Person(user_name=NAME, display_name="Ann", active=True, emails=mails))
step("create", create)
step("read", lambda: client.query(Person, made.id).user_name == NAME)
step("find", lambda: client.query(Person, query_parameters=SearchRequest(filter=f'userName eq "{NAME}"')).total_results == 1)
step("list", lambda: client.query(Person).total_results >= 1)
def put():
    made.display_name = "Zoe"
    return client.replace(made).display_name == "Zoe"
step("PUT", put)
def patch():
    operation = PatchOperation(op=PatchOperation.Op.replace_, path="active", value=False)
    client.modify(Person, made.id, PatchOp[Person](operations=[operation]))
    return client.query(Person, made.id).active is False
step("PATCH", patch)
step("DELETE", lambda: client.delete(Person, made.id))
"""

_SCIM_CLIENT = """
from scim_client import SCIMClient
from scim_client.resources import User
client = SCIMClient(URL, KEY)
made = None
def create():
    global made
    name = {"given_name": "Ann", "family_name": "Lee"}
    mails = [{"value": NAME, "primary": True, "type": "work"}]
    made = client.create_user(User(id="", external_id="00u1", user_name=NAME, active=True, name=name, display_name="Ann", emails=mails))
step("create", create)
step("read", lambda: client.read_user(made.id).user_name == NAME)
step("find", lambda: client.search_users(f'userName eq "{NAME}"').total_results == 1)
step("list", lambda: client.search_users("").total_results >= 1)
def put():
    made.display_name = "Zoe"
    return client.update_user(made).display_name == "Zoe"
step("PUT", put)
found["PATCH"] = "-"
step("DELETE", lambda: client.delete_user(made.id))
"""

_SLACK_SCIM = """
from slack_scim import SCIMClient
client = SCIMClient(KEY, URL)
plain = {"userName": NAME, "name": {"givenName": "Ann", "familyName": "Lee"}, "emails": [{"value": NAME, "primary": True}]}
made = None
def create():
    global made
    made = client.create_user(plain)
step("create", create)
found.update(dict.fromkeys(("read", "find", "list", "PUT", "PATCH", "DELETE"), "-"))
"""


class RealClient(NamedTuple):
    name: str
    version: str
    script: str
    note: str


CLIENTS = (
    RealClient("scim2-client", "0.13.2", _SCIM2_CLIENT, "reads the discovery documents first"),
    RealClient("scim-client", "0.2.3", _SCIM_CLIENT, "counts from startIndex 0; has no PATCH"),
    RealClient(
        "slack-scim", "1.1.0", _SLACK_SCIM, "speaks SCIM 1.1: its schemas are others, and it is told so with a 400"
    ),
)


@pytest.fixture
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(sqlite_in(Path(tmp_path_factory.mktemp("db"))), guard=ROOMY) as running:
        yield running


def tried(client: RealClient, receiver: Served, folder: Path) -> dict[str, str]:
    """Step by step: yes, what it got instead, or "-" where it has no such thing."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    where = folder / client.name
    package = f"{client.name}=={client.version}"
    subprocess.run([*install, "--target", str(where), package], env=to_the_registries(), check=True, timeout=300)
    command = [sys.executable, "-c", _FRAME + client.script + _END, receiver.url, receiver.key]
    done = subprocess.run(
        [*command, f"{client.name}@example.com"],
        env={"PYTHONPATH": str(where)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def row(client: RealClient, found: dict[str, str]) -> str:
    cells = ("no" if found[step].startswith("no") else found[step] for step in STEPS)
    return "| " + " | ".join((client.name, client.version, *cells, client.note)) + " |"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_each_client_does_what_the_docs_say(client: RealClient, receiver: Served, tmp_path: Path) -> None:
    found = tried(client, receiver, tmp_path)
    assert row(client, found) in DOCS.read_text(encoding="utf-8"), found
    assert not [step for step in STEPS if found[step] == "wrong"], found


def test_the_docs_name_no_other_client() -> None:
    named = re.findall(r"^\| ([\w-]+) \| \d", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert named == [client.name for client in CLIENTS]


def _print() -> None:
    with tempfile.TemporaryDirectory() as folder, served(sqlite_in(Path(folder)), guard=ROOMY) as running:
        for client in CLIENTS:
            found = tried(client, running, Path(folder))
            print(row(client, found))
            print(found, file=sys.stderr)


if __name__ == "__main__":
    _print()
