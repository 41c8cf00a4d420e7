"""Pages by cursor (RFC 9865): everybody once, whoever comes and goes meanwhile; a cursor that is none is refused."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.receiver import Served, deactivation, served


@pytest.fixture
def receiver(tmp_path: Path, sqlite_url: str) -> Iterator[Served]:
    with served(sqlite_url, guard={"push_mode": "alarm"}) as found:
        yield found


def walk(receiver: Served, count: int, **more: str) -> list[list[str]]:
    pages, cursor = [], ""
    while True:
        answer = receiver.client.get("/Users", params={"cursor": cursor, "count": count, **more})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert "startIndex" not in body
        assert body["itemsPerPage"] == len(body["Resources"])
        pages.append([user["userName"] for user in body["Resources"]])
        if "nextCursor" not in body:
            return pages
        cursor = body["nextCursor"]


def test_every_account_comes_once_in_the_order_of_the_index(receiver: Served) -> None:
    names = [f"person{n}@example.com" for n in range(10)]
    for name in names:
        receiver.create(name)
    assert walk(receiver, 4) == [names[:4], names[4:8], names[8:]]
    assert walk(receiver, 5) == [names[:5], names[5:]]
    assert walk(receiver, 100) == [names]
    assert walk(receiver, 3, filter='userName sw "person7"') == [["person7@example.com"]]


def test_who_goes_or_comes_meanwhile_moves_nobody(receiver: Served) -> None:
    ids = [receiver.create(f"person{n}@example.com")["id"] for n in range(6)]
    first = receiver.client.get("/Users?cursor=&count=3").json()
    assert receiver.send("DELETE", f"/Users/{ids[0]}").status_code == 204
    assert receiver.send("PATCH", f"/Users/{ids[1]}", deactivation()).status_code == 200
    receiver.create("new@example.com")
    rest = receiver.client.get("/Users", params={"cursor": first["nextCursor"], "count": 100}).json()
    assert [user["userName"] for user in rest["Resources"]] == [
        "person3@example.com",
        "person4@example.com",
        "person5@example.com",
        "new@example.com",
    ]
    assert rest["totalResults"] == 6


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "9" * 30, "\uff11"])
def test_a_cursor_that_was_never_given_is_refused(receiver: Served, cursor: str) -> None:
    answer = receiver.client.get("/Users", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidCursor")


def test_the_service_provider_config_says_so(receiver: Served) -> None:
    pagination = receiver.client.get("/ServiceProviderConfig").json()["pagination"]
    assert (pagination["cursor"], pagination["index"], pagination["maxPageSize"]) == (True, True, 1000)
