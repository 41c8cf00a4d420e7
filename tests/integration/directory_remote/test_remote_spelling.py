"""A remote that minds the case of userNames: nobody gets a second account because a name is written otherwise."""

from collections.abc import Callable

import pytest

from agent.model.codes import RefusalCode, Source
from agent.model.errors import DirectoryUnavailable, Refused, Unreadable
from support.place import Place, okta_id
from support.sloppy import Call, Reply, Sloppy

THERE, ASKED = "Zoe.Big@Example.com", "zoe.big@example.com"


def exact(server: Sloppy, call: Call) -> Reply | None:
    """Filter and uniqueness as written."""
    wanted = call.query.get("filter", "")
    if call.method == "GET" and wanted.startswith("userName eq "):
        name = wanted.removeprefix("userName eq ").strip('"')
        found = [user for user in server.users.values() if user["userName"] == name]
        return Reply(200, {"totalResults": len(found), "Resources": found})
    if call.method == "POST" and all(call.body["userName"] != u["userName"] for u in server.users.values()):
        made = server.add(str(call.body["userName"]), **{k: v for k, v in call.body.items() if k != "id"})
        return Reply(201, server.users[made])
    return None


@pytest.fixture
def exact_remote(sloppy: Sloppy) -> Sloppy:
    for number in range(9):
        sloppy.add(f"p{number}@example.com")
    sloppy.add(THERE)
    sloppy.scripted = exact
    return sloppy


def listings(sloppy: Sloppy) -> int:
    return sum(not call.writes and call.path == "/Users" and "filter" not in call.query for call in sloppy.calls)


@pytest.mark.parametrize("source", [Source.PUSH, Source.SWEEP])
def test_no_second_account_is_made_where_only_case_differs(
    sloppy_place: Place, exact_remote: Sloppy, source: Source
) -> None:
    with pytest.raises(Refused) as caught:
        sloppy_place.post(ASKED, okta=okta_id(1), source=source)
    assert caught.value.reason is RefusalCode.UNIQUENESS
    assert exact_remote.count("POST") == 0


def test_okta_s_own_search_finds_the_account(sloppy_place: Place, exact_remote: Sloppy) -> None:
    found = sloppy_place.directory.find(user_name_key=ASKED)
    assert found is not None
    assert found.user_name == THERE


def test_one_listing_answers_for_many_names(sloppy_place: Place, exact_remote: Sloppy) -> None:
    sloppy_place.post("first@example.com")
    before = listings(exact_remote)
    for number in range(5):
        sloppy_place.post(f"new{number}@example.com")
    assert listings(exact_remote) == before
    assert sloppy_place.directory.find(user_name_key=ASKED) is not None


def test_a_remembered_account_that_got_another_name_is_not_taken_for_the_old_one(
    sloppy_place: Place, exact_remote: Sloppy
) -> None:
    found = sloppy_place.directory.find(user_name_key=ASKED)
    assert found is not None
    exact_remote.users[found.id]["userName"] = "Zoe.Small@Example.com"
    assert sloppy_place.directory.find(user_name_key=ASKED) is None
    assert sloppy_place.post(ASKED, okta=okta_id(1)).created


def test_a_remote_that_folds_case_is_tried_once_and_never_listed(sloppy_place: Place, sloppy: Sloppy) -> None:
    for number in range(30):
        sloppy.add(f"p{number}@example.com")
    for number in range(3):
        sloppy_place.post(f"new{number}@example.com")
    assert listings(sloppy) == 1


def test_while_nobody_can_be_told_apart_nothing_is_made(sloppy_place: Place, exact_remote: Sloppy) -> None:
    """The listing that would tell is not whole."""
    exact_remote.shape_list = lambda body: body | {"totalResults": 99}
    with pytest.raises(DirectoryUnavailable):
        sloppy_place.post(ASKED, okta=okta_id(1))
    assert exact_remote.count("POST") == 0


def no_lists(server: Sloppy, call: Call) -> Reply | None:
    others = call.path != "/Users" or call.writes or "filter" in call.query
    return exact(server, call) if others else Reply(403)


def no_answer_to_the_trial(server: Sloppy, call: Call) -> Reply | None:
    return Reply(418) if "P0@EXAMPLE.COM" in call.query.get("filter", "") else exact(server, call)


@pytest.mark.parametrize("failing", [no_lists, no_answer_to_the_trial])
def test_a_trial_that_failed_is_made_again(
    sloppy_place: Place, exact_remote: Sloppy, failing: Callable[[Sloppy, Call], Reply | None]
) -> None:
    exact_remote.scripted = failing
    with pytest.raises(DirectoryUnavailable):
        sloppy_place.directory.find(user_name_key=ASKED)
    exact_remote.scripted = exact
    with pytest.raises(Refused):
        sloppy_place.post(ASKED, okta=okta_id(1))
    assert exact_remote.count("POST") == 0


def test_whoever_was_the_first_one_there_is_tried_with(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.scripted = exact
    assert sloppy_place.directory.find(user_name_key=ASKED) is None
    sloppy.add(THERE)
    with pytest.raises(Refused):
        sloppy_place.post(ASKED, okta=okta_id(1))
    assert sloppy.count("POST") == 0


def test_who_shares_a_name_with_two_others_gets_no_third_account(sloppy_place: Place, exact_remote: Sloppy) -> None:
    exact_remote.add(THERE.upper())
    sloppy_place.directory.refresh(lambda *_: None)
    with pytest.raises(Unreadable):
        sloppy_place.post(ASKED, okta=okta_id(1))
    assert exact_remote.count("POST") == 0
