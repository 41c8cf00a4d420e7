import json

import pytest

from agent.model.errors import UNDECODABLE
from agent.okta_org import UNREADABLE, calls

pages = calls.app_users("0oaApp", 200).decode
users = calls.users(search="x").decode


def app_user(number: int, **more: object) -> dict:
    return {
        "id": f"00u{number}",
        "externalId": f"d{number}",
        "status": "PROVISIONED",
        "credentials": {"userName": f"p{number}@example.com"},
        "profile": {"givenName": None, "tags": ["a"]},
        **more,
    }


def body(*people: object) -> bytes:
    return json.dumps(people).encode()


def test_words_unknown_to_us_pass_as_they_are():
    [found] = pages(body(app_user(1, status="FUTURE", syncState="NEWER", scope="TEAM", brandNew={"x": 1})))
    assert (found.status, found.sync_state, found.scope) == ("FUTURE", "NEWER", "TEAM")


def test_nulls_in_profiles_are_kept_because_null_means_cleared():
    [found] = pages(body(app_user(1)))
    assert json.loads(bytes(found.profile)) == {"givenName": None, "tags": ["a"]}


@pytest.mark.parametrize(
    "broken",
    [
        {"status": None},
        {"status": 7},
        {"lastUpdated": "yesterday"},
        {"lastUpdated": "2026-01-01T00:00:00"},
        {"scope": {}},
        {"_embedded": {"user": {"id": 5}}},
        {"_embedded": {"user": {"status": "ACTIVE"}}},
    ],
)
def test_one_unreadable_person_does_not_cost_the_page(broken):
    first, bad, last = pages(body(app_user(1), app_user(2, **broken), app_user(3)))
    assert (first.status, last.status) == ("PROVISIONED", "PROVISIONED")
    assert bad.status == UNREADABLE
    assert (bad.id, bad.external_id, bad.user_name) == ("00u2", "d2", "p2@example.com")


def test_unreadable_names_of_an_unreadable_person_are_left_out():
    [bad] = pages(body(app_user(1, status=[], externalId=3, credentials={"userName": []})))
    assert (bad.status, bad.external_id, bad.user_name) == (UNREADABLE, None, "")


@pytest.mark.parametrize("nameless", [{"id": None}, {"id": ""}, {"id": 7}])
def test_a_person_without_an_id_makes_the_page_unreadable(nameless):
    """They could not be told from somebody absent."""
    with pytest.raises(UNDECODABLE):
        pages(body(app_user(1), app_user(2, **nameless)))


@pytest.mark.parametrize("text", [b"", b"[", b"{}", b'[{"id":"00u1"', b"<html>", b"null", b'["x"]', b'[{"id":"\xff"}]'])
def test_what_is_no_page_is_refused(text):
    with pytest.raises(UNDECODABLE):
        pages(text)


def test_an_unreadable_okta_user_keeps_its_login():
    [bad] = users(body({"id": "00u1", "status": {}, "profile": {"login": "p@example.com"}}))
    assert (bad.id, bad.status, bad.profile) == ("00u1", UNREADABLE, {"login": "p@example.com"})


def test_an_empty_page_is_a_page():
    assert pages(b" [] ") == []


@pytest.mark.parametrize("poison", ["\\u0000", "\\ud800", "\\udc00x", "\\ud83d"])
@pytest.mark.parametrize("place", ["profile", "userName", "status"])
def test_what_is_no_text_costs_its_own_person_alone(poison: str, place: str) -> None:
    bad = {"profile": {"profile": {"givenName": "@"}}, "userName": {"credentials": {"userName": "p1@"}}}.get(
        place, {"status": "@"}
    )
    raw = body(app_user(1, **bad), app_user(2, profile={"givenName": "\N{GRINNING FACE}"}))
    odd, fine = pages(raw.replace(b"@", poison.encode(), 1))
    assert (odd.id, odd.external_id, odd.status) == ("00u1", "d1", UNREADABLE)
    assert (fine.status, json.loads(bytes(fine.profile))) == ("PROVISIONED", {"givenName": "\N{GRINNING FACE}"})
    assert "\x00" not in odd.user_name
    assert odd.user_name.encode()


def test_a_body_that_ends_early_is_no_page_however_odd_its_text() -> None:
    with pytest.raises(UNDECODABLE):
        pages(b'[{"id": "00u1", "status": "\\ud800"')
