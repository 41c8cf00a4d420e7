"""What the guard holds when a whole sweep runs, and how a person lets it go. With the default limits."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from agent.model.codes import HeldCode, PlanStatus
from agent.model.errors import HeldBack, UsageError
from agent.model.holds import ENDS_ACCESS, ChangeKind, Reason
from agent.runs.stored_plans import PlanDecision
from agent.store import account, holds, plans, seal, windows
from agent.store.engine import Store
from agent.store.journal import Signature
from support.world import World

Make = Callable[..., World]


def unassign(w: World, people: list[dict], count: int) -> None:
    for person in people[:count]:
        w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")


def row(store: Store) -> account.Account:
    with store.read() as conn:
        return account.get(conn)


def active(w: World) -> int:
    return sum(user.active for user in w.accounts().values())


def test_the_first_run_waits_for_its_count_and_then_pins(make_world: Make) -> None:
    w = make_world(users=30)
    dry = w.reconcile(apply=False)
    assert (dry.outcome, dry.exit_code, dry.held, dry.drift) == ("held", 0, True, True)
    held = w.reconcile()
    assert (held.outcome, held.exit_code, held.plan.plan.held.value) == ("held", 4, "first_run")
    assert held.plan.id == dry.plan.id, "the same held set keeps the old plan"
    too_few = w.reconcile(first_run=29)
    assert (too_few.exit_code, "30 people" in too_few.detail, w.accounts()) == (4, True, {})
    assert not row(w.store).pinned
    done = w.reconcile(first_run=30)
    assert (done.outcome, done.exit_code, active(w)) == ("applied", 0, 30)
    assert (row(w.store).org_id, row(w.store).app_id) == (w.okta.org_id(), w.org.app_id)
    assert w.reconcile().outcome == "in_step"


def test_a_first_run_can_be_approved_by_its_plan_with_its_count(make_world: Make) -> None:
    w = make_world(users=25)
    plan = w.reconcile(apply=False).plan
    with pytest.raises(HeldBack, match="--count"):
        w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True))
    with pytest.raises(UsageError, match="checksum"):
        w.reconciler.apply_plan(plan.id, "0" * 64, PlanDecision(approve=True, count=25))
    assert w.reconciler.apply_plan(plan.id, plan.checksum).exit_code == 4
    assert w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True, count=24)).exit_code == 4
    done = w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True, count=25))
    assert (done.outcome, done.plan.status, active(w)) == ("applied", PlanStatus.APPLIED, 25)
    assert row(w.store).pinned
    with pytest.raises(UsageError, match="applied once"):
        w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True, count=25))


def test_an_app_with_nobody_in_it_waits_for_its_pins(make_world: Make) -> None:
    w = make_world(users=0)
    report = w.reconcile()
    assert (report.outcome, row(w.store).pinned, journalled(w, "pin")) == ("in_step", False, [])
    assert "Nothing is pinned yet: Okta has nobody assigned" in report.detail


def test_an_app_of_which_nobody_has_an_account_waits_for_its_pins(make_world: Make) -> None:
    w = make_world(users=2)
    for person in w.people():
        w.org.api("POST", f"/users/{person['okta_id']}/lifecycle/suspend")
    report = w.reconcile()
    assert (report.outcome, row(w.store).pinned) == ("in_step", False)
    assert "none of the people assigned in Okta has an active account" in report.detail


def test_people_in_step_pin_at_once_with_a_line_and_a_journal_row_but_not_in_a_dry_run(make_world: Make) -> None:
    w = make_world(users=3)
    w.first_run()
    w.sql("update account set org_id = null, app_id = null")
    assert w.reconcile(apply=False).outcome == "in_step"
    assert not row(w.store).pinned
    before = len(journalled(w, "pin"))
    report = w.reconcile()
    assert (report.outcome, row(w.store).pinned) == ("in_step", True)
    assert "Pinned to the app" in report.detail
    assert len(journalled(w, "pin")) == before + 1
    assert journalled(w, "pin")[-1]["before"]["app_id"] == w.org.app_id


def journalled(w: World, verb: str) -> list[dict]:
    return [entry for entry in seal.export(w.store.read) if entry["verb"] == verb]


def test_an_approval_is_journalled_with_who_which_actions_and_its_count(make_world: Make) -> None:
    w = make_world(users=4)
    plan = w.reconcile(apply=False).plan
    by = Signature(actor="ann@example.com", source="dashboard", at=w.now())
    w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True, count=4), by=by)
    [entry] = journalled(w, "plan approve")
    assert (entry["actor"], entry["source"], entry["plan_id"]) == ("ann@example.com", "dashboard", plan.id)
    assert (entry["before"]["actions"], entry["before"]["count"]) == ([1, 2, 3, 4], 4)


def test_a_first_run_by_its_typed_number_is_journalled_as_approved(make_world: Make) -> None:
    w = make_world(users=4)
    w.reconcile(first_run=4)
    assert [entry["before"]["count"] for entry in journalled(w, "plan approve")] == [4]


def test_a_single_reconcile_applies_nothing_before_the_pins(make_world: Make) -> None:
    w = make_world(users=3)
    report = w.reconcile(w.people()[0]["login"])
    assert (report.exit_code, report.plan.plan.held.value, w.accounts()) == (4, "first_run", {})


def test_deactivations_over_the_limit_are_held_and_the_rest_goes_on(make_world: Make) -> None:
    w = make_world(users=40)
    w.first_run()
    people = w.people()
    unassign(w, people, 6)  # under the source drop of 20 %, over the 5 of one run
    w.change(people[10]["login"], title="Changed")
    report = w.reconcile()
    assert (report.outcome, report.exit_code) == ("held", 4)
    assert report.counts["done"] == 1
    assert {a.held.value for a in report.plan.plan.actions if a.held} == {"deactivations_per_run"}
    assert active(w) == 40
    # A later run with the same held set keeps the old plan and its age.
    w.change(people[11]["login"], title="Changed")
    later = w.reconcile()
    assert (later.waiting.id, later.counts["done"]) == (report.plan.id, 1)
    assert w.reconcile().plan.id == report.plan.id
    # One by one, then the rest.
    one = w.reconciler.apply_plan(
        report.plan.id,
        report.plan.checksum,
        PlanDecision(approve=True, only=frozenset({report.plan.plan.actions[0].n})),
    )
    assert (one.outcome, one.exit_code, active(w), one.plan.status) == ("held", 4, 39, PlanStatus.HELD)
    assert (one.counts["done"], one.counts["held"]) == (1, 5), "what this call did, and what waits"
    rest = w.reconciler.apply_plan(report.plan.id, report.plan.checksum, PlanDecision(approve=True))
    assert (rest.outcome, active(w), rest.plan.status) == ("applied", 34, PlanStatus.APPLIED)
    assert rest.counts["done"] == 5
    with w.store.read() as conn:
        assert windows.counts(conn, w.now()).last_day == 0, "what was approved doesn't fill the windows"


def test_what_moved_since_the_plan_is_stale_and_the_rest_is_done(make_world: Make) -> None:
    w = make_world(users=40)
    w.first_run()
    people = w.people()
    for person in people[:6]:
        w.org.set_app_user(person["okta_id"], status="INACTIVE")
    plan = w.reconcile().plan
    w.org.set_app_user(people[0]["okta_id"], status="PROVISIONED")
    report = w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True))
    states = {a.okta_id: a.state.value for a in report.plan.plan.actions}
    assert states.pop(people[0]["okta_id"]) == "stale"
    assert set(states.values()) == {"done"}


def test_a_plan_expires_and_a_rejected_one_is_not_applied(make_world: Make) -> None:
    w = make_world(users=3)
    plan = w.reconcile(apply=False).plan
    w.ahead = timedelta(hours=24, seconds=1)
    with pytest.raises(UsageError, match="expired"):
        w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True, count=3))
    again = w.reconcile(apply=False).plan
    assert again.id != plan.id
    w.store.write(lambda conn: plans.set_status(conn, again.id, PlanStatus.REJECTED))
    with pytest.raises(UsageError, match="rejected"):
        w.reconciler.apply_plan(again.id, again.checksum, PlanDecision(approve=True, count=3))


def test_an_empty_source_needs_the_typed_count(make_world: Make) -> None:
    w = make_world(users=6)
    w.first_run()
    unassign(w, w.people(), 6)
    held = w.reconcile()
    assert (held.exit_code, held.plan.plan.held.value, active(w)) == (4, "empty_source", 6)
    assert w.reconcile(allow_empty=5).exit_code == 4
    assert active(w) == 6
    done = w.reconcile(allow_empty=6)
    assert (done.outcome, active(w)) == ("applied", 0)


def test_a_number_typed_for_the_first_run_or_an_empty_okta_lifts_nothing_else(make_world: Make) -> None:
    w = make_world(users=40)
    w.first_run()
    unassign(w, w.people(), 8)
    with pytest.raises(UsageError, match="pinned already"):
        w.reconcile(first_run=100)
    with pytest.raises(UsageError, match="Okta lists 32 people"):
        w.reconcile(allow_empty=100)
    assert active(w) == 40
    held = w.reconcile()
    assert (held.outcome, active(w)) == ("held", 40)
    count = w.reconciler.apply_plan(held.plan.id, held.plan.checksum, PlanDecision(count=100))
    assert (count.outcome, active(w)) == ("held", 40)


def test_a_source_drop_is_approved_by_its_plan_and_then_is_the_last_good_sweep(make_world: Make) -> None:
    w = make_world(users=30)
    w.first_run()
    unassign(w, w.people(), 8)
    held = w.reconcile()
    assert (held.plan.plan.held.value, row(w.store).last_good_people) == ("source_drop", 30)
    done = w.reconciler.apply_plan(held.plan.id, held.plan.checksum, PlanDecision(approve=True))
    assert (done.outcome, active(w), row(w.store).last_good_people) == ("applied", 22, 22)


def test_a_lifted_sweep_that_a_pause_stops_is_no_good_one(make_world: Make) -> None:
    w = make_world(users=6)
    w.first_run()
    unassign(w, w.people(), 6)
    w.store.write(lambda conn: account.pause(conn, actor="operator", reason="test", now=w.now()))
    assert (w.reconcile(allow_empty=6).outcome, row(w.store).last_good_people) == ("paused", 6)
    w.store.write(account.resume)
    assert w.reconcile().plan.plan.held.value == "empty_source"


@pytest.mark.parametrize("left_out", [{"drop": 0.3}, {"drop": 0.5}, {"empty": True}], ids=str)
def test_a_listing_that_leaves_people_out_deactivates_nobody(make_world: Make, left_out: dict) -> None:
    w = make_world(users=60)
    w.first_run()
    w.org.listing(**left_out)
    for apply in (False, True):
        report = w.reconcile(apply=apply)
        assert (report.outcome, report.exit_code) == ("disproved", 1)
    assert active(w) == 60
    assert row(w.store).last_good_people == 60
    w.org.listing()
    assert w.reconcile().outcome == "in_step"


def test_a_few_people_left_out_are_skipped_and_reported(make_world: Make) -> None:
    w = make_world(users=30)
    w.first_run()
    people = w.people()
    w.org.listing(drop_ids=[person["okta_id"] for person in people[:4]])
    unassign(w, people[20:], 1)
    report = w.reconcile()
    assert (report.outcome, report.exit_code, active(w)) == ("applied", 0, 29)
    assert (report.counts["asked"], report.counts["disproved"], report.counts["absence_disproved"]) == (5, 4, 4)


def test_people_whose_push_got_429_are_held_while_the_window_is_full(make_world: Make) -> None:
    w = make_world(users=40, guard={"push_floor": 1, "push_percent": 0, "push_cap": 1})
    w.first_run()
    one, two = w.people()[:2]
    for person in (one, two):
        w.org.set_app_user(person["okta_id"], status="INACTIVE")
    w.store.write(
        lambda conn: windows.record(conn, directory_id="x", source="push", exempt=False, managed=True, now=w.now())
    )
    refused = w.account(two["login"])
    reason = Reason(
        directory_id=refused.id,
        okta_id=two["okta_id"],
        login=two["login"],
        kind=ChangeKind.DEACTIVATE,
        code=HeldCode.PUSH_BURST,
        detail="2 of 40 people",
        wish=ENDS_ACCESS,
    )
    w.store.write(lambda conn: holds.find(conn, [reason], w.now(), by="push", pushed=True))
    report = w.reconcile()
    assert w.actions_for(report, two["okta_id"]) == [("deactivate", "push_burst")]
    assert w.account(two["login"]).active
    assert not w.account(one["login"]).active


def test_a_slow_bleed_trips_the_limit_of_24_hours(make_world: Make) -> None:
    w = make_world(users=40)
    w.first_run()
    people = w.people()
    for start in (0, 4):
        unassign(w, people[start:], 4)
        assert w.reconcile().outcome == "applied"
    unassign(w, people[8:], 1)
    report = w.reconcile()
    assert {a.held.value for a in report.plan.plan.actions if a.held} == {"deactivations_24h"}
    assert active(w) == 32


def test_the_last_owner_stays(make_world: Make) -> None:
    from agent.model.users import Role

    w = make_world(users=30)
    w.first_run()
    one, two = w.people()[:2]
    for person in (one, two):
        w.acts().set_role(w.account(person["login"]).id, Role.OWNER)
        w.org.set_app_user(person["okta_id"], status="INACTIVE")
    report = w.reconcile()
    held = [a for a in report.plan.plan.actions if a.held]
    assert [(a.held.value, a.n) for a in held] == [("last_owner", 2)]
    assert sum(w.account(p["login"]).active for p in (one, two)) == 1
