"""Discovery and rendering tell the truth: /Schemas is what bodies are read by, and what scim2-models is bound to."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from agent.model.mapping import DEFAULT
from agent.model.users import ENTERPRISE_URN, DirectoryUser, Enterprise, MultiValue, Name, Profile, ShownUser
from agent.receiver import openapi
from agent.scim import body, discovery, library, projection, render
from agent.scim.errors import ScimRefused, error_body
from agent.scim.schema import CORE, CORE_URN

BASE = "https://scim.example.com/scim/v2"
AT = datetime(2026, 1, 1, tzinfo=UTC)
USER = DirectoryUser(
    id="5d606d43-51d0-4b6a-aaaf-8221afdbe326",
    user_name="A@example.com",
    okta_id="00u1",
    active=True,
    created=AT,
    updated=AT + timedelta(seconds=1),
    version=3,
    profile=Profile(
        name=Name(given_name="Ann", family_name="Other"),
        emails=(MultiValue(value="A@example.com", type="work", primary=True), MultiValue(value="b@example.com")),
        enterprise=Enterprise(department='"D"', cost_center="7"),
    ),
)


def shapes(attributes: list[dict[str, Any]], prefix: str = "") -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for attribute in attributes:
        path = prefix + attribute["name"]
        kind = "string" if attribute["type"] == "reference" else attribute["type"]
        exact = attribute.get("caseExact", False) if kind == "string" else None
        found[path] = (kind, attribute["multiValued"], attribute["required"], exact)
        found |= shapes(attribute.get("subAttributes", []), path + ".")
    return found


@pytest.mark.parametrize(("urn", "model"), [(CORE_URN, library.UserModel), (ENTERPRISE_URN, library.EnterpriseModel)])
def test_the_schema_document_and_the_model_of_scim2_models_agree(urn: str, model: Any) -> None:
    document = msgspec.json.decode(discovery.schemas(BASE)[urn])
    theirs = shapes(model.to_schema().model_dump()["attributes"])
    ours = shapes(document["attributes"])
    ours.pop("externalId", None)  # a common attribute there
    assert ours == theirs


def shown_paths() -> set[str]:
    documents = discovery.schemas(BASE)
    core, enterprise = (shapes(msgspec.json.decode(documents[urn])["attributes"]) for urn in (CORE_URN, ENTERPRISE_URN))
    return set(core) | {f"{ENTERPRISE_URN}:{path}" for path in enterprise}


def test_okta_s_default_mapping_goes_to_paths_that_the_schemas_show() -> None:
    assert {path.replace("[primary eq true]", "") for path in DEFAULT.values()} <= shown_paths()


def test_the_api_description_has_the_attributes_that_the_schemas_show() -> None:
    user = msgspec.json.decode(openapi.document(BASE))["components"]["schemas"]["User"]

    def paths(schema: dict[str, Any], within: str = "") -> set[str]:
        found: set[str] = set()
        for name, shown in schema.get("items", schema).get("properties", {}).items():
            path = within + name
            found |= {path} | paths(shown, path + (":" if name == ENTERPRISE_URN else "."))
        return found

    assert paths(user) == shown_paths() | {"schemas", ENTERPRISE_URN}


def test_no_schema_offers_a_password_or_a_role() -> None:
    names = {attribute.name for attribute in CORE}
    assert not names & {"password", "roles", "entitlements", "groups", "x509Certificates"}


def test_a_rendered_user_is_read_back_as_the_same_user() -> None:
    value = msgspec.json.decode(render.user(ShownUser.of(USER), BASE))
    assert body.read(value) == body.Body(user_name="A@example.com", okta_id="00u1", active=True, profile=USER.profile)
    assert value["schemas"] == [CORE_URN, ENTERPRISE_URN]
    assert value["meta"] == {
        "resourceType": "User",
        "created": "2026-01-01T00:00:00Z",
        "lastModified": "2026-01-01T00:00:01Z",
        "location": f"{BASE}/Users/{USER.id}",
        "version": 'W/"3"',
    }


def test_a_user_with_nothing_but_a_name_is_valid_json() -> None:
    bare = msgspec.structs.replace(USER, profile=Profile(), okta_id=None, active=False)
    value = msgspec.json.decode(render.user(ShownUser.of(bare), BASE))
    assert value.keys() == {"schemas", "id", "userName", "active", "meta"}
    assert value["active"] is False
    assert value["schemas"] == [CORE_URN]


def test_times_are_shown_in_utc_whatever_zone_they_come_in() -> None:
    there = timezone(timedelta(hours=2))
    user = msgspec.structs.replace(USER, created=datetime(2026, 1, 1, 2, tzinfo=there))
    shown = msgspec.json.decode(render.user(ShownUser.of(user), BASE))["meta"]["created"]
    assert datetime.fromisoformat(shown) == AT


def test_an_error_body_has_its_status_as_a_string() -> None:
    assert msgspec.json.decode(error_body(409, "taken", "uniqueness")) == {
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": "409",
        "scimType": "uniqueness",
        "detail": "taken",
    }
    assert b"scimType" not in error_body(404, "x")


PROJECTIONS: list[tuple[str | None, str | None, dict[str, Any]]] = [
    ("userName", None, {"userName": "A@example.com"}),
    ("USERNAME, favouriteColour", None, {"userName": "A@example.com"}),
    ("name.givenName,name.familyName", None, {"name": {"givenName": "Ann", "familyName": "Other"}}),
    ("emails.value", None, {"emails": [{"value": "A@example.com"}, {"value": "b@example.com"}]}),
    (
        "emails.type,emails.value",
        None,
        {"emails": [{"type": "work", "value": "A@example.com"}, {"value": "b@example.com"}]},
    ),
    (f"{ENTERPRISE_URN}:department", None, {ENTERPRISE_URN: {"department": '"D"'}}),
    (ENTERPRISE_URN, None, {ENTERPRISE_URN: {"department": '"D"', "costCenter": "7"}}),
    ("title,../../etc/passwd,password", None, {}),
    ("meta.version", None, {"meta": {"version": 'W/"3"'}}),
]


@pytest.mark.parametrize(("attributes", "excluded", "shown"), PROJECTIONS)
def test_attributes_show_what_was_asked_for_and_the_id(
    attributes: str | None, excluded: str | None, shown: dict[str, Any]
) -> None:
    wish = projection.read(attributes, excluded)
    assert wish is not None
    value = msgspec.json.decode(wish.apply(render.user(ShownUser.of(USER), BASE)))
    assert value == {"schemas": [CORE_URN, ENTERPRISE_URN], "id": USER.id} | shown


@pytest.mark.parametrize(
    ("excluded", "gone"),
    [("emails", "emails"), ("NAME", "name"), (ENTERPRISE_URN, ENTERPRISE_URN), ("id,schemas,meta", "meta")],
)
def test_excluded_attributes_are_left_out_and_the_id_never(excluded: str, gone: str) -> None:
    wish = projection.read(None, excluded)
    assert wish is not None
    rendered = render.user(ShownUser.of(USER), BASE)
    before, after = msgspec.json.decode(rendered), msgspec.json.decode(wish.apply(rendered))
    assert before.keys() - after.keys() == {gone}
    assert after["id"] == USER.id


def test_excluded_parts_are_left_out_of_every_value() -> None:
    wish = projection.read(None, f"emails.type,name.givenName,{ENTERPRISE_URN}:costCenter")
    assert wish is not None
    value = msgspec.json.decode(wish.apply(render.user(ShownUser.of(USER), BASE)))
    assert value["emails"] == [{"value": "A@example.com", "primary": True}, {"value": "b@example.com"}]
    assert value["name"] == {"familyName": "Other"}
    assert value[ENTERPRISE_URN] == {"department": '"D"'}


def test_attributes_and_excluded_attributes_together_are_refused() -> None:
    with pytest.raises(ScimRefused, match="not both"):
        projection.read("userName", "emails")
