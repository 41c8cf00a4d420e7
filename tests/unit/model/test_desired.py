"""Design's table of desired states, row by row, in its order."""

from datetime import UTC, datetime, timedelta

import pytest

from agent.model.codes import FindingCode
from agent.model.desired import Desired, DesiredRow, DesiredRules, Wanted, desire, user_status
from agent.model.okta import AppUser, OktaUser

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIVE = ("ACTIVE", "PROVISIONED", "PASSWORD_EXPIRED", "RECOVERY", "LOCKED_OUT")
ALL_APP_USER = (
    "ACTIVE",
    "PROVISIONED",
    "STAGED",
    "INACTIVE",
    "SUSPENDED",
    "REVOKED",
    "DEPROVISIONED",
    "PENDING",
    "APPROVED",
    "IMPORTED",
    "MATCHED",
    "UNASSIGNED",
    "IMPLICIT",
    "FUTURE",
)


def look(
    app: str | None, user: str, *, sync: str = "SYNCHRONIZED", age: timedelta = timedelta(hours=1), **rules: object
) -> Desired:
    app_user = None if app is None else AppUser(id="00u1", status=app, sync_state=sync, last_updated=NOW - age)
    return desire(app_user, user, NOW, DesiredRules(**rules))


@pytest.mark.parametrize("app", [*ALL_APP_USER, None])
def test_row_1_a_deprovisioned_okta_user_is_inactive_whatever_the_app_user_says(app: str | None) -> None:
    assert look(app, "DEPROVISIONED") == Desired(wanted=Wanted.INACTIVE, row=DesiredRow.DEPROVISIONED)


@pytest.mark.parametrize("user", ["FUTURE", "ACTIVATING", "ACTIVE to DEPROVISIONED"])
@pytest.mark.parametrize("app", [*ALL_APP_USER, None])
def test_row_2_an_unknown_or_changing_okta_status_is_left_alone_and_reported(app: str | None, user: str) -> None:
    found = look(app, user)
    assert (found.wanted, found.row, found.finding) == (Wanted.LEAVE, DesiredRow.UNKNOWN_USER, FindingCode.LEFT_ALONE)
    assert user in found.detail


def test_row_2_an_assigned_person_whose_okta_user_could_not_be_read_is_left_alone() -> None:
    assert look("PROVISIONED", "").row is DesiredRow.UNKNOWN_USER


@pytest.mark.parametrize("app", ["PENDING", "APPROVED", "IMPORTED", "MATCHED", "UNASSIGNED", "IMPLICIT", "FUTURE", ""])
@pytest.mark.parametrize("user", [*LIVE, "SUSPENDED", "STAGED"])
def test_row_3_an_app_user_in_nobody_knows_which_state_is_left_alone_and_reported(app: str, user: str) -> None:
    found = look(app, user)
    assert (found.wanted, found.row, found.finding) == (
        Wanted.LEAVE,
        DesiredRow.UNKNOWN_APP_USER,
        FindingCode.LEFT_ALONE,
    )


@pytest.mark.parametrize("app", ["ACTIVE", "PROVISIONED", "STAGED", "INACTIVE", "REVOKED"])
def test_row_4_syncing_is_left_alone_for_15_minutes_and_no_longer(app: str) -> None:
    young = look(app, "ACTIVE", sync="SYNCING", age=timedelta(minutes=14, seconds=59))
    assert (young.wanted, young.row, young.finding) == (Wanted.LEAVE, DesiredRow.SYNCING, FindingCode.SYNCING)
    assert young.due == NOW + timedelta(seconds=1)
    old = look(app, "ACTIVE", sync="SYNCING", age=timedelta(minutes=15))
    assert old.finding is FindingCode.SYNCING_TOO_LONG
    assert (old.wanted, old.row) == (look(app, "ACTIVE").wanted, look(app, "ACTIVE").row)


@pytest.mark.parametrize("app", ["INACTIVE", "SUSPENDED", "REVOKED", "DEPROVISIONED"])
@pytest.mark.parametrize("user", [*LIVE, "SUSPENDED", "STAGED"])
def test_row_5_an_ended_app_user_is_inactive(app: str, user: str) -> None:
    assert look(app, user) == Desired(wanted=Wanted.INACTIVE, row=DesiredRow.APP_USER_ENDED)


@pytest.mark.parametrize("app", ["STAGED", "ACTIVE", "PROVISIONED", None])
def test_row_6_a_staged_okta_user_is_left_alone_and_reported(app: str | None) -> None:
    found = look(app, "STAGED")
    assert (found.wanted, found.row, found.finding) == (Wanted.LEAVE, DesiredRow.STAGED_USER, FindingCode.LEFT_ALONE)


def test_row_7_a_staged_app_user_of_a_suspended_okta_user_is_left_alone_and_reported() -> None:
    found = look("STAGED", "SUSPENDED")
    assert (found.wanted, found.row, found.finding) == (
        Wanted.LEAVE,
        DesiredRow.STAGED_SUSPENDED,
        FindingCode.LEFT_ALONE,
    )


@pytest.mark.parametrize("user", LIVE)
def test_row_8_a_staged_app_user_is_pending_until_it_had_time_to_settle(user: str) -> None:
    young = look("STAGED", user, age=timedelta(minutes=4))
    assert (young.wanted, young.row, young.due) == (Wanted.PENDING, DesiredRow.STAGED, NOW + timedelta(minutes=1))
    assert look("STAGED", user, age=timedelta(minutes=5)).wanted is Wanted.ACTIVE
    assert look("STAGED", user, age=timedelta(minutes=5), settle=timedelta(minutes=6)).wanted is Wanted.PENDING


@pytest.mark.parametrize(("sync", "app"), [("SYNCHRONIZED", "STAGED"), ("SYNCING", "PROVISIONED")])
def test_a_clock_hours_behind_okta_s_makes_nobody_wait_for_hours(sync: str, app: str) -> None:
    assert look(app, "ACTIVE", sync=sync, age=-timedelta(hours=5)).wanted is Wanted.ACTIVE
    assert look(app, "ACTIVE", sync=sync, age=-timedelta(minutes=1)).wanted is not Wanted.ACTIVE


@pytest.mark.parametrize("app", ["ACTIVE", "PROVISIONED"])
def test_row_9_suspended_follows_the_policy(app: str) -> None:
    kept = look(app, "SUSPENDED")
    assert (kept.wanted, kept.row, kept.finding) == (Wanted.KEEP, DesiredRow.SUSPENDED, FindingCode.SUSPENDED_KEPT)
    ended = look(app, "SUSPENDED", suspended="deactivate")
    assert (ended.wanted, ended.row) == (Wanted.INACTIVE, DesiredRow.SUSPENDED)


@pytest.mark.parametrize("app", ["ACTIVE", "PROVISIONED"])
@pytest.mark.parametrize("user", LIVE)
@pytest.mark.parametrize("sync", ["DISABLED", "ERROR", "OUT_OF_SYNC", "SYNCHRONIZED", "FUTURE"])
def test_row_10_assigned_and_live_is_active_whatever_okta_thinks_of_its_last_push(
    app: str, user: str, sync: str
) -> None:
    assert look(app, user, sync=sync) == Desired(wanted=Wanted.ACTIVE, row=DesiredRow.LIVE)


@pytest.mark.parametrize("user", [*LIVE, "SUSPENDED", ""])
def test_rows_11_and_12_nobody_assigned_is_absent_and_the_account_decides(user: str) -> None:
    assert look(None, user) == Desired(wanted=Wanted.ABSENT, row=DesiredRow.ABSENT)


def test_a_status_in_transition_is_no_status() -> None:
    assert (
        user_status(OktaUser(id="1", status="ACTIVE", transitioning_to_status="DEPROVISIONED"))
        == "ACTIVE to DEPROVISIONED"
    )
    assert user_status(OktaUser(id="1", status="ACTIVE")) == "ACTIVE"
    assert user_status(None) == ""
