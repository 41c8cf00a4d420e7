"""A deactivation counts until a read proves that it was not carried out, whatever the remote says or shows meanwhile."""

import itertools
from collections.abc import Callable

import pytest
from sqlalchemy import text

from agent.model.codes import RefusalCode, Source
from agent.model.errors import AnswerLost, DirectoryUnavailable, NotDone, Refused, RemoteRefused
from agent.model.users import DirectoryUser
from agent.settings import GuardSettings
from agent.store import intents, windows
from agent.store.engine import Store
from support.place import OVER, OWNERS, Place, okta_id, remote_place
from support.remotes import Remote
from support.sloppy import KEY, Call, Reply, Sloppy, error

Hook = Callable[[Sloppy, Call], Reply | None]


def state(place: Place) -> tuple[int, int]:
    """Open intents; deactivations that count."""
    with place.store.read() as conn:
        return len(intents.open_intents(conn)), windows.counts(conn, place.now).last_day


def linked(place: Place, name: str = "ann@example.com", number: int = 1) -> DirectoryUser:
    return place.post(name, okta=okta_id(number)).user


def hides_inactive(server: Sloppy, call: Call) -> Reply | None:
    """By id and in lists."""
    kept = {user_id: user for user_id, user in server.users.items() if user["active"]}
    if call.method != "GET":
        return None
    if call.path == "/Users":
        server.stale = kept
        return None
    return error(404) if call.path.startswith("/Users/") and call.path[7:] not in kept else None


def garbled(server: Sloppy, call: Call) -> Reply | None:
    """Once an account is inactive, it is no SCIM any more."""
    user = server.users.get(call.path.removeprefix("/Users/"))
    if call.method != "GET" or user is None or user["active"]:
        return None
    return Reply(200, user | {"emails": "nonsense"})


def stale(server: Sloppy, call: Call) -> Reply | None:
    """Reads show accounts as active for as long as this is in force."""
    user = server.users.get(call.path.removeprefix("/Users/"))
    return Reply(200, user | {"active": True}) if call.method == "GET" and user is not None else None


def test_an_account_that_a_remote_hides_once_inactive_is_deactivated(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = hides_inactive
    done = sloppy_place.change(user, active=False)
    assert (done.changed, done.user.id, done.user.active) == (True, user.id, False)
    assert done.user.profile == user.profile
    assert sloppy_place.verbs("applied")[-1] == "deactivate"
    assert state(sloppy_place) == (0, 1)


@pytest.mark.parametrize(("lies", "error_type"), [(garbled, AnswerLost), (stale, NotDone)], ids=["unreadable", "stale"])
def test_a_yes_whose_read_back_shows_nothing_counts_until_a_later_read_shows_it(
    sloppy_place: Place, sloppy: Sloppy, lies: Hook, error_type: type[DirectoryUnavailable]
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lies
    with pytest.raises(error_type):
        sloppy_place.change(user, active=False)
    assert state(sloppy_place) == (1, 1)
    assert sloppy_place.directory.read_back(sloppy_place.now) == 1
    sloppy.scripted = None
    assert sloppy_place.directory.read_back(sloppy_place.now) == 0
    assert state(sloppy_place) == (0, 1)
    assert sloppy_place.verbs("failed") == []
    assert sloppy_place.verbs("applied")[-1] == "deactivate"


def test_a_yes_that_did_nothing_gives_its_count_back_once_nothing_can_arrive(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lambda _, call: Reply(200, {}) if call.method == "PATCH" else None
    with pytest.raises(NotDone, match="active"):
        sloppy_place.change(user, active=False)
    assert state(sloppy_place) == (1, 1)
    with pytest.raises(DirectoryUnavailable, match="under way"):
        sloppy_place.change(user, active=False)
    assert sloppy_place.directory.read_back(sloppy_place.now + OVER) == 0
    assert state(sloppy_place) == (0, 0)
    assert sloppy_place.verbs("failed") == ["deactivate"]


def test_a_deactivation_of_which_the_rest_became_something_else_is_one(sloppy_place: Place, sloppy: Sloppy) -> None:
    """A sweep's change of both: the title never came."""
    user = linked(sloppy_place)
    titles = (f"Somebody's {n}" for n in itertools.count())
    sloppy.scripted = lambda server, _: server.users[user.id].update(title=next(titles))
    with pytest.raises(NotDone, match="title"):
        sloppy_place.change(user, source=Source.SWEEP, active=False, title="Clerk")
    assert state(sloppy_place) == (1, 1)
    assert sloppy_place.directory.read_back(sloppy_place.now + OVER) == 0
    assert state(sloppy_place) == (0, 1)


@pytest.mark.parametrize("lies", [hides_inactive, garbled, stale], ids=["hidden", "unreadable", "stale"])
def test_the_limit_of_pushed_deactivations_holds_whatever_the_read_back_shows(
    sqlite_store: Store, sloppy: Sloppy, lies: Hook
) -> None:
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), GuardSettings()) as place:
        people = [linked(place, f"p{number}@example.com", number) for number in range(12)]
        for _ in place.directory.everyone():
            pass
        sloppy.scripted = lies
        for user in people[:9]:
            try:
                place.change(user, active=False)
            except Refused as refused:
                assert refused.reason is RefusalCode.PUSH_BURST
            except DirectoryUnavailable:
                pass
        assert sum(not user["active"] for user in sloppy.users.values()) == 3
        assert state(place)[1] == 3
        place.remote.client.close()


def test_a_no_that_was_carried_out_all_the_same_counts(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)

    def says_no(server: Sloppy, call: Call) -> Reply | None:
        if call.method != "PATCH":
            return None
        server.apply(call)
        return error(400)

    sloppy.scripted = says_no
    assert not sloppy_place.change(user, active=False).user.active
    assert state(sloppy_place) == (0, 1)


def test_a_no_whose_truth_cannot_be_read_counts(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    said: list[Call] = []

    def says_no(server: Sloppy, call: Call) -> Reply | None:
        if call.method == "PATCH":
            said.append(call)
            return error(400)
        return Reply(200, server.users[user.id] | {"emails": "nonsense"}) if said else None

    sloppy.scripted = says_no
    with pytest.raises(AnswerLost, match="isn't known"):
        sloppy_place.change(user, active=False)
    assert state(sloppy_place) == (1, 1)


def test_a_no_that_a_read_confirms_gives_its_count_back_at_once(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lambda _, call: error(400, "not on Mondays") if call.method == "PATCH" else None
    with pytest.raises(RemoteRefused, match="not on Mondays"):
        sloppy_place.change(user, active=False)
    assert state(sloppy_place) == (0, 0)


def test_a_404_is_not_believed_while_a_search_still_finds_the_account(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    gone: list[Call] = []

    def confused(_: Sloppy, call: Call) -> Reply | None:
        if call.method == "PATCH":
            gone.append(call)
        return error(404) if gone and call.path == f"/Users/{user.id}" else None

    sloppy.scripted = confused
    with pytest.raises(AnswerLost, match="by name"):
        sloppy_place.change(user, active=False)
    assert state(sloppy_place) == (1, 1)
    assert sloppy_place.verbs("applied")[-1] == "create"


def test_a_lost_deactivation_of_an_account_that_is_gone_is_done(
    sloppy_place: Place, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.directory.remote.caller.READ_BACK", 0.2)
    user = linked(sloppy_place)
    down: list[Call] = []

    def lost(server: Sloppy, call: Call) -> Reply | None:
        if call.method == "PATCH":
            server.apply(call)
            down.append(call)
        return Reply(cut=0) if down else None

    sloppy.scripted = lost
    with pytest.raises(AnswerLost):
        sloppy_place.change(user, active=False)
    sloppy.scripted = hides_inactive
    assert sloppy_place.directory.read_back(sloppy_place.now) == 0
    assert state(sloppy_place) == (0, 1)
    with sloppy_place.store.read() as conn:
        row = conn.execute(text("select verb, kind from journal order by id desc limit 1")).one()
    assert tuple(row) == ("deactivate", "applied")


@pytest.mark.parametrize("name", ["ann@example.com", OWNERS[0]])
def test_a_post_for_somebody_who_was_given_access_meanwhile_is_refused_like_any_other(
    sloppy_place: Place, sloppy: Sloppy, name: str
) -> None:
    sloppy_place.owner(OWNERS[1])
    user = sloppy_place.post(name, okta=okta_id(1), title="Clerk").user
    sloppy_place.change(user, active=False)
    reads: list[Call] = []

    def active_at_the_second_look(server: Sloppy, call: Call) -> None:
        reads.extend([call] if call.path == f"/Users/{user.id}" else [])
        if len(reads) == 2:
            server.users[user.id] |= {"active": True, "meta": {"version": 'W/"9"'}}

    sloppy.scripted = active_at_the_second_look
    refused = sloppy_place.refused(lambda: sloppy_place.post(name, okta=okta_id(1), title="Chief"))
    assert (refused, sloppy.users[user.id]["title"]) == (RefusalCode.UNIQUENESS, "Clerk")
