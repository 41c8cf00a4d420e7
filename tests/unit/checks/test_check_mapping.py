"""Okta's own notation of places in a SCIM body, and what the check says of it."""

from typing import Any

import pytest

from agent.checks.mapping import check, scim_path
from agent.model.check import CheckState
from agent.model.mapping import DEFAULT
from agent.model.users import ENTERPRISE_URN
from agent.simulator.schema import ATTRIBUTES, CORE, ENTERPRISE


def schema(**changed: dict[str, str]) -> dict[str, Any]:
    properties = {a.name: {"externalName": a.external_name, "externalNamespace": a.namespace} for a in ATTRIBUTES}
    return {"definitions": {"custom": {"properties": properties | changed}, "base": {"properties": {"userName": {}}}}}


@pytest.mark.parametrize("attribute", [a for a in ATTRIBUTES if a.name in DEFAULT], ids=lambda a: a.name)
def test_okta_s_notation_means_the_path_of_the_mapping(attribute: Any) -> None:
    assert scim_path(attribute.external_name, attribute.namespace) == DEFAULT[attribute.name]


@pytest.mark.parametrize(
    ("external", "namespace", "path"),
    [
        ("phoneNumbers.^[type=='mobile'].value", CORE, 'phoneNumbers[type eq "mobile"].value'),
        ('phoneNumbers.^[type=="work"]', "", 'phoneNumbers[type eq "work"]'),
        ("manager.value", ENTERPRISE, f"{ENTERPRISE_URN}:manager.value"),
        ("badge", "urn:example:1.0:User", "urn:example:1.0:User:badge"),
    ],
)
def test_other_places(external: str, namespace: str, path: str) -> None:
    assert scim_path(external, namespace) == path


def test_okta_s_own_profile_agrees_with_the_default_mapping() -> None:
    assert check(schema(), {}).state is CheckState.OK


def test_an_attribute_that_goes_elsewhere_is_named_with_both_places() -> None:
    found = check(schema(title={"externalName": "jobTitle", "externalNamespace": CORE}), {})
    assert found.state is CheckState.WARN
    assert "title goes to jobTitle in Okta and is compared with title" in found.detail


@pytest.mark.parametrize("namespace", [None, ""])
def test_an_attribute_without_a_namespace_is_named_for_okta_does_not_send_it(namespace: Any) -> None:
    found = check(schema(title={"externalName": "title", "externalNamespace": namespace}), {})
    assert found.state is CheckState.WARN
    assert found.detail == "title has no external namespace, so Okta doesn't send it"


def test_a_list_where_text_is_kept_is_named_and_a_number_becomes_text() -> None:
    def title(kind: str) -> Any:
        return check(schema(title={"externalName": "title", "externalNamespace": CORE, "type": kind}), {})

    assert title("array").state is CheckState.WARN
    assert "title is of type array in Okta" in title("array").detail
    for kind in ("number", "integer", "boolean"):
        assert title(kind).state is CheckState.OK
        assert "kept as text: title" in title(kind).detail


def test_an_override_for_an_attribute_that_the_app_has_not_is_named() -> None:
    assert "badge is not in the app's profile" in check(schema(), {"badge": "externalBadge"}).detail


def test_an_attribute_that_is_not_compared_on_purpose_is_no_fault() -> None:
    found = check(schema(department={"externalName": "x", "externalNamespace": CORE}), {"department": ""})
    assert found.state is CheckState.OK
    assert "not compared: department" in found.detail


@pytest.mark.parametrize(
    "odd",
    [{}, {"definitions": None}, {"definitions": {"custom": []}}, {"definitions": {"custom": {"properties": {"a": 1}}}}],
)
def test_a_schema_of_another_shape_is_no_crash(odd: dict[str, Any]) -> None:
    assert check(odd, {}).name == "mapping"
