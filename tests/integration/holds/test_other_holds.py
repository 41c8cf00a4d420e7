"""One person's hold stops nobody else and nothing else; and a no to a name is a no to that name alone."""

import pytest

from agent.model.codes import HeldCode
from agent.model.holds import ChangeKind, Decision, way_out
from agent.store import holds
from support.holding import CommandsOf, HoldWorld, Make
from support.world import RAISED

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


def test_a_rejected_name_stays_so_when_the_circle_in_which_it_was_wanted_opens(make: Make) -> None:
    w = make(10, guard={"identity_floor": 0, "identity_percent": 0})
    one, two = w.people()[:2]
    w.lost()
    for person, name in ((one, two["login"]), (two, one["login"])):
        renamed(w, person, name)
    w.reconcile()
    (hold,) = w.open_holds(kind=IDENTITY)
    for person in (one, two):
        said = [step.detail for step in w.reconciler.explain(person["login"]).steps if step.name == "hold"]
        assert [way_out(hold) in text for text in said] == [True], "also to who is in the circle with them"
    first, other = (one, two) if hold.okta_id == one["okta_id"] else (two, one)
    w.reject(first, kind=IDENTITY)
    renamed(w, other, "third@example.com")
    w.configure(guard=RAISED)
    assert w.actions_for(w.reconcile(), first["okta_id"]) == [("update", "rejected")]
    wanted = {"userName": other["login"], "emails": [{"value": other["login"], "type": "work", "primary": True}]}
    assert w.push(first, **wanted).status_code == 409
    assert w.account(first["login"]).okta_id == first["okta_id"]


def test_who_waits_for_another_is_told_whom_to_decide_about(make: Make, commands_of: CommandsOf) -> None:
    w = make(10, guard=RAISED | {"identity_floor": 1, "identity_percent": 0})
    ann, bob = w.people()[:2]
    w.lost()
    renamed(w, ann, "ann.new@example.com")
    w.reconcile(apply=False)
    renamed(w, bob, ann["login"])
    w.reconcile()
    w.reject(ann, kind=IDENTITY)
    w.reconcile()
    (hold,) = w.open_holds(bob, kind=IDENTITY)
    assert (hold.code, hold.decision) == (HeldCode.REJECTED, Decision.WAITING)
    run = commands_of(w)
    code, out, err = run("holds", "approve", bob["login"])
    assert (code, ann["login"] in out + err) == (2, True), "that alone would release nothing"
    code, out, err = run.line(way_out(hold))
    assert code == 0, (out, err)
    code, out, err = run.line(out.partition("To end it: ")[2].splitlines()[0])
    assert code == 0, (out, err)
    w.reconcile()
    assert {h.code for h in w.open_holds(kind=IDENTITY)} == {HeldCode.IDENTITY_CHANGES}
    code, out, err = run("holds", "approve", bob["login"], ann["login"])
    assert code == 0, (out, err)
    assert w.account("ann.new@example.com").okta_id == ann["okta_id"]
    assert w.account(ann["login"]).okta_id == bob["okta_id"]
    assert w.open_holds(kind=IDENTITY) == []


@pytest.fixture
def new_and_rejected(make: Make):
    """Somebody new, who was too many, and an operator said no."""
    w = make(4, guard=RAISED | {"creates_floor": 0, "creates_percent": 0})
    w.lost()
    new = {"login": "new@example.com", "okta_id": w.okta_user("new@example.com")}
    w.assign(new)
    w.reconcile()
    w.reject(new, kind=ChangeKind.ACTIVATE)
    return w, new


def test_a_rejected_person_gets_no_account_by_a_post_without_their_id(new_and_rejected) -> None:
    w, new = new_and_rejected
    for okta_id in (new["okta_id"], None, ""):
        assert w.push(new, how="POST", externalId=okta_id).status_code == 409
    w.push({"login": "other@example.com", "okta_id": ""}, how="POST", externalId=None)
    assert new["login"] not in w.accounts()
    assert "other@example.com" in w.accounts()


def test_what_was_held_of_somebody_without_an_account_goes_along_to_it(new_and_rejected) -> None:
    w, new = new_and_rejected
    account = w.local(new["login"])
    w.acts().link(account.id, new["okta_id"])
    with w.store.read() as conn:
        found = holds.history(conn, [account.id])
    assert [(hold.kind, hold.directory_id) for hold in found] == [(ChangeKind.ACTIVATE, account.id)]
    (hold,) = w.open_holds(new, kind=ChangeKind.ACTIVATE)
    assert hold.decision is Decision.REJECTED
    w.change(new["login"], active=False)
    w.reconcile()
    assert len(w.open_holds(new, kind=ChangeKind.ACTIVATE)) == 1
    assert not w.account(new["login"]).active
