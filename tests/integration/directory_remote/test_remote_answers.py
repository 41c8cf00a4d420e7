"""What a remote's answer to a write is worth: a yes, a no, a "busy", no answer; and that pushes are held to the same."""

from collections.abc import Callable

import pytest
import structlog
from places import RemotePlace
from sloppy import Call, Reply, Sloppy, error
from worlds import okta_id

from agent.model.codes import Source
from agent.model.errors import DirectoryUnavailable, NotDone
from agent.model.users import DirectoryUser

Hook = Callable[[Sloppy, Call], Reply | None]


def linked(place: RemotePlace, name: str = "ann@example.com", number: int = 1) -> DirectoryUser:
    return place.post(name, okta=okta_id(number)).user


def patches(answer: Callable[[Sloppy, Call], Reply]) -> Hook:
    return lambda server, call: answer(server, call) if call.method == "PATCH" else None


UNDONE = {
    "no answer": patches(lambda *_: Reply(cut=0)),
    "500": patches(lambda *_: error(500)),
    "a yes without effect": patches(lambda server, call: Reply(200, server.users[call.path[7:]])),
}


@pytest.mark.parametrize("wrong", UNDONE.values(), ids=UNDONE.keys())
def test_a_push_of_the_profile_that_never_came_about_is_not_called_applied(
    sloppy_place: RemotePlace, sloppy: Sloppy, wrong: Hook
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = wrong
    with pytest.raises(DirectoryUnavailable):
        sloppy_place.change(user, title="Clerk")
    assert sloppy_place.journal("applied") == ["create"]
    assert sloppy_place.journal("failed") == ["update"]
    sloppy.scripted = None
    assert sloppy_place.change(user, title="Clerk").user.profile.title == "Clerk"


def test_half_a_push_whose_answer_is_lost_twice_is_not_done(
    sloppy_place: RemotePlace, sloppy: Sloppy
) -> None:
    """Nobody said yes, so nothing may be missing; not even what is no userName and no switch."""
    user = linked(sloppy_place)

    def half(server: Sloppy, call: Call) -> Reply:
        server.users[user.id]["title"] = "Clerk"
        return Reply(cut=0)

    sloppy.scripted = patches(half)
    with pytest.raises(NotDone, match="twice"):
        sloppy_place.change(user, title="Clerk", nick_name="Annie")
    assert sloppy.count("PATCH") == 2


def test_what_a_remote_drops_of_a_push_is_in_the_log(sloppy_place: RemotePlace, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lambda server, _: server.users[user.id].pop("nickName", None) and None
    with structlog.testing.capture_logs() as said:
        sloppy_place.change(user, title="Clerk", nick_name="Annie")
    dropped = [line for line in said if "not kept" in line["event"]]
    assert [(line["directory_id"], line["attributes"]) for line in dropped] == [(user.id, ["nickName"])]
    assert "Annie" not in str(said)
    with pytest.raises(NotDone, match="nickName"):
        sloppy_place.change(user, source=Source.SWEEP, nick_name="Annie")
