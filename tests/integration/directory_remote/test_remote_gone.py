"""Accounts that somebody deleted at the remote: the link that the store still has to them is in nobody's way."""

from datetime import timedelta

import pytest
from sqlalchemy import text, update

from agent.directory.remote import mirror
from agent.directory.remote.mirror import LAG
from agent.model.codes import RefusalCode, Source
from agent.model.errors import AnswerLost, DirectoryUnavailable, Refused
from agent.model.holds import way_out
from agent.model.users import DirectoryUser
from agent.store import brakes, history, holds, tables
from agent.store.journal import Signature
from support.place import Place, okta_id
from support.sloppy import Call, Reply, Sloppy, error

NAME = "ann@example.com"


def gone(place: Place, sloppy: Sloppy) -> DirectoryUser:
    """Linked, then deleted there."""
    user = place.post(NAME, okta=okta_id(1)).user
    del sloppy.users[user.id]
    return user


def linked_id(place: Place) -> str | None:
    with place.store.read() as conn:
        return next(iter(mirror.linked_to(conn, okta_id(1))), None)


def unlinked(place: Place) -> list[tuple[str, str]]:
    with place.store.read() as conn:
        rows = conn.execute(text("select directory_id, okta_id from journal where verb = 'unlink'"))
        return [tuple(row) for row in rows]


@pytest.mark.parametrize("source", [Source.PUSH, Source.SWEEP])
@pytest.mark.parametrize("status", [404, 410])
def test_an_account_deleted_at_the_remote_is_made_again(
    sloppy_place: Place, sloppy: Sloppy, source: Source, status: int
) -> None:
    old = gone(sloppy_place, sloppy)
    sloppy.scripted = lambda _, call: error(status) if call.path == f"/Users/{old.id}" else None
    made = sloppy_place.post(NAME, okta=okta_id(1), source=source)
    assert (made.created, made.user.id == old.id) == (True, False)
    assert [user["externalId"] for user in sloppy.users.values()] == [okta_id(1)]
    assert linked_id(sloppy_place) == made.user.id
    assert unlinked(sloppy_place) == [(old.id, okta_id(1))]
    assert sloppy_place.change(made.user, title="Clerk").user.okta_id == okta_id(1)


@pytest.mark.parametrize("listed", [True, False], ids=["a listing missed it", "nobody has looked"])
@pytest.mark.parametrize("source", [Source.PUSH, Source.SWEEP])
def test_whom_an_operator_blocked_gets_no_new_account(
    sloppy_place: Place, sloppy: Sloppy, source: Source, listed: bool
) -> None:
    user = sloppy_place.post(NAME, okta=okta_id(1)).user
    sloppy_place.acts().deactivate(user.id)
    del sloppy.users[user.id]
    if listed:
        sloppy_place.now += LAG + timedelta(minutes=1)
        list(sloppy_place.directory.everyone())
    refused = sloppy_place.refused(lambda: sloppy_place.post(NAME, okta=okta_id(1), source=source))
    assert (refused, sloppy.users) == (RefusalCode.BLOCKED, {})
    with sloppy_place.store.read() as conn:
        (block,) = holds.open_holds(conn)
    assert way_out(block) == f"opshelm-agent holds lift {NAME}"
    by = Signature(actor="operator", source="cli", at=sloppy_place.now)
    sloppy_place.store.write(lambda conn: brakes.lift_holds(conn, by, [block]))
    assert sloppy_place.post(NAME, okta=okta_id(1), source=source).created


def test_a_block_of_an_account_that_was_lost_before_blocks_were_passed_on_holds_too(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    user = sloppy_place.post(NAME, okta=okta_id(1)).user
    sloppy_place.acts().deactivate(user.id)
    del sloppy.users[user.id]
    sloppy_place.now += LAG + timedelta(minutes=1)
    list(sloppy_place.directory.everyone())
    # As earlier builds left it.
    as_before = update(tables.holds).values(subject=user.id, directory_id=user.id)
    sloppy_place.store.write(lambda conn: conn.execute(as_before))
    refused = sloppy_place.refused(lambda: sloppy_place.post(NAME, okta=okta_id(1)))
    assert (refused, sloppy.users) == (RefusalCode.BLOCKED, {})


def test_whom_an_operator_blocked_gets_no_new_account_while_a_call_on_theirs_is_in_doubt(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    user = sloppy_place.post(NAME, okta=okta_id(1)).user
    sloppy_place.acts().deactivate(user.id)
    sloppy_place.directory.transport.most_patience = 0.0
    down: list[Call] = []

    def lost(_: Sloppy, call: Call) -> Reply | None:
        down.extend([call] if call.writes else [])
        return Reply(cut=0) if down else None

    sloppy.scripted = lost
    with pytest.raises(AnswerLost):
        sloppy_place.change(user, title="Clerk")
    sloppy.scripted = None
    del sloppy.users[user.id]
    refused = sloppy_place.refused(lambda: sloppy_place.post(NAME, okta=okta_id(1)))
    assert (refused, sloppy.users) == (RefusalCode.BLOCKED, {})


def test_who_was_blocked_and_comes_back_stays_blocked(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = sloppy_place.post(NAME, okta=okta_id(1)).user
    sloppy_place.acts().deactivate(user.id)
    there = sloppy.users.pop(user.id)
    sloppy_place.now += LAG + timedelta(minutes=1)
    list(sloppy_place.directory.everyone())
    sloppy.users[user.id] = there
    list(sloppy_place.directory.everyone())
    with sloppy_place.store.read() as conn:
        (found,) = [one for one in history.accounts_now(conn, sloppy_place.now) if one.directory_id == user.id]
    assert found.blocked, "the report of who has access says so"
    assert sloppy_place.refused(lambda: sloppy_place.change(user, active=True)) is RefusalCode.BLOCKED
    assert sloppy_place.acts().reactivate(user.id).active
    sloppy_place.change(user, active=False)
    assert sloppy_place.change(user, active=True).user.active


def test_the_new_account_of_that_name_takes_the_link_over(sloppy_place: Place, sloppy: Sloppy) -> None:
    old = gone(sloppy_place, sloppy)
    heir = sloppy_place.local(NAME)
    linked = sloppy_place.change(heir, source=Source.SWEEP, okta_id=okta_id(1)).user
    assert (linked.managed, linked_id(sloppy_place)) == (True, heir.id)
    assert unlinked(sloppy_place) == [(old.id, okta_id(1))]


def test_an_operator_links_the_new_account_where_the_remote_keeps_another_external_id(
    sloppy_place: Place, sloppy: Sloppy
) -> None:
    old = gone(sloppy_place, sloppy)
    heir = sloppy.add(NAME, externalId="HR-4711")
    sloppy_place.acts().link(heir, okta_id(1))
    assert linked_id(sloppy_place) == heir
    assert unlinked(sloppy_place) == [(old.id, okta_id(1))]


def test_an_account_restored_under_another_id_is_no_second_person(sloppy_place: Place, sloppy: Sloppy) -> None:
    gone(sloppy_place, sloppy)
    restored = sloppy.add("ann.lee@example.com", externalId=okta_id(1))
    with pytest.raises(Refused, match="active OpsHelm account already"):
        sloppy_place.post(NAME, okta=okta_id(1))
    user = sloppy_place.directory.find(okta_id=okta_id(1))
    assert user is not None
    sloppy_place.change(user, title="Clerk")
    assert (linked_id(sloppy_place), len(sloppy.users)) == (restored, 1)


def test_a_link_to_an_account_that_is_there_is_kept(sloppy_place: Place, sloppy: Sloppy) -> None:
    user = sloppy_place.post(NAME, okta=okta_id(1)).user
    other = sloppy_place.local("bob@example.com")
    with pytest.raises(Refused) as caught:
        sloppy_place.change(other, okta_id=okta_id(1))
    assert caught.value.reason is RefusalCode.UNIQUENESS
    assert (linked_id(sloppy_place), unlinked(sloppy_place)) == (user.id, [])


def test_a_remote_that_cannot_tell_leaves_the_link(sloppy_place: Place, sloppy: Sloppy) -> None:
    old = gone(sloppy_place, sloppy)
    sloppy.scripted = lambda _, call: error(403) if call.path == f"/Users/{old.id}" else None
    with pytest.raises(DirectoryUnavailable):
        sloppy_place.post(NAME, okta=okta_id(1))
    assert (linked_id(sloppy_place), sloppy.users) == (old.id, {})


def test_a_refused_create_leaves_the_link(sloppy_place: Place, sloppy: Sloppy) -> None:
    old = gone(sloppy_place, sloppy)
    sloppy.scripted = lambda _, call: error(400) if call.method == "POST" else None
    with pytest.raises(Refused):
        sloppy_place.post(NAME, okta=okta_id(1))
    assert (linked_id(sloppy_place), unlinked(sloppy_place)) == (old.id, [])


def test_a_create_whose_answer_was_lost_drops_the_link_once_it_is_read_back(
    sloppy_place: Place, sloppy: Sloppy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.directory.remote.caller.READ_BACK", 0.2)
    old = gone(sloppy_place, sloppy)
    down: list[Call] = []

    def lost(server: Sloppy, call: Call) -> Reply | None:
        if call.method == "POST":
            server.apply(call)
            down.append(call)
        return Reply(cut=0) if down else None

    sloppy.scripted = lost
    with pytest.raises(AnswerLost):
        sloppy_place.post(NAME, okta=okta_id(1))
    assert linked_id(sloppy_place) == old.id
    sloppy.scripted = None
    assert sloppy_place.directory.read_back(sloppy_place.now) == 0
    (user_id,) = sloppy.users
    assert linked_id(sloppy_place) == user_id
    assert unlinked(sloppy_place) == [(old.id, okta_id(1))]
