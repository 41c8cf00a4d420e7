"""/hooks/okta, row by row: who gets which answer, and what is queued by it."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.model.errors import StoreUnavailable
from agent.receiver import hooks
from agent.receiver.hooks import Hooks
from agent.receiver.messages import MAX_BODY
from agent.settings import DatabaseSettings, OktaSettings, Settings
from agent.store import attention
from agent.store.engine import Store

ORG, APP, SECRET = "https://example.okta.com", "0oa1", "sécret"
SETTINGS = Settings(okta=OktaSettings(org_url=ORG, app_id=APP, hook_secret=SECRET))
RIGHT = (b"authorization", SECRET.encode())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/agent.db"))
    yield opened
    opened.close()


class Okta:
    """Sends requests to the app and keeps what was said to have been queued."""

    def __init__(self, store: Store, settings: Settings = SETTINGS) -> None:
        self.store = store
        self.woken = 0
        self.app = Hooks(store, lambda: settings, self._wake)

    def _wake(self) -> None:
        self.woken += 1

    def send(
        self, method: str, *headers: tuple[bytes, bytes], body: bytes = b"", length: bool = True
    ) -> tuple[int, bytes, dict[bytes, bytes]]:
        parts = [body[at : at + 65_536] for at in range(0, len(body), 65_536)] or [b""]
        incoming = [
            {"type": "http.request", "body": part, "more_body": at + 1 < len(parts)} for at, part in enumerate(parts)
        ]
        sent: list[Any] = []
        self.read = 0

        async def receive() -> Any:
            self.read += 1
            return incoming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        more = [(b"content-length", str(len(body)).encode())] if length and method == "POST" else []
        scope = {
            "type": "http",
            "method": method,
            "path": hooks.PATH,
            "headers": [*headers, *more],
            "client": ("192.0.2.1", 1),
        }
        asyncio.run(self.app(scope, receive, send))
        return sent[0]["status"], sent[1]["body"], dict(sent[0]["headers"])

    def post(self, body: Any, *headers: tuple[bytes, bytes], **more: Any) -> int:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", *(headers or (RIGHT,)), body=raw, **more)[0]

    def waiting(self) -> set[tuple[str, str | None]]:
        with self.store.read() as conn:
            return {(row.reason, row.okta_id) for row in attention.due(conn, datetime.now(UTC), 1000)}


@pytest.fixture
def okta(store: Store) -> Okta:
    return Okta(store)


def event(n: int, kind: str = "application.user_membership.remove", app: str = APP) -> dict[str, Any]:
    targets = [{"id": app, "type": "AppInstance"}, {"id": f"00u{n}", "type": "User"}]
    return {"uuid": f"uuid-{n}", "eventType": kind, "published": "2026-11-24T00:00:00.000Z", "target": targets}


def delivery(*events: Any, source: str = f"{ORG}/api/v1/eventHooks/who1", name: str = "d1") -> dict[str, Any]:
    return {"eventType": "com.okta.event_hook", "source": source, "eventId": name, "data": {"events": list(events)}}


def test_a_delivery_is_queued_before_it_is_answered(okta: Okta) -> None:
    assert okta.post(delivery(event(1), event(2))) == 204
    assert okta.waiting() == {("event", "00u1"), ("event", "00u2")}
    assert okta.woken == 1


def test_without_a_secret_in_the_settings_there_is_nothing_here(store: Store) -> None:
    bare = Okta(store, Settings(okta=OktaSettings(org_url=ORG, app_id=APP)))
    assert bare.post(delivery(event(1))) == 404
    assert bare.send("GET", (b"x-okta-verification-challenge", b"x"))[0] == 404


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ((b"authorization", b"wrong"),),
        (RIGHT, RIGHT),
        ((b"authorization", b""),),
        ((b"authorization", SECRET.encode("latin-1")),),
    ],
)
def test_a_stranger_gets_401_and_nothing_is_read(okta: Okta, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    status, body, answer = okta.send("POST", *headers, (b"x-pad", b""), body=json.dumps(delivery(event(1))).encode())
    assert (status, body, okta.read) == (401, b"", 0)
    assert answer[b"connection"] == b"close"
    assert okta.send("GET", *headers, (b"x-okta-verification-challenge", b"echo me"))[:2] == (401, b"")
    assert okta.waiting() == set()


def test_the_challenge_comes_back_to_who_has_the_secret(okta: Okta) -> None:
    status, body, _ = okta.send("GET", RIGHT, (b"x-okta-verification-challenge", b"chal-123"))
    assert (status, json.loads(body)) == (200, {"verification": "chal-123"})


@pytest.mark.parametrize(
    "headers", [(), ((b"x-okta-verification-challenge", b"a" * 257),), ((b"x-okta-verification-challenge", b"a b"),)]
)
def test_a_get_that_is_no_verification_is_refused(okta: Okta, headers: tuple[tuple[bytes, bytes], ...]) -> None:
    status, body, answer = okta.send("GET", RIGHT, *headers)
    assert (status, body, answer[b"allow"]) == (405, b"", b"GET, POST")


@pytest.mark.parametrize("length", [True, False])
def test_a_body_over_1_mb_is_refused_while_it_comes(okta: Okta, length: bool) -> None:
    assert okta.post(b" " * (MAX_BODY + 200_000), length=length) == 413
    assert okta.read == (0 if length else 16)


def test_100_000_events_are_too_many_bytes(okta: Okta) -> None:
    assert okta.post(b'{"data":{"events":[' + b'{"uuid":"u"},' * 99_999 + b'{"uuid":"z"}]}}') == 413
    assert okta.waiting() == set()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"source":"x"}',
        b'{"source":1,"data":{"events":[]}}',
        b'{"source":"a","source":"b","data":{"events":[]}}',
        b'{"source":"x","data":{"events":{}}}',
        b"\xff\xfe",
        b'{"source":"x","data":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"source":NaN}',
    ],
)
def test_what_is_no_strict_delivery_is_400(okta: Okta, body: bytes) -> None:
    assert okta.post(body) == 400
    assert okta.waiting() == set()


@pytest.mark.parametrize(
    "source",
    [
        "https://evil.okta.com/api/v1/eventHooks/who9",
        "https://example.okta.com.evil.com/x",
        "http://example.okta.com/x",
        "https://example.okta.com:444/x",
        "",
        "https://[",
        "https://user@evil.okta.com/example.okta.com",
    ],
)
def test_a_delivery_of_another_org_queues_nothing(okta: Okta, source: str) -> None:
    assert okta.post(delivery(event(1), source=source)) == 204
    assert (okta.waiting(), okta.woken) == (set(), 0)


def test_events_of_another_app_queue_nothing(okta: Okta) -> None:
    assert okta.post(delivery(event(1, app="0oaOTHER"))) == 204
    assert (okta.waiting(), okta.woken) == (set(), 0)


def test_a_second_delivery_and_a_second_event_have_no_effect(okta: Okta) -> None:
    assert [okta.post(delivery(event(1))) for _ in range(2)] == [204, 204]
    assert okta.post(delivery(event(1), name="d2")) == 204
    assert okta.woken == 1


def test_an_event_that_can_t_be_read_does_not_cost_the_others(okta: Okta) -> None:
    assert okta.post(delivery("text", {"uuid": ""}, {**event(3), "published": "yesterday"}, event(1))) == 204
    assert okta.waiting() == {("event", "00u1")}


def test_more_people_than_a_sweep_costs_ask_for_one_sweep(okta: Okta) -> None:
    assert okta.post(delivery(*(event(n) for n in range(3000)))) == 204
    assert okta.post(delivery(*(event(n) for n in range(3000, 4000)), name="d2")) == 204
    assert okta.waiting() == {("sweep", None)}


class Down:
    """A store whose writer does not answer, or says that it can't."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def submit(self, _work: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        if self.error is not None:
            future.set_exception(self.error)
        return future


@pytest.mark.parametrize("error", [None, StoreUnavailable("the disk is full")])
def test_a_store_that_does_not_answer_is_503_in_time(error: Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "ANSWER_SECONDS", 0.01)
    okta = Okta(Down(error))  # type: ignore[arg-type]
    assert okta.post(delivery(event(1))) == 503
    assert okta.woken == 0
