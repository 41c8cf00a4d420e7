"""An apply that a person let go and that was interrupted goes on by itself, with what was let go and nothing else."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from agent.directory.actions import SqlBatches
from agent.model.codes import PlanStatus
from agent.reconcile import RunReport
from agent.runs.stored_plans import PlanDecision
from agent.store import brakes, plans
from agent.store.journal import Signature
from support.world import World

Make = Callable[..., World]
#: More than creates_per_run lets through, with the limits' defaults.
PEOPLE = 60
BATCH = 10


class Killed(BaseException):
    """What no handler of the agent's mends."""


@pytest.fixture
def w(make_world: Make) -> World:
    return make_world(users=PEOPLE, reconcile={"batch": BATCH})


def first_run(w: World) -> RunReport:
    return w.reconcile(first_run=PEOPLE)


def approve(w: World) -> RunReport:
    plan = w.reconcile().plan
    return w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True, count=PEOPLE))


def go_on(w: World) -> RunReport:
    return w.reconcile(trigger="schedule")


def killed_after(batches: int, act: Callable[[World], RunReport], w: World, patch: pytest.MonkeyPatch) -> None:
    write, begun = SqlBatches.write, []

    def until(self: SqlBatches, *args):
        begun.append(args)
        if len(begun) > batches:
            raise Killed
        return write(self, *args)

    before = len(w.accounts())
    with patch.context() as patched:
        patched.setattr(SqlBatches, "write", until)
        with pytest.raises(Killed):
            act(w)
    assert len(w.accounts()) == before + batches * BATCH


@pytest.mark.parametrize("start", [first_run, approve])
def test_an_interrupted_first_run_goes_on_under_its_approval(
    w: World, monkeypatch: pytest.MonkeyPatch, start: Callable[[World], RunReport]
) -> None:
    killed_after(2, start, w, monkeypatch)
    assert w.reconcile(apply=False).outcome == "drift", "a look says so, and does not use the approval up"
    killed_after(1, go_on, w, monkeypatch)
    done = go_on(w)
    assert (done.outcome, done.counts["create"], len(w.accounts())) == ("applied", 30, PEOPLE)
    with w.store.read() as conn:
        left = [plan.status for plan in plans.recent(conn, 100)]
    assert left.count(PlanStatus.APPLIED) == 1
    assert PlanStatus.HELD not in left


def test_it_lets_nobody_pass_who_was_not_in_it(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_after(2, first_run, w, monkeypatch)
    for n in range(25):
        login = f"late{n}@example.com"
        profile = {"login": login, "email": login, "firstName": "Late", "lastName": f"Comer{n}"}
        made = w.org.api("POST", "/users?activate=true", {"profile": profile})
        w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": made["id"]})
    left = [person for person in w.people() if person["login"] not in w.accounts()]
    moved = next(person for person in left if not person["login"].startswith("late"))
    w.org.api("POST", f"/users/{moved['okta_id']}", {"profile": {"title": "Somebody else by now"}})
    report = go_on(w)
    assert (report.outcome, len(w.accounts())) == ("held", PEOPLE - 1)
    held = {action.login for action in report.plan.plan.actions if action.held == "creates_per_run"}
    assert held == {f"late{n}@example.com" for n in range(25)} | {moved["login"]}


def test_a_day_later_the_approval_is_over(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_after(2, first_run, w, monkeypatch)
    w.ahead += timedelta(hours=24, minutes=1)
    report = go_on(w)
    assert (report.outcome, len(w.accounts())) == ("held", 2 * BATCH)


def test_nor_does_a_plan_go_on_that_was_rejected_meanwhile(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    killed_after(2, first_run, w, monkeypatch)
    with w.store.read() as conn:
        plan_id = plans.recent(conn, 1)[0].id
    w.store.write(
        lambda conn: brakes.reject_plan(conn, Signature(actor="x", source="cli", reason="no", at=w.now()), plan_id)
    )
    report = go_on(w)
    assert (report.outcome, len(w.accounts())) == ("held", 2 * BATCH)


def test_what_is_done_is_not_done_again_under_it(w: World) -> None:
    """Everybody was created; who is missing later is missing for another reason."""
    assert first_run(w).outcome == "applied"
    for person in w.people()[:30]:
        w.sql(
            "delete from user_emails where user_seq = (select seq from users where user_name = :name)",
            name=person["login"],
        )
        w.sql("delete from users where user_name = :name", name=person["login"])
    w.sql("update account set managed_active = managed_active - 30, visible = visible - 30")
    report = go_on(w)
    assert (report.outcome, len(w.accounts())) == ("held", PEOPLE - 30)
