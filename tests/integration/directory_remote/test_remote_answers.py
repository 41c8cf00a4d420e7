"""What a remote's answer to a write is worth: a yes, a no, a "busy", no answer; and that pushes are held to the same."""

from collections.abc import Callable
from typing import Any

import pytest
import structlog

from agent.model.codes import Source
from agent.model.errors import AnswerLost, DirectoryUnavailable, NotDone, NotFound
from agent.model.users import DirectoryUser
from agent.store import intents
from support.place import Place, okta_id
from support.sloppy import Call, Reply, Sloppy, error

Hook = Callable[[Sloppy, Call], Reply | None]


def linked(place: Place, name: str = "ann@example.com", number: int = 1) -> DirectoryUser:
    return place.post(name, okta=okta_id(number)).user


def patches(answer: Callable[[Sloppy, Call], Reply]) -> Hook:
    return lambda server, call: answer(server, call) if call.method == "PATCH" else None


UNDONE = {
    "no answer": patches(lambda *_: Reply(cut=0)),
    "500": lambda _, call: error(500) if call.writes else None,
    "a yes without effect": patches(lambda server, call: Reply(200, server.users[call.path[7:]])),
}


@pytest.mark.parametrize("wrong", UNDONE.values(), ids=UNDONE.keys())
def test_a_push_of_the_profile_that_never_came_about_is_not_called_applied(
    sloppy_place: Place, sloppy: Sloppy, wrong: Hook
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = wrong
    with pytest.raises(DirectoryUnavailable):
        sloppy_place.change(user, title="Clerk")
    assert sloppy_place.verbs("applied") == ["create"]
    assert sloppy_place.verbs("failed") == ["update"]
    sloppy.scripted = None
    assert sloppy_place.change(user, title="Clerk").user.profile.title == "Clerk"


def test_half_a_push_whose_answer_is_lost_twice_is_not_done(sloppy_place: Place, sloppy: Sloppy) -> None:
    """Nobody said yes, so nothing may be missing; not even what is no userName and no switch."""
    user = linked(sloppy_place)

    def half(server: Sloppy, call: Call) -> Reply:
        server.users[user.id]["title"] = "Clerk"
        return Reply(cut=0)

    sloppy.scripted = patches(half)
    with pytest.raises(NotDone, match="twice"):
        sloppy_place.change(user, title="Clerk", nick_name="Annie")
    assert sloppy.count("PATCH") == 2


def test_what_a_remote_drops_of_a_push_is_in_the_log(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lambda server, _: server.users[user.id].pop("nickName", None) and None
    with structlog.testing.capture_logs() as said:
        sloppy_place.change(user, title="Clerk", nick_name="Annie")
    dropped = [line for line in said if "not kept" in line["event"]]
    assert [(line["directory_id"], line["attributes"]) for line in dropped] == [(user.id, ["nickName"])]
    assert "Annie" not in str(said)
    assert not sloppy_place.change(user, source=Source.SWEEP, nick_name="Annie").changed


# Busy


def busy(times: int, method: str, **headers: str) -> Hook:
    left = [Reply(503, **headers)] * times
    return lambda _, call: left.pop() if call.method == method and left else None


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    pauses: list[float] = []
    monkeypatch.setattr("agent.directory.remote.patience.pause", lambda _stop, seconds: pauses.append(seconds))
    return pauses


def test_a_busy_remote_is_given_time_before_a_write_is_sent_again(
    sloppy_place: Place, sloppy: Sloppy, slept: list[float]
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = busy(4, "PATCH")
    assert sloppy_place.change(user, source=Source.SWEEP, title="Clerk").user.profile.title == "Clerk"
    assert sloppy.count("PATCH") == 5
    pauses = [pause for pause in slept if pause]
    assert len(pauses) >= 4
    assert pauses == sorted(pauses)
    sloppy.scripted = busy(4, "POST")
    linked(sloppy_place, "bob@example.com", 2)
    assert len(sloppy.users) == 2


@pytest.mark.parametrize("source", [Source.SWEEP, Source.PUSH])
def test_a_busy_remote_says_how_long_and_is_waited_for_as_far_as_patience_goes(
    sloppy_place: Place, sloppy: Sloppy, slept: list[float], source: Source
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = busy(1, "PATCH", **{"Retry-After": "7"})
    assert sloppy_place.change(user, source=source, title="Clerk").changed
    assert 7.0 in slept
    slept.clear()
    sloppy.scripted = busy(9, "PATCH", **{"Retry-After": "600"})
    with pytest.raises(NotDone, match="503 and asks to wait 600 s"):
        sloppy_place.change(user, source=source, title="Chief")
    assert max(slept, default=0) < 1
    assert sloppy_place.verbs("failed") == ["update"]


def test_a_sending_that_fails_behind_a_lost_one_leaves_the_outcome_open(
    sloppy_place: Place, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one was never sent; the first may still arrive, so nothing is given back."""
    user = linked(sloppy_place)
    write = sloppy_place.directory.transport.write
    sent: list[str] = []

    def second_fails(*args: Any, **more: Any) -> Any:
        sent.append(args[0])
        if len(sent) == 2:
            raise DirectoryUnavailable("can't be reached")
        return write(*args, **more)

    monkeypatch.setattr(sloppy_place.directory.transport, "write", second_fails)
    sloppy.scripted = patches(lambda *_: Reply(cut=0))
    with pytest.raises(AnswerLost):
        sloppy_place.change(user, active=False)
    with sloppy_place.store.read() as conn:
        assert len(intents.open_intents(conn)) == 1


# A method that isn't there


@pytest.mark.parametrize("reply", [Reply(404, raw=b"<h1>Not Found"), error(404), error(405), error(500), error(501)])
def test_a_patch_that_is_not_routed_becomes_a_put(sloppy_place: Place, sloppy: Sloppy, reply: Reply) -> None:
    user = linked(sloppy_place)
    sloppy.users[user.id]["badge"] = "B-12"
    sloppy.scripted = patches(lambda *_: reply)
    sloppy_place.change(user, title="Clerk")
    sloppy_place.change(user, title="Chief")
    assert (sloppy.users[user.id]["title"], sloppy.users[user.id]["badge"]) == ("Chief", "B-12")
    assert (sloppy.count("PATCH"), sloppy.count("PUT")) == (1, 2)


def test_a_patch_of_an_account_that_is_gone_stays_a_404(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = patches(lambda server, _: server.users.clear() or error(404))
    with pytest.raises(NotFound):
        sloppy_place.change(user, title="Clerk")
    assert sloppy.count("PUT") == 0
