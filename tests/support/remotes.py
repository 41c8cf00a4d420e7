"""Remote SCIM services for tests: a second receiver of ours, scim2-server as a process, SCIMMY on Node."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from agent.directory.remote.directory import RemoteDirectory
from agent.directory.remote.patience import Pace
from support.authorities import to_the_registries
from support.databases import sqlite_in
from support.processes import free_port
from support.receiver import served

KEY = "remote-test-key"
#: Remotes here show a write at once, and are down for a moment only.
QUICK = Pace(first_wait=0.01, lag=(0.0, 0.01), nonsense=0.1)
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
#: Limits of a remote of ours that no test meets by accident.
_ROOMY = {
    "push_floor": 100_000,
    "push_cap": 100_000,
    "window_floor": 100_000,
    "window_cap": 100_000,
    "push_percent": 100.0,
    "window_percent": 100.0,
}


class Held(httpx.BaseTransport):
    """Calls to a remote that stop right before the socket: ``wait`` for one, then ``release`` all."""

    def __init__(self, directory: RemoteDirectory, held: Callable[[str, str, Mapping[str, str]], bool]) -> None:
        """``held``: by the method, the path and the parameters."""
        self._came, self._go = threading.Event(), threading.Event()
        self._held = held
        self._route, directory.transport.route = directory.transport.route, self

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not self._go.is_set() and self._held(request.method, request.url.path, dict(request.url.params)):
            self._came.set()
            assert self._go.wait(30), "never released"
        return self._route.handle_request(request)

    def close(self) -> None:
        self._route.close()

    def wait(self) -> None:
        assert self._came.wait(30), "no such call"

    def release(self) -> None:
        self._go.set()


class Remote:
    """One service: where it is, its key, and a client to do behind the agent's back what people do there."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self.key = key
        self.client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def post(self, name: str, /, **more: Any) -> dict[str, Any]:
        body = {
            "schemas": [CORE],
            "userName": name,
            "active": True,
            "emails": [{"value": name, "type": "work", "primary": True}],
        }
        answer = self.client.post("/Users", json=body | more, headers={"Content-Type": "application/scim+json"})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def read(self, user_id: str) -> dict[str, Any]:
        answer = self.client.get(f"/Users/{user_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def patch(self, user_id: str, **values: Any) -> None:
        """``None`` removes."""
        operations = [
            {"op": "remove", "path": path} if value is None else {"op": "replace", "path": path, "value": value}
            for path, value in values.items()
        ]
        body = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations}
        answer = self.client.patch(f"/Users/{user_id}", json=body, headers={"Content-Type": "application/scim+json"})
        assert answer.status_code in (200, 204), answer.text


@contextmanager
def ours(folder: Path) -> Iterator[Remote]:
    """The agent's own receiver, over a directory of its own."""
    folder.mkdir()
    with served(sqlite_in(folder), guard=_ROOMY) as receiver:
        remote = Remote(receiver.url, receiver.key)
        with remote.client:
            yield remote


@contextmanager
def scim2_server() -> Iterator[Remote]:
    port = free_port()
    command = [str(Path(sys.executable).with_name("scim2-server")), "--port", str(port), "--bearer-token", KEY]
    with _process(command, f"http://127.0.0.1:{port}/v2") as remote:
        yield remote


_SCIMMY = """
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const users = new Map();
let next = 1;
const now = () => new Date().toISOString();
SCIMMY.Resources.declare(SCIMMY.Resources.User)
  .ingress(async (resource, data) => {
    const id = resource.id ?? String(next++);
    const same = (u) => u.id !== id && u.userName.toLowerCase() === data.userName.toLowerCase();
    if ([...users.values()].some(same)) throw new SCIMMY.Types.Error(409, "uniqueness", "userName is taken");
    const old = users.get(id);
    if (resource.id && !old) throw new SCIMMY.Types.Error(404, null, "no such user");
    const kept = {...JSON.parse(JSON.stringify(data)), id, meta: {created: old?.meta?.created ?? now(), lastModified: now()}};
    users.set(id, kept);
    return kept;
  })
  .egress(async (resource) => {
    if (!resource.id) return resource.filter ? resource.filter.match([...users.values()]) : [...users.values()];
    if (!users.has(resource.id)) throw new SCIMMY.Types.Error(404, null, "no such user");
    return users.get(resource.id);
  })
  .degress(async (resource) => { users.delete(resource.id); });
SCIMMY.Resources.User.extend(SCIMMY.Schemas.EnterpriseUser, false);
SCIMMY.Config.set({patch: true, filter: true, bulk: false, etag: false});
const app = express();
app.use("/scim", new SCIMMYRouters({type: "bearer", handler: (request) => {
  if (request.header("Authorization") !== `Bearer ${process.argv[3]}`) throw new Error("no such key");
  return "agent";
}}));
app.listen(Number(process.argv[2]), "127.0.0.1");
"""


def node_missing() -> str:
    """Why SCIMMY can't be had; "" where it can."""
    return next((f"{tool} is not installed" for tool in ("node", "npm") if shutil.which(tool) is None), "")


@contextmanager
def scimmy(folder: Path, express: str = "4") -> Iterator[Remote]:
    """Installed with npm into ``folder``; takes ten seconds the first time."""
    if not (folder / "node_modules").is_dir():
        packages = ["scimmy@1.3.5", "scimmy-routers@1.3.2", f"express@{express}"]
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages],
            env=to_the_registries(),
            check=True,
            capture_output=True,
            timeout=300,
        )
    (folder / "server.mjs").write_text(_SCIMMY)
    port = free_port()
    with started(["node", str(folder / "server.mjs")], port, f"http://127.0.0.1:{port}/scim") as remote:
        yield remote


@contextmanager
def started(command: list[str], port: int, url: str, folder: Path | None = None) -> Iterator[Remote]:
    """A process that is given its port and the key as arguments."""
    with _process([*command, str(port), KEY], url, folder) as remote:
        yield remote


@contextmanager
def _process(command: list[str], url: str, folder: Path | None = None) -> Iterator[Remote]:
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        remote = Remote(url, KEY)
        with remote.client:
            _await_answer(remote.client, process)
            yield remote
    finally:
        process.kill()
        process.wait()


def _await_answer(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.get("/ServiceProviderConfig")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server did not come up")
