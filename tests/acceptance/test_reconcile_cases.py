"""Every row of the case table, made in the simulated org and in the directory, and what became of it once it was applied."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.model.errors import HeldBack
from agent.model.users import Origin, Role
from agent.runs.stored_plans import PlanDecision
from support.world import World, open_world

OTHER = "00uANOTHERUSEROFOKTA"


@pytest.fixture(scope="module")
def w(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Nobody but an owner has an account yet; the pins are set."""
    with open_world(tmp_path_factory.mktemp("cases"), users=80) as made:
        made.local("boss@example.org", owner=True)
        made.pin()
        yield made


def applied(w: World, *people: dict[str, Any]) -> dict[str, list[tuple[str, str | None]]]:
    """A direct reconcile of these people; afterwards nothing is left but what is held."""
    ids = [person["okta_id"] for person in people]
    report = w.reconcile(*ids)
    found = {okta_id: w.actions_for(report, okta_id) for okta_id in ids}
    again = w.reconcile(*ids, apply=False)
    for okta_id in ids:
        assert w.actions_for(again, okta_id) == [(kind, held) for kind, held in found[okta_id] if held]
    return found


def given(w: World, **changes: Any) -> dict[str, Any]:
    """A person whose account exists, is linked and was then changed in OpsHelm."""
    person = w.take()
    w.reconcile(person["okta_id"])
    if changes:
        w.change(person["login"], **changes)
    return person


def only(w: World, person: dict[str, Any]) -> list[tuple[str, str | None]]:
    return applied(w, person)[person["okta_id"]]


def rename(w: World, person: dict[str, Any], name: str) -> None:
    w.org.set_app_user(person["okta_id"], credentials={"userName": name}, profile={"email": name})


def test_nothing_in_the_directory_is_a_create(w: World) -> None:
    person = w.take()
    assert only(w, person) == [("create", None)]
    made = w.account(person["login"])
    assert (made.okta_id, made.role, made.active) == (person["okta_id"], Role.MEMBER, True)


def test_linked_and_equal_is_in_step(w: World) -> None:
    assert only(w, given(w)) == []


def test_linked_and_different_is_an_update_of_what_differs(w: World) -> None:
    person = given(w, title="Changed", nickName="Mine")
    assert only(w, person) == [("update", None)]
    assert w.account(person["login"]).profile.title == person["expected"]["title"]


def test_what_okta_never_says_is_left_as_it_is(w: World) -> None:
    person = given(w, nickName="Mine")
    w.org.set_app_user(person["okta_id"], without=["nickName"])
    assert only(w, person) == []
    assert w.account(person["login"]).profile.nick_name == "Mine"


def test_linked_and_inactive_is_reactivated_as_a_member(w: World) -> None:
    person = given(w)
    w.acts().set_role(w.account(person["login"]).id, Role.OWNER)
    w.change(person["login"], active=False, title="Changed")
    assert only(w, person) == [("reactivate", None)]
    back = w.account(person["login"])
    assert (back.active, back.role, back.profile.title) == (True, Role.MEMBER, person["expected"]["title"])


@pytest.mark.parametrize("owner", [False, True])
def test_named_by_okta_with_the_same_user_name_is_linked_owners_too(w: World, owner: bool) -> None:
    person = w.take()
    local = w.local(person["login"], owner=owner)
    w.org.set_app_user(person["okta_id"], externalId=local.id)
    assert only(w, person) == [("link", None), ("update", None)]
    linked = w.account(person["login"])
    assert (linked.origin, linked.okta_id, linked.role is Role.OWNER) == (Origin.LINKED, person["okta_id"], owner)


def test_same_user_name_and_e_mail_is_linked_and_reactivated_in_one_plan(w: World) -> None:
    person = w.take()
    w.local(person["login"])
    w.change(person["login"], active=False)
    assert only(w, person) == [("link", None), ("reactivate", None)]
    assert w.account(person["login"]).active


@pytest.mark.parametrize("owner", [True, False])
def test_same_user_name_and_anything_else_needs_a_decision(w: World, owner: bool) -> None:
    person = w.take()
    local = w.local(person["login"], owner=owner)
    if not owner:
        w.sql(
            "update users set email_key = :mail, profile = replace(profile, :login, :mail) where id = :id",
            id=local.id,
            mail="else@example.org",
            login=person["login"],
        )
    assert only(w, person) == [("link", "link_needs_decision")]
    assert w.account(person["login"]).origin is Origin.LOCAL


def test_external_id_and_user_name_that_name_two_accounts_are_a_conflict(w: World) -> None:
    person = w.take()
    w.local(person["login"])
    other = w.local("named-by-okta@example.org")
    w.org.set_app_user(person["okta_id"], externalId=other.id)
    assert only(w, person) == [("link", "identity_conflict")]


def test_a_leavers_name_for_a_new_hire_is_held(w: World) -> None:
    leaver, hire = given(w, active=False), w.take()
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{leaver['okta_id']}")
    rename(w, hire, leaver["login"])
    assert only(w, hire) == [("link", "name_reuse")]
    assert not w.account(leaver["login"]).active
    w.acts().release_name(w.account(leaver["login"]).id)
    assert only(w, hire) == [("create", None)]


def test_two_app_users_with_one_user_name_are_both_held(w: World) -> None:
    one, two = given(w), w.take()
    rename(w, two, one["login"].upper())
    found = applied(w, one, two)
    assert found == {
        one["okta_id"]: [("update", "identity_conflict")],
        two["okta_id"]: [("create", "identity_conflict")],
    }


def test_a_rename_to_a_free_name_takes_the_e_mail_along(w: World) -> None:
    person = given(w)
    rename(w, person, "renamed@example.com")
    assert only(w, person) == [("update", None)]
    assert w.account("renamed@example.com").profile.primary_email == "renamed@example.com"


def test_a_chain_of_renames_starts_at_its_free_end(w: World) -> None:
    one, two, three = given(w), given(w), given(w)
    rename(w, one, two["login"])
    rename(w, two, three["login"])
    rename(w, three, "end-of-chain@example.com")
    # Whoever has the wanted name is read too: naming one is enough.
    report = w.reconcile(one["okta_id"])
    assert report.outcome == "applied"
    assert w.account(two["login"]).okta_id == one["okta_id"]
    assert w.account("end-of-chain@example.com").okta_id == three["okta_id"]


def test_names_that_are_swapped_are_one_action(w: World) -> None:
    one, two = given(w), given(w, title="Changed")
    ids = {person["login"]: w.account(person["login"]).id for person in (one, two)}
    rename(w, one, two["login"])
    rename(w, two, one["login"])
    report = w.reconcile(one["okta_id"])
    assert [a.kind.value for a in report.plan.plan.actions] == ["rename_cycle", "update"]
    assert report.outcome == "applied"
    assert w.account(two["login"]).id == ids[one["login"]]
    assert w.account(one["login"]).profile.primary_email == one["login"]
    assert w.reconcile(one["okta_id"], two["okta_id"]).outcome == "in_step"


def test_a_new_name_that_somebody_keeps_is_held(w: World) -> None:
    person = given(w)
    w.local("kept@example.org")
    rename(w, person, "kept@example.org")
    assert only(w, person) == [("update", "name_taken")]


@pytest.mark.parametrize("name", ["no-e-mail", "nõt-ascii@example.com"])
def test_an_invalid_name_is_held(w: World, name: str) -> None:
    person, hire = given(w), w.take()
    rename(w, person, name)
    assert only(w, person) == [("update", "name_invalid")]
    rename(w, person, person["login"])
    rename(w, hire, name)
    assert only(w, hire) == [("create", "name_invalid")]


def test_an_owners_identity_is_held_and_can_be_approved_one_by_one(w: World) -> None:
    person = given(w)
    w.acts().set_role(w.account(person["login"]).id, Role.OWNER)
    rename(w, person, "owner.renamed@example.com")
    assert only(w, person) == [("update", "owner_identity")]
    plan = w.reconcile(person["okta_id"], apply=False).plan
    with pytest.raises(HeldBack, match="--action"):
        w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True))
    one = w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True, only=frozenset({1})))
    assert one.outcome == "applied"
    assert w.account("owner.renamed@example.com").role is Role.OWNER


def test_inactive_is_deactivated_and_its_ownership_ends(w: World) -> None:
    person = given(w)
    w.acts().set_role(w.account(person["login"]).id, Role.OWNER)
    w.org.set_app_user(person["okta_id"], status="DEPROVISIONED")
    assert only(w, person) == [("deactivate", None)]
    left = w.account(person["login"])
    assert (left.active, left.role) == (False, Role.MEMBER)


def test_inactive_and_local_is_only_a_finding(w: World) -> None:
    person = w.take()
    w.local(person["login"])
    w.org.set_app_user(person["okta_id"], status="INACTIVE")
    report = w.reconcile(person["okta_id"])
    assert (w.actions_for(report, person["okta_id"]), w.findings_for(report, person["okta_id"])) == (
        [],
        {"left_but_local"},
    )
    assert w.account(person["login"]).active


def test_inactive_and_nothing_is_nothing(w: World) -> None:
    person = w.take()
    w.org.set_app_user(person["okta_id"], status="INACTIVE")
    assert only(w, person) == []


def test_absent_and_proven_is_deactivated(w: World) -> None:
    person = given(w)
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")
    assert only(w, person) == [("deactivate", None)]
    assert not w.account(person["login"]).active


def test_absent_without_an_okta_id_is_looked_up_by_login(w: World) -> None:
    person = given(w)
    w.sql("update users set okta_id = null, origin = 'linked' where user_name = :name", name=person["login"])
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")
    report = w.reconcile(person["login"])
    assert [(a.kind.value, a.held) for a in report.plan.plan.actions] == [("deactivate", None)]
    unknown = w.local("nobody-knows@example.org")
    w.sql("update users set origin = 'linked' where id = :id", id=unknown.id)
    w.sql("update account set managed_active = managed_active + 1")
    report = w.reconcile("nobody-knows@example.org")
    assert [(a.kind.value, a.held.value) for a in report.plan.plan.actions] == [("deactivate", "absence_not_provable")]
    w.sql("update users set origin = 'local' where id = :id", id=unknown.id)
    w.sql("update account set managed_active = managed_active - 1")


def test_an_externalid_from_elsewhere_is_adopted_where_the_org_knows_it(w: World) -> None:
    person, foreign = w.take(), w.local("foreign@example.org")
    known = w.local("came-with-an-id@example.org")
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")
    w.sql("update users set okta_id = :okta_id where id = :id", okta_id=person["okta_id"], id=known.id)
    w.sql("update users set okta_id = :okta_id where id = :id", okta_id=OTHER, id=foreign.id)
    report = w.reconcile("came-with-an-id@example.org", "foreign@example.org")
    assert [(a.kind.value, a.login) for a in report.plan.plan.actions] == [
        ("link", "came-with-an-id@example.org"),
        ("deactivate", "came-with-an-id@example.org"),
    ]
    assert w.findings_for(report, OTHER) == {"unknown_owner"}
    assert w.account("foreign@example.org").active
    assert not w.account("came-with-an-id@example.org").active


@pytest.mark.parametrize("gone", [True, False])
def test_a_protected_account_is_only_a_finding(w: World, gone: bool) -> None:
    person = given(w, title="Changed")
    w.acts().protect(w.account(person["login"]).id, protected=True)
    if gone:
        w.org.set_app_user(person["okta_id"], status="INACTIVE")
    report = w.reconcile(person["okta_id"])
    assert (w.actions_for(report, person["okta_id"]), w.findings_for(report, person["okta_id"])) == ([], {"protected"})


def test_a_whole_sweep_finds_the_same_and_then_nothing_but_what_is_held(tmp_path: Path) -> None:
    with open_world(tmp_path, users=12) as own:
        own.first_run()
        people = own.people()
        own.org.api("DELETE", f"/apps/{own.org.app_id}/users/{people[0]['okta_id']}")
        own.org.set_app_user(people[1]["okta_id"], status="DEPROVISIONED")
        rename(own, people[2], people[3]["login"])
        rename(own, people[3], people[2]["login"])
        own.change(people[4]["login"], title="Changed")
        own.change(people[5]["login"], active=False)
        own.local("kept@example.org")
        rename(own, people[6], "kept@example.org")
        report = own.reconcile()
        kinds = [(a.kind.value, a.held.value if a.held else None) for a in report.plan.plan.actions]
        assert kinds == [
            ("deactivate", None),
            ("deactivate", None),
            ("rename_cycle", None),
            ("update", "name_taken"),
            ("update", None),
            ("reactivate", None),
        ]
        assert (report.outcome, report.exit_code) == ("held", 4)
        rows = own.journal_rows()
        again = own.reconcile()
        assert (again.outcome, again.plan.id) == ("held", report.plan.id)
        assert {a.state.value for a in again.plan.plan.actions if a.held is None} == {"done"}
        assert own.journal_rows() == rows
