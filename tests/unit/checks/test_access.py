"""Scopes by feature, whose the token is, and whether Okta's limit carries the sweeps."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from agent.checks import access
from agent.model.okta import AppUser, OktaUser, Person
from agent.okta_org.limits import RateBudget
from agent.settings import ImportSettings, ScheduleSettings, Settings

NOW = datetime(2026, 11, 24, tzinfo=UTC)
READ = {"okta.apps.read", "okta.users.read", "okta.logs.read"}


def okta(
    scopes: set[str] | None = None,
    owner: OktaUser | None = None,
    *,
    assigned: bool = False,
    budget: RateBudget | None = None,
) -> Any:
    app_user = AppUser(id="00u1") if assigned else None
    return SimpleNamespace(
        token_scopes=lambda: None if scopes is None else frozenset(scopes),
        whoami=lambda: owner,
        person=lambda okta_id: Person(okta_id=okta_id, app_user=app_user),
        log_events=lambda **_: ([], None),
        budget=lambda: {} if budget is None else {"apps": budget},
    )


def lines(org: Any, **sections: Any) -> dict[str, tuple[str, str]]:
    return {line.name: (line.state.value, line.detail) for line in access.checks(org, Settings(**sections), NOW)}


def test_the_three_read_scopes_are_enough_and_named_by_feature() -> None:
    state, detail = lines(okta(READ))["scopes"]
    assert state == "ok"
    assert "reconcile: okta.apps.read, okta.users.read; events: okta.logs.read" in detail
    assert "without those for import" in detail


@pytest.mark.parametrize("missing", sorted(READ))
def test_a_scope_that_a_feature_needs_is_named_with_it(missing: str) -> None:
    state, detail = lines(okta(READ - {missing}))["scopes"]
    assert (state, missing in detail) == ("fail", True)


def test_the_log_is_not_needed_where_it_is_not_read() -> None:
    assert lines(okta(READ - {"okta.logs.read"}), schedule=ScheduleSettings(events=None))["scopes"][0] == "ok"


def test_who_may_manage_may_read() -> None:
    assert lines(okta({"okta.apps.manage", "okta.users.manage", "okta.logs.read"}))["scopes"][0] == "ok"


def test_a_scope_that_nothing_uses_is_too_many() -> None:
    state, detail = lines(okta(READ | {"okta.groups.manage"}))["scopes"]
    assert (state, "okta.groups.manage" in detail) == ("warn", True)
    assert lines(okta(READ | {"okta.groups.manage"}), imports=ImportSettings(groups=("00g1",)))["scopes"][0] == "ok"


def test_an_oauth_app_is_nobody_s_and_a_person_s_token_is_a_warning() -> None:
    ann = OktaUser(id="00u1", profile={"login": "ann@example.com"})
    assert lines(okta(READ))["token owner"][0] == "ok"
    assert lines(okta(None, ann))["token owner"][0] == "warn"
    state, detail = lines(okta(None, ann, assigned=True))["token owner"]
    assert (state, "ann@example.com" in detail) == ("fail", True)


@pytest.mark.parametrize(
    ("limit", "remaining", "people", "state"),
    [(100, 90, 1_000, "ok"), (100, 10, 1_000, "warn"), (10, 9, 1_000_000, "warn"), (0, 0, 1_000, "ok")],
)
def test_the_limit_must_carry_a_sweep_in_half_its_interval(limit: int, remaining: int, people: int, state: str) -> None:
    org = okta(budget=RateBudget(limit=limit, remaining=remaining))
    account: Any = SimpleNamespace(last_good_people=people, managed_active=0)
    settings = Settings(schedule=ScheduleSettings(reconcile=timedelta(hours=1)))
    assert access.rate(org, settings, account).state.value == state


def test_groups_that_give_roles_need_a_scope_of_their_own() -> None:
    roles = {"roles": {"owner": ("OpsHelm Owners",)}}
    state, detail = lines(okta(READ), **roles)["scopes"]
    assert (state, "roles needs okta.groups.read" in detail) == ("fail", True)
    assert lines(okta(READ | {"okta.groups.read"}), **roles)["scopes"][0] == "ok"
