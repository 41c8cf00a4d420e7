"""Okta's JSON for users, app users, groups and event hooks. Reads entities, changes none but the cached bytes."""

from typing import Any

import msgspec

from agent.simulator import schema
from agent.simulator.entities import GroupRule, Hook, OrgAppUser, OrgGroup, User

_encode = msgspec.json.encode
#: Lifecycle calls that a single user's _links offer, by status.
_OFFERED = {
    "STAGED": ("activate",),
    "PROVISIONED": ("reactivate", "resetPassword", "resetFactors", "deactivate"),
    "ACTIVE": (
        "suspend",
        "resetPassword",
        "resetFactors",
        "expirePassword",
        "forgotPassword",
        "changeRecoveryQuestion",
        "deactivate",
        "changePassword",
    ),
    "SUSPENDED": ("unsuspend", "resetFactors", "deactivate"),
    "DEPROVISIONED": ("activate",),
    "LOCKED_OUT": ("unlock", "resetPassword", "deactivate"),
}
_PATHS = {
    "resetPassword": "lifecycle/reset_password",
    "resetFactors": "lifecycle/reset_factors",
    "expirePassword": "lifecycle/expire_password",
    "forgotPassword": "credentials/forgot_password",
    "changeRecoveryQuestion": "credentials/change_recovery_question",
    "changePassword": "credentials/change_password",
}
TYPE_ID = "oty0simulated0user00"
SCHEMA_ID = "osc0simulated0user00"
#: Shown as null where the user has no value, as Okta does; all others are left out.
_ALWAYS = {"firstName": None, "lastName": None, "mobilePhone": None, "secondEmail": None, "login": None, "email": None}


def user(one: User, base: str, *, single: bool) -> dict[str, Any]:
    """A user; in a listing its ``_links`` hold nothing but ``self``."""
    href = f"{base}/api/v1/users/{one.id}"
    links: dict[str, Any] = {"self": {"href": href}}
    if single:
        links["schema"] = {"href": f"{base}/api/v1/meta/schemas/user/{SCHEMA_ID}"}
        links["type"] = {"href": f"{base}/api/v1/meta/types/user/{TYPE_ID}"}
        for call in _OFFERED.get(one.status, ()):
            links[call] = {"href": f"{href}/{_PATHS.get(call, f'lifecycle/{call}')}", "method": "POST"}
    credentials: dict[str, Any] = {"provider": {"type": "OKTA", "name": "OKTA"}}
    if one.has_password:
        credentials["password"] = {}
    body = {
        "id": one.id,
        "status": one.status,
        "created": one.created,
        "activated": one.activated,
        "statusChanged": one.status_changed,
        "lastLogin": None,
        "lastUpdated": one.last_updated,
        "passwordChanged": one.password_changed,
        "type": {"id": TYPE_ID},
        "profile": {**_ALWAYS, **one.profile},
        "credentials": credentials,
        "_links": links,
    }
    return {**body, **one.raw} if one.raw else body


def app_user_profile(one: OrgAppUser) -> dict[str, Any]:
    """The app user's profile as it is now: the mapping, and over it what was set on the app user itself."""
    profile = schema.app_profile(one.user.profile)
    if one.own:
        profile.update(one.own)
    for name in one.without:
        profile.pop(name, None)
    return profile


def app_user_dict(one: OrgAppUser, base: str, app_id: str) -> dict[str, Any]:
    """An app user without ``_embedded``."""
    body: dict[str, Any] = {
        "id": one.user.id,
        "externalId": one.external_id,
        "created": one.created,
        "lastUpdated": one.last_updated,
        "scope": one.scope,
        "status": one.status,
        "statusChanged": one.status_changed,
        "passwordChanged": None,
        "syncState": one.sync_state,
        "credentials": {"userName": one.user_name},
        "profile": app_user_profile(one),
        "_links": {
            "app": {"href": f"{base}/api/v1/apps/{app_id}"},
            "user": {"href": f"{base}/api/v1/users/{one.user.id}"},
        },
    }
    if one.last_sync is not None:
        body["lastSync"] = one.last_sync
    return {**body, **one.raw} if one.raw else body


def app_user(one: OrgAppUser, base: str, app_id: str, *, expand: bool = False) -> bytes:
    """The JSON of an app user; without ``expand`` it is rendered once and kept until a change."""
    if expand:
        body = app_user_dict(one, base, app_id)
        return _encode({**body, "_embedded": {"user": user(one.user, base, single=False)}})
    if one.rendered is None:
        one.rendered = _encode(app_user_dict(one, base, app_id))
    return one.rendered


def group(one: OrgGroup, base: str) -> dict[str, Any]:
    href = f"{base}/api/v1/groups/{one.id}"
    logo = [
        {"name": size, "href": f"{base}/assets/img/logos/groups/okta-{size}.png", "type": "image/png"}
        for size in ("medium", "large")
    ]
    return {
        "id": one.id,
        "created": one.created,
        "lastUpdated": one.last_updated,
        "lastMembershipUpdated": one.last_membership_updated,
        "objectClass": ["okta:user_group"],
        "type": one.type,
        "profile": {"name": one.name, "description": one.description},
        "_links": {"logo": logo, "users": {"href": f"{href}/users"}, "apps": {"href": f"{href}/apps"}},
    }


def group_rule(one: GroupRule) -> dict[str, Any]:
    return {
        "id": one.id,
        "type": "group_rule",
        "name": one.name,
        "status": one.status,
        "created": one.created,
        "lastUpdated": one.last_updated,
        "conditions": {
            "people": {"users": {"exclude": []}, "groups": {"exclude": []}},
            "expression": {"value": one.expression, "type": "urn:okta:expression:1.0"},
        },
        "actions": {"assignUserToGroups": {"groupIds": one.group_ids}},
    }


def group_assignment(group_id: str, assigned: dict[str, Any], base: str, app_id: str) -> dict[str, Any]:
    """One group's assignment to the app; ``assigned`` holds lastUpdated, priority and profile."""
    app = f"{base}/api/v1/apps/{app_id}"
    links = {
        "app": {"href": app},
        "self": {"href": f"{app}/groups/{group_id}"},
        "group": {"href": f"{base}/api/v1/groups/{group_id}"},
    }
    return {"id": group_id, **assigned, "_links": links}


def hook(one: Hook, base: str, created_by: str) -> dict[str, Any]:
    """An event hook. The secret that goes with each delivery is never echoed."""
    href = f"{base}/api/v1/eventHooks/{one.id}"
    offered = {"verify": "POST", "deactivate": "POST"} if one.status == "ACTIVE" else {"activate": "POST"}
    links: dict[str, Any] = {"self": {"href": href}}
    for call, method in offered.items():
        links[call] = {"href": f"{href}/lifecycle/{call}", "hints": {"allow": [method]}}
    if one.status != "ACTIVE":
        links["delete"] = {"href": href, "hints": {"allow": ["DELETE"]}}
    elif one.verification == "VERIFIED":
        del links["verify"]
    config = {
        "uri": one.uri,
        "headers": one.headers,
        "method": "POST",
        "authScheme": {"type": "HEADER", "key": one.auth_key},
    }
    body: dict[str, Any] = {
        "id": one.id,
        "status": one.status,
        "verificationStatus": one.verification,
        "name": one.name,
        "created": one.created,
        "createdBy": created_by,
        "lastUpdated": one.last_updated,
        "events": {"type": "EVENT_TYPE", "items": one.items},
        "channel": {"type": "HTTP", "version": "1.0.0", "config": config},
        "_links": links,
    }
    if one.description is not None:
        body["description"] = one.description
    return body
