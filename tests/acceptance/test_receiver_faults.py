"""Nine faults that conformance tools miss. Each check passes on the receiver and fails on one with that fault planted."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.receiver.app import build
from agent.settings import Settings
from support.databases import sqlite_in
from support.receiver import Served, deactivation, okta_user, running, served

Check = Callable[[Served], None]


def filter_is_applied(receiver: Served) -> None:
    receiver.create("a@example.com")
    receiver.create("b@example.com")
    found = receiver.find('userName eq "A@example.com"')
    assert [user["userName"] for user in found["Resources"]] == ["a@example.com"]
    assert receiver.find('userName eq "nobody@example.com"')["totalResults"] == 0
    assert receiver.find('not (userName sw "a")')["Resources"][0]["userName"] == "b@example.com"


def paging_is_applied(receiver: Served) -> None:
    made = [receiver.create(f"u{n}@example.com")["id"] for n in range(5)]
    pages = [receiver.client.get(f"/Users?startIndex={start}&count=2").json() for start in (1, 3, 5)]
    assert [user["id"] for page in pages for user in page["Resources"]] == made


def a_duplicate_is_a_conflict(receiver: Served) -> None:
    receiver.create("a@example.com")
    again = receiver.send("POST", "/Users", okta_user("A@EXAMPLE.COM"))
    assert (again.status_code, again.json()["scimType"]) == (409, "uniqueness")


def the_total_counts_all_pages(receiver: Served) -> None:
    for n in range(3):
        receiver.create(f"u{n}@example.com")
    page = receiver.client.get("/Users?count=1").json()
    assert (page["totalResults"], page["itemsPerPage"]) == (3, 1)


def last_modified_moves(receiver: Served) -> None:
    made = receiver.create("a@example.com")
    after = receiver.send("PUT", f"/Users/{made['id']}", made | {"title": "x"}).json()
    assert after["meta"]["lastModified"] > made["meta"]["lastModified"]
    assert after["meta"]["created"] == made["meta"]["created"]


def the_id_stays(receiver: Served) -> None:
    made = receiver.create("a@example.com")
    after = receiver.send("PUT", f"/Users/{made['id']}", made | {"title": "x"}).json()
    assert after["id"] == made["id"] == receiver.find('userName eq "a@example.com"')["Resources"][0]["id"]


def the_case_of_a_user_name_stays(receiver: Served) -> None:
    made = receiver.create("Runscope123Xabc@atko.example")
    assert made["userName"] == "Runscope123Xabc@atko.example"
    assert receiver.client.get(f"/Users/{made['id']}").json()["userName"] == made["userName"]


def nobody_gets_in_without_a_key(receiver: Served) -> None:
    for headers in ({}, {"Authorization": "non-token"}, {"Authorization": "Bearer oha_" + "x" * 43}):
        assert receiver.stranger.get("/Users", headers=headers).status_code == 401


def a_deactivation_is_carried_out(receiver: Served) -> None:
    made = receiver.create("a@example.com")
    url = f"/Users/{made['id']}"
    assert receiver.send("PATCH", url, deactivation()).json()["active"] is False
    assert receiver.client.get(url).json()["active"] is False


# The faults: an app in front of the real one that spoils what comes in or goes out.

Spoil = Callable[[dict[str, Any], dict[str, Any], int], int]


def _edit(method: str, edit: Callable[[dict[str, Any]], None]) -> Spoil:
    def spoil(scope: dict[str, Any], body: dict[str, Any], status: int) -> int:
        if scope["method"] == method and status < 300:
            edit(body)
        return status

    return spoil


def _frozen(body: dict[str, Any]) -> None:
    body["meta"]["lastModified"] = body["meta"]["created"]


def _wrong_total(body: dict[str, Any]) -> None:
    body["totalResults"] = body["itemsPerPage"]


def _changed_id(body: dict[str, Any]) -> None:
    body["id"] = body["id"][::-1]


def _lower_case(body: dict[str, Any]) -> None:
    body["userName"] = body["userName"].lower()


def _no_conflict(_: dict[str, Any], body: dict[str, Any], status: int) -> int:
    body.setdefault("scimType", "none")
    return 201 if status == 409 else status


class Faulty:
    """``strip`` leaves parameters out of queries, ``key`` lets everybody in, ``deaf`` answers a PATCH without doing it."""

    def __init__(
        self, app: Any, *, strip: tuple[str, ...] = (), key: str = "", deaf: bool = False, spoil: Spoil | None = None
    ) -> None:
        self.app = app
        self.strip = tuple(name.encode() for name in strip)
        self.key = key
        self.deaf = deaf
        self.spoil = spoil

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope = dict(scope)
        if self.strip:
            kept = [pair for pair in scope["query_string"].split(b"&") if not pair.startswith(self.strip)]
            scope["query_string"] = b"&".join(kept)
        if self.key:
            others = [header for header in scope["headers"] if header[0] != b"authorization"]
            scope["headers"] = [*others, (b"authorization", self.key.encode())]
        if self.deaf and scope["method"] == "PATCH":
            scope["method"] = "GET"
        start: dict[str, Any] = {}

        async def sent(message: dict[str, Any]) -> None:
            if self.spoil is None or (message["type"] == "http.response.start" and start.update(message) is not None):
                await send(message)
            elif message["type"] == "http.response.body":
                body = json.loads(message["body"])
                start["status"] = self.spoil(scope, body, start["status"])
                raw = json.dumps(body).encode()
                start["headers"] = [h for h in start["headers"] if h[0] != b"content-length"] + [
                    (b"content-length", b"%d" % len(raw))
                ]
                await send(start)
                await send({"type": "http.response.body", "body": raw})

        await self.app(scope, receive, sent)


CASES: list[tuple[Check, dict[str, Any]]] = [
    (filter_is_applied, {"strip": ("filter",)}),
    (paging_is_applied, {"strip": ("startIndex", "count")}),
    (a_duplicate_is_a_conflict, {"spoil": _no_conflict}),
    (the_total_counts_all_pages, {"spoil": _edit("GET", _wrong_total)}),
    (last_modified_moves, {"spoil": _edit("PUT", _frozen)}),
    (the_id_stays, {"spoil": _edit("PUT", _changed_id)}),
    (the_case_of_a_user_name_stays, {"spoil": _edit("POST", _lower_case)}),
    (nobody_gets_in_without_a_key, {"key": "from the receiver"}),
    (a_deactivation_is_carried_out, {"deaf": True}),
]


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(sqlite_in(Path(tmp_path_factory.mktemp("db")))) as real:
        yield real


@pytest.mark.parametrize(("check", "fault"), CASES, ids=lambda part: getattr(part, "__name__", ""))
def test_check_passes_here_and_fails_on_a_receiver_with_the_fault(
    receiver: Served, check: Check, fault: dict[str, Any]
) -> None:
    receiver.empty()
    check(receiver)
    receiver.empty()
    fault = fault | ({"key": receiver.key} if "key" in fault else {})
    with running(Faulty(build(receiver.directory, receiver.store, Settings()), **fault)) as url:
        faulty = Served(f"{url}/scim/v2", receiver.store, receiver.directory, receiver.key)
        try:
            with pytest.raises((AssertionError, KeyError)):
                check(faulty)
        finally:
            faulty.close()
