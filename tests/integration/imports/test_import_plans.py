"""List, plan and apply against a simulated org that pushes to a real receiver: classes, brakes, what is written where."""

from datetime import timedelta
from typing import Any

import pytest

from agent.imports import carrier
from agent.imports.planner import Choice
from agent.imports.survey import Surveyor
from agent.model.codes import ActionState, HeldCode, PlanStatus
from agent.model.errors import Frozen, HeldBack, NotFound, UsageError
from agent.model.matching import NEW, Apart, ImportState, MatchClass
from agent.model.users import Origin, Role
from agent.runs.frame import Silent
from agent.store import account as account_row
from agent.store import brakes, lease
from agent.store.journal import Signature
from agent.store.plans import StoredPlan
from support.world import EVERYBODY, World

CREATE, ASSIGN = ("POST", "/api/v1/users"), ("POST", "/api/v1/apps/*/users")


@pytest.fixture(autouse=True)
def bound(b: World) -> None:
    b.pin()


# What is seen


def test_every_account_that_the_app_does_not_know_is_in_one_class(b: World) -> None:
    b.colleague("exact@example.com")
    b.okta_user("Exact@example.com")
    b.colleague("mail@example.com")
    b.okta_user("m@corp.example.com", email="mail@example.com")
    b.colleague("named@example.com", "Ann", "Lee")
    b.okta_user("lee@corp.example.com", "Ann", "Lee")
    b.colleague("none@example.com", "No", "Body")
    b.colleague("gone@example.com", active=False)
    owner = b.colleague("owner@example.com")
    b.acts().set_role(owner.id, Role.OWNER)
    b.okta_user("owner@example.com")
    found = {m.account.user_name: (m.kind, m.apart, m.held) for m in b.importer.survey().matches}
    assert found == {
        "exact@example.com": (MatchClass.EXACT, None, None),
        "mail@example.com": (MatchClass.EXACT, Apart.EMAIL_ONLY, None),
        "named@example.com": (MatchClass.PARTIAL, None, HeldCode.PARTIAL_MATCH),
        "none@example.com": (MatchClass.NONE, None, None),
        "owner@example.com": (MatchClass.EXACT, Apart.OWNER, None),
    }


def test_one_by_one_and_by_listing_sees_the_same(b: World) -> None:
    for n in range(26):
        b.colleague(f"p{n}@example.com", "Pat", f"Number{n}")
    for n, status in enumerate(("ACTIVE", "STAGED", "SUSPENDED", "DEPROVISIONED", "ACTIVE", "ACTIVE")):
        login = ("P{}@example.com", "q{}@corp.example.com")[n > 3].format(n)
        b.okta_user(login, "Pat", f"Number{n}", status=status, email="p4@example.com" if n == 4 else "")
    listed = {m.account.id: m for m in b.importer.survey().matches}
    assert len(listed) == 26
    for half in (list(listed)[:13], list(listed)[13:]):
        surveyor = Surveyor(b.store, b.directory, b.okta, b.settings)
        one_by_one = surveyor.chosen(dict.fromkeys(half, ""), Silent()).matches
        assert one_by_one == tuple(listed[directory_id] for directory_id in half)


def test_a_managed_account_without_the_app_is_shown_and_never_a_candidate(b: World) -> None:
    okta_id = b.okta_user("left@example.com")
    account = b.colleague("left@example.com")
    b.acts().link(account.id, okta_id)
    survey = b.importer.survey()
    assert [(one.account.user_name, one.status) for one in survey.unassigned] == [("left@example.com", "ACTIVE")]
    assert survey.matches == ()
    with pytest.raises(UsageError, match="managed by Okta already"):
        b.named("left@example.com")


# What is done


def test_exact_is_assigned_and_linked_by_oktas_own_push(b: World) -> None:
    b.colleague("Ann@example.com", "Ann", "Lee")
    okta_id = b.okta_user("ann@example.com", "Ann", "Lee")
    b.count(CREATE, ASSIGN)
    report = b.apply(b.plan())
    assert (report.outcome, report.counts) == ("applied", {"okta_assign": 1, "done": 1})
    b.org.wait_idle()
    assert (b.calls(*CREATE), b.calls(*ASSIGN)) == (0, 1)
    account = b.account("ann@example.com")
    assert account.origin is Origin.LINKED
    person = b.state_of("ann@example.com")
    assert person["app_user"]["externalId"] == account.id
    assert person["app_user"]["credentials"]["userName"] == "Ann@example.com"
    assert person["okta_id"] == okta_id
    assert b.importer.survey().assigned == ()
    assert b.row("ann@example.com").state is ImportState.LINKED


def test_none_is_created_staged_and_linked_once_it_is_activated(b: World) -> None:
    b.colleague("new@example.com", "New", "One")
    b.apply(b.plan())
    b.org.wait_idle()
    person = b.state_of("new@example.com")
    assert person["user_status"] == "STAGED"
    assert b.row("new@example.com").waits
    (waiting,) = b.importer.survey().assigned
    assert (waiting.waits, waiting.confirmed) == (True, False)
    b.org.api("POST", f"/users/{person['okta_id']}/lifecycle/activate?sendEmail=false")
    b.org.wait_idle()
    assert b.importer.survey().assigned == ()
    assert b.row("new@example.com").state is ImportState.LINKED
    assert b.account("new@example.com").profile.enterprise is not None  # What Okta was told comes back.


def test_activate_and_groups_are_asked_for_by_settings_alone(b: World) -> None:
    group = b.org.api("POST", "/groups", {"profile": {"name": "Crew"}})["id"]
    b.configure(imports={"activate": True, "groups": [group]})
    b.colleague("new@example.com", "New", "One")
    b.apply(b.plan())
    b.org.wait_idle()
    person = b.state_of("new@example.com")
    assert person["user_status"] == "PROVISIONED"
    members = [user["id"] for user in b.org.api("GET", f"/groups/{group}/users")]
    assert members == [person["okta_id"]]
    assert b.importer.survey().assigned == ()


def test_a_group_that_grants_the_app_spares_the_assignment(b: World) -> None:
    group = b.org.api("POST", "/groups", {"profile": {"name": "Crew"}})["id"]
    b.org.api("PUT", f"/apps/{b.org.app_id}/groups/{group}", {})
    b.configure(imports={"groups": [group]})
    b.colleague("new@example.com", "New", "One")
    b.count(ASSIGN)
    assert b.apply(b.plan()).outcome == "applied"
    assert b.calls(*ASSIGN) == 0
    assert b.state_of("new@example.com")["app_user"]["scope"] == "GROUP"


def test_every_write_towards_okta_is_in_the_journal_before_and_after(b: World) -> None:
    b.colleague("new@example.com", "New", "One")
    b.apply(b.plan())
    assert b.journal() == [
        ("intent", "okta_create", "import"),
        ("applied", "okta_create", "import"),
        ("intent", "okta_assign", "import"),
        ("applied", "okta_assign", "import"),
    ]


def test_an_owner_and_an_e_mail_match_come_in_by_name_alone(b: World) -> None:
    owner = b.colleague("owner@example.com")
    b.acts().set_role(owner.id, Role.OWNER)
    b.okta_user("owner@example.com")
    b.colleague("mail@example.com")
    b.okta_user("m@corp.example.com", email="mail@example.com")
    assert b.importer.plan(EVERYBODY, actor="test").outcome == "nothing"
    assert b.apply(b.named("owner@example.com", "mail@example.com")).outcome == "applied"
    b.org.wait_idle()
    assert b.account("owner@example.com").role is Role.OWNER
    assert b.state_of("m@corp.example.com")["app_user"]["externalId"] == b.account("mail@example.com").id


def test_a_partial_match_is_held_until_a_person_says_who_it_is(b: World) -> None:
    b.colleague("lee@example.com", "Ann", "Lee")
    okta_id = b.okta_user("a.lee@corp.example.com", "Ann", "Lee", email="lee@example.com")
    b.okta_user("twin@corp.example.com", "Ann", "Lee", email="lee@example.com")
    held = b.named("lee@example.com")
    assert b.states(held) == [("okta_assign", "held")]
    assert b.apply(held).outcome == "held"
    assert b.apply(b.named("lee@example.com", decision=okta_id)).outcome == "applied"
    b.org.wait_idle()
    assert b.state_of("a.lee@corp.example.com")["app_user"]["externalId"] == b.account("lee@example.com").id


def test_a_namesake_does_not_keep_a_new_person_out(b: World) -> None:
    b.colleague("lee@example.com", "Ann", "Lee")
    b.okta_user("a.lee@corp.example.com", "Ann", "Lee")
    assert b.apply(b.named("lee@example.com", decision=NEW)).outcome == "applied"
    assert b.state_of("lee@example.com")["user_status"] == "STAGED"


@pytest.mark.parametrize("status", ["DEPROVISIONED", "SUSPENDED", "STAGED"])
def test_an_okta_user_who_is_not_live_is_held_by_name_too(b: World, status: str) -> None:
    b.colleague("off@example.com")
    b.okta_user("off@example.com", status=status)
    b.count(CREATE, ASSIGN)
    plan = b.named("off@example.com")
    assert [a.held for a in plan.plan.actions] == [HeldCode.OKTA_STATUS]
    assert b.apply(plan).exit_code == 4
    assert (b.calls(*CREATE), b.calls(*ASSIGN)) == (0, 0)


def test_an_inactive_account_cannot_be_named(b: World) -> None:
    b.colleague("gone@example.com", active=False)
    with pytest.raises(UsageError, match="would reactivate"):
        b.named("gone@example.com")


# What moved between plan and apply


def test_what_has_moved_is_stale_and_the_rest_is_done(b: World) -> None:
    for name in ("came", "renamed", "promoted", "left", "stays"):
        b.colleague(f"{name}@example.com", name.capitalize(), "Local")
    plan = b.plan()
    b.okta_user("came@example.com")
    b.acts().set_role(b.account("promoted@example.com").id, Role.OWNER)
    b.acts().deactivate(b.account("left@example.com").id)
    b.okta_user("somebody@corp.example.com", "Renamed", "Local")
    assert b.apply(plan).outcome == "applied"
    ended = {a.login: a.state.value for a in b.stored(plan).plan.actions}
    assert ended == {
        "came@example.com": "stale",
        "renamed@example.com": "stale",
        "promoted@example.com": "stale",
        "left@example.com": "stale",
        "stays@example.com": "done",
    }


def test_a_setting_that_changed_since_makes_the_plan_stale(b: World) -> None:
    b.colleague("new@example.com")
    plan = b.plan()
    b.configure(imports={"activate": True})
    b.apply(plan)
    assert b.stored(plan).status is PlanStatus.STALE
    assert all(person["login"] != "new@example.com" for person in b.org.state())


# Brakes


def test_more_than_the_limit_holds_the_whole_plan(b: World) -> None:
    for n in range(3):
        b.colleague(f"n{n}@example.com")
    b.configure(imports={"max_per_run": 2})
    plan = b.plan()
    assert (plan.status, plan.plan.held) == (PlanStatus.HELD, HeldCode.COUNT_EXCEEDED)
    with pytest.raises(HeldBack, match="max_per_run is 2"):
        b.apply(plan)
    within = b.plan(Choice(classes=EVERYBODY.classes, limit=2))
    assert b.apply(within).counts["okta_create"] == 2


def test_a_limit_that_was_lowered_since_holds_too(b: World) -> None:
    for n in range(3):
        b.colleague(f"n{n}@example.com")
    plan = b.plan()
    b.configure(imports={"max_per_run": 2})
    with pytest.raises(HeldBack):
        b.apply(plan)


def test_a_plan_is_applied_once(b: World) -> None:
    b.colleague("new@example.com")
    plan = b.plan()
    b.apply(plan)
    with pytest.raises(UsageError, match="applied once"):
        b.apply(plan)


def test_a_plan_expires(b: World) -> None:
    b.colleague("new@example.com")
    plan = b.plan()
    b.ahead = timedelta(hours=24, seconds=1)
    with pytest.raises(UsageError, match="expired"):
        b.apply(plan)
    assert b.stored(plan).status is PlanStatus.EXPIRED


def test_a_plan_that_was_changed_in_the_database_is_refused(b: World) -> None:
    b.colleague("new@example.com")
    plan = b.plan()
    b.store.write(lambda conn: conn.exec_driver_sql("UPDATE actions SET body = replace(body, 'STAGED', 'active')"))
    with pytest.raises(Frozen, match="not what was stored"):
        b.apply(plan)


def test_no_plan_and_a_plan_of_another_kind_are_refused(b: World) -> None:
    with pytest.raises(NotFound):
        b.importer.apply(99, actor="test")
    b.colleague("new@example.com")
    plan = b.plan()
    b.store.write(lambda conn: conn.exec_driver_sql("UPDATE plans SET kind = 'reconcile'"))
    with pytest.raises(UsageError, match=f"plans apply {plan.id}"):
        b.apply(plan)


def test_a_pause_stops_an_apply_before_and_between(b: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        b.colleague(f"n{n}@example.com")
    plan = b.plan()
    monkeypatch.setattr("agent.imports.carrier.crash_point", lambda name: name == "import.assigned" and pause(b))
    report = b.apply(plan)
    assert (report.outcome, report.counts["done"], report.counts["planned"]) == ("paused", 2, 4)
    monkeypatch.undo()
    report = b.apply(plan)
    assert (report.outcome, report.exit_code, report.counts["done"]) == ("paused", 1, 2)
    assert "paused by operator" in report.detail
    b.store.write(account_row.resume)
    assert b.apply(plan).counts["done"] == 6


def pause(b: World) -> None:
    b.store.write(lambda conn: account_row.pause(conn, actor="operator", reason="test", now=b.now()))


def test_the_lease_of_another_run_stops_an_apply(b: World) -> None:
    b.colleague("new@example.com")
    plan = b.plan()
    ttl = timedelta(minutes=1)
    with lease.held(b.store, lease.RECONCILE, "other", ttl):
        report = b.apply(plan)
    assert (report.outcome, report.exit_code) == ("lease_held", 1)
    assert b.apply(plan).outcome == "applied"


@pytest.mark.parametrize(
    ("app", "why"),
    [
        ({"status": "INACTIVE"}, "INACTIVE"),
        ({"features": ["PUSH_NEW_USERS", "PROFILE_MASTERING"]}, "PROFILE_MASTERING"),
        ({"features": ["PUSH_PROFILE_UPDATES"]}, "PUSH_NEW_USERS is off"),
    ],
)
def test_an_app_that_could_not_link_freezes_plan_and_apply(b: World, app: dict[str, Any], why: str) -> None:
    b.colleague("new@example.com")
    plan = b.plan()
    b.org.set_app(**app)
    frozen(b, plan, why)


def frozen(b: World, plan: StoredPlan, why: str) -> None:
    for report in (b.importer.plan(EVERYBODY, actor="test"), b.apply(plan)):
        assert (report.outcome, report.exit_code) == ("frozen", 1)
        assert why in report.detail


def test_nothing_before_the_pins_nor_with_other_ones_nor_on_a_restored_copy(b: World) -> None:
    b.colleague("new@example.com")
    plan = b.plan()
    for change, why in (
        ("org_id = '00oOther'", "pinned to the app"),
        ("org_id = NULL, app_id = NULL", "not bound to an Okta app yet"),
        ("distrust = 'restored copy'", "accept-restore"),
    ):
        b.store.write(lambda conn, change=change: conn.exec_driver_sql(f"UPDATE account SET {change}"))
        frozen(b, plan, why)
    assert b.importer.survey().matches != ()


@pytest.mark.parametrize("login", ["a/b@example.com", "a?b@example.com", "a#b@example.com", "a%b@example.com"])
def test_a_login_that_no_address_can_name_is_looked_up_by_a_search(b: World, login: str) -> None:
    b.colleague(login)
    b.colleague("other@example.com")
    found = {m.account.user_name: m.kind for m in b.importer.survey().matches}
    assert found == {login: MatchClass.NONE, "other@example.com": MatchClass.NONE}
    okta_id = b.okta_user(login)
    found = {m.account.user_name: m.kind for m in b.importer.survey().matches}
    assert found == {login: MatchClass.EXACT, "other@example.com": MatchClass.NONE}
    report = b.apply(b.named(login))
    assert report.outcome in ("applied", "done"), report
    assert b.row(login).okta_id == okta_id


@pytest.mark.parametrize("point", ["import.assigned", "import.called"])
def test_a_plan_that_is_rejected_while_it_is_imported_makes_nobody_else(
    b: World, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    for n in range(3):
        b.colleague(f"n{n}@example.com")
    plan = b.plan()
    by = Signature(actor="operator", source="cli", at=b.now(), reason="wrong people")
    states: list[Any] = []

    def reject(*_: object) -> None:
        if not states:
            states.append(b.store.write(lambda conn: brakes.reject_plan(conn, by, plan.id)))

    if point == "import.assigned":
        monkeypatch.setattr("agent.imports.carrier.crash_point", lambda name: name == point and reject())
    else:  # Okta is being asked about the first one
        find = carrier.find_by_login
        monkeypatch.setattr("agent.imports.carrier.find_by_login", lambda *args: (reject(), find(*args))[1])
    report = b.apply(plan)
    made = 1 if point == "import.assigned" else 0
    assert (report.outcome, report.counts.get("done", 0), report.counts["rejected"]) == (
        "rejected",
        2 * made,
        6 - 2 * made,
    )
    assert (states[0][ActionState.DONE], states[0][ActionState.REJECTED]) == (2 * made, 6 - 2 * made)
    with pytest.raises(UsageError, match="rejected"):
        b.apply(plan)
