"""A user's body: types are enforced and named, names have no case, and what the agent doesn't keep leaves no trace."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from scim2_models import ScimPolicy

from agent.model.attributes import Attribute
from agent.model.mapping import Mapping, apply
from agent.model.okta import AppUser
from agent.model.users import ENTERPRISE_URN, Profile
from agent.scim import body, library, strict
from agent.scim.errors import ScimRefused
from agent.scim.schema import CORE, CORE_URN, ENTERPRISE


def read(**value: Any) -> body.Body:
    return body.read({"schemas": [CORE_URN], "userName": "a@example.com", **value})


def profile(**value: Any) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(read(**value).profile)
    return shown


def test_okta_s_create_is_read_whole() -> None:
    said = read(
        name={"givenName": "Test", "familyName": "User"},
        emails=[{"primary": True, "value": "a@example.com", "type": "work"}],
        displayName="Test User",
        locale="en-US",
        externalId="00ujl29u0le5T6Aj10h7",
        active=True,
    )
    assert (said.user_name, said.okta_id, said.active) == ("a@example.com", "00ujl29u0le5T6Aj10h7", True)
    assert said.profile.primary_email == "a@example.com"
    assert said.profile.name is not None
    assert said.profile.name.family_name == "User"
    assert said.profile.display_name == "Test User"


@pytest.mark.parametrize(
    "ignored",
    [
        {"password": "1mz050nq"},
        {"roles": [{"value": "owner"}]},
        {"groups": [], "entitlements": ["x"]},
        {"id": "123", "meta": {"version": "x"}},
        {"isOwner": True, "__class__": {"x": 1}, "favouriteColour": "red"},
        {
            "emails": [{"value": "", "type": "work"}],
            "phoneNumbers": [{"type": "work"}],
            "addresses": [{"primary": True}],
        },
        {"name": {}, "title": "", "nickName": None, ENTERPRISE_URN: {"manager": {"value": ""}}},
    ],
)
def test_what_is_not_kept_or_empty_leaves_no_trace(ignored: dict[str, Any]) -> None:
    assert read(**ignored) == read()
    assert read().profile == Profile()


def test_names_have_no_case() -> None:
    said = body.read(
        {
            "USERNAME": "a@example.com",
            "Name": {"GIVENNAME": "A"},
            "ACTIVE": False,
            ENTERPRISE_URN.upper(): {"costcenter": "1"},
        }
    )
    assert (said.user_name, said.active) == ("a@example.com", False)
    assert msgspec.to_builtins(said.profile) == {"name": {"givenName": "A"}, ENTERPRISE_URN: {"costCenter": "1"}}


@pytest.mark.parametrize(("sent", "read_as"), [(True, True), ("true", True), ("False", False), ("FALSE", False)])
def test_active_may_be_a_string_and_is_never_merely_truthy(sent: Any, read_as: bool) -> None:
    assert read(active=sent).active is read_as


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({"userName": 12345}, "userName"),
        ({"userName": ["a@example.com"]}, "userName"),
        ({"externalId": 1}, "externalId"),
        ({"externalId": "x" * 256}, "externalId"),
        ({"externalId": "a\nb"}, "externalId"),
        ({"active": None}, "active"),
        ({"active": 0}, "active"),
        ({"active": "yes"}, "active"),
        ({"active": {"x": 1}}, "active"),
        ({"emails": "a@example.com"}, "emails"),
        ({"emails": ["a@example.com"]}, "emails"),
        ({"emails": {"value": "a@example.com"}}, "emails"),
        ({"emails": [{"value": "a", "primary": True}, {"value": "b", "primary": "true"}]}, "emails"),
        ({"name": []}, "name"),
        ({"name": "x"}, "name"),
        ({ENTERPRISE_URN: "x"}, ENTERPRISE_URN),
        ({ENTERPRISE_URN: {"manager": []}}, "manager"),
    ],
)
def test_a_wrong_type_is_an_invalid_value_that_names_the_attribute_and_not_the_value(
    value: dict[str, Any], named: str
) -> None:
    with pytest.raises(ScimRefused) as caught:
        read(**value)
    assert caught.value.scim_type == "invalidValue"
    assert named in caught.value.detail
    assert "12345" not in caught.value.detail


def test_numbers_and_truth_values_become_text() -> None:
    said = read(title=5, nickName=True, name={"givenName": 1.5}, emails=[{"value": "a@x", "display": 7}])
    assert msgspec.to_builtins(said.profile) == {
        "title": "5",
        "nickName": "true",
        "name": {"givenName": "1.5"},
        "emails": ({"value": "a@x", "display": "7"},),
    }
    assert said.no_text == ()


def test_a_list_or_an_object_where_text_belongs_leaves_that_attribute_as_it_was_and_no_other() -> None:
    before = read(
        title="T", nickName="N", name={"givenName": "A", "familyName": "B"}, emails=[{"value": "a@x"}]
    ).profile
    said = read(
        title=["x"],
        nickName="M",
        name={"givenName": {"x": 1}, "familyName": "C"},
        locale=[],
        emails=[{"value": ["b@x"]}],
        **{ENTERPRISE_URN: {"manager": {"value": ["x"], "displayName": "Boss"}}},
    )
    assert {".".join(place) for place in said.no_text} == {
        "title",
        "name.givenName",
        "locale",
        "emails",
        f"{ENTERPRISE_URN}.manager.value",
    }
    assert msgspec.to_builtins(said.over(before)) == {
        "title": "T",
        "nickName": "M",
        "name": {"givenName": "A", "familyName": "C"},
        "emails": ({"value": "a@x"},),
        ENTERPRISE_URN: {"manager": {"displayName": "Boss"}},
    }


def test_an_empty_string_is_no_value_of_a_switch_or_a_list_either() -> None:
    said = read(active="", emails="", phoneNumbers=[{"value": "5", "primary": ""}])
    assert said.active is None
    assert msgspec.to_builtins(said.profile) == {"phoneNumbers": ({"value": "5"},)}


_PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(categories=("L", "N", "P")), max_size=5)
)


@given(_PLAIN | st.lists(_PLAIN, max_size=2) | st.dictionaries(st.just("x"), _PLAIN, max_size=1))
def test_a_push_keeps_what_a_sweep_would_write(value: Any) -> None:
    """Whatever the value of Okta's profile, and whatever the account had."""
    mapping = Mapping()
    have = Profile(title="before")
    pushed = read(**strict.decode(json.dumps({"title": value}).encode())).over(have)
    wanted = mapping.project_wanted(AppUser(id="00u1", profile=Raw(json.dumps({"title": value}).encode())))
    swept = mapping.differences(mapping.project(have), wanted.mapped, wanted.unsaid)
    assert apply(have, {path: want for path, (_, want) in swept.items()}) == pushed


@pytest.mark.parametrize("schemas", [[], "x", [ENTERPRISE_URN], [1]])
def test_a_body_that_names_schemas_names_the_user_s(schemas: Any) -> None:
    with pytest.raises(ScimRefused, match="schemas"):
        body.check_schemas({"schemas": schemas})
    body.check_schemas({"SCHEMAS": [ENTERPRISE_URN, CORE_URN.upper()]})


@pytest.mark.parametrize("schemas", [{}, {"schemas": None}])
def test_a_body_without_schemas_is_what_its_attributes_say(schemas: dict[str, Any]) -> None:
    body.check_schemas(schemas)


def test_a_manager_may_be_given_as_the_id_alone() -> None:
    assert profile(**{ENTERPRISE_URN: {"manager": "boss"}}) == {ENTERPRISE_URN: {"manager": {"value": "boss"}}}


def test_addresses_that_stock_models_refuse_or_rewrite_are_kept_as_sent() -> None:
    for address in ("test.user@okta.local", "root@localhost", "A@EXAMPLE.COM"):
        assert profile(emails=[{"value": address}]) == {"emails": ({"value": address},)}


# scim2-models as the oracle: whatever body it takes, both read the same user.

_WORD = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=8)


def _value(attribute: Attribute) -> st.SearchStrategy[Any]:
    if attribute.kind == "boolean":
        one: st.SearchStrategy[Any] = st.booleans()
    elif attribute.subs:
        one = st.fixed_dictionaries({}, optional={sub.name: _value(sub) for sub in attribute.subs})
    else:
        one = _WORD
    if not attribute.multi:
        return one
    unprimary = one.map(lambda item: {k: v for k, v in item.items() if k != "primary"})
    return st.lists(
        unprimary.filter(lambda item: item.keys() - {"type"} and ("value" in item or "formatted" in item)), max_size=2
    )


_USERS = st.fixed_dictionaries(
    {"userName": _WORD, "active": st.booleans()},
    optional={a.name: _value(a) for a in (*CORE, ENTERPRISE) if a.name not in ("userName", "active", "externalId")},
)


@given(_USERS)
def test_a_body_is_read_as_scim2_models_reads_it(value: dict[str, Any]) -> None:
    schemas = [CORE_URN, ENTERPRISE_URN]
    oracle = library.UserModel.model_validate({"schemas": schemas, **value}, scim_policy=ScimPolicy(unknown="ignore"))
    assert body.read(value) == body.read(oracle.model_dump())
