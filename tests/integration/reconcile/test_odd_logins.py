"""Logins that no address of Okta's can name: found by a search, and never the end of a run for the others."""

from collections.abc import Iterator

import pytest

from agent.model.codes import HeldCode
from support.world import World, open_world

ODD = ["a/b@example.com", "a?b@example.com", "a#b@example.com", "a%b@example.com", "a+b@example.com"]


@pytest.fixture(scope="module")
def w(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(tmp_path_factory.mktemp("odd"), 4) as made:
        made.first_run()
        yield made


def linked(w: World, login: str) -> str:
    """A managed account whose Okta user's id nobody has kept."""
    user_id = w.local(login).id
    w.sql("UPDATE users SET origin = 'linked' WHERE id = :id", id=user_id)
    w.sql("UPDATE account SET managed_active = managed_active + 1")
    return user_id


def test_a_sweep_looks_for_who_has_no_okta_id_by_a_search(w: World) -> None:
    """Nobody in Okta has these logins: that proves nothing, so each waits for a person, and the others are done."""
    for login in ODD:
        linked(w, login)
    person = w.take()
    w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Captain"}})
    report = w.reconcile()
    assert report.outcome in ("applied", "partial", "held"), report
    assert w.account(person["login"]).profile.title == "Captain"
    held = {action.login: action.held for action in report.plan.plan.actions if action.login in ODD}
    assert held == dict.fromkeys(ODD, HeldCode.ABSENCE_NOT_PROVABLE)


@pytest.mark.parametrize("login", ODD)
def test_one_person_is_found_by_such_a_login(w: World, login: str) -> None:
    names = {"login": login, "email": login, "firstName": "A", "lastName": "B"}
    made = w.org.api("POST", "/users?activate=true", {"profile": names})
    w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": made["id"]})
    report = w.reconcile(login, apply=False)
    assert {action.okta_id for action in report.plan.plan.actions} == {made["id"]}


def test_an_id_that_okta_never_gave_is_held_and_ends_no_run(w: World) -> None:
    """It came from another client; no address of Okta's can name it."""
    user_id = linked(w, "odd-id@example.com")
    w.sql("UPDATE users SET okta_id = 'x/1' WHERE id = :id", id=user_id)
    report = w.reconcile()
    assert report.outcome in ("applied", "partial", "held"), report
    [action] = [action for action in report.plan.plan.actions if action.login == "odd-id@example.com"]
    assert action.held is HeldCode.ABSENCE_NOT_PROVABLE
    assert w.account("odd-id@example.com").active
