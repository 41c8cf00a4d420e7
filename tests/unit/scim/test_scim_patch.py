"""PATCH: every form that identity providers send does what its sender means, and the fast path does what scim2-models does."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.model.users import ENTERPRISE_URN, DirectoryUser, Enterprise, Manager, MultiValue, Name, Profile
from agent.scim import patch
from agent.scim.errors import ScimRefused
from agent.scim.schema import CORE_URN

AT = datetime(2026, 1, 1, tzinfo=UTC)
USER = DirectoryUser(
    id="1",
    user_name="a@example.com",
    okta_id="00u1",
    active=True,
    created=AT,
    updated=AT,
    profile=Profile(
        name=Name(given_name="Ann", family_name="Other"),
        display_name="Ann Other",
        emails=(
            MultiValue(value="a@example.com", type="work", primary=True),
            MultiValue(value="h@example.com", type="home"),
        ),
    ),
)


def operation(op: str, path: str | None = None, *value: Any) -> dict[str, Any]:
    return {"op": op} | ({} if path is None else {"path": path}) | ({"value": value[0]} if value else {})


def outcome(*operations: dict[str, Any], user: DirectoryUser = USER) -> patch.PatchResult:
    return patch.read({"Operations": list(operations)})(user)


def after(*operations: dict[str, Any]) -> dict[str, Any]:
    found = outcome(*operations)
    shown: dict[str, Any] = msgspec.to_builtins(found.profile)
    return shown | {"userName": found.user_name, "active": found.active, "externalId": found.okta_id}


BEFORE = {
    "name": {"givenName": "Ann", "familyName": "Other"},
    "displayName": "Ann Other",
    "emails": ({"value": "a@example.com", "type": "work", "primary": True}, {"value": "h@example.com", "type": "home"}),
    "userName": "a@example.com",
    "active": True,
    "externalId": "00u1",
}
WORK, HOME = BEFORE["emails"]
OTHER = {"value": "o@example.com", "type": "other"}

FORMS: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [
    ([operation("replace", None, {"active": False})], {"active": False}),
    ([operation("Replace", "active", "False")], {"active": False}),
    ([operation("REPLACE", "ACTIVE", False)], {"active": False}),
    ([operation("add", None, {"Active": "true"})], {}),
    ([operation("replace", CORE_URN + ":active", False)], {"active": False}),
    ([operation("replace", None, {CORE_URN + ":active": False})], {"active": False}),
    (
        [operation("replace", None, {"active": False, "userName": "x-a@example.com"})],
        {"active": False, "userName": "x-a@example.com"},
    ),
    ([operation("replace", "displayName", "New")], {"displayName": "New"}),
    ([operation("replace", "displayName", None)], {"displayName": ...}),
    ([operation("replace", "displayName", "")], {"displayName": ...}),
    ([operation("remove", "displayName")], {"displayName": ...}),
    ([operation("remove", "displayName", "Ann")], {"displayName": ...}),
    ([operation("replace", None, {"name.givenName": "B"})], {"name": {"givenName": "B", "familyName": "Other"}}),
    ([operation("replace", "name", {"givenName": "B"})], {"name": {"givenName": "B", "familyName": "Other"}}),
    (
        [operation("replace", 'emails[type eq "work"].value', "n@example.com")],
        {"emails": ({**WORK, "value": "n@example.com"}, HOME)},
    ),
    (
        [operation("replace", "emails[primary eq true].value", "n@example.com")],
        {"emails": ({**WORK, "value": "n@example.com"}, HOME)},
    ),
    ([operation("add", 'emails[type eq "other"].value', "o@example.com")], {"emails": (WORK, HOME, OTHER)}),
    ([operation("add", 'emails[type eq "other"]', {"value": "o@example.com"})], {"emails": (WORK, HOME, OTHER)}),
    ([operation("add", "emails", [{"value": "o@example.com", "type": "other"}])], {"emails": (WORK, HOME, OTHER)}),
    (
        [operation("add", "emails", [{"value": "o@example.com", "primary": True}])],
        {"emails": ({**WORK, "primary": False}, HOME, {"value": "o@example.com", "primary": True})},
    ),
    ([operation("add", "emails", [WORK])], {}),
    ([operation("remove", 'emails[type eq "home"]')], {"emails": (WORK,)}),
    ([operation("remove", "name.givenName", "Ann")], {"name": {"familyName": "Other"}}),
    ([operation("remove", "emails", [{"value": "h@example.com"}])], {"emails": (WORK,)}),
    ([operation("remove", "emails", {"value": "h@example.com"})], {"emails": (WORK,)}),
    ([operation("replace", "emails", [OTHER])], {"emails": (OTHER,)}),
    ([operation("replace", f"{ENTERPRISE_URN}:department", "D")], {ENTERPRISE_URN: {"department": "D"}}),
    ([operation("replace", None, {f"{ENTERPRISE_URN}:department": "D"})], {ENTERPRISE_URN: {"department": "D"}}),
    ([operation("add", None, {ENTERPRISE_URN: {"manager": "boss"}})], {ENTERPRISE_URN: {"manager": {"value": "boss"}}}),
    ([operation("add", f"{ENTERPRISE_URN}:manager", "boss")], {ENTERPRISE_URN: {"manager": {"value": "boss"}}}),
    (
        [operation("replace", f"{ENTERPRISE_URN}:manager.value", "boss")],
        {ENTERPRISE_URN: {"manager": {"value": "boss"}}},
    ),
    (
        [
            operation(
                "add",
                None,
                {
                    "id": "x",
                    "meta": {"version": "x"},
                    "groups": [],
                    "password": "x",
                    "roles": [{"value": "owner"}],
                    "isAdmin": True,
                },
            )
        ],
        {},
    ),
    ([operation("replace", None, {"__proto__.isAdmin": True, "__class__": {"role": "owner"}})], {}),
    ([operation("replace", "title", "T"), operation("replace", "title", "U")], {"title": "U"}),
]


@pytest.mark.parametrize(("operations", "changes"), FORMS, ids=lambda part: str(part)[:60])
def test_forms(operations: list[dict[str, Any]], changes: dict[str, Any]) -> None:
    wanted = {name: value for name, value in (BEFORE | changes).items() if value is not ...}
    assert after(*operations) == wanted


BAD: list[tuple[Any, str]] = [
    (None, "invalidSyntax"),
    ([], "invalidSyntax"),
    ({"op": "replace"}, "invalidSyntax"),
    (["x"], "invalidSyntax"),
    ([operation("move", "active", False)], "invalidSyntax"),
    ([{"path": "active", "value": False}], "invalidSyntax"),
    ([operation("replace", "displayName", "x")] * 101, "tooMany"),
    ([operation("replace", None, {f"k{n}": n for n in range(4001)})], "tooMany"),
    ([operation("replace", "name", {f"k{n}": n for n in range(4001)})], "tooMany"),
    ([operation("replace", None, {"name": {f"k{n}": n for n in range(4001)}})], "tooMany"),
    ([operation("replace", None, {"x" * 2049: 1})], "tooMany"),
    ([operation("replace", None, {f'emails[value eq "{n}"].value': "x" for n in range(2000)})], "tooMany"),
    ([operation("replace", f'emails[value eq "{"x" * 2048}"].value', "x")], "invalidPath"),
    ([operation("replace", "active")], "invalidValue"),
    ([operation("replace", "active", {"x": 1})], "invalidValue"),
    ([operation("replace", "active", None)], "invalidValue"),
    ([operation("replace", None, {"active": None})], "invalidValue"),
    ([operation("replace", None, "x")], "invalidValue"),
    ([operation("replace", "userName", 5)], "invalidValue"),
    ([operation("replace", "externalId", ["x"])], "invalidValue"),
    ([operation("replace", "emails", "x")], "invalidValue"),
    ([operation("add", "emails", [{"value": "x", "primary": True}, {"value": "y", "primary": True}])], "invalidValue"),
    ([operation("remove")], "noTarget"),
    ([operation("replace", 'emails[type co "zzz"].value', "x")], "noTarget"),
    ([operation("add", 'emails[type co "zzz"].value', "x")], "noTarget"),
    ([operation("replace", 'emails[type eq "other"].value', "o@example.com")], "noTarget"),
    ([operation("replace", 'emails[type eq "other"]', {"value": "o@example.com"})], "noTarget"),
    ([operation("replace", 'phoneNumbers[type eq "work"].value', "5")], "noTarget"),
    ([operation("remove", "userName")], "mutability"),
    ([operation("remove", "active")], "mutability"),
    ([operation("remove", "externalId")], "mutability"),
    ([operation("replace", None, {"externalId": None})], "mutability"),
    ([operation("replace", "userName", None)], "mutability"),
    ([operation("replace", "userName", "")], "mutability"),
    ([operation("replace", "id", "x")], "mutability"),
    ([operation("replace", "meta.created", "x")], "mutability"),
    ([operation("replace", "nope.deep", "x")], "invalidPath"),
    ([operation("replace", "roles", [{"value": "owner"}])], "invalidPath"),
    ([operation("add", "groups", [{"value": "owners"}])], "invalidPath"),
    ([operation("replace", "password", "x")], "invalidPath"),
    ([operation("replace", "__class__", "x")], "invalidPath"),
    ([operation("replace", 'emails[type eq "work"].foo', "x")], "invalidPath"),
    ([operation("replace", 'emails[foo eq "work"].value', "x")], "invalidPath"),
    ([operation("replace", 'emails[type eq "work', "x")], "invalidPath"),
    ([operation("replace", "urn:example:title", "x")], "invalidPath"),
    ([{"op": "replace", "path": 5, "value": "x"}], "invalidPath"),
]


@pytest.mark.parametrize(("operations", "scim_type"), BAD, ids=lambda part: str(part)[:60])
def test_what_cannot_be_meant_is_refused(operations: Any, scim_type: str) -> None:
    with pytest.raises(ScimRefused) as caught:
        patch.read({} if operations is None else {"Operations": operations})(USER)
    assert caught.value.scim_type == scim_type
    assert "pydantic" not in caught.value.detail


def test_an_attribute_is_named_as_scim_names_it() -> None:
    with pytest.raises(ScimRefused, match="no value of 'phoneNumbers' matches"):
        patch.read({"Operations": [operation("replace", 'phoneNumbers[type eq "fax"].value', "5")]})(USER)


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        (operation("replace", "title", 5), {"title": "5"}),
        (operation("replace", "title", True), {"title": "true"}),
        (operation("add", None, {"title": 1.5, "displayName": ["x"]}), {"title": "1.5"}),
        (operation("replace", "displayName", ["x"]), {}),
        (operation("replace", "displayName", {"x": 1}), {}),
        (operation("replace", None, {"displayName": []}), {}),
        (
            operation("replace", "name", {"givenName": ["x"], "familyName": 7}),
            {"name": {**BEFORE["name"], "familyName": "7"}},
        ),
        (operation("replace", "name.givenName", ["x"]), {}),
        (operation("replace", 'emails[type eq "work"].display', ["x"]), {}),
        (operation("replace", "emails", [{"value": ["x"]}]), {}),
        (operation("replace", "emails", ""), {"emails": ...}),
        (operation("replace", f"{ENTERPRISE_URN}:costCenter", 12), {ENTERPRISE_URN: {"costCenter": "12"}}),
        (
            operation("add", None, {ENTERPRISE_URN: {"costCenter": 12, "division": ["x"]}}),
            {ENTERPRISE_URN: {"costCenter": "12"}},
        ),
    ],
    ids=lambda part: str(part)[:60],
)
def test_numbers_become_text_and_a_list_leaves_its_attribute_as_it_was(
    said: dict[str, Any], changes: dict[str, Any]
) -> None:
    wanted = {name: value for name, value in (BEFORE | changes).items() if value is not ...}
    assert after(said) == wanted


def test_a_patch_names_what_it_leaves_out() -> None:
    found = patch.read({"Operations": [operation("replace", "title", ["x"]), operation("replace", "locale", "en")]})
    assert found.no_text == ("title",)
    assert found(USER).profile.locale == "en"
    assert patch.read({"Operations": [operation("replace", "title", "x")]}).no_text == ()


MANAGED = replace(
    USER, profile=replace(USER.profile, enterprise=Enterprise(manager=Manager(value="old", display_name="Old")))
)


@pytest.mark.parametrize(
    ("said", "left"),
    [
        (operation("replace", f"{ENTERPRISE_URN}:manager", "new"), Manager(value="new")),
        (operation("replace", f"{ENTERPRISE_URN}:manager", {"value": "new"}), Manager(value="new")),
        (operation("replace", f"{ENTERPRISE_URN}:manager.value", "new"), Manager(value="new")),
        (operation("add", f"{ENTERPRISE_URN}:manager", "new"), Manager(value="new")),
        (operation("replace", None, {ENTERPRISE_URN: {"manager": "new"}}), Manager(value="new")),
        (operation("replace", None, {f"{ENTERPRISE_URN}:manager.value": "new"}), Manager(value="new")),
        (operation("replace", f"{ENTERPRISE_URN}:manager", "old"), Manager(value="old", display_name="Old")),
        (
            operation("replace", f"{ENTERPRISE_URN}:manager", {"value": "new", "displayName": "Old"}),
            Manager(value="new", display_name="Old"),
        ),
        (
            operation("replace", None, {ENTERPRISE_URN: {"manager": {"value": "new", "displayName": "New"}}}),
            Manager(value="new", display_name="New"),
        ),
    ],
    ids=lambda part: str(part)[:60],
)
def test_another_manager_takes_the_former_one_s_name_away(said: dict[str, Any], left: Manager) -> None:
    enterprise = outcome(said, user=MANAGED).profile.enterprise
    assert enterprise is not None
    assert enterprise.manager == left


def test_all_operations_happen_or_none() -> None:
    with pytest.raises(ScimRefused):
        outcome(operation("replace", "title", "T"), operation("replace", "emails", "x"))


def test_what_changes_nothing_gives_back_an_equal_profile() -> None:
    found = outcome(operation("replace", "displayName", "Ann Other"))
    assert found.profile == USER.profile


@pytest.mark.parametrize(
    ("operations", "says"),
    [
        ([operation("replace", None, {"active": True})], True),
        ([operation("replace", None, {"active": True, "title": "x"})], True),
        ([operation("replace", CORE_URN + ":active", True)], True),
        ([operation("replace", "title", "x")], False),
        ([operation("replace", None, {"title": "x"})], False),
        ([operation("remove", "title")], False),
    ],
)
def test_whether_a_patch_says_anything_about_active(operations: list[dict[str, Any]], says: bool) -> None:
    assert patch.read({"Operations": operations}).says_active is says


@given(
    st.sampled_from(["replace", "Replace", "add", "ADD"]),
    st.sampled_from([None, "active", "Active"]),
    st.sampled_from([True, False, "true", "false", "True", "FALSE"]),
    st.booleans(),
)
def test_the_fast_path_does_what_scim2_models_does(op: str, path: str | None, value: Any, active: bool) -> None:
    sent = operation(op, path, value if path else {"active": value})
    user = msgspec.structs.replace(USER, active=active)
    # Said twice it says the same, and goes to scim2-models.
    assert patch.read({"Operations": [sent]})(user) == patch.read({"Operations": [sent, sent]})(user)


@pytest.mark.parametrize(
    "said",
    [
        operation("replace", None, {"active": False}),
        operation("Replace", None, {"Active": "False"}),
        operation("add", "active", False),
        operation("replace", "ACTIVE", "false"),
        operation("replace", None, {"active": False}) | {"note": "x"},
    ],
)
def test_a_switch_is_a_switch_however_it_is_spelled(said: dict[str, Any]) -> None:
    switch = patch.switch({"schemas": [], "Operations": [said]})
    assert switch is not None
    assert switch.says_active
    assert (
        switch(USER)
        == outcome(said)
        == patch.PatchResult(user_name=USER.user_name, profile=USER.profile, active=False, okta_id="00u1")
    )


@pytest.mark.parametrize(
    "operations",
    [
        [operation("replace", None, {"active": False, "title": "Chief"})],
        [operation("replace", "title", {"active": False})],
        [operation("replace", None, {"active": False}), operation("replace", "title", "Chief")],
        [operation("remove", None, {"active": False}) | {"path": "title"}],
    ],
)
def test_what_says_more_than_a_switch_is_none(operations: list[dict[str, Any]]) -> None:
    assert patch.switch({"Operations": operations}) is None
