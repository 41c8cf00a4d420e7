"""The simulator's tables: what is wanted of a person, how profiles map, what filters hold, which ids come."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.simulator import ids, names, oracle, paging, render, schema, scim_body
from agent.simulator.entities import LIVE, OrgAppUser, User
from agent.simulator.errors import ApiError
from agent.simulator.faults import Fault
from agent.simulator.filters import Filter
from agent.simulator.limits import RateLimiter

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SETTLE = timedelta(minutes=5)


def person(
    okta: str = "ACTIVE", app: str = "PROVISIONED", *, sync: str = "SYNCHRONIZED", age_s: int = 86_400
) -> OrgAppUser:
    then = ids.okta_time(NOW - timedelta(seconds=age_s))
    profile = next(iter(names.people(1, 7)))
    user = User(id="00u1", status=okta, profile=profile, created=then, last_updated=then)
    return OrgAppUser(
        user=user,
        scope="USER",
        status=app,
        sync_state=sync,
        user_name=profile["email"],
        created=then,
        last_updated=then,
        status_changed=then,
    )


def wanted(one: OrgAppUser, *, suspended_off: bool = False) -> str:
    return oracle.wanted(one.user, one, NOW, settle=SETTLE, suspended_off=suspended_off)


@pytest.mark.parametrize(
    ("okta", "app", "more", "want"),
    [
        ("DEPROVISIONED", "PROVISIONED", {}, "inactive"),
        ("DEPROVISIONED", "PENDING", {}, "inactive"),
        ("ACTIVATING", "PROVISIONED", {}, "leave"),
        ("SOMETHING_NEW", "PROVISIONED", {}, "leave"),
        *[
            ("ACTIVE", app, {}, "leave")
            for app in ["PENDING", "APPROVED", "IMPORTED", "MATCHED", "UNASSIGNED", "IMPLICIT", "NEW"]
        ],
        ("ACTIVE", "PROVISIONED", {"sync": "SYNCING", "age_s": 899}, "leave"),
        ("ACTIVE", "PROVISIONED", {"sync": "SYNCING", "age_s": 901}, "active"),
        *[("ACTIVE", app, {}, "inactive") for app in ("INACTIVE", "SUSPENDED", "REVOKED", "DEPROVISIONED")],
        ("STAGED", "SUSPENDED", {}, "inactive"),
        ("STAGED", "PROVISIONED", {}, "leave"),
        ("STAGED", "STAGED", {}, "leave"),
        ("SUSPENDED", "STAGED", {}, "leave"),
        ("ACTIVE", "STAGED", {"age_s": 299}, "pending"),
        ("ACTIVE", "STAGED", {"age_s": 301}, "active"),
        ("SUSPENDED", "PROVISIONED", {}, "leave"),
        ("SUSPENDED", "ACTIVE", {}, "leave"),
        *[(okta, "PROVISIONED", {"sync": "ERROR"}, "active") for okta in sorted(LIVE)],
        ("ACTIVE", "ACTIVE", {}, "active"),
    ],
)
def test_each_row_of_what_is_wanted(okta: str, app: str, more: dict[str, Any], want: str) -> None:
    assert wanted(person(okta, app, **more)) == want


def test_without_an_app_user_nothing_is_wanted() -> None:
    assert oracle.wanted(person().user, None, NOW, settle=SETTLE) == "none"


def test_suspended_may_be_asked_to_be_inactive() -> None:
    assert wanted(person("SUSPENDED"), suspended_off=True) == "inactive"


def test_raw_fields_decide_too() -> None:
    one = person()
    one.user.raw = {"transitioningToStatus": "ACTIVE"}
    assert wanted(one) == "leave"


def test_the_expected_mail_is_the_user_name_and_an_absent_key_is_not_expected() -> None:
    one = person()
    one.user_name = "other@example.com"
    one.without = frozenset({"title"})
    one.own = {"nickName": ""}
    values = oracle.expected(one)
    assert values["userName"] == values["emails[primary eq true].value"] == "other@example.com"
    assert "title" not in values
    assert values["nickName"] is None


def test_the_app_profile_holds_every_attribute_and_maps_by_its_source() -> None:
    profile = schema.app_profile({"firstName": "A", "city": "Berlin", "managerId": "7"})
    assert set(profile) == set(schema.BY_NAME)
    assert (profile["givenName"], profile["locality"], profile["managerValue"]) == ("A", "Berlin", "7")
    assert (profile["emailType"], profile["title"]) == ("work", None)


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("${source.login}", "Ada@Login.example.com"),
        ("${source.email}", "Ada@example.com"),
        ("${fn:toLowerCase(source.email)}", "ada@example.com"),
        ('${fn:substringBefore(source.email, "@")}', "Ada"),
    ],
)
def test_the_user_name_follows_the_apps_template(template: str, name: str) -> None:
    assert schema.user_name(template, {"login": "Ada@Login.example.com", "email": "Ada@example.com"}) == name


@given(st.dictionaries(st.sampled_from(sorted(schema.USER_ATTRIBUTES)), st.none() | st.text(min_size=1), max_size=12))
def test_a_put_of_the_servers_own_body_ends_in_the_mapped_values(changes: dict[str, str | None]) -> None:
    one = person()
    body = {**scim_body.create(one), "id": "x", "meta": {"version": "1"}, "custom": [1]}
    one.user.profile = {**one.user.profile, **changes}
    put = scim_body.replace(body, one, user_name=True, own_external_id=False)
    assert (put["id"], put["meta"], put["custom"]) == ("x", {"version": "1"}, [1])
    assert scim_body.replace(put, one, user_name=True, own_external_id=False) == put, "a second time changes nothing"
    fresh = scim_body.create(one)
    for key in set(fresh) | set(put) - {"id", "meta", "custom", "schemas"}:
        if key != "schemas":
            assert put.get(key) == fresh.get(key), key


def test_a_put_keeps_other_addresses_of_the_server() -> None:
    one = person()
    server = {
        "userName": "x",
        "emails": [{"value": "b@example.com"}, {"value": "a@example.com", "primary": True, "x": 1}],
    }
    put = scim_body.replace(server, one, user_name=True, own_external_id=False)
    assert put["emails"] == [{"value": "b@example.com"}, {"value": one.user.profile["email"], "primary": True, "x": 1}]
    assert server["emails"][1]["value"] == "a@example.com", "what was read is not changed"


def _read(name: str) -> Any:
    return (lambda one: one.get(name)) if name in ("a", "b", "lastUpdated") else None


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('a eq "X"', True),
        ('a eq "x"', False),
        ('a sw "X" and b eq "1"', False),
        ('a eq "nope" or b eq "2"', True),
        ('not (a eq "nope") and (b eq "1" or b eq "2")', True),
        ('lastUpdated gt "2026-01-01T00:00:00Z"', True),
        ('lastUpdated gt "2026-01-01T00:00:00.000+01:00"', True),
        ('lastUpdated lt "2026-01-01T00:00:00.000Z"', False),
        ("a pr", True),
        ('a co "X" AND b EQ "2"', True),
    ],
)
def test_a_filter_holds(text: str, holds: bool) -> None:
    one = {"a": "X", "b": "2", "lastUpdated": "2026-02-03T00:00:00.000Z"}
    assert Filter(text, _read, fold=False).compile()(one) is holds


def test_a_search_looks_past_case() -> None:
    assert Filter('a eq "x"', _read, fold=True).compile()({"a": "X"})


@pytest.mark.parametrize(
    "text", ["", "a", "a eq", 'a eq "x', 'c eq "x"', 'a eq "x" b', '(a eq "x"', 'a is "x"', "a eq x"]
)
def test_a_bad_filter_is_an_error(text: str) -> None:
    with pytest.raises(ApiError, match="E0000031"):
        Filter(text, _read, fold=False).compile()


@given(st.text(max_size=40))
def test_no_filter_text_crashes(text: str) -> None:
    try:
        Filter(text, _read, fold=False).compile()({"a": "x"})
    except ApiError as exc:
        if exc.code != "E0000031":
            raise


@given(rows=st.lists(st.none() | st.integers(), max_size=30), limit=st.integers(1, 7))
def test_pages_hold_every_row_once_and_in_order(rows: list[int | None], limit: int) -> None:
    seen: list[int] = []
    after: int | None = -1
    while after is not None:
        page, after = paging.cut(rows, after, limit, lambda one: one % 3 != 0)
        assert len(page) <= limit
        seen += page
    assert seen == [one for one in rows if one is not None and one % 3 != 0]


def test_ids_are_twenty_characters_unique_and_repeatable() -> None:
    first, again, other = ids.Ids(7), ids.Ids(7), ids.Ids(8)
    made = [first.new("00u") for _ in range(20_000)]
    assert len(set(made)) == len(made)
    assert {len(one) for one in made} == {20}
    assert made[:50] == [again.new("00u") for _ in range(50)]
    assert made[0] != other.new("00u")


def test_people_are_unique_and_follow_the_seed() -> None:
    one, two = list(names.people(2000, 7)), list(names.people(2000, 7))
    assert one == two != list(names.people(2000, 8))
    assert len({profile["login"] for profile in one}) == 2000
    assert all(profile["login"] == profile["email"] and profile["login"].endswith("@example.com") for profile in one)
    assert all(set(profile) <= schema.USER_ATTRIBUTES for profile in one)


def test_a_change_renders_anew() -> None:
    one = person()
    before = render.app_user(one, "http://x", "0oa1")
    assert render.app_user(one, "http://x", "0oa1") is before
    one.status, one.rendered = "STAGED", None
    assert b'"status":"STAGED"' in render.app_user(one, "http://x", "0oa1")


@pytest.mark.parametrize(
    ("pattern", "path", "query", "hit"),
    [
        ("/api/v1/apps/*/users", "/api/v1/apps/0oa/users", "limit=500", True),
        ("/api/v1/apps/*/users", "/api/v1/apps/0oa/users/00u", "", False),
        ("*/users?*after=*", "/api/v1/apps/0oa/users", "after=1&limit=2", True),
        ("*/users?*after=*", "/api/v1/apps/0oa/users", "limit=2", False),
    ],
)
def test_a_faults_glob(pattern: str, path: str, query: str, hit: bool) -> None:
    assert Fault(path=pattern).hits("GET", path, query) is hit


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/api/v1/apps/0oa/users", 50),
        ("/api/v1/apps", 50),
        ("/api/v1/apps/0oa", 250),
        ("/api/v1/users", 300),
        ("/api/v1/users/00u", 1000),
        ("/api/v1/logs", 60),
        ("/api/v1/eventHooks", 600),
    ],
)
def test_each_path_has_its_bucket(path: str, limit: int) -> None:
    assert RateLimiter(None).count(path).limit == limit
