"""``explain`` of somebody who waits in a stored plan: which plan, why, and the very command that ends it."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from agent.model.users import Role
from agent.reconcile import RunReport
from agent.runs.stored_plans import PlanDecision
from agent.store import brakes
from agent.store.journal import Signature
from support.world import World

Make = Callable[..., World]


def told(w: World, login: str) -> tuple[str, str] | None:
    steps = {step.name: (step.status.value, step.detail) for step in w.reconciler.explain(login).steps}
    return steps.get("plan")


def approve(w: World, detail: str) -> RunReport:
    """What the command in the text does."""
    found = re.search(r"plans approve (\d+) --checksum (\w+)((?: --action \d+)*)(?: --count (\d+))?", detail)
    assert found, detail
    only = frozenset(int(n) for n in re.findall(r"\d+", found[3])) or None
    decision = PlanDecision(approve=True, only=only, count=int(found[4]) if found[4] else None)
    return w.reconciler.apply_plan(int(found[1]), found[2], decision)


@pytest.fixture
def w(make_world: Make) -> World:
    """Two people whom somebody deactivated by hand, while no reactivation passes unseen."""
    made = make_world(users=12, guard={"creates_floor": 0, "creates_percent": 0})
    made.first_run()
    return made


def hold(w: World) -> tuple[str, str]:
    one, other = (person["login"] for person in w.people()[:2])
    for login in (one, other):
        w.change(login, active=False)
    assert w.reconcile().outcome == "held"
    return one, other


def test_a_held_action_is_named_with_its_plan_and_the_command_for_this_person_alone(w: World) -> None:
    one, other = hold(w)
    assert told(w, w.people()[5]["login"]) is None
    status, detail = told(w, one.upper()) or ("", "")
    assert status == "warning"
    assert "waits for a person (creates_per_run: 2 of 12 people" in detail
    # A later run that holds the same leaves the old plan to be approved, whatever else it does.
    w.change(w.people()[6]["login"], title="Changed")
    later = w.reconcile()
    assert later.plan is not None
    assert later.waiting is not None
    assert told(w, one) == (status, detail)
    assert f"plan {later.waiting.id} waits" in detail
    # The other one still waits in that plan.
    assert approve(w, detail).outcome == "held"
    assert (w.account(one).active, w.account(other).active) == (True, False)
    assert told(w, one) is None
    assert told(w, other) is not None


def test_a_first_run_is_named_with_its_count(make_world: Make) -> None:
    w = make_world(users=5)
    w.reconcile()
    status, detail = told(w, w.people()[3]["login"]) or ("", "")
    assert (status, "first_run" in detail, detail.endswith("--count 5")) == ("warning", True, True)
    assert approve(w, detail).outcome == "applied"


def test_what_no_approval_lifts_says_so(w: World) -> None:
    w.acts().set_role(w.account(w.people()[0]["login"]).id, Role.OWNER)
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{w.people()[0]['okta_id']}")
    login = next(user.user_name for user in w.accounts().values() if user.role == Role.OWNER)
    w.reconcile()
    _, detail = told(w, login) or ("", "")
    assert "last_owner" in detail
    assert "owner handover" in detail
    assert "plans approve" not in detail


def test_a_rejected_plan_is_said_to_be_rejected(w: World) -> None:
    one, _ = hold(w)
    plan_id = int(re.findall(r"plan (\d+) waits", (told(w, one) or ("", ""))[1])[0])
    w.store.write(
        lambda conn: brakes.reject_plan(
            conn, Signature(actor="ann", source="cli", reason="not now", at=w.now()), plan_id
        )
    )
    status, detail = told(w, one) or ("", "")
    assert status == "skipped"
    assert f"plan {plan_id}, which held this, was rejected by ann" in detail
    assert "(not now)" in detail
    assert "plans approve" not in detail


def test_an_expired_plan_is_said_to_be_expired(w: World) -> None:
    one, _ = hold(w)
    w.ahead += timedelta(hours=24, minutes=1)
    status, detail = told(w, one) or ("", "")
    assert status == "skipped"
    assert "expired at" in detail
    assert "plans approve" not in detail
    assert w.reconcile().outcome == "held"
    assert (told(w, one) or ("", ""))[0] == "warning", "the newer plan can be approved"


def test_with_okta_down_opshelms_half_is_shown(w: World) -> None:
    one, _ = hold(w)
    w.org.faults({"method": "GET", "path": "*", "times": None, "status": 403})
    found = w.reconciler.explain(one)
    w.org.faults()
    steps = {step.name: (step.status.value, step.detail) for step in found.steps}
    assert found.outcome == "incomplete"
    assert steps["okta"][0] == "failure"
    assert steps["opshelm"][1].startswith("inactive")
    assert "creates_per_run" in steps["plan"][1]


def test_while_paused_nothing_is_said_to_be_approvable(w: World) -> None:
    one, _ = hold(w)
    by = Signature(actor="operator test", source="cli", at=datetime.now(UTC), reason="tonight")
    w.store.write(lambda conn: brakes.pause(conn, by))
    _, detail = told(w, one) or ("", "")
    assert "plans approve" not in detail
    assert "opshelm-agent resume" in detail
    hold_step = next(step.detail for step in w.reconciler.explain(one).steps if step.name == "hold")
    assert hold_step.endswith(f"before: opshelm-agent resume, then opshelm-agent holds approve {one}")


def test_a_block_that_has_ended_is_not_told_by_the_plan_that_met_it(w: World) -> None:
    one = w.people()[0]["login"]
    w.acts().deactivate(w.account(one).id)
    assert w.reconcile().outcome == "held"
    assert "blocked" in (told(w, one) or ("", ""))[1]
    w.acts().reactivate(w.account(one).id)
    assert told(w, one) is None
