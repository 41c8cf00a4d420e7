"""Both sides on the same paths: what is compared, what is not, and that what is set can be read again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.model.mapping import DEFAULT, Mapping, apply
from agent.model.okta import AppUser
from agent.model.paths import UnknownPath, parse
from agent.model.users import ENTERPRISE_URN, Address, MultiValue, Name, Profile

MAPPING = Mapping()
values = st.dictionaries(st.sampled_from(MAPPING.paths), st.text(min_size=1, max_size=8))


def app_user(**profile: object) -> AppUser:
    return AppUser(id="00u1", profile=profile)


@given(values)
def test_what_is_set_is_projected_and_clearing_it_leaves_nothing(given_values: dict[str, str]) -> None:
    profile = apply(Profile(), given_values)
    assert json.loads(MAPPING.project("x", profile)) == given_values
    assert MAPPING.project("x", apply(profile, dict.fromkeys(given_values))) == "{}"


@given(values)
def test_both_sides_have_one_canonical_form(given_values: dict[str, str]) -> None:
    attributes = {path: name for name, path in DEFAULT.items()}
    okta = app_user(**{attributes[path]: value for path, value in reversed(given_values.items())})
    assert MAPPING.project_wanted(okta) == (MAPPING.project("x", apply(Profile(), given_values)), 0)


def test_absent_is_not_compared_null_and_empty_mean_cleared() -> None:
    okta = app_user(title=None, nickName="", displayName="Ann")
    assert MAPPING.wanted(okta) == {"displayName": "Ann", "nickName": None, "title": None}
    have = MAPPING.project("x", apply(Profile(), {"title": "T", "locale": "en", "displayName": "Ann"}))
    wanted, cleared = MAPPING.project_wanted(okta)
    assert MAPPING.differences(have, wanted, cleared) == {"title": ("T", None)}


@pytest.mark.parametrize(("given_value", "text"), [(True, "true"), (False, "false"), (7, "7")])
def test_values_that_are_no_text_are_compared_as_text(given_value: object, text: str) -> None:
    okta = app_user(title=given_value)
    assert MAPPING.wanted(okta) == {"title": text}
    assert json.loads(MAPPING.project_wanted(okta)[0]) == {"title": text}


def test_lists_and_objects_are_not_compared() -> None:
    assert MAPPING.wanted(app_user(title=["a"], nickName={"b": 1})) == {}
    assert MAPPING.project_wanted(app_user(title=["a"])) == ("{}", 0)


def test_everything_else_of_a_profile_is_left_as_it_is() -> None:
    profile = Profile(
        name=Name(given_name="Ann", formatted="Dr Ann"),
        phone_numbers=(MultiValue(value="1", type="home"), MultiValue(value="2", type="work", primary=True)),
        addresses=(Address(locality="Bern", type="work", primary=True),),
    )
    changed = apply(
        profile,
        {
            "name.givenName": "Anna",
            "phoneNumbers[primary eq true].value": "3",
            "addresses[primary eq true].region": "BE",
        },
    )
    assert changed.name == Name(given_name="Anna", formatted="Dr Ann")
    assert changed.phone_numbers == (
        MultiValue(value="1", type="home"),
        MultiValue(value="3", type="work", primary=True),
    )
    assert changed.addresses == (Address(locality="Bern", region="BE", type="work", primary=True),)
    assert apply(changed, {'phoneNumbers[type eq "home"].value': None}).phone_numbers == (
        changed.phone_numbers[1],
    )


def test_overrides_move_and_switch_off_and_the_hash_tells() -> None:
    other = Mapping({"title": "", "employeeNumber": f"{ENTERPRISE_URN}:costCenter", "shoeSize": "userType"})
    assert "title" not in other.paths
    assert other.wanted(app_user(title="T", shoeSize="42")) == {"userType": "42"}
    assert other.hash != MAPPING.hash == Mapping({}).hash


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "name",
        'emails[type eq "work"].type',
        "urn:x:User:y",
        "name.givenName.x",
        "meta.created",
        "a b",
    ],
)
def test_what_is_no_single_value_is_refused(path: str) -> None:
    with pytest.raises(UnknownPath):
        parse(path)


def test_the_primary_e_mail_follows_the_user_name_and_is_not_mapped() -> None:
    with pytest.raises(UnknownPath):
        Mapping({"email": "emails[primary eq true].value"})
