from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.errors import Unaddressable, UsageError
from agent.okta_org import calls


@pytest.mark.parametrize("value", ["", ".", "..", "me"])
@pytest.mark.parametrize(
    "call", [calls.user, calls.app, lambda v: calls.app_user("0oa1", v), lambda v: calls.app_user(v, "00u")]
)
def test_an_id_that_would_reach_another_endpoint_is_refused(call, value):
    with pytest.raises(UsageError):
        call(value)


@pytest.mark.parametrize("character", "/?#%+ ;\\")
def test_an_id_that_no_address_of_okta_can_name_is_refused(character):
    with pytest.raises(Unaddressable):
        calls.app_user("0oa1", f"00u{character}1")


@given(st.text(min_size=1).filter(calls.addressable))
def test_an_id_stays_one_segment_whatever_it_holds(value):
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    path = calls.user(value).path
    assert path.startswith("/api/v1/users/")
    assert not set(path.removeprefix("/api/v1/users/")) & set("/?# ")


@given(st.text(st.characters(codec="utf-8")))
def test_a_quote_in_a_value_cannot_end_the_term(value):
    [text] = parse_qs(urlsplit(calls.users(search=calls.equals("profile.login", value)).path).query)["search"]
    inner = text.removeprefix('profile.login eq "')[:-1]
    assert '"' not in inner.replace("\\\\", "").replace('\\"', "")
    assert inner.replace('\\"', '"').replace("\\\\", "\\") == value or "\\" in value


def test_moments_go_out_in_utc_with_milliseconds():
    at = datetime(2026, 3, 1, 1, 30, 0, 123999, tzinfo=timezone(timedelta(hours=2)))
    assert calls.moment(at) == "2026-02-28T23:30:00.123Z"
    with pytest.raises(ValueError):
        calls.moment(datetime(2026, 3, 1))  # noqa: DTZ001


def test_the_deprovisioned_are_asked_for_by_when_they_last_changed():
    path = calls.users_deprovisioned_since(datetime(2026, 1, 2, tzinfo=UTC)).path
    assert parse_qs(urlsplit(path).query)["filter"] == [
        'status eq "DEPROVISIONED" and lastUpdated gt "2026-01-02T00:00:00.000Z"'
    ]


def test_the_log_is_read_ascending_and_without_an_end_so_that_late_events_come_too():
    query = parse_qs(urlsplit(calls.log_events(datetime(2026, 1, 2, tzinfo=UTC), "", 100).path).query)
    assert query == {"since": ["2026-01-02T00:00:00.000Z"], "limit": ["100"], "sortOrder": ["ASCENDING"]}


def test_a_cursor_of_another_endpoint_is_refused():
    with pytest.raises(UsageError):
        calls.continued(calls.log_events(None, "", 1), "/api/v1/users?after=x")


@pytest.mark.parametrize(
    ("call", "bucket"),
    [
        (calls.app("0oa1"), "apps/{id}"),
        (calls.app_users("0oa1", 1), "apps"),
        (calls.app_user("0oa1", "00u1"), "apps"),
        (calls.assign("0oa1", "00u1", "p", None), "apps"),
        (calls.user("00u1"), "GET users/{id}"),
        (calls.whoami(), "GET users/{id}"),
        (calls.users(filter="x"), "users"),
        (calls.create_user({}, activate=False, groups=()), "users"),
        (calls.activate_user("00u1", send_email=True), "other"),
        (calls.add_to_group("00g1", "00u1"), "groups/{id}"),
        (calls.log_events(None, "", 1), "logs"),
        (calls.event_hooks(), "other"),
        (calls.app_schema("0oa1"), "other"),
    ],
)
def test_each_call_counts_against_the_bucket_that_okta_names(call, bucket):
    assert call.bucket == bucket


def test_no_call_replaces_an_app_or_deletes_anything_but_an_assignment_that_an_import_made():
    assert {calls.add_to_group("g", "u").method, calls.assign("a", "u", "n", None).method} == {"PUT", "POST"}
    ends = [name for name in vars(calls) if name.startswith(("delete", "replace_app", "unassign", "deactivate"))]
    assert ends == ["unassign"]
