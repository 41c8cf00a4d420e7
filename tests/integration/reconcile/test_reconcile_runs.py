"""How runs end: frozen, incomplete, paused, stopped, lease held, partly failed; what a dead process left; who is due."""

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest

from agent.directory.actions import SqlBatches
from agent.model.codes import ActionState
from agent.model.errors import StoreUnavailable
from agent.model.users import Role
from agent.store import account, alarms, attention, lease, plans, runs
from agent.store.engine import Store
from agent.store.runs import RunRequest
from support.world import World

Make = Callable[..., World]
PAGE = "/api/v1/apps/*/users"


@pytest.fixture
def w(make_world: Make) -> World:
    made = make_world(users=12, retries=0, guard={"deactivations_floor": 100}, reconcile={"page_size": 4, "batch": 2})
    made.first_run()
    return made


def drift(w: World, count: int) -> list[str]:
    logins = [person["login"] for person in w.people()[:count]]
    for login in logins:
        w.change(login, title="Changed")
    return logins


def changed(w: World, logins: list[str]) -> int:
    return sum(w.account(login).profile.title == "Changed" for login in logins)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"status": "INACTIVE"}, "INACTIVE"),
        ({"features": ["PROFILE_MASTERING"]}, "PROFILE_MASTERING"),
        ({"id": "0oaOTHER"}, "pins accept"),
    ],
)
def test_a_run_that_may_change_nothing_says_why(w: World, fields: dict, says: str) -> None:
    drift(w, 1)
    rows = w.journal_rows()
    w.org.set_app(**fields)
    for apply in (False, True):
        report = w.reconcile(apply=apply)
        assert (report.outcome, report.exit_code, says in report.detail) == ("frozen", 1, True)
    assert w.journal_rows() == rows


def test_another_org_behind_the_address_is_frozen_and_a_new_label_is_a_finding(w: World) -> None:
    w.org.set_app(label="Renamed")
    assert [f.code.value for f in w.reconcile(apply=False).findings] == ["app_label_changed"]
    w.org.call("PUT", "/simulator/org", {"id": "00oELSEWHERE"})
    assert w.reconcile().outcome == "frozen"


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 200, "body": "<html>"}, {"cut_after": 200}, {"status": 403}]
)
@pytest.mark.parametrize("page", [1, 3])
def test_a_page_that_fails_makes_the_run_incomplete_and_changes_nothing(w: World, fault: dict, page: int) -> None:
    drift(w, 1)
    rows = w.journal_rows()
    passing = [{"method": "GET", "path": PAGE, "times": page - 1, "delay_s": 0}] if page > 1 else []
    w.org.faults(*passing, {"method": "GET", "path": PAGE, "times": None, **fault})
    report = w.reconcile()
    assert (report.outcome, report.exit_code) == ("incomplete", 1)
    assert w.journal_rows() == rows
    w.org.faults()
    assert w.reconcile().outcome == "applied"


def test_an_app_that_is_gone_at_the_end_of_the_listing_freezes_the_run(w: World) -> None:
    app = f"/api/v1/apps/{w.org.app_id}"
    w.org.faults(
        {"method": "GET", "path": app, "times": 1, "delay_s": 0},
        {"method": "GET", "path": app, "times": None, "status": 404},
    )
    report = w.reconcile()
    assert report.outcome in ("frozen", "incomplete")
    assert report.exit_code == 1


def test_a_paused_agent_plans_and_applies_nothing(w: World) -> None:
    logins = drift(w, 2)
    w.store.write(lambda conn: account.pause(conn, actor="ann", reason="change freeze", now=w.now()))
    report = w.reconcile()
    assert (report.outcome, report.exit_code, changed(w, logins)) == ("paused", 1, 2)
    w.store.write(account.resume)
    assert w.reconcile().outcome == "applied"


def test_a_lease_held_elsewhere_ends_the_run_and_a_dry_run_takes_none(w: World) -> None:
    with lease.held(w.store, lease.RECONCILE, "other:1", timedelta(seconds=60)):
        report = w.reconcile()
        assert (report.outcome, report.exit_code, "other:1" in report.detail) == ("lease_held", 1, True)
        assert w.reconcile(apply=False).outcome == "in_step"
    assert w.reconcile().outcome == "in_step"


def test_stopping_lets_the_running_batch_finish(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    logins = drift(w, 6)
    write = SqlBatches.write

    def write_and_stop(self, *args):
        w.reconciler.stop.set()
        return write(self, *args)

    monkeypatch.setattr(SqlBatches, "write", write_and_stop)
    report = w.reconcile()
    assert (report.outcome, changed(w, logins)) == ("stopped", 4)
    monkeypatch.undo()
    w.reconciler.stop.clear()
    assert w.reconcile().outcome == "applied"
    assert changed(w, logins) == 0


def test_a_lost_lease_writes_nothing_more(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    logins = drift(w, 4)
    write = SqlBatches.write

    def lose_the_lease(self, *args):
        w.sql("update lease set fence = fence + 100, holder = 'other:1'")
        return write(self, *args)

    monkeypatch.setattr(SqlBatches, "write", lose_the_lease)
    assert w.reconcile().exit_code == 1
    assert changed(w, logins) == 4


def test_an_account_that_changed_between_plan_and_apply_is_stale(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = drift(w, 2)
    write = SqlBatches.write

    def somebody_is_quicker(self, *args):
        w.change(one, nickName="Quick")
        return write(self, *args)

    monkeypatch.setattr(SqlBatches, "write", somebody_is_quicker)
    report = w.reconcile()
    states = {a.login: a.state for a in report.plan.plan.actions}
    assert states == {one: ActionState.STALE, two: ActionState.DONE}
    assert w.account(one).profile.nick_name == "Quick"


def test_of_two_owners_who_leave_in_one_batch_one_stays_if_the_third_is_none_any_more(
    make_world: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan saw three owners; each write counts anew, the second one after the first."""
    w = make_world(users=12, guard={"deactivations_floor": 100, "window_floor": 100}, reconcile={"batch": 500})
    w.first_run()
    one, two, third = w.people()[:3]
    for person in (one, two, third):
        w.acts().set_role(w.account(person["login"]).id, Role.OWNER)
    for person in (one, two):
        w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")
    write = SqlBatches.write

    def the_third_resigns(self, *args):
        w.acts().set_role(w.account(third["login"]).id, Role.MEMBER)
        return write(self, *args)

    monkeypatch.setattr(SqlBatches, "write", the_third_resigns)
    report = w.reconcile()
    assert report.outcome == "held"
    ended = [(a.kind.value, a.state.value, a.held and a.held.value) for a in report.plan.plan.actions]
    assert ended == [("deactivate", "done", None), ("deactivate", "held", "last_owner")]
    owners = [user.user_name for user in w.accounts().values() if user.active and user.role is Role.OWNER]
    assert owners == [report.plan.plan.actions[1].login]


@pytest.mark.parametrize("happened", [True, False])
def test_what_a_dead_process_had_sent_is_read_back(w: World, happened: bool) -> None:
    [login] = drift(w, 1)
    stored = w.reconcile(apply=False).plan
    now = w.now()
    request = RunRequest(kind="sweep", trigger="cli", actor="x", dry=False)
    run_id = w.store.write(lambda conn: runs.start(conn, request, now))
    w.store.write(lambda conn: plans.mark(conn, stored.id, [1], ActionState.SENT, now))
    if happened:
        w.change(login, title=stored.plan.actions[0].changes["title"].after)
    w.reconcile()
    with w.store.read() as conn:
        ended = plans.get(conn, stored.id).plan.actions[0]
        assert ended.state is (ActionState.DONE if happened else ActionState.STALE)
        assert runs.get(conn, run_id).outcome == "error"
        assert plans.sent_actions(conn) == []


def fail_emails(w: World, logins: list[str]) -> None:
    """Their wanted addresses are those of other active accounts, which no plan can know before it writes."""
    statement = "update users set email_key = :mail, profile = replace(profile, :name, :mail) where user_name = :name"
    for n, login in enumerate(logins):
        w.local(f"in-the-way-{n}@example.org")
        w.sql(statement, mail=f"new.{login}", name=f"in-the-way-{n}@example.org")
        kept = "update user_emails set value = :mail, value_key = :mail where value_key = :name"
        w.sql(kept, mail=f"new.{login}", name=f"in-the-way-{n}@example.org")
        person = w.state_of(login)
        w.org.set_app_user(person["okta_id"], credentials={"userName": f"new.{login}"})


def test_a_failed_action_ends_partial_and_waits_ten_minutes_then_twenty(w: World) -> None:
    [login, other] = [person["login"] for person in w.people()[:2]]
    fail_emails(w, [login])
    w.change(other, title="Changed")
    first = w.reconcile()
    assert (first.outcome, first.exit_code, first.counts["failed"], first.counts["done"]) == ("partial", 5, 1, 1)
    held = w.reconcile()
    assert (held.outcome, [a.held.value for a in held.plan.plan.actions]) == ("held", ["failing"])
    w.ahead = timedelta(minutes=10, seconds=5)
    assert w.reconcile().outcome == "partial"
    w.ahead = timedelta(minutes=29)
    assert w.reconcile().outcome == "held"
    w.ahead = timedelta(minutes=31)
    assert w.reconcile().outcome == "partial"
    w.ahead = timedelta(hours=-5)
    assert w.reconcile().outcome == "partial", "the clock was set back, and nobody waits five hours for that"


def test_too_many_failures_hold_their_kind_for_an_hour(make_world: Make) -> None:
    guard = {"failed_floor": 3, "failed_percent": 40, "identity_floor": 100}
    w = make_world(users=12, guard=guard, reconcile={"batch": 2})
    w.first_run()
    fail_emails(w, [person["login"] for person in w.people()[:8]])
    report = w.reconcile()
    assert (report.outcome, report.exit_code, report.counts["failed"]) == ("held", 4, 4)
    assert {a.held.value for a in report.plan.plan.actions if a.held} == {"failed_actions"}
    assert open_alarms(w) == ["failed_actions"]
    w.ahead = timedelta(minutes=50)
    assert {a.held.value for a in w.reconcile().plan.plan.actions} <= {"failed_actions", "failing"}
    w.ahead = timedelta(minutes=61)
    assert w.reconcile().counts["failed"] >= 3
    # Somebody puts it right in Okta, and nobody wants it any more.
    for person in w.people():
        w.org.set_app_user(person["okta_id"], credentials={"userName": person["login"]})
    assert w.reconcile().outcome == "in_step"
    assert open_alarms(w) == []


def open_alarms(w: World) -> list[str]:
    with w.store.read() as conn:
        return [alarm.code for alarm in alarms.open_alarms(conn)]


def test_old_rows_are_read_again_before_somebody_is_created(make_world: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    w = make_world(users=3)
    one, two, three = w.people()
    plan = w.reconciler.planner

    real = type(plan).sweep

    def slow(self, *args):
        draft = real(self, *args)
        w.ahead += timedelta(minutes=6)
        w.org.set_app_user(one["okta_id"], status="INACTIVE")
        w.org.set_app_user(two["okta_id"], profile={"title": "Changed meanwhile"})
        return draft

    monkeypatch.setattr(type(plan), "sweep", slow)
    report = w.reconcile(first_run=3)
    states = {a.okta_id: a.state.value for a in report.plan.plan.actions}
    assert states == {one["okta_id"]: "stale", two["okta_id"]: "stale", three["okta_id"]: "done"}


def queue(w: World, reason: str, **who: str) -> None:
    now = w.now()
    w.store.write(lambda conn: attention.add(conn, reason=reason, not_before=now, now=now, **who))


def waiting(store: Store) -> int:
    with store.read() as conn:
        return attention.waiting(conn)


def test_people_who_are_due_are_reconciled_alone(w: World) -> None:
    one, two = w.people()[:2]
    for person in (one, two):
        w.change(person["login"], title="Changed")
    queue(w, attention.EVENT, okta_id=one["okta_id"])
    report = w.reconciler.look(apply=True)
    assert (report.outcome, changed(w, [one["login"]]), changed(w, [two["login"]])) == ("applied", 0, 1)
    assert waiting(w.store) == 0
    assert w.reconciler.look(apply=True) is None


def test_who_could_not_be_asked_about_stays_due(w: World) -> None:
    one = w.people()[0]
    queue(w, attention.EVENT, okta_id=one["okta_id"])
    w.org.faults({"method": "GET", "path": f"{PAGE}/*", "times": None, "status": 403})
    assert w.reconciler.look(apply=True).outcome == "incomplete"
    assert waiting(w.store) == 1
    assert w.reconciler.look(apply=True) is None
    w.org.faults()
    w.ahead = timedelta(minutes=1)
    assert w.reconciler.look(apply=True).outcome == "in_step"
    assert waiting(w.store) == 0


def test_somebody_else_under_an_old_name_is_deactivated_outside_the_limits(make_world: Make) -> None:
    w = make_world(users=12, guard={"push_floor": 0, "push_percent": 0, "window_floor": 0, "window_percent": 0})
    w.first_run()
    one = w.people()[0]
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{one['okta_id']}")
    queue(w, attention.CONFIRM_REUSE, okta_id=one["okta_id"], directory_id=w.account(one["login"]).id)
    assert w.reconciler.look(apply=True).outcome == "applied"
    assert not w.account(one["login"]).active


def test_a_refused_push_on_a_local_account_is_a_finding(w: World) -> None:
    local = w.local("local@example.org")
    queue(w, attention.LOCAL_DEACTIVATE, directory_id=local.id)
    report = w.reconciler.look(apply=True)
    assert {f.code.value for f in report.findings} >= {"local_deactivate"}
    assert w.account("local@example.org").active


def test_who_is_pending_is_looked_at_when_the_settle_time_is_over(w: World) -> None:
    person = w.people()[0]
    w.change(person["login"], title="Changed")
    recent = (w.now() - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    w.org.set_app_user(person["okta_id"], status="STAGED", lastUpdated=recent)
    other = w.people()[1]["login"]
    w.change(other, title="Changed")
    dry = w.reconcile(apply=False)
    assert (dry.counts["pending"], dry.counts["planned"]) == (1, 1)
    done = w.reconcile()
    assert (done.counts["pending"], done.counts["done"], "planned" in done.counts) == (1, 1, False)
    assert waiting(w.store) == 1
    w.ahead = timedelta(minutes=4, seconds=10)
    assert w.reconciler.look(apply=True).outcome == "applied"
    assert changed(w, [person["login"]]) == 0


def test_explain_tells_what_each_step_found_and_changes_nothing(w: World) -> None:
    one, gone = w.people()[:2]
    w.change(one["login"], title="Changed")
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{gone['okta_id']}")
    rows = w.journal_rows()
    told = {step.name: (step.status.value, step.detail) for step in w.reconciler.explain(one["login"]).steps}
    assert told["assignment"][0] == told["match"][0] == told["guard"][0] == "success"
    assert "assigned_and_live" in told["rule"][1]
    assert "title" in told["difference"][1]
    assert told["result"] == ("success", "would update")
    left = {step.name: step.detail for step in w.reconciler.explain(gone["login"]).steps}
    assert "not assigned" in left["assignment"]
    assert "not_assigned" in left["rule"]
    assert left["result"] == "would deactivate"
    w.org.set_app(status="INACTIVE")
    assert w.reconciler.explain(one["login"]).steps[0].status.value == "failure"
    assert w.journal_rows() == rows


def test_a_run_whose_row_cannot_be_written_lets_the_lease_go(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its lease beats on, and nobody ever sweeps again."""

    def busy(*_: object) -> int:
        raise StoreUnavailable("the database is locked")

    with monkeypatch.context() as locked:
        locked.setattr(runs, "start", busy)
        with pytest.raises(StoreUnavailable):
            w.reconcile()
    assert [thread.name for thread in threading.enumerate() if thread.name == "lease-reconcile"] == []
    assert w.reconcile().outcome == "in_step"
