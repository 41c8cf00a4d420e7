"""Writes to a remote that lies, loses answers, moves, or knows no PATCH; intents before and outcomes after."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from agent.directory.remote.unfinished import GRACE
from agent.model.codes import ActionKind, RefusalCode, Source
from agent.model.errors import (
    AnswerLost,
    DirectoryUnavailable,
    NotDone,
    Refused,
    RemoteRefused,
    UsageError,
    VersionConflict,
)
from agent.model.paths import EMAIL_PATH
from agent.model.users import DirectoryUser, Role
from agent.settings import GuardSettings
from agent.store import attention, intents, windows
from agent.store.engine import Store
from support.place import OVER, OWNERS, Place, action, draft, okta_id, remote_place
from support.remotes import Held, Remote
from support.sloppy import KEY, Call, Reply, Sloppy, error


def bodies(sloppy: Sloppy, method: str) -> list[dict]:
    return [call.body for call in sloppy.calls if call.method == method]


def linked(place: Place, name: str = "ann@example.com", number: int = 1) -> DirectoryUser:
    return place.post(name, okta=okta_id(number)).user


def open_intents(place: Place) -> int:
    with place.store.read() as conn:
        return len(intents.open_intents(conn))


def deactivations(place: Place) -> int:
    with place.store.read() as conn:
        return windows.counts(conn, place.now).last_day


# The smallest write


def test_a_patch_names_only_what_differs(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy_place.change(user, title="Clerk")
    sloppy_place.change(user, active=False)
    assert [body["Operations"] for body in bodies(sloppy, "PATCH")] == [
        [{"op": "add", "path": "title", "value": "Clerk"}],
        [{"op": "replace", "path": "active", "value": False}],
    ]


@pytest.mark.parametrize("patch", [True, False])
def test_what_the_agent_does_not_know_survives_an_update(sloppy_place: Place, sloppy: Sloppy, patch: bool) -> None:
    sloppy.config["patch"]["supported"] = patch
    user = linked(sloppy_place)
    raw = sloppy.users[user.id]
    raw["urn:example:params:scim:schemas:extension:Desk"] = {"floor": 7}
    raw["badge"] = "B-12"
    raw["roles"] = [{"value": "editor"}]
    raw["emails"][0]["verified"] = True
    sloppy_place.change(user, title="Clerk", display_name="Ann")
    after = sloppy.users[user.id]
    assert (after["title"], after["displayName"]) == ("Clerk", "Ann")
    assert after["urn:example:params:scim:schemas:extension:Desk"] == {"floor": 7}
    assert (after["badge"], after["roles"], after["emails"][0]["verified"]) == ("B-12", [{"value": "editor"}], True)
    assert (sloppy.count("PATCH"), sloppy.count("PUT")) == ((1, 0) if patch else (0, 1))


def test_a_remote_that_refuses_patch_unannounced_gets_put_from_then_on(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.config = {}
    sloppy.scripted = lambda _, call: error(501) if call.method == "PATCH" else None
    user = linked(sloppy_place)
    sloppy_place.change(user, title="Clerk")
    sloppy_place.change(user, title="Chief")
    assert sloppy.users[user.id]["title"] == "Chief"
    assert (sloppy.count("PATCH"), sloppy.count("PUT")) == (1, 2)


def test_an_external_id_of_somebody_else_is_never_overwritten(sloppy_place: Place, sloppy: Sloppy) -> None:
    user_id = sloppy.add("ann@example.com", externalId="HR-4711")
    sloppy_place.acts().link(user_id, okta_id(1))
    user = sloppy_place.directory.get(user_id)
    assert user is not None
    assert (user.okta_id, user.managed) == (okta_id(1), True)
    sloppy_place.change(user, title="Clerk")
    assert (sloppy.users[user_id]["externalId"], sloppy.users[user_id]["title"]) == ("HR-4711", "Clerk")
    assert sloppy_place.directory.find(okta_id=okta_id(1)) == sloppy_place.get(user)
    listed = [u for page in sloppy_place.directory.everyone() for u in page]
    assert [u.okta_id for u in listed] == [okta_id(1)]


def test_a_remote_that_keeps_no_external_id_is_linked_by_the_store(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.shape_user = lambda user: {key: value for key, value in user.items() if key != "externalId"}
    user = linked(sloppy_place)
    sloppy_place.change(user, title="Clerk")
    assert sloppy_place.get(user).okta_id == okta_id(1)
    assert sloppy_place.directory.find(okta_id=okta_id(1)) == sloppy_place.get(user)


# Races


def test_if_match_makes_a_lost_race_run_again_on_fresh_data(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    raced = []
    names = iter(["Annie", "Nan"])

    def race(server: Sloppy, call: Call) -> None:
        if call.method == "PATCH" and not raced:
            raced.append(call)
            server.users[user.id] |= {"nickName": next(names), "meta": {"version": 'W/"99"'}}

    sloppy.scripted = race
    changed = sloppy_place.change(user, title="Clerk")
    assert (changed.user.profile.title, changed.user.profile.nick_name) == ("Clerk", "Annie")
    assert sloppy.count("PATCH") == 2
    raced.clear()
    with pytest.raises(VersionConflict):
        sloppy_place.change(user, title="Chief", version=changed.user.version)
    assert sloppy.users[user.id]["title"] == "Clerk"
    assert open_intents(sloppy_place) == 0


# The remote says no


def test_the_remotes_own_words_come_back(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lambda _, call: error(400, "titles are closed for the season") if call.writes else None
    with pytest.raises(RemoteRefused) as caught:
        sloppy_place.change(user, title="Clerk")
    assert (caught.value.status, caught.value.detail) == (400, "titles are closed for the season")
    with pytest.raises(RemoteRefused) as caught:
        sloppy_place.post("new@example.com", okta=okta_id(2))
    assert caught.value.status == 400
    assert sloppy_place.verbs("refused") == ["update", "create"]
    assert open_intents(sloppy_place) == 0


@pytest.mark.parametrize("source", [Source.PUSH, Source.SWEEP])
def test_a_leaver_is_deactivated_where_the_remote_refuses_what_came_with_it(
    sloppy_place: Place, sloppy: Sloppy, source: Source
) -> None:
    user = linked(sloppy_place)
    immutable = error(400, "userName is immutable", "mutability")
    sloppy.scripted = lambda _, call: immutable if call.writes and "userName" in str(call.body) else None
    with pytest.raises(RemoteRefused, match="immutable"):
        sloppy_place.change(user, source=source, user_name="new@example.com")
    after = sloppy_place.change(user, source=source, active=False, user_name="new@example.com", title="Gone").user
    assert (after.active, after.user_name, sloppy.users[user.id]["active"]) == (False, user.user_name, False)
    assert deactivations(sloppy_place) == 1
    assert open_intents(sloppy_place) == 0


def test_a_leavers_name_that_differs_in_case_alone_does_not_keep_the_access(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    user = linked(sloppy_place)
    immutable = error(400, "userName is immutable", "mutability")
    sloppy.scripted = lambda _, call: immutable if call.writes and "userName" in str(call.body) else None
    after = sloppy_place.change(user, active=False, user_name=user.user_name.upper()).user
    assert (after.active, sloppy.users[user.id]["active"]) == (False, False)


def test_a_leaver_whom_the_remote_refuses_to_deactivate_stays_with_its_first_words(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lambda _, call: (
        error(400, f"no {len(call.body['Operations'])} changes") if call.method == "PATCH" else None
    )
    with pytest.raises(RemoteRefused, match="no 2 changes"):
        sloppy_place.change(user, active=False, title="Gone")
    assert [len(body["Operations"]) for body in bodies(sloppy, "PATCH")] == [2, 1]
    assert deactivations(sloppy_place) == 0


def test_a_refused_deactivation_gives_its_count_back(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lambda _, call: error(409, "not now") if call.writes else None
    with pytest.raises(Refused):
        sloppy_place.change(user, active=False)
    assert deactivations(sloppy_place) == 0
    sloppy.scripted = None
    sloppy_place.change(user, active=False)
    assert deactivations(sloppy_place) == 1


# Owners


def test_without_known_owners_only_deactivations_are_held(sqlite_store: Store, sloppy: Sloppy) -> None:
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), owners=()) as place:
        user = linked(place)
        place.change(user, title="Clerk")
        with pytest.raises(Refused) as caught:
            place.change(user, active=False)
        assert (caught.value.reason, caught.value.retry_after) == (RefusalCode.OWNERS_UNKNOWN, 300)
        assert sloppy.users[user.id]["active"]
        assert not place.directory.owners_known
        place.remote.client.close()


def test_the_remotes_roles_protect_its_last_owner(sqlite_store: Store, sloppy: Sloppy) -> None:
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), owners=()) as place:
        first, second = linked(place, "a@example.com", 1), linked(place, "b@example.com", 2)
        for user in (first, second):
            sloppy.users[user.id]["roles"] = [{"value": "owner"}]
        gone = place.change(first, active=False).user
        # Nothing is said about demotion: the remote goes on calling it an owner.
        assert gone.role is Role.OWNER
        with pytest.raises(Refused) as caught:
            place.change(second, active=False)
        assert caught.value.reason is RefusalCode.LAST_OWNER
        place.remote.client.close()


def test_roles_are_nothing_that_scim_changes(sloppy_place: Place) -> None:
    user = linked(sloppy_place)
    acts = sloppy_place.acts()
    calls: list[Callable[[], object]] = [
        lambda: acts.set_role(user.id, Role.OWNER),
        lambda: acts.handover(user.id, user.id),
        lambda: acts.add("new@example.com", owner=True),
    ]
    for call in calls:
        with pytest.raises(UsageError) as caught:
            call()
        assert caught.value.exit_code == 2
    assert acts.add("new@example.com").user_name == "new@example.com"


# F-21: a time-out after which nobody knows


@pytest.mark.parametrize("seed", range(6))
def test_f21_a_lost_answer_to_a_create_makes_one_account(sloppy_place: Place, sloppy: Sloppy, seed: int) -> None:
    """The server does the write, or doesn't, and drops the answer; half and half."""
    did = [bool(seed & 1), bool(seed & 2)]

    def drop(server: Sloppy, call: Call) -> Reply | None:
        if call.method == "POST" and did:
            if did.pop():
                server.apply(call)
            return Reply(cut=0)
        return None

    sloppy.scripted = drop
    expected = any(did)
    try:
        made = linked(sloppy_place)
    except NotDone:
        assert not expected
        assert sloppy.users == {}
    else:
        assert [user["userName"] for user in sloppy.users.values()] == ["ann@example.com"]
        assert (sloppy_place.get(made).okta_id, made.managed) == (okta_id(1), True)
    assert open_intents(sloppy_place) == 0


def test_f21_a_lost_answer_to_a_create_is_looked_up_before_anything_is_sent_again(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    sloppy.scripted = lambda server, call: server.apply(call) and Reply(cut=0) if call.method == "POST" else None
    linked(sloppy_place)
    after = sloppy.calls[next(i for i, call in enumerate(sloppy.calls) if call.method == "POST") + 1 :]
    assert sloppy.count("POST") == 1
    assert 'externalId eq "' in after[0].query["filter"]


def test_f21_somebody_elses_account_of_that_name_is_not_taken_for_the_lost_create(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    def overtaken(server: Sloppy, call: Call) -> Reply | None:
        if call.method == "POST" and not server.users:
            server.add("ann@example.com", externalId="somebody-else")
            return Reply(cut=0)
        return None

    sloppy.scripted = overtaken
    with pytest.raises(Refused) as caught:
        linked(sloppy_place)
    assert caught.value.reason is RefusalCode.UNIQUENESS
    (only,) = sloppy.users.values()
    assert only["externalId"] == "somebody-else"


def lose_first_patch(*, did: bool) -> Callable[[Sloppy, Call], Reply | None]:
    dropped: list[Call] = []

    def drop(server: Sloppy, call: Call) -> Reply | None:
        if call.method == "PATCH" and not dropped:
            dropped.append(call)
            if did:
                server.apply(call)
            return Reply(cut=0)
        return None

    return drop


@pytest.mark.parametrize("did", [True, False])
def test_f21_a_lost_answer_to_an_update_is_read_back(sloppy_place: Place, sloppy: Sloppy, did: bool) -> None:
    user = linked(sloppy_place)
    sloppy.scripted = lose_first_patch(did=did)
    changed = sloppy_place.change(user, active=False)
    assert not changed.user.active
    assert sloppy.count("PATCH") == (1 if did else 2)
    assert (deactivations(sloppy_place), open_intents(sloppy_place)) == (1, 0)


@pytest.mark.parametrize("source", [Source.PUSH, Source.SWEEP])
@pytest.mark.parametrize("did", [True, False])
def test_f21_a_lost_answer_to_a_change_of_the_profile_is_read_back_too(
    sloppy_place: Place, sloppy: Sloppy, did: bool, source: Source
) -> None:
    """Of a push, userName and active decide; where it brought neither, the rest has to."""
    user = linked(sloppy_place)
    sloppy.scripted = lose_first_patch(did=did)
    changed = sloppy_place.change(user, source=source, title="Clerk")
    assert (changed.user.profile.title, sloppy.users[user.id]["title"]) == ("Clerk", "Clerk")
    assert sloppy.count("PATCH") == (1 if did else 2)


def test_f21_a_push_whose_answer_was_lost_is_sent_again_for_whatever_is_missing(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    user = linked(sloppy_place)
    lose = lose_first_patch(did=True)

    def lose_and_drop(server: Sloppy, call: Call) -> Reply | None:
        reply = lose(server, call)
        server.users[user.id].pop("nickName", None)
        return reply

    sloppy.scripted = lose_and_drop
    changed = sloppy_place.change(user, title="Clerk", nick_name="Annie")
    # The second sending got its yes, and only of that may the remote drop something.
    assert (changed.user.profile.title, changed.user.profile.nick_name) == ("Clerk", None)
    assert sloppy.count("PATCH") == 2


def down_after_write(user_id: str, *, did: bool) -> Callable[[Sloppy, Call], Reply | None]:
    """The write arrives (or not), and from then on nothing answers."""
    down: list[bool] = []

    def hook(server: Sloppy, call: Call) -> Reply | None:
        if call.method == "PATCH" and not down:
            if did:
                server.apply(call)
            down.append(True)
        return Reply(cut=0) if down else None

    return hook


@pytest.mark.parametrize("did", [True, False])
def test_an_unknown_outcome_counts_until_it_is_read_back(
    sloppy_place: Place, sloppy: Sloppy, did: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.directory.remote.caller.READ_BACK", 0.2)
    user = linked(sloppy_place)
    sloppy.scripted = down_after_write(user.id, did=did)
    with pytest.raises(AnswerLost):
        sloppy_place.change(user, active=False)
    assert (open_intents(sloppy_place), deactivations(sloppy_place)) == (1, 1)
    with sloppy_place.store.read() as conn:
        waiting = attention.due(conn, sloppy_place.now + timedelta(minutes=2), 10)
    assert [(row.reason, row.directory_id) for row in waiting] == [(attention.REMOTE_DOWN, user.id)]
    sloppy.scripted = None
    assert sloppy_place.directory.read_back(sloppy_place.now) == (0 if did else 1)
    later = sloppy_place.now + OVER
    assert sloppy_place.directory.read_back(later) == 0
    assert (open_intents(sloppy_place), deactivations(sloppy_place)) == (0, int(did))
    assert sloppy_place.verbs("applied" if did else "failed")[-1] == "deactivate"


def test_a_remote_that_is_down_is_not_asked_about_each_call_in_doubt(
    sloppy_place: Place, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.directory.remote.caller.READ_BACK", 0.05)
    monkeypatch.setattr("agent.directory.remote.unfinished.READ_BACK", 0.05)
    for number in range(6):
        user = linked(sloppy_place, f"p{number}@example.com", number)
        sloppy.scripted = down_after_write(user.id, did=True)
        with pytest.raises(AnswerLost):
            sloppy_place.change(user, active=False)
        sloppy.scripted = None
    sloppy.calls.clear()
    sloppy.scripted = lambda *_: Reply(cut=0)
    assert sloppy_place.directory.read_back(sloppy_place.now) == 6
    assert len({call.path for call in sloppy.calls}) == 3
    sloppy.scripted = None
    assert sloppy_place.directory.read_back(sloppy_place.now) == 0
    assert deactivations(sloppy_place) == 6


def test_one_account_that_cannot_be_read_keeps_no_other_call_in_doubt(
    sloppy_place: Place, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.directory.remote.caller.READ_BACK", 0.05)
    users = [linked(sloppy_place, f"p{number}@example.com", number) for number in range(2)]
    for user in users:
        sloppy.scripted = down_after_write(user.id, did=True)
        with pytest.raises(AnswerLost):
            sloppy_place.change(user, active=False)
        sloppy.scripted = None
    emails = sloppy.users[users[0].id].pop("emails")
    sloppy.users[users[0].id]["emails"] = "nonsense"
    assert sloppy_place.directory.read_back(sloppy_place.now) == 1
    sloppy.users[users[0].id]["emails"] = emails
    assert sloppy_place.directory.read_back(sloppy_place.now) == 0


def test_another_agents_call_that_may_still_arrive_is_waited_for(
    sloppy_place: Place, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.directory.remote.caller.READ_BACK", 0.2)
    user = linked(sloppy_place)
    sloppy.scripted = down_after_write(user.id, did=False)
    with pytest.raises(AnswerLost):
        sloppy_place.change(user, active=False)
    sloppy.scripted = None
    with remote_place(sloppy_place.store, Remote(sloppy.url, KEY)) as other:
        with pytest.raises(DirectoryUnavailable, match="under way"):
            other.change(user, title="Clerk")
        other.now += GRACE
        assert other.change(user, title="Clerk").user.active
        assert deactivations(other) == 0
        other.remote.client.close()


def test_an_owner_whose_end_is_in_doubt_counts_as_gone(
    sloppy_place: Place, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.directory.remote.caller.READ_BACK", 0.2)
    first, second = (sloppy_place.owner(name) for name in OWNERS)
    sloppy.scripted = down_after_write(first.id, did=False)
    with pytest.raises(AnswerLost):
        sloppy_place.change(first, active=False)
    sloppy.scripted = None
    with pytest.raises(Refused) as caught:
        sloppy_place.change(second, active=False)
    assert caught.value.reason is RefusalCode.LAST_OWNER
    sloppy_place.now += OVER
    sloppy_place.directory.read_back(sloppy_place.now)
    assert not sloppy_place.change(second, active=False).user.active


def test_a_process_that_stood_still_does_not_send_what_was_given_up(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)

    def gave_up(*_: object) -> None:
        with sloppy_place.store.read() as conn:
            (intent,) = intents.open_intents(conn)
        sloppy_place.store.write(lambda conn: intents.end(conn, intent.id, intents.UNDONE, sloppy_place.now))

    wait = sloppy_place.directory.transport.budget.wait
    sloppy.scripted = lambda _, call: None
    calls: list[int] = []

    def stand_still() -> bool:
        calls.append(1)
        if len(calls) == 2:  # the read, then the write
            gave_up()
        return wait()

    sloppy_place.directory.transport.budget.wait = stand_still  # type: ignore[method-assign]
    with pytest.raises(DirectoryUnavailable, match="Nothing more was sent"):
        sloppy_place.change(user, title="Clerk")
    assert sloppy.count("PATCH") == 0
    assert "title" not in sloppy.users[user.id]


# F-22: a yes that means nothing


def test_f22_a_yes_that_did_nothing_is_a_failure(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)

    def lie(server: Sloppy, call: Call) -> Reply | None:
        if call.method != "PATCH":
            return None
        told = server.users[call.path.removeprefix("/Users/")] | {"title": "Clerk", "active": False}
        return Reply(200, told)

    sloppy.scripted = lie
    with pytest.raises(NotDone, match="title"):
        sloppy_place.change(user, source=Source.SWEEP, title="Clerk")
    with pytest.raises(NotDone, match="active"):
        sloppy_place.change(user, active=False)
    assert (deactivations(sloppy_place), open_intents(sloppy_place)) == (1, 1)
    assert sloppy_place.directory.read_back(sloppy_place.now + OVER) == 0
    assert sloppy_place.verbs("failed") == ["update", "deactivate"]
    assert (deactivations(sloppy_place), open_intents(sloppy_place)) == (0, 0)
    assert sloppy_place.get(user).active


def test_f22_a_create_that_made_nobody_is_a_failure(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.scripted = lambda _, call: Reply(201, {**call.body, "id": "ghost"}) if call.method == "POST" else None
    with pytest.raises(NotDone):
        linked(sloppy_place)
    assert sloppy_place.verbs("failed") == ["create"]
    with sloppy_place.store.read() as conn:
        assert conn.execute(text("select count(*) from users")).scalar_one() == 0


def test_f22_a_slow_remote_ends_with_the_call_s_own_time_out(sqlite_store: Store, sloppy: Sloppy) -> None:
    release = threading.Event()
    waited_for: list[Call] = []

    def slow(_: Sloppy, call: Call) -> None:
        if not release.wait(60):
            waited_for.append(call)

    with remote_place(sqlite_store, Remote(sloppy.url, KEY), timeout=timedelta(seconds=0.3)) as place:
        user_id = sloppy.add("ann@example.com")
        sloppy.scripted = slow
        try:
            with pytest.raises(DirectoryUnavailable, match="no whole answer"):
                place.directory.reader.by_id(user_id, patience=0.5)
        finally:
            release.set()
        assert waited_for == []
        place.remote.client.close()


def test_a_push_is_answered_with_what_the_remote_really_keeps(sloppy_place: Place, sloppy: Sloppy) -> None:
    """A remote that doesn't know an attribute drops it; that is no failure of the push, and nothing is pretended."""
    user = linked(sloppy_place)
    sloppy.scripted = lambda server, call: (
        server.users[user.id].pop("nickName", None) and None if call.method == "GET" else None
    )
    changed = sloppy_place.change(user, title="Clerk", nick_name="Annie")
    assert (changed.user.profile.title, changed.user.profile.nick_name) == ("Clerk", None)


# F-23: a list that lags behind


def test_f23_the_agents_own_write_outweighs_a_list_that_lags(sloppy_place: Place, sloppy: Sloppy) -> None:
    import copy

    user = linked(sloppy_place)
    sloppy.stale = copy.deepcopy(sloppy.users)
    sloppy_place.change(user, title="Clerk", active=False)
    made = linked(sloppy_place, "new@example.com", 2)
    listed = {u.user_name: u for page in sloppy_place.directory.everyone() for u in page}
    assert listed["ann@example.com"] == sloppy_place.get(user)
    assert (listed["ann@example.com"].active, listed["ann@example.com"].profile.title) == (False, "Clerk")
    assert listed["new@example.com"] == made
    assert sloppy_place.directory.find(user_name_key="new@example.com") == made


def test_f23_what_somebody_else_wrote_after_the_agent_is_what_counts(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = linked(sloppy_place)
    sloppy.users[user.id]["meta"]["lastModified"] = "2026-11-24T12:00:00Z"
    sloppy_place.change(user, title="Clerk")
    sloppy.users[user.id] |= {"title": "Chief"}
    sloppy.users[user.id]["meta"]["lastModified"] = "2026-11-24T12:00:01Z"
    (listed,) = [u for page in sloppy_place.directory.everyone() for u in page]
    assert listed.profile.title == "Chief"


def test_f23_after_the_lag_the_list_counts_again(sqlite_store: Store, sloppy: Sloppy) -> None:
    with remote_place(sqlite_store, Remote(sloppy.url, KEY)) as place:
        user = linked(place)
        sloppy.users[user.id]["title"] = "by hand"
        listed = [u for page in place.directory.everyone() for u in page]
        assert [u.profile.title for u in listed] == [None]
        place.now += timedelta(minutes=11)
        listed = [u for page in place.directory.everyone() for u in page]
        assert [u.profile.title for u in listed] == ["by hand"]
        place.remote.client.close()


# The guard's counters


def test_a_listing_sets_the_population_that_limits_are_counted_from(sqlite_store: Store, sloppy: Sloppy) -> None:
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), GuardSettings()) as place:
        people = [linked(place, f"p{n}@example.com", n) for n in range(10)]
        sloppy.add("local@example.com")
        for user in people[:4]:
            sloppy.users[user.id]["active"] = False
        place.now += timedelta(hours=1)
        for _ in place.directory.everyone():
            pass
        with place.store.read() as conn:
            assert windows.counts(conn, place.now).population == 6
        place.directory.create(draft("x@example.com", okta=okta_id(99)), place.context(), place.now).result(30)
        with place.store.read() as conn:
            assert windows.counts(conn, place.now).population == 7
        place.remote.client.close()


# Both databases


def test_a_person_s_whole_life_on_either_database(
    store: Store, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.directory.remote.caller.READ_BACK", 0.2)
    with remote_place(store, Remote(sloppy.url, KEY)) as place:
        user = linked(place)
        place.change(user, title="Clerk")
        place.acts().protect(user.id, protected=True)
        assert [u.protected for page in place.directory.everyone() for u in page] == [True]
        place.acts().protect(user.id, protected=False)
        sloppy.scripted = down_after_write(user.id, did=False)
        with pytest.raises(AnswerLost):
            place.change(user, active=False)
        assert deactivations(place) == 1
        sloppy.scripted = None
        place.now += OVER
        assert place.directory.read_back(place.now) == 0
        assert deactivations(place) == 0
        assert not place.change(user, active=False).user.active
        assert deactivations(place) == 1
        assert place.post("ann@example.com", okta=okta_id(1)).user.id == user.id
        assert place.directory.find(okta_id=okta_id(1)) == place.get(user)
        assert place.verbs("applied") == ["create", "update", "protect", "unprotect", "deactivate", "reactivate"]
        assert place.verbs("failed") == ["deactivate"]
        place.remote.client.close()


def test_a_create_whose_name_is_taken_before_its_call_arrives_is_stale(scim2_place: Place) -> None:
    place = scim2_place
    profile: dict[str, Any] = {"userName": "new@example.com", EMAIL_PATH: "new@example.com"}
    new = action(1, ActionKind.CREATE, "new@example.com", okta="00u1", **profile)
    plan_id = place.plan((new,))
    post = Held(place.directory, lambda method, *_: method == "POST")
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(place.carry_out, plan_id, (new,))
        post.wait()
        somebody = place.remote.post("new@example.com")
        post.release()
        assert ended.result(30) == {1: "stale"}
    assert place.directory.find(okta_id="00u1") is None
    assert place.directory.get(somebody["id"]) is not None


def test_a_409_to_a_create_that_nobody_is_the_reason_for_is_a_failure(sloppy_place: Place, sloppy: Sloppy) -> None:
    place = sloppy_place
    profile: dict[str, Any] = {"userName": "new@example.com", EMAIL_PATH: "new@example.com"}
    new = action(1, ActionKind.CREATE, "new@example.com", okta="00u1", **profile)
    plan_id = place.plan((new,))
    sloppy.scripted = lambda _, call: error(409, "not here") if call.method == "POST" else None
    assert place.carry_out(plan_id, (new,)) == {1: "failed"}
