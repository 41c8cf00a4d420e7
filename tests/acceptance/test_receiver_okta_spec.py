"""Okta's published SPEC test for SCIM 2.0 servers, step by step, with the receiver's defaults."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.databases import sqlite_in
from support.receiver import CORE, ERROR, LIST, Served, okta_user, served

HEADERS = {
    "Accept": "application/scim+json",
    "Accept-Charset": "utf-8",
    "Content-Type": "application/scim+json; charset=utf-8",
    "User-Agent": "OKTA SCIM Integration",
}
POST_HEADERS = HEADERS | {"Content-Type": "application/json", "Accept": "application/scim+json; charset=utf-8"}


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(sqlite_in(Path(tmp_path_factory.mktemp("db")))) as running:
        running.create("first.user@example.com", externalId="00u1")
        yield running


@pytest.fixture(scope="module", params=["Bearer {key}", "{key}"], ids=["bearer", "bare key"])
def okta(request: pytest.FixtureRequest, receiver: Served) -> Iterator[httpx.Client]:
    """Okta sends what the admin entered, with or without the scheme."""
    auth = request.param.format(key=receiver.key)
    with httpx.Client(base_url=receiver.url, headers=HEADERS | {"Authorization": auth}) as client:
        yield client


def _complete(user: dict[str, Any]) -> bool:
    parts = (
        user["id"],
        user["name"]["familyName"],
        user["name"]["givenName"],
        user["userName"],
        user["emails"][0]["value"],
    )
    return all(parts) and isinstance(user["active"], bool)


def _is_error(answer: httpx.Response, status: int) -> bool:
    body = answer.json()
    return (
        answer.status_code == status
        and bool(body["detail"])
        and body["status"] == str(status)
        and ERROR in body["schemas"]
    )


def test_the_spec_test_passes(okta: httpx.Client) -> None:
    # 1 and 2: a page of one, and that one alone
    page = okta.get("/Users?count=1&startIndex=1").json()
    assert LIST in page["schemas"]
    assert all(type(page[name]) is int for name in ("itemsPerPage", "startIndex", "totalResults"))
    assert _complete(page["Resources"][0])
    first = okta.get(f"/Users/{page['Resources'][0]['id']}").json()
    assert _complete(first)
    assert first["id"] == page["Resources"][0]["id"]
    # 3 to 5: nobody by that name, nobody by that id
    random = uuid.uuid4().hex
    for nobody in ("abcdefgh@atko.com", f"Random{random}@atko.com"):
        found = okta.get("/Users", params={"filter": f'userName eq "{nobody}"'})
        assert found.status_code == 200
        assert (found.json()["totalResults"], found.json()["schemas"]) == (0, [LIST])
    assert _is_error(okta.get("/Users/010101001010101011001010101011"), 404)
    # 6 and 7: a create, the case of the name kept
    login = f"Runscope{random}Xabc@atko.com"
    created = okta.post("/Users", json=okta_user(login), headers=POST_HEADERS)
    user = created.json()
    assert created.status_code == 201
    assert (user["active"], user["userName"]) == (True, login)
    assert (user["name"]["givenName"], user["name"]["familyName"]) == ("Test", "User")
    assert CORE in user["schemas"]
    again = okta.get(f"/Users/{user['id']}").json()
    assert (again["userName"], again["name"]) == (login, user["name"])
    # 8 and 9: the same again, and its name in capitals
    assert okta.post("/Users", json=okta_user(login), headers=POST_HEADERS).status_code == 409
    capitals = okta.get("/Users", params={"filter": f'userName eq "{login.upper()}"'})
    assert (capitals.status_code, capitals.json()["Resources"][0]["id"]) == (200, user["id"])
    # 10: groups, empty
    groups = okta.get("/Groups").json()
    assert (groups["totalResults"], groups["Resources"]) == (0, [])
    # 11 and 12: no token, and no such user
    assert _is_error(
        okta.get("/Users", params={"filter": 'userName eq "x"'}, headers={"Authorization": "non-token"}), 401
    )
    assert _is_error(okta.get("/Users/00919288221112222"), 404)
