"""How far a remote's listing is trusted, and what sloppy servers may get wrong without harm."""

from typing import Any

import pytest

from agent.model.codes import FindingCode, RefusalCode
from agent.model.errors import DirectoryUnavailable, ListingUnreliable, Refused
from agent.model.users import Role
from agent.store.engine import Store
from support.place import Place, draft, okta_id, remote_place
from support.remotes import Remote
from support.sloppy import CORE, KEY, Body, Call, Reply, Sloppy, error


def names(place: Place) -> list[str]:
    return [user.user_name for page in place.directory.everyone() for user in page]


def people(sloppy: Sloppy, count: int) -> list[str]:
    for n in range(count):
        sloppy.add(f"person{n}@example.com")
    return [f"person{n}@example.com" for n in range(count)]


def test_a_page_shorter_than_asked_for_skips_nobody(sloppy_place: Place, sloppy: Sloppy) -> None:
    expected = people(sloppy, 20)
    sloppy.page_cap = 3
    assert names(sloppy_place) == expected


@pytest.mark.parametrize("cursors", [False, True])
def test_a_page_size_that_the_remote_refuses_without_having_said_so_falls_to_100(
    sqlite_store: Store, sloppy: Sloppy, cursors: bool
) -> None:
    expected = people(sloppy, 250)
    sloppy.config = {"patch": {"supported": True}, "pagination": {"cursor": cursors}}

    def modest(_: Sloppy, call: Call) -> Reply | None:
        return error(400, "count is too large") if int(call.query.get("count", "0")) > 200 else None

    sloppy.scripted = modest
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), page_size=500) as place:
        assert names(place) == expected
    asked = [(call.query["count"], "cursor" in call.query) for call in sloppy.calls if call.path == "/Users"]
    assert asked[0] == ("500", cursors)
    assert set(asked[1:]) == {("100", cursors)}


def test_a_list_that_is_refused_at_any_page_size_is_told(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.scripted = lambda _, call: error(400, "no lists today") if call.path == "/Users" else None
    with pytest.raises(DirectoryUnavailable, match="400"):
        names(sloppy_place)


def test_each_page_shows_how_far_a_listing_is_though_nobody_on_it_has_changed(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    people(sloppy, 9)
    sloppy.page_cap = 3
    told: list[int] = []
    sloppy_place.directory.refresh(lambda _, done, *__: told.append(done))
    assert told == [3, 6, 9]
    sloppy_place.directory.refresh(lambda _, done, *__: told.append(done))
    assert told[3:] == [3, 6, 9]


def test_pages_of_changing_length_skip_nobody(sloppy_place: Place, sloppy: Sloppy) -> None:
    expected = people(sloppy, 30)

    def shorten(server: Sloppy, call: Call) -> None:
        server.page_cap = 2 if call.query.get("startIndex") == "15" else 7

    sloppy.scripted = shorten
    assert names(sloppy_place) == expected


def test_a_listing_by_cursor_ends_with_the_last_cursor(sloppy_place: Place, sloppy: Sloppy) -> None:
    expected = people(sloppy, 20)
    sloppy.config["pagination"] = {"cursor": True, "index": False, "maxPageSize": 6}
    assert names(sloppy_place) == expected
    cursors = [call.query["cursor"] for call in sloppy.calls if "cursor" in call.query]
    assert cursors == ["", "7", "13", "19"]


def test_a_cursor_that_comes_twice_makes_the_listing_unreliable(sloppy_place: Place, sloppy: Sloppy) -> None:
    people(sloppy, 20)
    sloppy.config["pagination"] = {"cursor": True}

    def circle(body: Body) -> Body:
        return body | {"nextCursor": "8"}

    sloppy.shape_list = circle
    with pytest.raises(ListingUnreliable, match=r"circle|repeats"):
        names(sloppy_place)


def test_a_cursor_that_the_remote_no_longer_takes_makes_the_listing_unreliable(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    people(sloppy, 20)
    sloppy.config["pagination"] = {"cursor": True}
    sloppy.scripted = lambda _, call: error(400, "expiredCursor") if call.query.get("cursor") else None
    with pytest.raises(ListingUnreliable, match="lost its place"):
        names(sloppy_place)


def test_a_shrinking_total_makes_the_listing_unreliable(sloppy_place: Place, sloppy: Sloppy) -> None:
    people(sloppy, 30)

    def shrink(body: Body) -> Body:
        return body | {"totalResults": 30 if body["startIndex"] < 20 else 25}

    sloppy.shape_list = shrink
    with pytest.raises(ListingUnreliable, match="shrank from 30 to 25"):
        names(sloppy_place)


def test_a_server_that_ignores_the_index_is_no_listing(sloppy_place: Place, sloppy: Sloppy) -> None:
    people(sloppy, 30)

    def first_page(server: Sloppy, call: Call) -> Reply | None:
        if "startIndex" not in call.query:
            return None
        return server.apply(Call("GET", "/Users", {"count": "7"}, call.headers, {}))

    sloppy.scripted = first_page
    with pytest.raises(ListingUnreliable, match="repeats a page"):
        names(sloppy_place)


def test_a_listing_that_ends_before_its_total_is_no_listing(sloppy_place: Place, sloppy: Sloppy) -> None:
    people(sloppy, 10)
    sloppy.shape_list = lambda body: body | {"totalResults": 11}
    with pytest.raises(ListingUnreliable, match="ended after 10 of 11"):
        names(sloppy_place)


def test_an_empty_page_with_a_total_is_no_empty_directory(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.shape_list = lambda body: body | {"totalResults": 5, "Resources": []}
    with pytest.raises(ListingUnreliable, match="ended after 0 of 5"):
        names(sloppy_place)


def test_a_listing_without_totals_goes_on_to_the_empty_page(sloppy_place: Place, sloppy: Sloppy) -> None:
    expected = people(sloppy, 20)

    def no_total(body: Body) -> Body:
        del body["totalResults"]
        return body

    sloppy.shape_list = no_total
    assert names(sloppy_place) == expected


def test_an_account_that_comes_twice_counts_once_and_is_reported(sloppy_place: Place, sloppy: Sloppy) -> None:
    expected = people(sloppy, 10)

    def inserted(server: Sloppy, call: Call) -> None:
        # Somebody new at the front, between two pages, moves the others by one.
        if call.query.get("startIndex") == "8" and len(server.users) == 10:
            server.add("new@example.com")
            server.users = {"u000011": server.users.pop("u000011"), **server.users}

    sloppy.scripted = inserted
    sloppy.page_cap = 7
    with pytest.raises(ListingUnreliable):
        # 11 are there and the first one was never shown: not whole.
        names(sloppy_place)
    sloppy.scripted = None
    assert sorted(names(sloppy_place)) == ["new@example.com", *expected]
    assert sloppy_place.directory.findings == ()
    first = sloppy.users["u000001"]
    sloppy.shape_list = lambda body: (
        body | {"Resources": [*body["Resources"], first]} if body["startIndex"] > 7 else body
    )
    assert sorted(names(sloppy_place)) == ["new@example.com", *expected]
    assert {f.code for f in sloppy_place.directory.findings} == {FindingCode.DUPLICATE_LISTED}


BAD: list[Body] = [
    {"userName": "bad@example.com", "id": None},
    {"userName": "", "id": "x"},
    {"userName": "bad@example.com", "id": "x", "emails": "bad@example.com"},
    {"userName": "bad@example.com", "id": "x", "name": ["Bad"]},
    {"userName": "bad@example.com", "id": "x", "title": {"a": 1}},
    {"userName": "bad@example.com", "id": "x" * 300},
    {"userName": "bad@example.com", "id": "x", "title": "a\x00b"},
    {"userName": "bad@example.com", "id": "x", "title": "half \ud800"},
    {"userName": "bad@example.com", "id": "x", "externalId": "\udc00half"},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: str(sorted(bad))[:40])
def test_one_bad_account_is_left_out_and_reported_and_its_page_counts(
    sloppy_place: Place, sloppy: Sloppy, bad: Body
) -> None:
    expected = people(sloppy, 10)
    sloppy.users["bad"] = {"schemas": [CORE], **bad}
    assert names(sloppy_place) == expected
    (finding,) = sloppy_place.directory.findings
    assert finding.code is FindingCode.UNREADABLE
    assert finding.login == (bad["userName"] or "?")


def test_text_that_is_not_escaped_spoils_no_page(sloppy_place: Place, sloppy: Sloppy) -> None:
    expected = people(sloppy, 10)

    def bare(server: Sloppy, call: Call) -> Reply | None:
        reply = server.apply(call)
        reply.content = reply.content.replace(b'"Person"', b'"Per\tson"')
        return reply

    sloppy.users["u000003"]["name"] = {"familyName": "Person"}
    sloppy.scripted = bare
    assert names(sloppy_place) == expected
    listed = {user.id: user for page in sloppy_place.directory.everyone() for user in page}
    assert listed["u000003"].profile.name.family_name == "Per\tson"


def test_a_sloppy_server_is_read_all_the_same(sloppy_place: Place, sloppy: Sloppy) -> None:
    """Text totals, lower-case ``resources``, no schemas, numeric ids, switches as text, another case of names."""
    people(sloppy, 10)
    sloppy.users["u000002"]["active"] = False

    def user(body: Body) -> Body:
        body = {key.lower() if key != "userName" else key: value for key, value in body.items()}
        del body["schemas"]
        email = [{"value": e["value"], "primary": "true"} for e in body["emails"]]
        number = int(body["id"][1:])
        return body | {"id": number, "active": str(body["active"]), "externalid": 70 + number, "emails": email}

    def page(body: Body) -> Body:
        return {"totalresults": str(body["totalResults"]), "resources": body["Resources"]}

    sloppy.shape_user, sloppy.shape_list = user, page
    listed = [found for found_page in sloppy_place.directory.everyone() for found in found_page]
    assert [u.id for u in listed] == [str(n) for n in range(1, 11)]
    assert [u.active for u in listed] == [True, False, *[True] * 8]
    assert [u.okta_id for u in listed] == [str(70 + n) for n in range(1, 11)]
    assert listed[0].profile.primary_email == "person0@example.com"


def test_an_answer_about_another_account_is_an_error(sloppy_place: Place, sloppy: Sloppy) -> None:
    people(sloppy, 2)
    sloppy.scripted = lambda server, call: (
        Reply(200, server.users["u000002"]) if call.path == "/Users/u000001" else None
    )
    with pytest.raises(DirectoryUnavailable, match="answered with another"):
        sloppy_place.directory.get("u000001")


def test_a_remote_that_ignores_filters_does_not_answer_with_a_stranger(sloppy_place: Place, sloppy: Sloppy) -> None:
    people(sloppy, 30)
    sloppy.filters = False
    directory = sloppy_place.directory
    assert directory.find(user_name_key="nobody@example.com") is None
    found = directory.find(user_name_key="person29@example.com")
    assert found is not None
    assert found.id == "u000030"
    made = directory.create(draft("new@example.com", okta=okta_id(1)), sloppy_place.context(), sloppy_place.now)
    assert made.result(30).created


def test_roles_of_the_remote_say_who_owns_it(sloppy_place: Place, sloppy: Sloppy) -> None:
    people(sloppy, 3)
    sloppy.users["u000002"]["roles"] = [{"value": "Owner", "primary": True}]
    sloppy.users["u000003"]["roles"] = ["member"]
    roles = [user.role for page in sloppy_place.directory.everyone() for user in page]
    assert roles == [Role.MEMBER, Role.OWNER, Role.MEMBER]
    assert sloppy_place.directory.owners_known


def test_names_in_any_script_and_ids_with_signs_are_read(sloppy_place: Place, sloppy: Sloppy) -> None:
    odd: dict[str, Any] = {"id": "a/b ?#", "userName": 'zoë"\\@example.com', "displayName": "张伟 \U0001f600"}
    sloppy.users[odd["id"]] = {**odd, "active": True, "meta": {"version": 'W/"1"'}}
    (user,) = [user for page in sloppy_place.directory.everyone() for user in page]
    assert sloppy_place.directory.get("a/b ?#") == user
    assert sloppy_place.directory.find(user_name_key=user.user_name_key) == user
    changed = sloppy_place.change(user, okta_id=okta_id(1), title="Clerk")
    assert (changed.user.profile.title, sloppy.users["a/b ?#"]["title"]) == ("Clerk", "Clerk")


@pytest.mark.parametrize("total", [0, 7, 20])
def test_a_total_that_is_less_than_what_there_is_is_no_listing(sloppy_place: Place, sloppy: Sloppy, total: int) -> None:
    people(sloppy, 41)
    sloppy.page_cap = 7
    sloppy.shape_list = lambda body: body | {"totalResults": total}
    with pytest.raises(ListingUnreliable, match=r"goes on behind|shows"):
        names(sloppy_place)


def test_a_total_that_is_each_page_s_own_length_is_no_listing(sloppy_place: Place, sloppy: Sloppy) -> None:
    people(sloppy, 41)
    sloppy.page_cap = 20
    sloppy.shape_list = lambda body: body | {"totalResults": len(body["Resources"])}
    with pytest.raises(ListingUnreliable, match=r"goes on behind|shrank"):
        names(sloppy_place)


def test_whoever_is_added_right_behind_the_last_page_is_listed_too(sloppy_place: Place, sloppy: Sloppy) -> None:
    expected = people(sloppy, 10)

    def late(server: Sloppy, call: Call) -> None:
        if call.query.get("startIndex") == "11" and len(server.users) == 10:
            server.add("late@example.com")

    sloppy.scripted = late
    assert names(sloppy_place) == [*expected, "late@example.com"]


def test_a_cursor_that_is_a_number_is_followed(sloppy_place: Place, sloppy: Sloppy) -> None:
    expected = people(sloppy, 20)
    sloppy.config["pagination"] = {"cursor": True, "maxPageSize": 6}

    def number(body: Body) -> Body:
        body.pop("totalResults", None)
        return body | {"nextCursor": int(body["nextCursor"])} if "nextCursor" in body else body

    sloppy.shape_list = number
    assert names(sloppy_place) == expected


@pytest.mark.parametrize("shown", [[{"value": "owner"}], ["owner"]])
def test_where_the_remote_shows_roles_the_setting_names_no_owner(
    sqlite_store: Store, sloppy: Sloppy, shown: Any
) -> None:
    """The setting names Bob; the remote says Ann. Only Ann counts, before a whole listing and after it."""
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), owners=("bob@example.com",)) as place:
        ann = place.post("ann@example.com", okta=okta_id(1)).user
        place.post("bob@example.com", okta=okta_id(2))
        sloppy.users[ann.id]["roles"] = shown
        for _ in range(2):
            with pytest.raises(Refused) as refused:
                place.change(ann, active=False)
            assert refused.value.reason is RefusalCode.LAST_OWNER
            roles = {user.user_name: user.role for page in place.directory.everyone() for user in page}
            assert roles == {"ann@example.com": Role.OWNER, "bob@example.com": Role.MEMBER}
        place.remote.client.close()


@pytest.mark.parametrize("total", ["\u00b2", "9" * 5000, "many", ""])
def test_a_total_that_is_no_number_is_none(sloppy_place: Place, sloppy: Sloppy, total: str) -> None:
    expected = people(sloppy, 9)
    sloppy.page_cap = 4
    sloppy.shape_list = lambda body: body | {"totalResults": total}
    assert names(sloppy_place) == expected


def test_an_id_with_a_nul_harms_nobody_but_its_own_account(sloppy_place: Place, sloppy: Sloppy) -> None:
    ids = iter(["a", "a\0b"])
    sloppy.id_of = lambda _: next(ids)
    sloppy.page_cap = 1
    for name in ("ann", "bob"):
        sloppy.add(f"{name}@example.com")
        # The second time the one is known, and SQLite's JSON reads the other's id, on a page of its own, as the same.
        assert names(sloppy_place) == ["ann@example.com"]
