"""HTTP itself: who gets in, what is too much, and that every answer is a SCIM answer."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest

from agent.bootstrap import open_agent
from agent.model.codes import RefusalCode
from agent.model.errors import DirectoryUnavailable, Refused, StoreUnavailable
from agent.receiver import auth
from agent.receiver.app import build
from agent.receiver.metrics import counts
from agent.settings import Settings
from agent.store import keys
from agent.store.journal import Signature
from support.receiver import ERROR, SCIM_JSON, Served, okta_user, running, served


def raw(receiver: Served, request: bytes) -> tuple[int, bytes]:
    """Status and the whole answer to bytes that no client would send."""
    address = urlsplit(receiver.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return int(answer.split(b" ", 2)[1]), answer


def assert_error(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status
    assert answer.headers["content-type"] == SCIM_JSON
    body = answer.json()
    assert (body["schemas"], body["status"]) == ([ERROR], str(status))
    assert body["detail"]
    assert answer.headers["x-request-id"]


PATHS = [
    "/Users",
    "/Users/x",
    "/Groups",
    "/ServiceProviderConfig",
    "/Schemas",
    "/ResourceTypes",
    "/%55sers",
    "/Users%2Fx",
    "//Users",
    "/Bulk",
    "/Me",
    "/nothing",
    "",
]


def test_nothing_is_answered_without_a_key(sqlite_receiver: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "FLOOD_LIMIT", 10_000)
    for path in PATHS:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            answer = sqlite_receiver.stranger.request(method, f"{sqlite_receiver.url}{path}", content=b'{"broken')
            assert_error(answer, 401)
            assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "path",
    [
        "/%55sers",
        "/Users%2Fx",
        "///Users",
        "/Users//x",
        "/users",
        "/Users/x/y",
        "/Schemas/x/y",
        "/Users/../Users",
        "/Users/%2e%2e",
        "/nothing",
    ],
)
def test_another_spelling_of_an_address_is_no_address(sqlite_receiver: Served, path: str) -> None:
    target = urlsplit(sqlite_receiver.url)
    head = f"GET {target.path}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sqlite_receiver.key}\r\nConnection: close\r\n\r\n"
    status, answer = raw(sqlite_receiver, head.encode())
    assert status == 404
    assert ERROR.encode() in answer


def test_a_base_address_may_be_entered_with_its_last_slash(sqlite_receiver: Served) -> None:
    """Okta puts its own "/Users" behind it."""
    for path in ("//Users?count=1", "//Users/", "//ServiceProviderConfig"):
        target = f"{urlsplit(sqlite_receiver.url).path}{path}"
        head = f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sqlite_receiver.key}\r\nConnection: close\r\n\r\n"
        assert raw(sqlite_receiver, head.encode())[0] == 200


@pytest.mark.parametrize(
    "query",
    [
        'filter=userName%20eq%20"ann+x@example.com"',
        "filter=userName%20eq%20%22ann+x%40example.com%22",
        "filter=userName%20eq%20%22ann%2Bx%40example.com%22",
        "filter=userName+eq+%22ann%2Bx%40example.com%22",
    ],
)
def test_a_plus_in_a_filter_is_what_its_sender_means(sqlite_receiver: Served, query: str) -> None:
    if not sqlite_receiver.find('userName eq "ann+x@example.com"')["totalResults"]:
        sqlite_receiver.create("ann+x@example.com")
    head = f"GET {urlsplit(sqlite_receiver.url).path}/Users?{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sqlite_receiver.key}\r\nConnection: close\r\n\r\n"
    status, answer = raw(sqlite_receiver, head.encode())
    assert status == 200
    assert b'"totalResults":1' in answer


def test_the_key_is_taken_with_bearer_or_bare_and_once(sqlite_receiver: Served) -> None:
    def status(*lines: str) -> int:
        head = "".join(f"Authorization: {line}\r\n" for line in lines)
        return raw(
            sqlite_receiver,
            f"GET /scim/v2/Users?count=1 HTTP/1.1\r\nHost: x\r\n{head}Connection: close\r\n\r\n".encode(),
        )[0]

    key = sqlite_receiver.key
    good = [f"Bearer {key}", key, f"bearer {key}", f"BEARER   {key}", f"Bearer {key} ", f"{key}\t"]
    assert [status(line) for line in good] == [200] * len(good)
    bad = [
        "",
        "Bearer",
        "Bearer wrong",
        f"Bearer {key}x",
        f"Bearer {key[:-1]}",
        f"Basic {key}",
        f"Bearer Bearer {key}",
        f"{key} {key}",
        f"Bearer\xa0{key}",
        "Bearer oha_" + "a" * 43,
    ]
    assert [status(line) for line in bad] == [401] * len(bad)
    assert status(f"Bearer {key}", "Bearer wrong") == 401
    assert status(f"Bearer {key}", f"Bearer {key}") == 401


def test_a_key_of_another_scope_or_past_its_time_is_none(sqlite_receiver: Served) -> None:
    now = datetime.now(UTC)
    scrape = sqlite_receiver.store.write(
        lambda conn: keys.create(
            conn, Signature(actor="t", source="test", at=now), name="scrape", scope=keys.KeyScope.METRICS
        )
    )[1]
    then = Signature(actor="t", source="test", at=now - keys.SLACK * 3)
    old = sqlite_receiver.store.write(lambda conn: keys.create(conn, then, name="old", expires=now - keys.SLACK * 2))[1]
    for secret in (scrape, old):
        assert sqlite_receiver.stranger.get("/Users", headers={"Authorization": f"Bearer {secret}"}).status_code == 401


def test_a_revoked_key_ends_when_its_cache_does(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert auth.CACHE_SECONDS < 5
    monkeypatch.setattr(auth, "CACHE_SECONDS", 0.0)
    with served(sqlite_url) as receiver:
        assert receiver.client.get("/Users").status_code == 200
        receiver.store.write(
            lambda conn: keys.revoke(conn, Signature(actor="t", source="test", at=datetime.now(UTC)), name="okta")
        )
        assert_error(receiver.client.get("/Users"), 401)


def test_the_use_of_a_key_is_written_down_once_a_minute(sqlite_url: str) -> None:
    with served(sqlite_url) as receiver:

        def last_used() -> datetime | None:
            receiver.client.get("/Users")
            receiver.store.write(lambda _: None)  # what waited before it is written now
            with receiver.store.read() as conn:
                return keys.list_all(conn)[0].last_used

        first = last_used()
        assert first is not None
        assert last_used() == first


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/Users", {"GET", "HEAD", "POST"}),
        ("DELETE", "/Users", {"GET", "HEAD", "POST"}),
        ("POST", "/Users/x", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
        ("OPTIONS", "/Users", {"GET", "HEAD", "POST"}),
        ("TRACE", "/Users", {"GET", "HEAD", "POST"}),
        ("POST", "/ServiceProviderConfig", {"GET", "HEAD"}),
        ("PUT", "/Schemas", {"GET", "HEAD"}),
        ("DELETE", "/ResourceTypes/User", {"GET", "HEAD"}),
        ("PATCH", "/Users/.search", {"POST"}),
    ],
)
def test_a_wrong_method_says_which_are_right(
    sqlite_receiver: Served, method: str, path: str, allowed: set[str]
) -> None:
    answer = sqlite_receiver.send(method, path)
    assert_error(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == allowed
    assert not {name for name in answer.headers if name.startswith("access-control")}


def test_a_method_override_is_ignored(sqlite_receiver: Served) -> None:
    made = sqlite_receiver.create("a@example.com")
    assert_error(sqlite_receiver.send("POST", f"/Users/{made['id']}", {}, X_HTTP_Method_Override="DELETE"), 405)
    assert sqlite_receiver.client.get(f"/Users/{made['id']}").json() == made


def test_groups_are_empty_and_cannot_be_pushed(sqlite_receiver: Served) -> None:
    listed = sqlite_receiver.client.get('/Groups?filter=displayName eq "X"&startIndex=1&count=100').json()
    assert (listed["totalResults"], listed["Resources"]) == (0, [])
    answer = sqlite_receiver.send("POST", "/Groups", {"displayName": "x"})
    assert_error(answer, 501)
    assert answer.json()["detail"] == "OpsHelm has no groups; turn Group Push off."
    assert_error(sqlite_receiver.send("GET", "/Groups/x"), 404)
    assert_error(sqlite_receiver.send("PATCH", "/Groups/x", {}), 501)


@pytest.mark.parametrize("path", ["/Bulk", "/Me"])
def test_what_is_not_supported_says_so(sqlite_receiver: Served, path: str) -> None:
    assert_error(sqlite_receiver.send("POST", path, {}), 501)


def test_discovery_documents_are_listed_and_single(sqlite_receiver: Served) -> None:
    config = sqlite_receiver.client.get("/ServiceProviderConfig").json()
    assert (config["patch"]["supported"], config["etag"]["supported"], config["filter"]["maxResults"]) == (
        True,
        True,
        1000,
    )
    assert not any(config[name]["supported"] for name in ("bulk", "sort", "changePassword"))
    for path, count in (("/Schemas", 2), ("/ResourceTypes", 1)):
        listed = sqlite_receiver.client.get(path).json()
        assert listed["totalResults"] == count == len(listed["Resources"])
        for document in listed["Resources"]:
            for wanted in (document["id"], document["id"].replace(":", "%3A"), document["id"].upper()):
                assert sqlite_receiver.client.get(f"{path}/{wanted}").json() == document
            assert document["meta"]["location"].endswith(f"/scim/v2{path}/{document['id']}")
        assert_error(sqlite_receiver.client.get(f"{path}/urn:nothing"), 404)
        assert_error(sqlite_receiver.client.get(f'{path}?filter=id eq "x"'), 403)


def test_the_public_address_comes_from_the_settings_never_from_the_host(sqlite_url: str) -> None:
    with served(sqlite_url, server={"public_url": "https://scim.example.com/"}) as receiver:
        made = receiver.send(
            "POST", "/Users", okta_user("a@example.com"), Host="evil.example", X_Forwarded_Host="evil.example"
        ).json()
        assert made["meta"]["location"] == f"https://scim.example.com/scim/v2/Users/{made['id']}"


def test_a_head_is_a_get_without_its_body(sqlite_receiver: Served) -> None:
    made = sqlite_receiver.create("a@example.com")
    answer = sqlite_receiver.send("HEAD", f"/Users/{made['id']}")
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, b"", 'W/"1"')


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/xml"},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": SCIM_JSON, "Content-Encoding": "gzip"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_bodies_of_another_kind_are_refused_unread(sqlite_receiver: Served, headers: dict[str, str]) -> None:
    assert_error(sqlite_receiver.client.post("/Users", content=b"<User/>", headers=headers), 415)


@pytest.mark.parametrize(
    "kind", ["application/json", "application/scim+json; charset=utf-8", 'APPLICATION/SCIM+JSON;charset="UTF-8"']
)
def test_both_media_types_are_taken(sqlite_receiver: Served, kind: str) -> None:
    answer = sqlite_receiver.send("POST", "/Users", okta_user("a@example.com"), Content_Type=kind)
    assert answer.status_code == 201


def test_a_body_is_counted_while_it_streams(sqlite_receiver: Served) -> None:
    endless = (b'{"userName":"' if n == 0 else b"a" * 50_000 for n in range(60))
    headers = {"Authorization": f"Bearer {sqlite_receiver.key}", "Content-Type": SCIM_JSON}
    # The connection may be closed while we are still sending.
    with httpx.Client(headers=headers) as client, contextlib.suppress(httpx.WriteError):
        assert_error(client.post(f"{sqlite_receiver.url}/Users", content=endless), 413)
    assert sqlite_receiver.journal()[-1][3].startswith("413")


def test_a_long_body_is_refused_by_its_length_before_it_is_sent(sqlite_receiver: Served) -> None:
    head = f"POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sqlite_receiver.key}\r\nContent-Type: {SCIM_JSON}\r\nContent-Length: 10000000\r\n\r\n"
    status, answer = raw(sqlite_receiver, head.encode())
    assert status == 413
    assert b"connection: close" in answer


def test_a_body_that_ends_early_changes_nothing(sqlite_receiver: Served) -> None:
    head = f'POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sqlite_receiver.key}\r\nContent-Type: {SCIM_JSON}\r\nContent-Length: 500\r\n\r\n{{"userName":'
    address = urlsplit(sqlite_receiver.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode())
    assert sqlite_receiver.client.get("/Users").json()["totalResults"] == 0


def test_two_lengths_are_no_request(sqlite_receiver: Served) -> None:
    smuggled = (
        f"POST /scim/v2/Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sqlite_receiver.key}\r\nContent-Length: 4\r\n"
        "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /scim/v2/Users HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {sqlite_receiver.key}\r\n\r\n"
    )
    status, answer = raw(sqlite_receiver, smuggled.encode())
    assert status == 400
    assert answer.count(b"HTTP/1.1 ") == 1


def test_long_headers_are_refused(sqlite_receiver: Served) -> None:
    assert_error(sqlite_receiver.send("GET", "/Users", X_Long="a" * 40_000), 431)


def test_an_address_outside_scim_is_not_found_and_health_needs_no_key(sqlite_receiver: Served) -> None:
    root = sqlite_receiver.url.removesuffix("/scim/v2")
    assert httpx.get(f"{root}/healthz").json() == {"status": "ok"}
    for path in ("/", "/scim", "/scim/v20/Users", "/scim%2Fv2/Users", "/metrics"):
        assert_error(httpx.get(f"{root}{path}"), 404)


class Failing:
    """A directory that fails as it is told; one that never answers, when told nothing."""

    reads_block = False

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = threading.Event()
        self.answer: Future[Any] = Future()

    def show(self, by: str, value: str) -> Any:
        assert self.error is not None
        raise self.error

    def search(self, *args: Any) -> Any:
        assert self.error is not None
        raise self.error

    def create(self, *args: Any) -> "Future[Any]":
        self.asked.set()
        if self.error is not None:
            self.answer = Future()
            self.answer.set_exception(self.error)
        return self.answer


@contextmanager
def failing(sqlite_url: str, directory: Failing, settings: Settings | None = None) -> Iterator[Served]:
    """A real receiver with a real store on a directory that fails."""
    with served(sqlite_url) as real, running(build(directory, real.store, settings or Settings())) as url:  # type: ignore[arg-type]
        receiver = Served(f"{url}/scim/v2", real.store, real.directory, real.key)
        yield receiver
        receiver.close()


@pytest.mark.parametrize(
    "error", [StoreUnavailable("/secret/path.db is locked"), DirectoryUnavailable("https://internal: refused")]
)
def test_what_cannot_be_done_now_is_429_with_a_time(sqlite_url: str, error: Exception) -> None:
    with failing(sqlite_url, Failing(error)) as receiver:
        for method, path in (("GET", "/Users"), ("GET", "/Users/x"), ("POST", "/Users")):
            answer = receiver.send(method, path, okta_user("a@example.com") if method == "POST" else None)
            assert_error(answer, 429)
            assert answer.headers["retry-after"] == "60"
            assert "secret" not in answer.text
            assert "internal" not in answer.text


def test_a_fault_that_nobody_foresaw_is_a_scim_error_without_its_words(sqlite_url: str) -> None:
    with failing(sqlite_url, Failing(RuntimeError("/secret/path.py line 7"))) as receiver:
        for answer in (receiver.send("GET", "/Users/x"), receiver.send("POST", "/Users", okta_user("a@example.com"))):
            assert_error(answer, 500)
            assert "secret" not in answer.text
            assert answer.headers["x-request-id"] in answer.json()["detail"]
        assert receiver.journal()[-1][3].startswith("500")


def test_more_waiting_writes_than_allowed_are_429(sqlite_url: str) -> None:
    directory = Failing()
    with (
        failing(sqlite_url, directory, Settings(receiver={"max_waiting": 1})) as receiver,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(receiver.send, "POST", "/Users", okta_user("a@example.com"))
        assert directory.asked.wait(60)
        waiting = [counts()["opshelm_agent_receiver_writes_waiting"][0][2]]
        second = receiver.send("POST", "/Users", okta_user("b@example.com"))
        assert_error(second, 429)
        assert int(second.headers["retry-after"]) > 0
        directory.answer.set_exception(Refused(RefusalCode.PUSH_BURST, "too many", retry_after=300))
        assert_error(first.result(60), 429)
        assert first.result().headers["retry-after"] == "300"
        waiting.append(counts()["opshelm_agent_receiver_writes_waiting"][0][2])
        assert waiting == [1, 0]


def test_how_many_may_wait_is_taken_on_by_a_reload(tmp_path: Path) -> None:
    settings = Settings(database={"url": f"sqlite:///{tmp_path}/a.db"})
    with open_agent(settings, need_okta=False, make=True) as agent, running(agent.receiver()) as url:
        agent.renew(settings.model_copy(update={"receiver": settings.receiver.model_copy(update={"max_waiting": 0})}))
        by = Signature(actor="test", source="test", at=datetime.now(UTC))
        _, key = agent.store.write(lambda conn: keys.create(conn, by, name="okta"))
        answer = httpx.post(
            f"{url}/scim/v2/Users", json=okta_user("a@example.com"), headers={"Authorization": f"Bearer {key}"}
        )
        assert_error(answer, 429)


def test_a_server_that_hands_on_the_decoded_path_alone_is_understood(sqlite_receiver: Served) -> None:
    """ASGI leaves ``raw_path`` out as it likes; what is decoded already isn't decoded again."""
    made = sqlite_receiver.create("asgi@example.com")
    app = build(sqlite_receiver.directory, sqlite_receiver.store, Settings())

    def status(path: str) -> int:
        sent: list[Any] = []
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/scim/v2/Users/{path}",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {sqlite_receiver.key}".encode())],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        return int(sent[0]["status"])

    assert status(made["id"]) == 200
    assert status(made["id"].replace("-", "%2D")) == 404


def test_a_push_that_is_cut_off_by_the_end_of_the_process_is_one_that_okta_tries_again(sqlite_receiver: Served) -> None:
    directory, sent = Failing(), []
    app = build(directory, sqlite_receiver.store, Settings())  # type: ignore[arg-type]
    headers = [(b"authorization", f"Bearer {sqlite_receiver.key}".encode()), (b"content-type", SCIM_JSON.encode())]
    scope = {"type": "http", "method": "POST", "path": "/scim/v2/Users", "query_string": b"", "headers": headers}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": msgspec.json.encode(okta_user("a@example.com"))}

    async def send(message: Any) -> None:
        sent.append(message)

    async def cut_off() -> None:
        task = asyncio.create_task(app(scope, receive, send))
        await asyncio.to_thread(directory.asked.wait, 10)
        task.cancel()
        await task

    asyncio.run(cut_off())
    assert sent[0]["status"] == 429
    assert dict(sent[0]["headers"])[b"retry-after"] == b"60"
