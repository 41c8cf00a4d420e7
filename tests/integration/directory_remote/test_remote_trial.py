"""What ``check`` finds by trying a remote: nothing is called good that a sweep or a push then fails at, however few accounts it has."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from agent.checks import remote as checks
from agent.directory.remote.mirror import LAG
from agent.model.check import Check
from agent.model.errors import AgentError
from support.place import Place, okta_id
from support.sloppy import CORE, Call, Reply, Sloppy, error

Body = dict[str, Any]


def lines(place: Place) -> dict[str, Check]:
    return {check.name: check for check in checks.checks(place.directory, place.now)}


def fill(sloppy: Sloppy, people: int) -> None:
    for n in range(len(sloppy.users), len(sloppy.users) + people):
        sloppy.add(f"person{n}@example.com", externalId=f"00u{n}")


def listing(shape: Callable[[list[Body], Call], Body]) -> Callable[[Sloppy, Call], Reply | None]:
    """Lists are made by ``shape`` of everybody; searches and reads are as they should be."""

    def scripted(server: Sloppy, call: Call) -> Reply | None:
        if call.path != "/Users" or call.writes or "filter" in call.query:
            return None
        return Reply(200, shape(list(server.users.values()), call))

    return scripted


def page(users: list[Body], total: int | None) -> Body:
    return {"Resources": users} | ({} if total is None else {"totalResults": total})


def span(call: Call) -> slice:
    start = int(call.query.get("startIndex", "1")) - 1
    return slice(start, start + int(call.query.get("count", "100")))


def by_page_number(users: list[Body], call: Call) -> Body:
    count, number = int(call.query["count"]), int(call.query["startIndex"])
    return page(users[(number - 1) * count :][:count], len(users))


def from_zero(users: list[Body], call: Call) -> Body:
    start = int(call.query["startIndex"])
    return page(users[start:][: int(call.query["count"])], len(users))


#: Of a place's directory.
PAGE = 7
#: What the server does, and from how many accounts on no sweep is whole.
WRONG = {
    "one page, always": (lambda users, call: page(users[:3], len(users)), 4),
    "startIndex is the number of a page": (by_page_number, PAGE + 1),
    "startIndex begins at zero": (from_zero, 1),
    "totalResults is the page's": (lambda users, call: page(found := users[span(call)], len(found)), PAGE + 1),
    "nobody behind the first page": (
        lambda users, call: page(users[span(call)] if span(call).start == 0 else [], len(users)),
        PAGE + 1,
    ),
    "no totalResults and no end": (lambda users, call: page(users, None), 1),
}


@pytest.mark.parametrize(("shape", "fails_from"), WRONG.values(), ids=WRONG)
def test_what_a_sweep_fails_at_is_not_good(
    sloppy_place: Place, sloppy: Sloppy, shape: Callable[[list[Body], Call], Body], fails_from: int
) -> None:
    sloppy.scripted = listing(shape)
    for people in (0, 1, 2, 5, 30):
        fill(sloppy, people - len(sloppy.users))
        swept = True
        try:
            list(sloppy_place.directory.everyone())
        except AgentError:
            swept = False
        assert swept == (people < fails_from)
        # One account, or none, shows little: that is said, too.
        assert lines(sloppy_place)["remote listing"].state == ("warn" if swept else "fail"), people


def test_everybody_in_one_answer_is_a_whole_listing(sloppy_place: Place, sloppy: Sloppy) -> None:
    """It ignores startIndex and count: what it says of the total shows that nobody is missing."""
    fill(sloppy, 30)
    sloppy.scripted = listing(lambda users, call: page(users, len(users)))
    assert sum(map(len, sloppy_place.directory.everyone())) == 30
    told = lines(sloppy_place)["remote listing"]
    assert told.state == "warn"
    assert told.detail == (
        "ignores startIndex: every page is the first one; a sweep works as long as all accounts come in one answer, as these 30 do"
    )


@pytest.mark.parametrize("cursor", [False, True], ids=["index", "cursor"])
@pytest.mark.parametrize("people", [2, 3, 30])
def test_a_remote_that_does_all_as_it_should_is_good(
    sloppy_place: Place, sloppy: Sloppy, people: int, cursor: bool
) -> None:
    if cursor:
        sloppy.config["pagination"] = {"cursor": True, "index": False}
    fill(sloppy, people)
    assert {check.state.value for name, check in lines(sloppy_place).items() if name != "owners"} == {"ok"}


def test_a_cursor_that_leads_back_fails(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.config["pagination"] = {"cursor": True, "index": False}
    fill(sloppy, 30)
    sloppy.scripted = listing(lambda users, call: page(users[:7], 30) | {"nextCursor": "again"})
    assert lines(sloppy_place)["remote listing"].state == "fail"


def searching(found: Callable[[Sloppy, Call], Reply]) -> Callable[[Sloppy, Call], Reply | None]:
    return lambda server, call: found(server, call) if "filter" in call.query else None


SEARCHES = {
    "refused": (
        searching(lambda *_: error(400, "no filters here")),
        "warn",
        "(400: no filters here): to find one person",
    ),
    "ignored": (
        searching(lambda s, _: Reply(200, page(list(s.users.values()), 3))),
        "warn",
        "ignores a search by userName",
    ),
    "nobody": (searching(lambda *_: Reply(200, page([], 0))), "fail", "finds nobody by the userName"),
    "nobody by externalId": (
        lambda _, call: Reply(200, page([], 0)) if "externalId" in call.query.get("filter", "") else None,
        "warn",
        "finds nobody by the externalId",
    ),
    "always the first": (
        searching(lambda s, _: Reply(200, page(list(s.users.values())[:1], 1))),
        "warn",
        "where nobody has the userName",
    ),
    "404 for nobody": (
        lambda _, call: error(404, "nobody") if "nobody@" in call.query.get("filter", "") else None,
        "warn",
        "a search that finds nobody (404: nobody): to find one person",
    ),
    "fails": (searching(lambda *_: error(500, "beyond me")), "warn", "(500: beyond me): to find one person"),
    "by case": (
        lambda _, call: Reply(200, page([], 0)) if "PERSON" in call.query.get("filter", "") else None,
        "warn",
        "minds the case",
    ),
}


@pytest.mark.parametrize(("scripted", "state", "words"), SEARCHES.values(), ids=SEARCHES)
def test_searches_are_tried(
    sloppy_place: Place, sloppy: Sloppy, scripted: Callable[[Sloppy, Call], Reply | None], state: str, words: str
) -> None:
    fill(sloppy, 3)
    sloppy.scripted = scripted
    told = lines(sloppy_place)
    assert (told["remote search"].state, told["remote listing"].state) == (state, "ok")
    assert words in told["remote search"].detail


@pytest.mark.parametrize("reply", [error(404), Reply(200, {"id": "other", "userName": "x@example.com"})])
def test_an_account_that_a_list_shows_has_to_be_readable_by_its_id(
    sloppy_place: Place, sloppy: Sloppy, reply: Reply
) -> None:
    fill(sloppy, 3)
    sloppy.scripted = lambda _, call: reply if call.path.startswith("/Users/") else None
    assert lines(sloppy_place)["remote search"].state == "fail"


def test_a_remote_that_fails_at_count_is_told_in_its_own_words(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.scripted = lambda _, call: error(500, "count and int") if "count" in call.query else None
    told = lines(sloppy_place)["remote"]
    assert (told.state, "a list (startIndex, count) with 500: count and int" in told.detail) == ("fail", True)
    assert told.fix.startswith("It was asked several times; no waiting mends that.")


def test_a_list_that_ends_at_some_number_whatever_it_says_is_told(sloppy_place: Place, sloppy: Sloppy) -> None:
    """Its total is that number, and startIndex says nothing to it: only the accounts that are known show it."""
    for number in range(6):
        sloppy_place.post(f"p{number}@example.com", okta=okta_id(number))
    assert lines(sloppy_place)["remote listing"].state == "ok"
    sloppy.scripted = listing(lambda users, call: page(users[:4], 4))
    assert "leaves out" not in lines(sloppy_place)["remote listing"].detail, "it may lag behind who was made just now"
    sloppy_place.now += LAG + timedelta(minutes=1)
    told = lines(sloppy_place)["remote listing"]
    assert (told.state, "leaves out active accounts of Okta's people (2)" in told.detail) == ("warn", True)
    sloppy_place.directory.transport.pace = replace(sloppy_place.directory.transport.pace, one_by_one=1)
    told = lines(sloppy_place)["remote listing"]
    assert (told.state, "no sweep can be whole" in told.detail) == ("fail", True)
    for user_id in list(sloppy.users)[4:]:
        del sloppy.users[user_id]
    assert "leaves out" not in lines(sloppy_place)["remote listing"].detail


@pytest.mark.parametrize(("fixed", "state"), [("active", "fail"), ("userName", "warn"), ("title", None)])
@pytest.mark.parametrize("how", ["readOnly", "immutable"])
def test_schemas_in_which_nobody_can_be_deactivated_or_renamed_are_told(
    sloppy_place: Place, sloppy: Sloppy, fixed: str, state: str | None, how: str
) -> None:
    names = ("userName", "active", "title", "emails")
    attributes = [{"name": name, "mutability": how if name == fixed else "readWrite"} for name in names]
    schemas = Reply(200, {"Resources": [{"id": CORE, "attributes": attributes}]})
    sloppy.scripted = lambda _, call: schemas if call.path == "/Schemas" else None
    told = lines(sloppy_place).get("remote schemas")
    assert (told and told.state) == state
    assert told is None or f"{fixed} can't be changed" in told.detail
