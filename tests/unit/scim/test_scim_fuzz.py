"""Nothing that a client can write makes the filter or the PATCH reader do anything but read it or refuse it as SCIM does.

Words of the grammar in any order, which finds more than random bytes do; a fixed seed, so that a run can be repeated.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, select

from agent.directory import filter_sql
from agent.model.users import ENTERPRISE_URN, DirectoryUser, MultiValue, Name, Profile
from agent.scim import filter as filters
from agent.scim import patch
from agent.scim.errors import ScimRefused
from agent.scim.schema import CORE_URN
from agent.store.tables import metadata, users

_quiet = settings(max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = [
    "userName",
    "USERNAME",
    "id",
    "externalId",
    "active",
    "name",
    "name.givenName",
    "emails",
    "emails.value",
    "emails.type",
    "emails.primary",
    "meta.created",
    "meta.lastModified",
    "addresses",
    "displayName",
    "password",
    "roles",
    "groups",
    "nope",
    f"{CORE_URN}:userName",
    f"{ENTERPRISE_URN}:department",
    f"{ENTERPRISE_URN}:manager.value",
    "__class__",
    "schemas",
    "$ref",
]
VALUES = [
    '"a"',
    '""',
    '"a@example.com"',
    '"\\""',
    '"\\u0041"',
    '"%_"',
    '"\' OR 1=1 --"',
    "true",
    "false",
    "null",
    "1",
    "1.5",
    "-0",
    '"2026-01-01T00:00:00Z"',
    '"\\ud800"',
    '"\u202e"',
    "'a'",
    '"unterminated',
]
WORDS = [
    *NAMES,
    *VALUES,
    "eq",
    "ne",
    "co",
    "sw",
    "ew",
    "gt",
    "ge",
    "lt",
    "le",
    "pr",
    "and",
    "or",
    "not",
    "NOT",
    "(",
    ")",
    "[",
    "]",
    ".",
    ":",
    ",",
    "\t",
    "\x00",
    "𝔘",
]
comparisons = st.builds(
    lambda name, op, value: f"{name} {op} {value}".strip(),
    st.sampled_from(NAMES),
    st.sampled_from(["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le", "pr", "xx"]),
    st.sampled_from(["", *VALUES]),
)
texts = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("{} and {}".format, inner, inner),
        st.builds("{} or {}".format, inner, inner),
        st.builds("not ({})".format, inner),
        st.builds("emails[{}]".format, inner),
        st.builds("({})".format, inner),
    ),
    max_leaves=6,
) | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)

ENGINE = create_engine("sqlite://")
metadata.create_all(ENGINE)


@seed(1)
@_quiet
@given(texts)
def test_a_filter_is_read_or_refused_and_what_was_read_can_be_asked(text: str) -> None:
    try:
        found = filters.parse(text)
    except ScimRefused as refused:
        assert refused.scim_type == "invalidFilter"
        return
    with ENGINE.connect() as conn:
        conn.execute(select(users.c.id).where(filter_sql.where(found, "sqlite"))).all()
    str(filter_sql.where(found, "postgresql"))


@pytest.mark.parametrize("text", ["", "x", "userName", 'nope eq "a"', "password pr", 'userName eq "a" or'])
def test_what_names_nobody_is_never_everybody(text: str) -> None:
    with pytest.raises(ScimRefused):
        filters.parse(text)


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "True", "false", "b@example.com", "\u202e"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
paths = (
    st.none()
    | st.sampled_from(NAMES)
    | texts
    | st.builds("{}[{}].{}".format, st.just("emails"), comparisons, st.sampled_from(NAMES))
    | json
)
operations = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "replace", "remove", "Replace", "move", "", None])},
    optional={"path": paths, "value": json, "extra": json},
)
bodies = st.fixed_dictionaries(
    {"schemas": st.just(["urn:ietf:params:scim:api:messages:2.0:PatchOp"])},
    optional={"Operations": st.lists(operations, max_size=3) | json},
)


def somebody() -> DirectoryUser:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    profile = Profile(
        name=Name(given_name="Ann"), emails=(MultiValue(value="ann@example.com", type="work", primary=True),)
    )
    return DirectoryUser(
        id="1", user_name="ann@example.com", profile=profile, active=True, created=now, updated=now, okta_id="00u1"
    )


@seed(1)
@_quiet
@given(bodies)
def test_a_patch_is_carried_out_or_refused_and_touches_nothing_that_it_was_given(body: dict[str, Any]) -> None:
    before = somebody()
    try:
        outcome = patch.read(body)(before)
    except ScimRefused as refused:
        assert refused.detail
    else:
        assert outcome.user_name
        assert isinstance(outcome.active, bool)
        assert isinstance(outcome.profile, Profile)
    assert before == somebody()
