"""Listings over real HTTP: complete, or an error. Each trap of the SDK's own listing has its test here."""

import pytest

from agent.model.errors import OktaDenied, OktaError, OktaNotFound, OktaRejected, OktaThrottled, OktaUnreachable
from agent.okta_org import UNREADABLE
from support.scripted import APP, Say, links, okta_error

USERS = f"/api/v1/apps/{APP}/users"


def person(number: int, **more):
    return {
        "id": f"00u{number}",
        "externalId": f"d{number}",
        "status": "PROVISIONED",
        "syncState": "SYNCHRONIZED",
        "scope": "USER",
        "created": "2026-01-01T00:00:00.000Z",
        "lastUpdated": "2026-01-01T00:00:00.000Z",
        "credentials": {"userName": f"p{number}@example.com"},
        "profile": {"givenName": "P", "title": None},
        "_links": {"app": {"href": "x"}},
        **more,
    }


def target(number: int) -> str:
    return f"{USERS}?limit=2" if number == 1 else f"{USERS}?after=c{number}&limit=2"


def page(server, number: int, of: int = 3, *, order=("self", "next"), **say) -> Say:
    """Page ``number`` of two people each, with its Link lines in the given order."""
    addresses = {"self": server.url + target(number), "next": server.url + target(number + 1)}
    rels = [rel for rel in order if rel == "self" or number < of]
    say.setdefault("headers", links(*((rel, addresses[rel]) for rel in rels)))
    say.setdefault("body", [person(2 * number - 1), person(2 * number)])
    return Say(**say)


def script(server, *, order=("self", "next"), of: int = 3) -> None:
    for number in range(1, of + 1):
        server.say(target(number), page(server, number, of, order=order))


def read(org) -> list[str]:
    return [found.id for found_page in org.app_user_pages(2) for found in found_page]


ALL = [f"00u{number}" for number in range(1, 7)]


@pytest.mark.parametrize("order", [("self", "next"), ("next", "self")])
def test_all_pages_are_read_in_whatever_order_the_link_lines_come(server, org, order):
    script(server, order=order)
    assert read(org) == ALL


def test_both_links_in_one_line_are_read(server, org):
    for number in (1, 2, 3):
        both = f'<{server.url}{target(number)}>; rel="self"'
        if number < 3:
            both += f', <{server.url}{target(number + 1)}>; rel="next"'
        server.say(target(number), page(server, number, headers=[("Link", both)]))
    assert read(org) == ALL


def test_relative_links_are_read(server, org):
    for number in (1, 2, 3):
        pairs = [("next", target(number + 1))] if number < 3 else []
        server.say(target(number), page(server, number, headers=links(*pairs)))
    assert read(org) == ALL


def test_a_cursor_goes_back_as_it_came(server, org):
    cursor = f"{USERS}?after=a%2Bb%3D%26%20c&limit=2"
    server.say(target(1), page(server, 1, headers=links(("next", server.url + cursor))))
    server.say(cursor, page(server, 3))
    read(org)
    assert server.targets(USERS)[1] == cursor


def test_an_empty_app_is_one_empty_page(server, org):
    server.say(target(1), Say(body=[], headers=links(("self", server.url + target(1)))))
    assert list(org.app_user_pages(2)) == [[]]


def test_an_empty_page_in_the_middle_is_not_the_end(server, org):
    server.say(target(1), page(server, 1))
    server.say(target(2), page(server, 2, body=[]))
    server.say(target(3), page(server, 3))
    assert read(org) == ["00u1", "00u2", "00u5", "00u6"]


def test_pages_come_one_at_a_time(server, org):
    script(server)
    pages = org.app_user_pages(2)
    next(pages)
    assert len(server.targets(USERS)) == 1


def test_a_word_that_the_sdk_does_not_know_costs_nobody_else(server, org):
    body = [person(1, status="FUTURE", syncState="NEW", scope="TEAM"), person(2)]
    server.say(target(1), Say(body=body))
    [[future, other]] = list(org.app_user_pages(2))
    assert (future.status, future.sync_state, other.status) == ("FUTURE", "NEW", "PROVISIONED")


def test_one_unreadable_person_is_named_and_left_alone_while_the_page_is_kept(server, org):
    server.say(target(1), Say(body=[person(1), person(2, lastUpdated=5)]))
    [[good, bad]] = list(org.app_user_pages(2))
    assert good.status == "PROVISIONED"
    assert (bad.id, bad.status, bad.external_id, bad.user_name) == ("00u2", UNREADABLE, "d2", "p2@example.com")


# What may pass, on each page: tried again, and the listing is whole.
PASSING = {
    "500": Say(500, okta_error("E0000009", "Internal Server Error")),
    "502 html": Say(502, b"<html>Bad Gateway</html>", json=False),
    "502 empty": Say(502),
    "503": Say(503),
    "504": Say(504),
    "500 empty as JSON": Say(500, b""),
    "200 empty": Say(200, b""),
    "204": Say(204),
    "200 html": Say(200, b"<html>Sign in</html>", json=False),
    "200 half of the JSON": Say(200, b'[{"id":"00u1","sta'),
    "200 an object": Say(200, b"{}"),
    "200 null": Say(200, b"null"),
    "cut in the body": Say(200, [{"id": "00u1"}], cut_after=5),
    "cut before the body": Say(200, [{"id": "00u1"}], cut_after=0),
    "hung up": Say(hang_up=True),
    "429": Say(429, okta_error("E0000047"), headers=[("Retry-After", "3")]),
    "429 bare": Say(429),
    "429 not JSON": Say(429, b"slow down", json=False),
    "404 of a gateway": Say(404, b"<html>", json=False),
}


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_costs_a_pause_and_no_person(server, org, waits, fault, number):
    server.say(target(number), fault, fault)
    script(server)
    assert read(org) == ALL
    assert len(waits) == 2


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_stays_is_an_error_never_a_short_list(server, org, fault, number):
    server.rule(target(number), lambda _asked: fault)
    for other in {1, 2, 3} - {number}:
        server.say(target(other), page(server, other))
    pages = org.app_user_pages(2)
    for _before in range(1, number):
        next(pages)
    with pytest.raises((OktaUnreachable, OktaThrottled), match="Tried 3 times"):
        next(pages)


# What doesn't pass: an error at once.
STAYING = {
    "cursor expired": (Say(400, okta_error("E0000029", "Invalid paging request.")), OktaRejected),
    "gone": (Say(410), OktaRejected),
    "token revoked": (Say(401, okta_error("E0000011", "Invalid token provided")), OktaDenied),
    "scope lost": (Say(403, okta_error("E0000006", "no permission")), OktaDenied),
    "app deleted": (Say(404, okta_error("E0000007", "Not found: Resource not found: x (AppInstance)")), OktaNotFound),
    "redirect": (Say(302, headers=[("Location", "/login")]), OktaRejected),
}


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize(("fault", "error"), STAYING.values(), ids=STAYING)
def test_what_does_not_pass_ends_the_listing_at_once(server, org, waits, fault, error, number):
    server.say(target(number), fault)
    for before in range(1, number):
        server.say(target(before), page(server, before))
    with pytest.raises(error):
        read(org)
    assert len(server.targets(USERS)) == number
    assert waits == []


def test_a_next_page_elsewhere_is_not_followed_and_gets_no_token(server, org):
    from support.scripted import Scripted

    stranger = Scripted()
    try:
        elsewhere = f"http://localhost:{stranger.port}{target(2)}"
        server.say(target(1), page(server, 1, headers=links(("next", elsewhere))))
        with pytest.raises(OktaRejected, match="another host"):
            read(org)
        assert stranger.asked == []
    finally:
        stranger.close()


def test_a_circle_of_cursors_is_an_error(server, org):
    server.say(target(1), page(server, 1))
    server.say(target(2), page(server, 2, headers=links(("next", server.url + target(1)))))
    with pytest.raises(OktaRejected, match="circle"):
        read(org)


def test_a_page_whose_next_is_refused_is_not_handed_out_as_the_last(server, org):
    server.say(target(1), page(server, 1, headers=links(("next", "http://elsewhere.example/x"))))
    with pytest.raises(OktaError):
        next(org.app_user_pages(2))


def test_people_by_status_are_read_through_all_pages(server, org):
    first = "/api/v1/users?filter=status%20eq%20%22SUSPENDED%22&limit=200"
    second = "/api/v1/users?after=c2&limit=200"
    user = {"id": "00u1", "status": "SUSPENDED", "profile": {"login": "p@example.com", "secondEmail": None}}
    server.say(
        "/api/v1/users", Say(body=[user], headers=links(("next", server.url + second), ("self", server.url + first)))
    )
    server.say(second, Say(body=[{**user, "id": "00u2", "status": "ACTIVATING"}]))
    found = [one for found_page in org.users_with_status_pages("SUSPENDED") for one in found_page]
    assert [(one.id, one.status) for one in found] == [("00u1", "SUSPENDED"), ("00u2", "ACTIVATING")]
    assert "SUSPENDED" in server.asked[0].target
