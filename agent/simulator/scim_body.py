"""SCIM bodies as Okta's client writes them, from an app user's profile. Pure; sends nothing."""

import copy
from collections.abc import Collection
from typing import Any

from agent.simulator import render, schema
from agent.simulator.entities import OrgAppUser

PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
#: Okta sends a placeholder even where password push is off.
PLACEHOLDER_PASSWORD = "1mz050nq"  # noqa: S105 - no secret: it opens nothing
_TYPES = {"emails": "emailType", "phoneNumbers": "primaryPhoneType", "addresses": "addressType"}


def create(app_user: OrgAppUser, unsent: Collection[str] = ()) -> dict[str, Any]:
    body: dict[str, Any] = {
        "schemas": [schema.CORE],
        "userName": app_user.user_name,
        "externalId": app_user.user.id,
        "groups": [],
        "password": PLACEHOLDER_PASSWORD,
        "active": True,
    }
    _fill(body, render.app_user_profile(app_user), unsent)
    return body


def replace(
    server: dict[str, Any],
    app_user: OrgAppUser,
    unsent: Collection[str] = (),
    *,
    user_name: bool,
    own_external_id: bool,
) -> dict[str, Any]:
    """The body of PUT /Users/{id}: the server's own, with what Okta maps put in; ``active`` stays the server's."""
    body = copy.deepcopy(server)
    body.setdefault("groups", [])
    if user_name:
        body["userName"] = app_user.user_name
    if own_external_id:
        body["externalId"] = app_user.user.id
    _fill(body, render.app_user_profile(app_user), unsent)
    return body


def patch_active(*, active: bool) -> dict[str, Any]:
    """The path-less PATCH of catalogue apps."""
    return {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "value": {"active": active}}]}


def _fill(body: dict[str, Any], profile: dict[str, Any], unsent: Collection[str]) -> None:
    for attribute in schema.ATTRIBUTES:
        if attribute.path is None or attribute.name not in profile or attribute.name in unsent:
            continue
        value = profile[attribute.name]
        many, bracket, rest = attribute.path.partition("[primary eq true].")
        if bracket:
            _put_primary(body, many, rest, value, profile.get(_TYPES[many]))
        elif attribute.namespace == schema.ENTERPRISE:
            _put_enterprise(body, attribute.external_name, value)
        else:
            _put(body, attribute.path, value)


def _put(target: dict[str, Any], path: str, value: Any) -> None:
    """Set or, for null, take away; a parent that was made for it and stays empty goes too."""
    parent, _, leaf = path.rpartition(".")
    holder = target.setdefault(parent, {}) if parent else target
    if value is None:
        holder.pop(leaf, None)
    else:
        holder[leaf] = value
    if parent and not holder:
        del target[parent]


def _put_enterprise(body: dict[str, Any], path: str, value: Any) -> None:
    extension = body.setdefault(schema.ENTERPRISE, {})
    _put(extension, path, value)
    if not extension:
        del body[schema.ENTERPRISE]
    elif schema.ENTERPRISE not in body.setdefault("schemas", [schema.CORE]):
        body["schemas"].append(schema.ENTERPRISE)


def _put_primary(body: dict[str, Any], many: str, sub: str, value: Any, kind: str | None) -> None:
    values: list[dict[str, Any]] = body.setdefault(many, [])
    primary = next((one for one in values if one.get("primary")), None)
    if primary is None and value is not None:
        # A single value that is not marked is the primary one.
        primary = values[0] if len(values) == 1 else {}
        if primary not in values:
            values.append(primary)
        primary["primary"] = True
        if kind and "type" not in primary:
            primary["type"] = kind
    if primary is not None:
        _put(primary, sub, value)
        if not set(primary) - {"primary", "type", "display"}:
            values.remove(primary)
    if not values:
        del body[many]
