"""One person's hold stops nobody else and nothing else; and a no to a name is a no to that name alone."""

import pytest

from agent.model.codes import HeldCode
from agent.model.holds import ChangeKind, Decision
from support.holding import HoldWorld, Make

IDENTITY = ChangeKind.IDENTITY


def renamed(w: HoldWorld, person, name: str, **profile) -> None:
    w.org.set_app_user(person["okta_id"], credentials={"userName": name}, profile={"email": name, **profile})
    w.org.wait_idle()


def test_a_leaver_goes_although_the_link_of_who_has_the_name_now_waits(make: Make) -> None:
    w = make(10)
    old = w.people()[0]
    w.lost()
    w.unassign(old)
    w.org.api("POST", f"/users/{old['okta_id']}", {"profile": {"login": "gone@example.com"}})
    new = {"login": old["login"], "okta_id": w.okta_user(old["login"])}
    w.assign(new)
    report = w.reconcile()
    assert w.actions_for(report, old["okta_id"]) == [("deactivate", None)]
    assert w.active(old) == [False]
    assert [held for _, held in w.actions_for(report, new["okta_id"])] != [None]
    assert w.account(old["login"]).okta_id == old["okta_id"]


@pytest.fixture
def rejected(make: Make):
    """Four people's new names were too many, and an operator said no."""
    w = make(10, guard={"identity_floor": 1, "identity_percent": 0})
    people = w.people()[:3]
    w.lost()
    for number, person in enumerate(people):
        renamed(w, person, f"wrong{number}@example.com", title="Renamed")
    w.reconcile()
    assert {h.code for h in w.open_holds(kind=IDENTITY)} == {HeldCode.IDENTITY_CHANGES}
    w.reject(*people, kind=IDENTITY)
    return w, people


def test_a_rejected_name_stays_so_when_a_title_changes(rejected) -> None:
    w, people = rejected
    renamed(w, people[0], "wrong0@example.com", title="Captain")
    report = w.reconcile()
    assert w.actions_for(report, people[0]["okta_id"]) == [("update", "rejected")]
    w.event(people[0])
    assert {h.decision for h in w.open_holds(kind=IDENTITY)} == {Decision.REJECTED}
    assert w.account(people[0]["login"]).user_name == people[0]["login"]


def test_a_rejected_name_gets_409_and_another_one_is_a_new_wish(rejected) -> None:
    w, people = rejected
    emails = [{"value": "wrong0@example.com", "type": "work", "primary": True}]
    for wanted in ({"userName": "wrong0@example.com", "emails": emails}, {"userName": "wrong0@example.com"}):
        answer = w.push(people[0], how="PUT", **wanted)
        assert (answer.status_code, "holds lift" in answer.json()["detail"]) == (409, True)
    emails[0]["value"] = "right@example.com"
    assert w.push(people[0], how="PUT", userName="right@example.com", emails=emails).status_code == 200
    assert w.account("right@example.com").okta_id == people[0]["okta_id"]


def test_a_rejected_name_leaves_the_same_persons_end_of_access_alone(rejected) -> None:
    w, people = rejected
    w.unassign(people[0])
    w.event(people[0])
    assert w.active(people[0]) == [False]
    assert w.push(people[1], active=False).status_code == 200
