"""A client that pushes as Okta does and keeps what was acknowledged; for receivers that may die at any moment."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.message import Message
from http.client import HTTPConnection, HTTPException
from threading import Condition
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from agent.settings import DatabaseSettings
from agent.store import keys
from agent.store.engine import Store
from agent.store.journal import Signature
from support.invariants import Acknowledged
from support.receiver import SCIM_JSON, deactivation, okta_user
from support.world import RAISED

#: Limits that no test meets by accident, for a process.
ROOMY = {f"OPSHELM_GUARD__{name.upper()}": str(limit) for name, limit in RAISED.items()}


def okta_id(number: int) -> str:
    return f"00uPUSHED{number:011d}"


def login(number: int) -> str:
    return f"pushed{number}@example.com"


class Answer(NamedTuple):
    status: int
    headers: Message
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


class Pusher:
    """``acknowledged`` grows with every 2xx, whoever sent it; ``lost`` are requests without an answer."""

    def __init__(self, url: str, key: str, timeout: float = 30) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._root = parts.hostname or "", parts.port, parts.path
        self._headers = {"Accept": SCIM_JSON, "Content-Type": SCIM_JSON, "Authorization": f"Bearer {key}"}
        self._timeout = timeout
        self.acknowledged: dict[str, int] = {}
        self.statuses: list[int] = []
        self.lost = 0
        self._answered = Condition()

    def send(self, method: str, path: str, body: Any = None) -> Answer | None:
        """None: the receiver went away, and nobody knows what became of the request."""
        try:
            answer = self._ask(method, path, body)
        except (OSError, HTTPException):
            with self._answered:
                self.lost += 1
                self._answered.notify_all()
            return None
        if answer.status == 429:
            assert int(answer.headers["retry-after"]) > 0
        with self._answered:
            self.statuses.append(answer.status)
            self._answered.notify_all()
            if method != "GET" and answer.status in (200, 201):
                version = int(answer.headers["etag"].removeprefix("W/").strip('"'))
                user_id = answer.json()["id"]
                self.acknowledged[user_id] = max(version, self.acknowledged.get(user_id, 0))
        return answer

    def _ask(self, method: str, path: str, body: Any) -> Answer:
        connection = HTTPConnection(self._host, self._port, timeout=self._timeout)
        try:
            raw = None if body is None else json.dumps(body)
            connection.request(method, self._root + path, raw, self._headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read().decode())
        finally:
            connection.close()

    def find(self, number: int) -> list[dict[str, Any]]:
        """Accounts with this person's userName."""
        answer = self.send("GET", "/Users?filter=" + quote(f'userName eq "{login(number)}"'))
        assert answer is not None
        found: list[dict[str, Any]] = answer.json()["Resources"]
        return found

    def create(self, number: int) -> Answer | None:
        return self.send("POST", "/Users", okta_user(login(number), externalId=okta_id(number)))

    def person(self, number: int) -> bool:
        """Created, renamed twice, and every third deactivated; False as soon as an answer is lost."""
        made = self.create(number)
        if made is None or made.status != 201:
            return made is not None
        user = made.json()
        path = f"/Users/{user['id']}"
        for title in ("Mate", "Captain"):
            if self.send("PUT", path, user | {"title": title}) is None:
                return False
        return number % 3 != 0 or self.send("PATCH", path, deactivation()) is not None

    def crowd(self, numbers: Sequence[int], at_once: int = 8) -> None:
        """All of them from several threads, until answers are lost."""
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(self.person, numbers))

    def wait_for(self, answers: int) -> None:
        """Until so many have come, or one is lost."""
        with self._answered:
            assert self._answered.wait_for(lambda: len(self.statuses) >= answers or self.lost, 60)

    def wait_for_status(self, status: int) -> None:
        with self._answered:
            assert self._answered.wait_for(lambda: status in self.statuses, 60)

    def said(self) -> list[Acknowledged]:
        return [Acknowledged(*pair) for pair in self.acknowledged.items()]


def new_key(url: str) -> str:
    store = Store.open(DatabaseSettings(url=url))
    _, key = store.write(
        lambda conn: keys.create(conn, Signature(actor="test", source="test", at=datetime.now(UTC)), name="okta")
    )
    store.close()
    return str(key)
