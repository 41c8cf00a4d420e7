"""Every row of the table of desired states, made in the simulated org, seen by a sweep and by a direct read."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.world import World, open_world

LIVE = ("ACTIVE", "PROVISIONED", "PASSWORD_EXPIRED", "RECOVERY", "LOCKED_OUT")


@pytest.fixture(scope="module")
def w(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Everybody has an account, active and in step, but for a changed title."""
    with open_world(tmp_path_factory.mktemp("desired"), users=80) as made:
        made.first_run()
        yield made


def seen(w: World, okta_id: str) -> list[tuple[list[tuple[str, str | None]], set[str]]]:
    """The person's actions and findings: by a sweep, then by a direct read."""
    reports = [w.reconcile(apply=False), w.reconcile(okta_id, apply=False)]
    return [(w.actions_for(report, okta_id), w.findings_for(report, okta_id)) for report in reports]


def ago(minutes: float) -> str:
    return (datetime.now(UTC) - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def drifted(w: World) -> dict[str, Any]:
    """A person whose account differs, so that whatever is wanted active shows as an update."""
    person = w.take()
    w.change(person["login"], title="Changed by somebody")
    return person


def test_row_1_deprovisioned_is_inactive(w: World) -> None:
    person = w.take()
    w.org.set_user(person["okta_id"], status="DEPROVISIONED", lastUpdated=ago(1))
    assert seen(w, person["okta_id"]) == [([("deactivate", None)], set())] * 2


def test_row_2_in_transition_is_left_alone(w: World) -> None:
    person = drifted(w)
    w.org.set_user(person["okta_id"], status="ACTIVATING")
    assert seen(w, person["okta_id"]) == [([], {"left_alone"})] * 2


def test_row_2_an_unknown_status_is_left_alone_by_a_direct_read(w: World) -> None:
    person = drifted(w)
    w.org.set_user(person["okta_id"], status="FUTURE")
    assert seen(w, person["okta_id"])[1] == ([], {"left_alone"})


@pytest.mark.parametrize("status", ["PENDING", "APPROVED", "IMPORTED", "MATCHED", "UNASSIGNED", "IMPLICIT", "FUTURE"])
def test_row_3_not_assigned_yet_is_left_alone(w: World, status: str) -> None:
    person = drifted(w)
    w.org.set_app_user(person["okta_id"], status=status)
    assert seen(w, person["okta_id"]) == [([], {"left_alone"})] * 2


def test_row_4_syncing_waits_a_quarter_of_an_hour(w: World) -> None:
    young, old = drifted(w), drifted(w)
    w.org.set_app_user(young["okta_id"], syncState="SYNCING", lastUpdated=ago(14))
    w.org.set_app_user(old["okta_id"], syncState="SYNCING", lastUpdated=ago(16))
    assert seen(w, young["okta_id"]) == [([], {"syncing"})] * 2
    assert seen(w, old["okta_id"]) == [([("update", None)], {"syncing_too_long"})] * 2


@pytest.mark.parametrize("status", ["INACTIVE", "SUSPENDED", "REVOKED", "DEPROVISIONED"])
def test_row_5_an_ended_app_user_is_inactive(w: World, status: str) -> None:
    person = w.take()
    w.org.set_app_user(person["okta_id"], status=status)
    assert seen(w, person["okta_id"]) == [([("deactivate", None)], set())] * 2


def test_row_6_a_staged_okta_user_is_left_alone(w: World) -> None:
    person = drifted(w)
    w.org.set_user(person["okta_id"], status="STAGED")
    assert seen(w, person["okta_id"]) == [([], {"left_alone"})] * 2


def test_row_7_staged_and_suspended_is_left_alone(w: World) -> None:
    person = drifted(w)
    w.org.set_app_user(person["okta_id"], status="STAGED", lastUpdated=ago(60))
    w.org.set_user(person["okta_id"], status="SUSPENDED")
    assert seen(w, person["okta_id"]) == [([], {"left_alone"})] * 2


def test_row_8_staged_is_pending_and_then_active(w: World) -> None:
    young, old = drifted(w), drifted(w)
    w.org.set_app_user(young["okta_id"], status="STAGED", lastUpdated=ago(4))
    w.org.set_app_user(old["okta_id"], status="STAGED", lastUpdated=ago(6))
    assert seen(w, young["okta_id"]) == [([], {"pending"})] * 2
    assert seen(w, old["okta_id"]) == [([("update", None)], set())] * 2


@pytest.mark.parametrize("status", ["ACTIVE", "PROVISIONED"])
def test_row_9_suspended_keeps_access_and_gets_its_attributes(w: World, status: str) -> None:
    active, gone = drifted(w), drifted(w)
    w.change(gone["login"], active=False)
    for person in (active, gone):
        w.org.set_app_user(person["okta_id"], status=status)
        w.org.set_user(person["okta_id"], status="SUSPENDED")
        assert seen(w, person["okta_id"]) == [([("update", None)], {"suspended_kept"})] * 2


@pytest.mark.parametrize("status", ["ACTIVE", "PROVISIONED"])
@pytest.mark.parametrize("user", LIVE)
def test_row_10_assigned_and_live_is_active(w: World, status: str, user: str) -> None:
    person = w.take()
    w.change(person["login"], active=False)
    w.org.set_app_user(person["okta_id"], status=status)
    w.org.set_user(person["okta_id"], status=user)
    assert seen(w, person["okta_id"]) == [([("reactivate", None)], set())] * 2


def test_row_11_unassigned_and_managed_is_inactive_once_proven(w: World) -> None:
    person = w.take()
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")
    assert seen(w, person["okta_id"]) == [([("deactivate", None)], set())] * 2


def test_row_12_unassigned_and_local_is_left_alone(w: World) -> None:
    w.local("local@example.org")
    report = w.reconcile(apply=False)
    assert report.plan is not None
    assert "local@example.org" not in {action.login for action in report.plan.plan.actions}


def test_suspended_with_the_policy_deactivate_ends_access_keeps_the_role_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with open_world(tmp_path_factory.mktemp("policy"), users=3, policy={"suspended": "deactivate"}) as own:
        own.first_run()
        person, other = own.people()[:2]
        for one in (person, other):
            own.acts().set_role(own.account(one["login"]).id, type(own.account(one["login"]).role).OWNER)
        own.org.api("POST", f"/users/{person['okta_id']}/lifecycle/suspend")
        assert own.reconcile().outcome == "applied"
        ended = own.account(person["login"])
        assert (ended.active, ended.suspended, ended.role.value) == (False, True, "owner")
        assert own.reconcile().outcome == "in_step"
        own.org.api("POST", f"/users/{person['okta_id']}/lifecycle/unsuspend")
        assert own.reconcile().outcome == "applied"
        back = own.account(person["login"])
        assert (back.active, back.suspended, back.role.value) == (True, False, "owner")
        # When another reason joins, ownership ends then.
        own.org.api("POST", f"/users/{person['okta_id']}/lifecycle/suspend")
        own.reconcile()
        own.org.set_app_user(person["okta_id"], status="DEPROVISIONED")
        own.reconcile()
        left = own.account(person["login"])
        assert (left.active, left.suspended, left.role.value) == (False, False, "member")
        assert own.reconcile().outcome == "in_step"
