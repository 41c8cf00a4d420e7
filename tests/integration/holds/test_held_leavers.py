"""People who were unassigned, by mistake or not: what was decided about one of them holds on every path."""

from datetime import timedelta

import pytest

from agent.model.codes import HeldCode
from agent.model.holds import ChangeKind, Decision
from agent.runs.stored_plans import PlanDecision
from agent.store import brakes
from support.holding import CommandsOf, HoldWorld, Make


def held(w: HoldWorld, count: int = 30):
    """So many were unassigned, no push arrived, and the sweep held them."""
    people = w.people()[:count]
    w.lost()
    w.unassign(*people)
    report = w.reconcile()
    assert report.outcome == "held", report
    w.heard()
    return people


def test_who_was_rejected_with_the_plan_is_deactivated_by_no_path(make: Make) -> None:
    w = make()
    people = held(w)
    ann = people[0]
    assert len(w.open_holds()) == 30
    plan = w.reconcile().plan
    by = w.by("wrong group")
    w.store.write(lambda conn: brakes.reject_plan(conn, by, plan.id))
    assert {hold.decision for hold in w.open_holds()} == {Decision.REJECTED}

    w.lost()
    w.retitle(ann)
    w.event(ann)
    w.reconcile(ann["login"])
    assert all(w.active(*people)), "an event and a single run name a person; neither is a word of Okta's"

    again = w.reconcile()
    assert again.plan is not None
    other = (
        w.reconciler.apply_plan(again.plan.id, again.plan.checksum, PlanDecision(approve=True))
        if (any(a.held in (HeldCode.DEACTIVATIONS_PER_RUN, HeldCode.SOURCE_DROP) for a in again.plan.plan.actions))
        else None
    )
    assert other is None or other.counts.get("done", 0) == 0
    assert all(w.active(*people))
    assert [verb for verb, _ in w.decisions()].count("plan reject") == 1


def test_waiting_people_are_left_alone_by_events_and_single_runs(make: Make) -> None:
    w = make()
    people = held(w, 8)
    since = w.open_holds(people[0])[0].since
    w.ahead += timedelta(hours=3)
    w.event(people[0])
    report = w.reconcile(people[1]["login"])
    assert report.exit_code == 4
    w.reconcile(people[0]["login"])
    assert all(w.active(*people))
    (hold,) = w.open_holds(people[0])
    assert hold.since == since, "found again, it keeps its age"
    assert hold.detail.startswith("8 of 40 people"), "and its words"


@pytest.mark.parametrize("how", ["PATCH", "PUT"])
def test_a_waiting_persons_push_is_done_within_the_limits_and_ends_the_hold(make: Make, how: str) -> None:
    w = make()
    people = held(w, 8)
    assert w.push(people[0], how=how, active=False).status_code == 200
    assert w.active(*people[:2]) == [False, True]
    assert w.open_holds(people[0]) == []


@pytest.mark.parametrize("how", ["PATCH", "PUT"])
def test_a_waiting_persons_push_over_the_limits_waits_and_a_rejected_ones_is_a_task(make: Make, how: str) -> None:
    w = make()
    people = held(w, 8)
    w.reject(people[0])
    answers = [w.push(person, how=how, active=False) for person in people]
    statuses = [answer.status_code for answer in answers]
    assert statuses == [409, *[200] * statuses.count(200), *[429] * statuses.count(429)]
    assert 200 in statuses
    assert 429 in statuses
    words = answers[0].json()["detail"]
    assert "operator rejected the deactivation" in words
    assert f"holds lift {people[0]['login']}" in words
    assert w.active(*people) == [status != 200 for status in statuses]
    waiting = [hold for hold in w.open_holds() if hold.decision is Decision.WAITING]
    assert [(hold.code, hold.tries) for hold in waiting] == [(HeldCode.PUSH_BURST, 1)] * statuses.count(429)
    w.lost()
    w.reconcile()
    held_again = [hold for hold in w.open_holds() if hold.code is HeldCode.PUSH_BURST]
    assert all("the limit is" in hold.detail for hold in held_again), "a sweep leaves the numbers"


def test_a_rejection_ends_when_the_person_is_assigned_again(make: Make) -> None:
    w = make()
    people = held(w, 8)
    w.reject(*people[:2])
    w.assign(people[0])
    assert w.open_holds(people[0]) == [], "by Okta's own push"
    w.lost()
    w.assign(people[1])
    w.reconcile()
    assert w.open_holds(people[1]) == [], "by a complete sweep"
    w.unassign(people[1])
    w.event(people[1])
    assert w.active(people[1]) == [False]


def test_a_rejection_ends_with_a_push_that_changes_a_title_too(make: Make) -> None:
    w = make()
    people = held(w, 8)
    w.reject(people[0])
    w.lost()
    w.retitle(people[0], "Back again")
    w.heard()
    w.assign(people[0])
    assert w.account(people[0]["login"]).profile.title == "Back again"
    assert w.open_holds(people[0]) == []
    w.unassign(people[0])
    assert w.active(people[0]) == [False], "Okta wanted something else in between: the no is over"


def test_while_paused_nothing_is_approved_and_nothing_is_done_unasked_later(make_sqlite: Make) -> None:
    w = make_sqlite()
    people = held(w, 8)
    w.store.write(lambda conn: brakes.pause(conn, w.by("look")))
    report = w.reconciler.approve_holds(w.open_holds(people[0]), w.by("they left"))
    assert (report.outcome, report.exit_code) == ("paused", 1)
    assert [hold.decision for hold in w.open_holds(people[0])] == [Decision.WAITING]
    w.store.write(lambda conn: brakes.resume(conn, w.by()))
    w.reconcile()
    assert w.active(*people) == [True] * 8
    assert w.reconciler.approve_holds(w.open_holds(people[0]), w.by("they left")).outcome == "applied"


@pytest.mark.parametrize("title", ["Captain", "as it is"])
def test_a_late_push_of_a_title_alone_ends_no_decision(make: Make, title: str) -> None:
    w = make()
    people = held(w, 8)
    w.reject(people[0])
    for person in people[:2]:
        said = w.account(person["login"]).profile.title or "" if title == "as it is" else title
        assert w.push(person, title=said).status_code == 200
        w.event(person)
    assert w.active(*people[:2]) == [True, True]
    assert [hold.decision for hold in w.open_holds(*people[:2])] == [Decision.REJECTED, Decision.WAITING]


def test_a_sweep_of_a_listing_that_nobody_trusts_ends_no_decision(make_sqlite: Make) -> None:
    w = make_sqlite(guard={"creates_floor": 0, "creates_percent": 0})
    w.lost()
    okta_id = w.okta_user("new@example.com")
    w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": okta_id})
    assert w.reconcile().outcome == "held"
    (hold,) = w.open_holds(kind=ChangeKind.ACTIVATE)
    by = w.by("not yet")
    w.store.write(lambda conn: brakes.reject_holds(conn, by, [hold]))
    new = {"okta_id": okta_id, "login": "new@example.com"}
    everybody = [p for p in w.people() if p["okta_id"] != okta_id]
    w.unassign(new, *everybody[:30])
    assert w.reconcile().plan.plan.held is HeldCode.SOURCE_DROP
    assert [h.decision for h in w.open_holds(kind=ChangeKind.ACTIVATE)] == [Decision.REJECTED]


def test_approvals_lapse_and_the_person_waits_again_with_the_age_from_before(make: Make) -> None:
    w = make()
    people = held(w, 8)
    (hold,) = w.open_holds(people[0])
    by = w.by()
    until = w.now() + timedelta(hours=24)
    w.store.write(lambda conn: brakes.approve_holds(conn, by, [hold], until))
    w.ahead += timedelta(hours=25)
    report = w.event(people[0])
    assert report is not None
    assert report.outcome == "held"
    assert w.active(people[0]) == [True]
    (again,) = w.open_holds(people[0])
    assert (again.decision, again.since) == (Decision.WAITING, hold.since)


def test_holds_are_decided_by_login_and_by_code(make: Make, commands_of: CommandsOf) -> None:
    w = make()
    people = held(w, 8)
    run = commands_of(w)
    w.lost()
    w.assign(people[7])
    code, out, err = run("holds", "reject", people[6]["login"].upper(), "--reason", "wrong group")
    assert code == 0, (out, err)
    assert w.open_holds(people[6])[0].decision is Decision.REJECTED
    code, out, err = run("holds", "approve", people[0]["login"], people[6]["login"])
    assert (code, "holds lift" in err + out) == (2, True), "what was rejected is lifted first"
    code, out, err = run("holds", "approve", people[0]["login"])
    assert code == 0, (out, err)
    assert w.active(people[0], people[1]) == [False, True]
    code, out, err = run("holds", "approve", "--code", "deactivations_per_run")
    assert (code, "left so: 1" in err) == (0, True), (out, err)
    assert w.active(*people[1:6]) == [False] * 5
    assert (w.active(people[6]), w.open_holds(people[6])[0].decision) == ([True], Decision.REJECTED)
    code, out, err = run("holds", "approve", "--code", "deactivations_per_run")
    assert (code, "holds lift" in err + out) == (2, True), "nobody is left but whom somebody said no to"
    code, out, err = run("holds", "lift", people[6]["login"])
    assert code == 0, (out, err)
    assert w.active(people[7]) == [True], "assigned again since: read anew, and left alone"
    assert w.open_holds(people[7]) == []
    verbs = [verb for verb, _ in w.decisions()]
    assert (verbs.count("hold reject"), verbs.count("hold lift")) == (1, 1)
    assert verbs.count("hold approve") >= 6


def test_explain_shows_the_hold_and_a_command_that_works(make: Make, commands_of: CommandsOf) -> None:
    w = make()
    people = held(w, 8)
    run = commands_of(w)
    steps = run.document("explain", people[0]["login"])["steps"]
    detail = next(step["detail"] for step in steps if step["name"] == "hold")
    assert "deactivations_per_run" in detail
    code, out, err = run.line(detail.partition("To end it: ")[2])
    assert code == 0, (out, err)
    assert w.active(*people[:2]) == [False, True]


def test_more_people_than_a_chain_is_long_are_all_read_again(make_sqlite: Make, commands_of: CommandsOf) -> None:
    w = make_sqlite(90, guard={"source_drop_floor": 1000})
    people = held(w, 60)
    run = commands_of(w)
    w.lost()
    w.assign(*people[:10], *people[-10:])
    code, out, err = run("holds", "reject", "--code", "deactivations_per_run", "--reason", "wrong group")
    assert code == 0, (out, err)
    assert len(w.open_holds()) == 40, "who is assigned again by now is wanted again, however late in the list"
    assert w.open_holds(*people[:10], *people[-10:]) == []
    assert {hold.decision for hold in w.open_holds()} == {Decision.REJECTED}
