"""Okta's groups give roles: sweeps and single looks, against the simulated org over HTTP."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from agent.model.codes import ActionState
from agent.model.users import Role
from agent.runs.frame import RunReport
from agent.runs.stored_plans import PlanDecision
from agent.store import alarms, holds
from agent.store import roles as kept
from agent.store.journal import Signature
from support.world import RAISED, World

Make = Callable[..., World]
OWNERS = "OpsHelm Owners"
MAPPED = {"owner": (OWNERS,)}


def started(
    make_world: Make, *members: int, users: int = 6, guard: dict[str, Any] | None = None, retries: int = 5, **roles: Any
) -> World:
    """Everybody has an account, an operator's own account is the owner, and these people are in the group."""
    w = make_world(users=users, guard={**RAISED, **(guard or {})}, roles={**MAPPED, **roles}, retries=retries)
    w.local("boss@example.org", owner=True)
    logins = [person["login"] for person in w.people()]
    w.org.set_group(OWNERS, members=[logins[n] for n in members], assigned=False)
    w.first_run()
    return w


def approved(w: World) -> RunReport:
    """A person has looked at what the groups would do for the first time, and lets it go."""
    held = w.reconcile()
    assert held.outcome == "held", held
    return w.reconciler.apply_plan(held.plan.id, held.plan.checksum, PlanDecision(approve=True), by=_by(w))


def _by(w: World) -> Signature:
    return Signature(actor="operator", source="cli", at=w.now(), reason="looked")


def owners(w: World) -> set[str]:
    return {user.user_name for user in w.accounts().values() if user.role is Role.OWNER and user.active}


def person(w: World, n: int) -> str:
    return str(w.people()[n]["login"])


def held_codes(report: RunReport) -> list[str]:
    assert report.plan is not None
    return [a.held.value for a in report.plan.plan.actions if a.held]


def members(w: World, *numbers: int, name: str = OWNERS) -> None:
    people = w.people()
    w.org.set_group(name, members=[people[n]["login"] for n in numbers])


def journalled(w: World, verb: str) -> list[tuple[str, str]]:
    with w.store.read() as conn:
        rows = conn.exec_driver_sql(f"SELECT actor, reason FROM journal WHERE verb = '{verb}' ORDER BY id")
        return [(row[0], row[1]) for row in rows]


def open_codes(w: World) -> list[str]:
    with w.store.read() as conn:
        return [alarm.code for alarm in alarms.open_alarms(conn)]


# The first use


def test_whom_the_groups_make_owner_for_the_first_time_a_person_sees_first(make_world: Make) -> None:
    w = started(make_world, 0, 1)
    first = w.reconcile()
    assert (first.outcome, held_codes(first)) == ("held", ["first_roles", "first_roles"])
    assert owners(w) == {"boss@example.org"}
    done = approved(w)
    assert (done.outcome, owners(w)) == ("applied", {"boss@example.org", person(w, 0), person(w, 1)})
    group_id = w.org.set_group(OWNERS)
    assert journalled(w, "role")[-1][1] == f"in the Okta group {OWNERS} ({group_id})"
    assert journalled(w, "roles approve") == [("operator", f"plan {done.plan.id} approved: {OWNERS}")]
    members(w, 0, 1, 2)
    assert (w.reconcile().outcome, person(w, 2) in owners(w)) == ("applied", True)
    assert w.reconcile().outcome == "in_step"


def test_who_is_let_go_one_by_one_lets_only_these_have_the_role(make_world: Make) -> None:
    w = started(make_world, 0, 1)
    plan = w.reconcile().plan
    only = PlanDecision(approve=True, only=frozenset({1}))
    w.reconciler.apply_plan(plan.id, plan.checksum, only)
    assert len(owners(w)) == 2
    left = w.reconcile().plan.plan.actions
    assert [(a.n, a.held.value) for a in left if a.state is ActionState.HELD] == [(2, "first_roles")]


def test_who_lets_everybody_go_hold_by_hold_lets_the_groups_give_roles(make_world: Make) -> None:
    w = started(make_world, 0, 1)
    w.reconcile()
    for left in (1, 0):
        with w.store.read() as conn:
            waiting = holds.open_holds(conn)
        w.reconciler.approve_holds(waiting[:1], _by(w), wait=0)
        assert len(journalled(w, "roles approve")) == 1 - left
    members(w, 0, 1, 2)
    w.reconcile()
    assert len(owners(w)) == 4


def test_a_rejected_promotion_stays_rejected(make_world: Make) -> None:
    w = started(make_world, 0)
    w.reconcile()
    with w.store.read() as conn:
        waiting = holds.open_holds(conn)
    from agent.store import brakes

    w.store.write(lambda conn: brakes.reject_holds(conn, _by(w), waiting))
    for _ in range(2):
        assert held_codes(w.reconcile()) == ["rejected"]
    # A group that can't be read takes nobody's no back.
    w.org.faults({"path": "/api/v1/groups/*/users", "status": 403, "times": 1})
    w.reconcile()
    assert held_codes(w.reconcile()) == ["rejected"]
    assert owners(w) == {"boss@example.org"}


# Who gets it, and who loses it


def test_whose_group_goes_becomes_a_member_and_keeps_the_access(make_world: Make) -> None:
    w = started(make_world, 0, 1)
    approved(w)
    members(w, 1)
    assert w.reconcile().outcome == "applied"
    user = w.account(person(w, 0))
    assert (user.role, user.active, owners(w)) == (Role.MEMBER, True, {"boss@example.org", person(w, 1)})
    assert "no longer in the Okta group OpsHelm Owners" in journalled(w, "role")[-1][1]


def test_roles_by_hand_stay_where_no_group_ever_named_the_person(make_world: Make) -> None:
    w = started(make_world, 0)
    approved(w)
    w.acts().set_role(w.account(person(w, 3)).id, Role.OWNER)
    assert w.reconcile().outcome == "in_step"
    assert person(w, 3) in owners(w)
    # In the group for a while: from then on the group decides.
    members(w, 0, 3)
    w.reconcile()
    members(w, 0)
    w.reconcile()
    assert owners(w) == {"boss@example.org", person(w, 0)}


def test_with_manage_all_owners_by_hand_become_members_once_a_person_has_seen_it(make_world: Make) -> None:
    w = started(make_world, 0)
    w.acts().set_role(w.account(person(w, 3)).id, Role.OWNER)
    approved(w)
    w.configure(guard=RAISED, roles={**MAPPED, "manage": "all"})
    assert held_codes(w.reconcile()) == ["first_roles"]
    approved(w)
    # A local account is none of Okta's.
    assert owners(w) == {"boss@example.org", person(w, 0)}
    w.acts().set_role(w.account(person(w, 4)).id, Role.OWNER)
    assert (w.reconcile().outcome, person(w, 4) in owners(w)) == ("applied", False)


def test_protected_accounts_and_people_without_access_get_no_role(make_world: Make) -> None:
    w = started(make_world, 0, 1, 2, 3)
    people = w.people()
    w.acts().protect(w.account(people[0]["login"]).id, protected=True)
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{people[1]['okta_id']}")
    w.org.api("POST", f"/users/{people[2]['okta_id']}/lifecycle/suspend")
    approved(w)
    assert owners(w) == {"boss@example.org", people[3]["login"]}


def test_somebody_who_comes_back_is_owner_again(make_world: Make) -> None:
    w = started(make_world, 0)
    approved(w)
    someone = w.people()[0]
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{someone['okta_id']}")
    w.reconcile()
    assert w.account(someone["login"]).role is Role.MEMBER
    w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": someone["okta_id"]})
    w.ahead += w.settings.reconcile.settle * 2
    w.reconcile()
    assert someone["login"] not in owners(w)
    w.ahead += timedelta(minutes=1)
    w.reconciler.look(apply=True)
    assert someone["login"] in owners(w)


# The last owner


def alone(make_world: Make, **more: Any) -> World:
    """Two people of the group are the only owners."""
    w = started(make_world, 0, 1, **more)
    approved(w)
    w.acts().set_role(w.account("boss@example.org").id, Role.MEMBER)
    return w


def test_the_last_active_owner_stays_it_and_there_is_an_alarm(make_world: Make) -> None:
    w = alone(make_world)
    members(w)
    report = w.reconcile()
    assert (report.outcome, held_codes(report), len(owners(w))) == ("held", ["last_owner"], 1)
    assert "last_owner" in open_codes(w)
    # Somebody else takes over.
    members(w, 4)
    w.reconcile()
    w.reconcile()
    assert owners(w) == {person(w, 4)}


def test_an_owner_is_exchanged_in_one_run(make_world: Make) -> None:
    w = alone(make_world)
    members(w, 2)
    assert w.reconcile().outcome == "applied"
    assert owners(w) == {person(w, 2)}


def test_one_who_leaves_and_one_whose_group_goes_leave_an_owner_between_them(make_world: Make) -> None:
    w = alone(make_world)
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{w.people()[0]['okta_id']}")
    members(w)
    report = w.reconcile()
    assert (report.outcome, len(owners(w))) == ("held", 1)


# Caps


def test_more_than_the_cap_waits_and_single_looks_do_not_get_around_it(make_world: Make) -> None:
    w = started(make_world, 0, guard={"promotions_cap": 2, "demotions_cap": 1})
    approved(w)
    members(w, 0, 1, 2, 3)
    report = w.reconcile()
    assert held_codes(report) == ["promotions_per_run"] * 3
    assert len(owners(w)) == 2
    members(w, 0, 1, 2)
    w.reconcile()
    assert len(owners(w)) == 4
    members(w, 0, 1, 2, 3)
    assert held_codes(w.reconcile(person(w, 3))) == ["promotions_per_run"]
    members(w)
    assert held_codes(w.reconcile()) == ["demotions_per_run"] * 3
    w.ahead += kept.WINDOW
    members(w, 1, 2, 3)
    assert w.reconcile().outcome == "applied"
    assert owners(w) == {"boss@example.org", *(person(w, n) for n in (1, 2, 3))}


# Groups


def test_a_renamed_group_is_the_same_group_and_another_one_of_its_name_is_not(make_world: Make) -> None:
    w = started(make_world, 0)
    approved(w)
    group_id = w.org.set_group(OWNERS)
    w.org.api("PUT", f"/groups/{group_id}", {"profile": {"name": "Captains"}})
    w.org.set_group(OWNERS, members=[person(w, 1)])
    report = w.reconcile()
    assert [f.code.value for f in report.findings if f.code.value.startswith("role_")] == ["role_group_renamed"]
    assert owners(w) == {"boss@example.org", person(w, 0)}


def test_a_group_that_is_named_by_its_id_is_warned_about_once(make_world: Make) -> None:
    w = started(make_world, 0)
    group_id = w.org.set_group(OWNERS)
    w.configure(guard=RAISED, roles={"owner": (group_id,)})
    approved(w)
    w.org.api("PUT", f"/groups/{group_id}", {"profile": {"name": "Captains"}})
    for codes in (["role_group_renamed"], []):
        assert [f.code.value for f in w.reconcile().findings if f.code.value.startswith("role_")] == codes


def test_without_groups_there_is_no_alarm_about_them(make_world: Make) -> None:
    w = started(make_world, 0)
    w.configure(guard=RAISED, roles={"owner": ("No such group",)})
    w.reconcile()
    assert "role_group" in open_codes(w)
    w.configure(guard=RAISED)
    w.reconcile()
    assert "role_group" not in open_codes(w)


@pytest.mark.parametrize("gone", ["deleted", "unreadable", "half", "throttled"])
def test_a_group_that_can_not_be_read_whole_demotes_nobody(make_world: Make, gone: str) -> None:
    w = started(make_world, 0, 1, retries=0)
    approved(w)
    group_id = w.org.set_group(OWNERS)
    members(w, 0)
    if gone == "deleted":
        w.org.api("DELETE", f"/groups/{group_id}")
    elif gone == "unreadable":
        w.org.faults({"path": f"/api/v1/groups/{group_id}/users", "status": 500, "times": None})
    elif gone == "throttled":
        # Longer than a run may wait.
        far = {"x-rate-limit-reset": str(int(time.time()) + 3600)}
        w.org.faults({"path": f"/api/v1/groups/{group_id}/users", "status": 429, "headers": far, "times": None})
    else:
        w.org.faults({"path": f"/api/v1/groups/{group_id}/users", "cut_after": 200, "times": None})
    report = w.reconcile()
    assert report.outcome == "in_step", report
    assert owners(w) == {"boss@example.org", person(w, 0), person(w, 1)}
    assert "role_group" in open_codes(w)
    assert w.reconcile(person(w, 1)).outcome in ("in_step", "applied")
    w.org.faults()
    if gone in ("unreadable", "half"):
        w.reconcile()
        assert owners(w) == {"boss@example.org", person(w, 0)}
        assert "role_group" not in open_codes(w)


def test_who_is_missing_in_a_listing_and_in_the_group_all_the_same_stays_owner(make_world: Make) -> None:
    w = started(make_world, 0, 1)
    approved(w)
    group_id = w.org.set_group(OWNERS)
    w.org.faults({"path": f"/api/v1/groups/{group_id}/users", "status": 200, "body": []})
    report = w.reconcile()
    assert owners(w) == {"boss@example.org", person(w, 0), person(w, 1)}
    assert {f.login for f in report.findings if f.code.value == "role_group"} == {OWNERS, person(w, 0), person(w, 1)}


@pytest.mark.parametrize(
    ("name", "problem"), [("Nobody's", "no group"), ("Everyone", "everybody"), ("Twice", "name one id")]
)
def test_an_entry_that_is_no_one_group_gives_nothing(make_world: Make, name: str, problem: str) -> None:
    w = started(make_world, 0)
    approved(w)
    if name == "Twice":
        body = [{"id": f"00g{'x' * 16}{n}", "type": "APP_GROUP", "profile": {"name": "Twice"}} for n in (1, 2)]
        w.org.faults({"path": "/api/v1/groups", "status": 200, "body": body, "times": None})
    w.configure(guard=RAISED, roles={"owner": (name,)})
    report = w.reconcile()
    assert (report.outcome, owners(w)) == ("in_step", {"boss@example.org", person(w, 0)})
    assert any(problem in f.detail for f in report.findings if f.login == name)


def test_the_first_of_several_groups_stands_behind_the_role(make_world: Make) -> None:
    w = started(make_world, 0)
    second = w.org.set_group("Second", members=[person(w, 0), person(w, 1)])
    w.configure(guard=RAISED, roles={"owner": (OWNERS, second)})
    approved(w)
    members(w)
    assert w.reconcile().outcome == "in_step"
    with w.store.read() as conn:
        given = {one.user_name: one.granted for one in kept.owners(conn)}
    assert {given[person(w, n)] for n in (0, 1)} == {second}


# Single looks


def test_a_single_look_asks_for_the_person_s_own_groups(make_world: Make) -> None:
    w = started(make_world, 0)
    approved(w)
    members(w, 0, 1)
    assert w.reconcile(person(w, 1)).outcome == "applied"
    members(w, 1)
    assert w.reconcile(person(w, 0)).outcome == "applied"
    assert owners(w) == {"boss@example.org", person(w, 1)}


def test_off_is_off(make_world: Make) -> None:
    w = started(make_world, 0)
    approved(w)
    members(w, 1)
    w.configure(guard=RAISED)
    w.count(("GET", "/api/v1/groups*"), ("GET", "/api/v1/users/*/groups"))
    assert w.reconcile().outcome == "in_step"
    assert (w.calls("GET", "/api/v1/groups*"), owners(w)) == (0, {"boss@example.org", person(w, 0)})


def test_what_an_undo_takes_back_is_not_given_again(make_world: Make) -> None:
    from agent.reconcile.undo import UndoRequest
    from agent.store.history import RowSelection

    w = started(make_world, 0)
    run = approved(w).run_id
    plan = w.reconciler.undo(UndoRequest(selection=RowSelection(run_id=run), reason="a mistake"), _by(w)).plan
    w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True), by=_by(w))
    assert owners(w) == {"boss@example.org"}
    assert held_codes(w.reconcile()) == ["undone"]


# Who says so


def test_explain_and_the_report_of_access_name_the_group(make_world: Make) -> None:
    from datetime import timedelta

    from agent.reports.access import NOT_ASKED, access

    w = started(make_world, 0)
    group_id = w.org.set_group(OWNERS)
    approved(w)
    steps = {step.name: step.detail for step in w.reconciler.explain(person(w, 0)).steps}
    assert steps["role"] == f"in_an_owner_group: wanted owner, by the Okta group {OWNERS} ({group_id})"
    report = access(w.store, NOT_ASKED, at=None, since=w.now() - timedelta(hours=1), now=w.now())
    (row,) = [one for one in report.people if one.login == person(w, 0)]
    assert row.role_by.endswith(f"in the Okta group {OWNERS} ({group_id})")


# Events


@pytest.mark.parametrize("by", ["log", "hook"])
def test_a_membership_s_event_has_the_person_looked_at(make_world: Make, by: str) -> None:
    from agent.model.okta import LogEvent
    from agent.reconcile.look_queue import queue
    from agent.reconcile.system_log import SystemLogReader

    w = started(make_world, 0)
    approved(w)
    log = SystemLogReader(w.store, w.okta, w.settings, w.now)
    log.poll()
    w.reconciler.look(apply=True)
    members(w, 0, 1)
    w.org.set_group("Others", members=[person(w, 2)])
    w.ahead += w.settings.schedule.events
    if by == "hook":
        found, _ = w.okta.log_events(since=w.now() - w.settings.schedule.events * 4, filter='eventType sw "group.user"')
        assert all(isinstance(event, LogEvent) for event in found)
        queued = w.store.write(lambda conn: queue(conn, found, app_id=w.org.app_id, page_size=500, now=w.now()))
    else:
        queued = log.poll()
    assert queued.people >= 1
    report = w.reconciler.look(apply=True)
    assert report is not None
    assert owners(w) == {"boss@example.org", person(w, 0), person(w, 1)}
    assert report.counts["people"] <= 2


# check


def lines(w: World) -> dict[str, tuple[str, str]]:
    from agent.checks import roles as checks
    from agent.reconcile.roles import RoleReader

    reader = RoleReader(store=w.store, okta=w.okta, settings=w.settings.roles, clock=w.now)
    return {line.name: (line.state.value, line.detail) for line in checks.checks(reader, w.okta)}


def test_check_says_what_each_group_would_do(make_world: Make) -> None:
    w = started(make_world, 0)
    group_id, line = w.org.set_group(OWNERS), f"role group {OWNERS}"
    assert lines(w)[line][0] == "warn"
    assert "not assigned to the app" in lines(w)[line][1]
    w.org.set_group(OWNERS, assigned=True)
    assert lines(w) == {
        line: ("ok", f"{group_id} makes its members owners"),
        "role owners": ("ok", "1 of 6 people with access would be owners"),
    }
    members(w, 0, 1, 2, 3)
    assert lines(w)["role owners"] == ("warn", "4 of 6 people with access would be owners")
    members(w, 0, 1, 2, 3, 4, 5)
    assert lines(w)["role owners"] == ("fail", "6 of 6 people with access would be owners")
    members(w)
    assert lines(w) == {line: ("warn", f"nobody is in the group {OWNERS} ({group_id})")}
    w.reconcile()
    w.org.api("PUT", f"/groups/{group_id}", {"profile": {"name": "Captains"}})
    members(w, 0, name="Captains")
    assert "now it is Captains" in lines(w)[line][1]
    w.org.api("DELETE", f"/groups/{group_id}")
    assert lines(w)[line][0] == "fail"
    w.configure(guard=RAISED, roles={"owner": ("No such group",)})
    assert lines(w) == {
        "role group No such group": (
            "fail",
            "Okta has no group No such group. Nobody is demoted until that is put right",
        )
    }


def test_who_was_made_owner_anew_by_hand_is_one_by_hand(make_world: Make) -> None:
    w = started(make_world, 0, 1)
    approved(w)
    members(w, 0)
    user = w.account(person(w, 1))
    w.acts().set_role(user.id, Role.MEMBER)
    w.acts().set_role(user.id, Role.OWNER)
    assert (w.reconcile().outcome, person(w, 1) in owners(w)) == ("in_step", True)
