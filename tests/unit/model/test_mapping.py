"""Both sides on the same paths: what is compared, what is not, and that what is set can be read again."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import MsgspecError, Raw

from agent.model.mapping import DEFAULT, Mapping, apply
from agent.model.okta import AppUser
from agent.model.paths import UnknownPath, parse
from agent.model.users import ENTERPRISE_URN, Address, MultiValue, Name, Profile

MAPPING = Mapping()
NOTHING = json.dumps([None] * len(MAPPING.paths), separators=(",", ":"))
values = st.dictionaries(st.sampled_from(MAPPING.paths), st.text(min_size=1, max_size=8))


def app_user(**profile: object) -> AppUser:
    return AppUser(id="00u1", profile=Raw(json.dumps(profile).encode()))


def test_the_default_mapping_has_the_keys_of_okta_s_scim_profile() -> None:
    assert {
        "givenName": "name.givenName",
        "familyName": "name.familyName",
        "middleName": "name.middleName",
        "honorificPrefix": "name.honorificPrefix",
        "honorificSuffix": "name.honorificSuffix",
        "displayName": "displayName",
        "nickName": "nickName",
        "profileUrl": "profileUrl",
        "title": "title",
        "userType": "userType",
        "preferredLanguage": "preferredLanguage",
        "locale": "locale",
        "timezone": "timezone",
        "primaryPhone": "phoneNumbers[primary eq true].value",
        "streetAddress": "addresses[primary eq true].streetAddress",
        "locality": "addresses[primary eq true].locality",
        "region": "addresses[primary eq true].region",
        "postalCode": "addresses[primary eq true].postalCode",
        "country": "addresses[primary eq true].country",
        "employeeNumber": f"{ENTERPRISE_URN}:employeeNumber",
        "costCenter": f"{ENTERPRISE_URN}:costCenter",
        "organization": f"{ENTERPRISE_URN}:organization",
        "division": f"{ENTERPRISE_URN}:division",
        "department": f"{ENTERPRISE_URN}:department",
        "managerValue": f"{ENTERPRISE_URN}:manager.value",
        "managerDisplayName": f"{ENTERPRISE_URN}:manager.displayName",
    } == DEFAULT


def test_projections_that_are_stored_stay_good() -> None:
    """Another hash makes every installation rebuild them; that is a choice, never an accident."""
    assert MAPPING.hash == "e88426b67d9ba571d5b363e83a70494d41f65de58a9929c89d52504812e7a53a"


@given(values)
def test_what_is_set_is_projected_and_clearing_it_leaves_nothing(given_values: dict[str, str]) -> None:
    profile = apply(Profile(), given_values)
    assert MAPPING.values(MAPPING.project(profile)) == given_values
    assert MAPPING.project(apply(profile, dict.fromkeys(given_values))) == NOTHING


@given(values)
def test_both_sides_have_one_canonical_form(given_values: dict[str, str]) -> None:
    attributes = {path: name for name, path in DEFAULT.items()}
    okta = app_user(**{attributes[path]: value for path, value in reversed(given_values.items())})
    wanted = MAPPING.project_wanted(okta)
    assert wanted.mapped == MAPPING.project(apply(Profile(), given_values))
    said = {path for bit, path in enumerate(MAPPING.paths) if not wanted.unsaid >> bit & 1}
    assert said == set(given_values)


def test_absent_is_not_compared_null_and_empty_mean_cleared() -> None:
    okta = app_user(title=None, nickName="", displayName="Ann")
    have = MAPPING.project(apply(Profile(), {"title": "T", "locale": "en", "displayName": "Ann"}))
    wanted = MAPPING.project_wanted(okta)
    assert MAPPING.differences(have, wanted.mapped, wanted.unsaid) == {"title": ("T", None)}


def test_whoever_says_all_and_nothing_of_it_clears_all() -> None:
    have = MAPPING.project(apply(Profile(), dict.fromkeys(MAPPING.paths, "x")))
    for nothing in (None, ""):
        wanted = MAPPING.project_wanted(app_user(**dict.fromkeys(DEFAULT, nothing)))
        assert wanted.unsaid == 0
        assert MAPPING.differences(have, wanted.mapped, wanted.unsaid) == dict.fromkeys(
            sorted(MAPPING.paths), ("x", None)
        )


def test_without_a_profile_nothing_is_said() -> None:
    have = MAPPING.project(apply(Profile(), dict.fromkeys(MAPPING.paths, "x")))
    for nothing in (AppUser(id="00u1"), app_user()):
        wanted = MAPPING.project_wanted(nothing)
        assert (wanted.mapped, wanted.email) == (NOTHING, None)
        assert MAPPING.differences(have, wanted.mapped, wanted.unsaid) == {}


@pytest.mark.parametrize("text", [b"[1]", b'"x"', b"7", b'{"title":"\xff"}'])
def test_a_profile_that_is_no_object_is_not_read(text: bytes) -> None:
    with pytest.raises((MsgspecError, UnicodeDecodeError)):
        MAPPING.project_wanted(AppUser(id="00u1", profile=Raw(text)))


def test_the_e_mail_attribute_comes_beside_the_values_even_where_it_is_mapped_too() -> None:
    okta = app_user(email="ann@example.com", title="T")
    assert MAPPING.project_wanted(okta).email == "ann@example.com"
    other = Mapping({"email": 'emails[type eq "home"].value'}).project_wanted(okta)
    assert other.email == "ann@example.com"
    assert "ann@example.com" in json.loads(other.mapped)


@pytest.mark.parametrize(("given_value", "text"), [(True, "true"), (False, "false"), (7, "7")])
def test_values_that_are_no_text_are_compared_as_text(given_value: object, text: str) -> None:
    okta = app_user(title=given_value)
    assert MAPPING.values(MAPPING.project_wanted(okta).mapped) == {"title": text}


def test_lists_and_objects_are_not_compared() -> None:
    okta = app_user(title=["a"], nickName={"b": 1}, locale="en")
    have = MAPPING.project(apply(Profile(), {"title": "T", "nickName": "N"}))
    wanted = MAPPING.project_wanted(okta)
    assert MAPPING.differences(have, wanted.mapped, wanted.unsaid) == {"locale": (None, "en")}
    assert wanted.no_text == ("nickName", "title")


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
    assert apply(changed, {'phoneNumbers[type eq "home"].value': None}).phone_numbers == (changed.phone_numbers[1],)


def test_overrides_move_and_switch_off_and_the_hash_tells() -> None:
    other = Mapping({"title": "", "employeeNumber": f"{ENTERPRISE_URN}:costCenter", "shoeSize": "userType"})
    assert "title" not in other.paths
    wanted = other.project_wanted(app_user(title="T", shoeSize="42"))
    assert other.values(wanted.mapped) == {"userType": "42"}
    assert other.hash != MAPPING.hash == Mapping({}).hash


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "name",
        f"{ENTERPRISE_URN}:department[primary eq true]",
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
