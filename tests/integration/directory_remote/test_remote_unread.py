"""People whose account can't be read at the remote: left alone and reported, and never made a second time."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.directory.remote.mirror import LAG
from agent.model.errors import AnswerLost, Unreadable
from agent.reconcile import RunReport
from agent.store import attention, events
from support.place import Place, okta_id
from support.remotes import Remote
from support.sloppy import KEY, Body, Call, Reply, Sloppy, error
from support.world import OWNER, open_world

NAME = "ann@example.com"


def without_filters(_: Sloppy, call: Call) -> Reply | None:
    return error(501) if "filter" in call.query else None


def by_name(user: Body) -> None:
    del user["externalId"]


def by_external_id(user: Body) -> None:
    user["userName"] = "somebody.else@example.com"


def by_link(user: Body) -> None:
    user |= {"userName": "somebody.else@example.com", "externalId": ["HR-4711"]}


def actions(report: RunReport) -> list[str]:
    return [] if report.plan is None else [action.kind.value for action in report.plan.plan.actions]


@pytest.mark.parametrize("known", [by_name, by_external_id, by_link])
def test_an_unreadable_account_is_no_new_person(tmp_path: Path, sloppy: Sloppy, known: Callable[[Body], None]) -> None:
    sloppy.add(OWNER)
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        world.first_run()
        world.ahead += LAG + timedelta(minutes=1)
        user = sloppy.users[world.account(world.people()[3]["login"]).id]
        user["emails"] = "nonsense"
        known(user)
        report = world.reconcile()
        assert (report.outcome.value, actions(report)) == ("in_step", [])
        found = [(finding.code.value, finding.directory_id) for finding in report.findings]
        assert ("unreadable", user["id"]) in found
        world.remote.client.close()


@pytest.mark.parametrize("filters", [True, False])
def test_a_first_run_makes_nobody_a_second_account(tmp_path: Path, sloppy: Sloppy, filters: bool) -> None:
    sloppy.add(OWNER)
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        login: str = world.people()[3]["login"]
        sloppy.add(login, emails="nonsense")
        sloppy.scripted = None if filters else without_filters
        world.reconcile(first_run=1_000_000)
        made = [call.body["userName"] for call in sloppy.calls if call.method == "POST"]
        assert (login in made, len(made)) == (False, len(world.people()) - 1)
        world.remote.client.close()


def test_one_person_looked_at_alone_is_left_alone_too(tmp_path: Path, sloppy: Sloppy) -> None:
    sloppy.add(OWNER)
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        world.first_run()
        person = world.people()[3]
        world.ahead += LAG + timedelta(minutes=1)
        sloppy.scripted = without_filters
        user_id = world.account(person["login"]).id
        world.acts().unlink(user_id)
        sloppy.users[user_id]["emails"] = "nonsense"
        report = world.reconcile(person["login"])
        assert actions(report) == []
        assert world.findings_for(report, person["okta_id"]) == {"unreadable"}
        world.remote.client.close()


def test_of_several_who_are_asked_for_the_others_are_repaired(tmp_path: Path, sloppy: Sloppy) -> None:
    """One who can't be read ends the run only where nobody else was asked for."""
    sloppy.add(OWNER)
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        world.first_run()
        unread, other = (person["login"] for person in world.people()[3:5])
        world.ahead += LAG + timedelta(minutes=1)
        sloppy.users[world.account(unread).id]["emails"] = "nonsense"
        drifted = sloppy.users[world.account(other).id]
        drifted["title"] = "Somebody else"
        for several in ((unread, other), (other, unread)):
            drifted["title"] = "Somebody else"
            report = world.reconcile(*several)
            assert (report.outcome.value, actions(report)) == ("applied", ["update"])
            assert drifted.get("title") != "Somebody else"
            assert ("unreadable", unread) in {(f.code.value, f.login) for f in report.findings}
        with pytest.raises(Unreadable, match="It is left as it is"):
            world.reconcile(unread)
        world.remote.client.close()


def test_who_is_due_and_cannot_be_read_stays_due_and_the_failed_push_stays_open(tmp_path: Path, sloppy: Sloppy) -> None:
    """Nothing is healed by a look that did not see the account."""
    sloppy.add(OWNER)
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        world.first_run()
        gone, other = world.people()[1:3]
        user = sloppy.users[world.account(gone["login"]).id]
        now = world.now()

        def failed(conn: Any) -> None:
            push = events.PushFailure(
                okta_id=gone["okta_id"],
                event_type="application.provision.user.deactivate",
                reason="timeout",
                at=now - timedelta(minutes=1),
            )
            events.failed(conn, [push])
            for person in (gone, other):
                attention.add(conn, reason=attention.EVENT, okta_id=person["okta_id"], not_before=now, now=now)

        def due(after: timedelta) -> list[str | None]:
            with world.store.read() as conn:
                return [row.okta_id for row in attention.due(conn, world.now() + after, 10)]

        def open_failures() -> int:
            with world.store.read() as conn:
                return len(events.open_failures(conn))

        world.store.write(failed)
        world.org.set_app_user(gone["okta_id"], status="INACTIVE")
        sloppy.shape_user = lambda one: one | {"userName": ["odd"]} if one["id"] == user["id"] else one
        world.reconciler.look(apply=True)
        assert (due(timedelta(0)), due(timedelta(hours=1))) == ([], [gone["okta_id"]])
        world.ahead += timedelta(hours=1)
        with pytest.raises(Unreadable):
            world.reconciler.look(apply=True)
        assert (due(timedelta(0)), due(timedelta(hours=1))) == ([], [gone["okta_id"]])
        assert (user["active"], open_failures()) == (True, 1)
        sloppy.shape_user = lambda one: one
        world.ahead += timedelta(hours=1)
        world.reconciler.look(apply=True)
        assert (due(timedelta(hours=1)), user["active"], open_failures()) == ([], False, 0)
        world.remote.client.close()


@pytest.mark.parametrize("more", [{}, {"id": None}], ids=["with an id", "without one"])
def test_a_push_makes_no_second_account_of_one_that_cannot_be_read(
    sloppy_place: Place, sloppy: Sloppy, more: dict[str, Any]
) -> None:
    user_id = sloppy.add(NAME, emails="nonsense")
    sloppy.users[user_id] |= more
    sloppy.scripted = without_filters
    with pytest.raises(Unreadable, match=r"list of objects\. (It is left as it is|Nothing was changed)"):
        sloppy_place.post(NAME, okta=okta_id(1))
    assert sloppy.count("POST") == 0
    del sloppy.users[user_id]
    assert sloppy_place.post(NAME, okta=okta_id(1)).created


def test_an_account_that_is_unreadable_once_made_is_said_to_be_made(sloppy_place: Place, sloppy: Sloppy) -> None:
    sloppy.shape_user = lambda user: user | {"emails": "nonsense"}
    with pytest.raises(AnswerLost, match="was made at the remote OpsHelm, or may have been, but it can't be read"):
        sloppy_place.post(NAME, okta=okta_id(1))
    with pytest.raises(Unreadable, match="can't be read"):
        sloppy_place.post(NAME, okta=okta_id(1))
    assert sloppy.count("POST") == 1
    sloppy.shape_user = lambda user: user
    assert sloppy_place.directory.read_back(sloppy_place.now) == 0
    assert sloppy_place.verbs("applied") == ["create"]
