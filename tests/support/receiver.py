"""The receiver for tests: the real app on a real database, under uvicorn and httptools on loopback, in a thread."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import uvicorn
from sqlalchemy import Connection, delete, update

from agent.directory.sql import SqlDirectory
from agent.receiver.app import build
from agent.settings import Settings
from agent.store import keys
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.tables import account, metadata

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
SCIM_JSON = "application/scim+json"


def okta_user(login: str, **more: Any) -> dict[str, Any]:
    """A create as Okta sends it."""
    body = {
        "schemas": [CORE],
        "userName": login,
        "name": {"givenName": "Test", "familyName": "User"},
        "emails": [{"primary": True, "value": login, "type": "work"}],
        "displayName": "Test User",
        "locale": "en-US",
        "groups": [],
        "password": "1mz050nq",
        "active": True,
    }
    return body | more


def deactivation() -> dict[str, Any]:
    return {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "value": {"active": False}}]}


class Served:
    """A running receiver, a client that holds its key, and the parts below for set-up and inspection."""

    def __init__(self, url: str, store: Store, directory: SqlDirectory, key: str) -> None:
        self.url = url
        self.store = store
        self.directory = directory
        self.key = key
        self.stranger = httpx.Client(base_url=url, headers={"Accept": SCIM_JSON})
        self.client = httpx.Client(
            base_url=url, headers={"Accept": SCIM_JSON, "Authorization": f"Bearer {key}"}, timeout=30
        )

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is None:
            return self.client.request(method, path, headers=headers)
        return self.client.request(method, path, json=body, headers={"Content-Type": SCIM_JSON} | headers)

    def create(self, login: str, **more: Any) -> dict[str, Any]:
        answer = self.send("POST", "/Users", okta_user(login, **more))
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def find(self, filter_: str) -> dict[str, Any]:
        answer = self.client.get("/Users", params={"filter": filter_})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def journal(self) -> list[tuple[str, str, str, str]]:
        """kind, verb, request id and reason of every row, oldest first."""
        with self.store.read() as conn:
            rows = conn.exec_driver_sql(
                "SELECT kind, verb, request_id, reason FROM journal WHERE source = 'push' ORDER BY id"
            )
            return [tuple(row) for row in rows]

    def empty(self) -> None:
        """Nobody in the directory and nothing in the journal; the keys stay."""
        counters = ("managed_active", "active_owners", "visible")

        def work(conn: Connection) -> None:
            for table in reversed(metadata.sorted_tables):
                if table.name not in ("account", "api_keys"):
                    conn.execute(delete(table))
            conn.execute(update(account).values(dict.fromkeys(counters, 0)))

        self.store.write(work)

    def close(self) -> None:
        self.client.close()
        self.stranger.close()


@contextmanager
def running(app: Any) -> Iterator[str]:
    """The address of the app while it is served."""
    # Named as TCP, or asyncio leaves Nagle's algorithm on.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    # From now on who comes is kept waiting, not refused.
    listener.listen()
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def served(database_url: str, **sections: dict[str, Any]) -> Iterator[Served]:
    settings = Settings(database={"url": database_url}, **sections)
    store = Store.open(settings.database)
    try:
        _, key = store.write(
            lambda conn: keys.create(conn, Signature(actor="test", source="test", at=datetime.now(UTC)), name="okta")
        )
        directory = SqlDirectory(store, settings)
        app = build(directory, store, settings)
        # Loading the grammar parses Python, as generating tests does; two threads that do so at once fail in Python 3.11.
        for thread in threading.enumerate():
            if thread.name == "scim-grammar":
                thread.join()
        with running(app) as url:
            receiver = Served(f"{url}/scim/v2", store, directory, key)
            try:
                yield receiver
            finally:
                receiver.close()
    finally:
        store.close()
