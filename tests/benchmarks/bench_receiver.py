"""Requests a second at the receiver beside scim2-server, in one interleaved run. Run: python tests/benchmarks/bench_receiver.py [PEOPLE]

Each server is a process of its own under uvicorn with httptools, and so is the load: 32 keep-alive connections that send
the next request when the last one is answered. The receiver keeps everything durably (SQLite, WAL, synchronous=FULL) with
a journal row for each write; scim2-server keeps it in memory. ``core`` is the bare statement for one user under the same
server, the most that a GET through SQLAlchemy Core could reach.
"""

import asyncio
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

CONNECTIONS = 32
ROUNDS = 3
#: Requests in one round for each kind; the peer gets a share that takes about as long.
SIZES = {"get": 4000, "filter": 4000, "page of 100": 300, "post": 3000, "put": 3000, "patch": 3000}
PEER_SHARE = {"get": 6, "filter": 10, "page of 100": 60, "post": 8, "put": 8, "patch": 8}
CORE_URN = "urn:ietf:params:scim:schemas:core:2.0:User"
PATCH_URN = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


def person(name: str, **more: Any) -> dict[str, Any]:
    body = {
        "schemas": [CORE_URN],
        "userName": f"{name}@example.com",
        "externalId": f"00u{name}",
        "name": {"givenName": "Pat", "familyName": name},
        "emails": [{"primary": True, "value": f"{name}@example.com", "type": "work"}],
        "displayName": f"Pat {name}",
        "locale": "en-US",
        "active": True,
    }
    return body | more


# Servers: this file again, in a process of its own.


def serve(kind: str, folder: str) -> None:
    import socket

    import uvicorn

    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    app, key = _peer() if kind == "peer" else _agent(folder, core=kind == "core")
    Path(folder, kind).write_text(json.dumps({"port": listener.getsockname()[1], "key": key}))
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


def _agent(folder: str, *, core: bool) -> tuple[Any, str]:
    from datetime import UTC, datetime

    from agent.directory.sql import SqlDirectory
    from agent.receiver.app import build
    from agent.settings import Settings
    from agent.store import keys
    from agent.store.engine import Store
    from agent.store.journal import Signature

    unlimited = {"push_percent": 100, "push_cap": 10**9, "window_percent": 100, "window_cap": 10**9}
    settings = Settings(database={"url": f"sqlite:///{folder}/agent.db"}, guard=unlimited)
    store = Store.open(settings.database)
    if core:
        return _core(store), ""
    _, key = store.write(
        lambda conn: keys.create(conn, Signature(actor="bench", source="test", at=datetime.now(UTC)), name="bench")
    )
    return build(SqlDirectory(store, settings), store, settings), key


def _core(store: Any) -> Any:
    from agent.directory import rows

    async def app(scope: Any, receive: Any, send: Any) -> None:
        with store.read() as conn:
            row = rows.by_id(conn, id=scope["path"].rpartition("/")[2]).fetchone()
        body = row[3].encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    return app


def _peer() -> tuple[Any, str]:
    from scim2_models import EnterpriseUser, ResourceType, ScimPolicy, ScimProvider, ServiceProviderConfig, User
    from scim2_server.applications.asgi import ASGIApplication
    from scim2_server.memory import AsyncInMemoryStorage

    config = ServiceProviderConfig(
        patch={"supported": True},
        filter={"supported": True, "max_results": 200},
        etag={"supported": True},
        bulk={"supported": False},
        sort={"supported": False},
        change_password={"supported": False},
        authentication_schemes=[],
    )
    resource = ResourceType.from_resource(User[EnterpriseUser])
    provider = ScimProvider(
        models=[User, EnterpriseUser], resource_types=[resource], config=config, policy=ScimPolicy(unknown="ignore")
    )
    return ASGIApplication(AsyncInMemoryStorage(), provider), ""


# Load.


class Connection(asyncio.Protocol):
    """Sends one request after the other and keeps what the answers say."""

    def __init__(self, requests: Iterator[bytes], load: "Load") -> None:
        self.requests = requests
        self.load = load
        self.buffer = b""
        self.missing = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.load.open += 1
        self._next()

    def data_received(self, data: bytes) -> None:
        self.buffer = self.buffer + data if self.buffer else data
        if self._complete():
            self.load.times.append(time.perf_counter() - self.began)
            self.load.answers.append(self.buffer)
            self.buffer, self.missing = b"", 0
            self._next()

    def _complete(self) -> bool:
        if not self.missing:
            head = self.buffer.find(b"\r\n\r\n")
            if head < 0:
                return False
            at = self.buffer.lower().find(b"content-length:", 0, head)
            if at < 0:
                return self.buffer.endswith(b"\r\n0\r\n\r\n")
            self.missing = head + 4 + int(self.buffer[at + 15 : self.buffer.index(b"\r\n", at)])
        return len(self.buffer) >= self.missing

    def _next(self) -> None:
        request = next(self.requests, None)
        if request is None:
            self.transport.close()
            self.load.closed()
            return
        self.began = time.perf_counter()
        self.transport.write(request)


class Load:
    """One burst of requests to one server."""

    def __init__(self, requests: list[bytes]) -> None:
        self.requests = iter(requests)
        self.times: list[float] = []
        self.answers: list[bytes] = []
        self.open = 0

    def closed(self) -> None:
        self.open -= 1
        if not self.open:
            self.done.set_result(None)

    async def _run(self, port: int) -> float:
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()
        began = time.perf_counter()
        for _ in range(CONNECTIONS):
            await loop.create_connection(lambda: Connection(self.requests, self), "127.0.0.1", port)
        await self.done
        return len(self.answers) / (time.perf_counter() - began)

    def run(self, port: int, expected: int) -> tuple[float, float]:
        """Requests a second and the 99th percentile in ms; an unexpected status ends the benchmark."""
        rate = asyncio.run(self._run(port))
        wrong = [answer for answer in self.answers if not answer.startswith(b"HTTP/1.1 %d" % expected)]
        if wrong:
            sys.exit(f"unexpected answer: {wrong[0][:400]!r}")
        return rate, statistics.quantiles(self.times, n=100)[98] * 1000

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(_body(answer)) for answer in self.answers]


def _body(answer: bytes) -> bytes:
    head, _, body = answer.partition(b"\r\n\r\n")
    if b"chunked" not in head.lower():
        return body
    parts = []
    while size := int(body[: body.index(b"\r\n")], 16):
        start = body.index(b"\r\n") + 2
        parts.append(body[start : start + size])
        body = body[start + size + 2 :]
    return b"".join(parts)


class Target:
    """A server, the people in it, and the requests of each kind."""

    def __init__(self, kind: str, folder: str, people: list[dict[str, Any]] | None = None) -> None:
        known = json.loads(Path(folder, kind).read_text())
        self.kind = kind
        self.port = known["port"]
        self.key = known["key"]
        self.names = itertools.count()
        self.prefix = "/scim/v2" if kind == "agent" else "/v2"
        self.people: list[dict[str, Any]] = people or []

    def request(self, method: str, path: str, body: Any = None) -> bytes:
        raw = b"" if body is None else json.dumps(body).encode()
        length = f"Content-Type: application/scim+json\r\nContent-Length: {len(raw)}\r\n" if raw else ""
        head = f"{method} {self.prefix}{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.key}\r\n{length}\r\n"
        return head.encode() + raw

    def fill(self, count: int) -> None:
        load = Load([self.request("POST", "/Users", person(f"p{next(self.names)}")) for _ in range(count)])
        load.run(self.port, 201)
        self.people = load.bodies()

    def burst(self, work: str, count: int) -> tuple[float, float]:
        chosen = [self.people[n % len(self.people)] for n in range(0, count * 7, 7)]
        match work:
            case "get":
                requests = [self.request("GET", f"/Users/{user['id']}") for user in chosen]
            case "filter":
                requests = [
                    self.request("GET", f"/Users?filter=userName%20eq%20%22{user['userName']}%22") for user in chosen
                ]
            case "page of 100":
                start = len(self.people) // 2 + 1
                requests = [self.request("GET", f"/Users?startIndex={start}&count=100")] * count
            case "post":
                requests = [self.request("POST", "/Users", person(f"n{next(self.names)}")) for _ in range(count)]
            case "put":
                turn = next(self.names)
                requests = [
                    self.request("PUT", f"/Users/{u['id']}", _writable(u) | {"title": f"T{turn}{n}"})
                    for n, u in enumerate(chosen)
                ]
            case "patch":
                requests = [
                    self._switch(user, n // len(self.people) % 2 == 1)
                    for n, user in enumerate(itertools.islice(itertools.cycle(self.people), count))
                ]
        return Load(requests).run(self.port, 201 if work == "post" else 200)

    def _switch(self, user: dict[str, Any], active: bool) -> bytes:
        return self.request(
            "PATCH",
            f"/Users/{user['id']}",
            {"schemas": [PATCH_URN], "Operations": [{"op": "replace", "value": {"active": active}}]},
        )


def _writable(user: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in user.items() if key not in ("meta", "groups")}


@contextmanager
def server(kind: str, folder: str) -> Iterator[None]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen([sys.executable, __file__, "--serve", kind, folder], env=environment)
    try:
        while not Path(folder, kind).exists():
            if process.poll() is not None:
                sys.exit(f"{kind} did not start")
            time.sleep(0.05)
        time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def main(people: int) -> None:
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {os.cpu_count()} cores, {people} people, {CONNECTIONS} connections"
    )
    print(
        ", ".join(
            f"{name} {version(name)}"
            for name in ("uvicorn", "httptools", "sqlalchemy", "msgspec", "scim2-server", "scim2-models")
        )
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        server("agent", folder),
        server("peer", folder),
        server("core", folder),
    ):
        agent, peer = Target("agent", folder), Target("peer", folder)
        agent.fill(people)
        peer.fill(people)
        core = Target("core", folder, agent.people)
        print(f"{'':14}{'receiver':>10}{'p99 ms':>9}{'scim2-server':>14}{'p99 ms':>9}{'times':>8}{'core':>8}")
        for work, count in SIZES.items():
            measured: dict[str, list[tuple[float, float]]] = {"agent": [], "peer": [], "core": []}
            for _ in range(ROUNDS):
                measured["agent"].append(agent.burst(work, count))
                measured["peer"].append(peer.burst(work, max(CONNECTIONS, count // PEER_SHARE[work])))
                if work == "get":
                    measured["core"].append(core.burst(work, count))
            _row(work, measured)


def _row(work: str, measured: dict[str, list[tuple[float, float]]]) -> None:
    rate = {kind: statistics.median(r for r, _ in found) for kind, found in measured.items() if found}
    late = {kind: statistics.median(p for _, p in found) for kind, found in measured.items() if found}
    line = f"{work:14}{rate['agent']:>10,.0f}{late['agent']:>9.1f}{rate['peer']:>14,.0f}{late['peer']:>9.1f}"
    line += f"{rate['agent'] / rate['peer']:>8.1f}"
    print(line + (f"{rate['core']:>8,.0f}" if "core" in rate else ""), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(*sys.argv[2:4])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 2000)
