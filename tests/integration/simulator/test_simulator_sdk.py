"""Okta's SDK can't tell the simulated org from Okta: every call answers, and every key is one that its models know."""

from typing import Any

import pytest


def ok(answer: Any) -> Any:
    """The data of an SDK call that must have worked; the SDK answers with two or three values."""
    assert not isinstance(answer[-1], Exception), answer[-1]
    assert len(answer) == 3, answer
    assert answer[1].status_code in (200, 204)
    return answer[0]


def failed(answer: Any) -> str:
    """Okta's error code of a call that must have failed."""
    error = answer[-1]
    assert isinstance(error, Exception) or error is not None
    return str(error.error_code)


def config(org: Any) -> dict[str, Any]:
    return {"orgUrl": org.url, "token": org.token}


def test_every_call_on_people_and_the_app_reads_without_an_exception(org: Any, sdk_call: Any) -> None:
    from okta.models import (
        AppUserAssignRequest,
        AppUserCredentials,
        AppUserCredentialsRequestPayload,
        AppUserUpdateRequest,
        CreateUserRequest,
        UpdateUserRequest,
        UserProfile,
    )

    async def work(client: Any) -> None:
        assert ok(await client.get_wellknown_org_metadata()).id.startswith("00o")
        assert ok(await client.get_application(org.app_id)).label == "OpsHelm"
        assert [app.label for app in ok(await client.list_applications(limit=5))] == ["OpsHelm"]
        assert ok(await client.get_user("me")).profile.login == "admin@example.com"

        people = ok(await client.list_users(limit=200))
        assert len(people) == 6
        assert [one.id for one in ok(await client.list_users(filter=f'id eq "{people[0].id}"'))] == [people[0].id]
        assert len(ok(await client.list_users(search='profile.department pr and status eq "active"'))) == 6
        assert len(ok(await client.list_users(q=people[1].profile.first_name[:3]))) >= 1

        profile = UserProfile(firstName="Zed", lastName="New", email="zed@example.com", login="zed@example.com")
        user = ok(await client.create_user(CreateUserRequest(profile=profile), activate=False))
        assert user.status == "STAGED"
        assert ok(await client.activate_user(user.id, send_email=False)).activation_token
        assert ok(await client.reactivate_user(user.id, send_email=False)).activation_token
        changed = UpdateUserRequest(profile=UserProfile(title="Boss"))
        assert ok(await client.update_user(user.id, changed)).profile.title == "Boss"
        full = UserProfile(firstName="Zoe", lastName="New", email="zed@example.com", login="zed@example.com")
        assert ok(await client.replace_user(user.id, UpdateUserRequest(profile=full))).profile.title is None

        request = AppUserAssignRequest(
            id=user.id, scope="USER", credentials=AppUserCredentials(userName="z@example.com")
        )
        assigned = ok(await client.assign_user_to_application(org.app_id, request))
        assert (assigned.id, assigned.credentials.user_name) == (user.id, "z@example.com")
        name = AppUserCredentialsRequestPayload(credentials=AppUserCredentials(userName="zz@example.com"))
        renamed = AppUserUpdateRequest(name)
        assert (
            ok(await client.update_application_user(org.app_id, user.id, renamed)).credentials.user_name
            == "zz@example.com"
        )
        expanded = ok(await client.get_application_user(org.app_id, user.id, expand="user"))
        assert expanded.embedded["user"]["status"] == "PROVISIONED"
        assert len(ok(await client.list_application_users(org.app_id, limit=500))) == 7
        assert len(ok(await client.list_application_users(org.app_id, limit=2, q="z", expand="user"))) >= 1
        ok(await client.unassign_user_from_application(org.app_id, user.id))

        other = people[0].id
        ok(await client.suspend_user(other))
        ok(await client.unsuspend_user(other))
        ok(await client.deactivate_user(other))
        ok(await client.delete_user(other))
        assert failed(await client.get_user(other)) == "E0000007"
        assert failed(await client.get_application_user(org.app_id, other)) == "E0000007"
        assert failed(await client.unlock_user(user.id)) == "E0000032"

        schema = ok(await client.get_application_user_schema(org.app_id))
        assert schema.definitions.custom.properties["email"].external_name == "emails.^[primary==true].value"
        mappings = ok(await client.list_profile_mappings(target_id=org.app_id))
        mapping = ok(await client.get_profile_mapping(mappings[0].id))
        assert mapping.properties["givenName"].expression == "user.firstName"

    sdk_call(config(org), work)


def test_every_call_on_groups_hooks_and_the_log_reads_without_an_exception(org: Any, sdk_call: Any) -> None:
    from okta.models import AddGroupRequest, ApplicationGroupAssignment, EventHook

    hook = {
        "name": "agent",
        "events": {"type": "EVENT_TYPE", "items": ["application.user_membership.add"]},
        "channel": {
            "type": "HTTP",
            "version": "1.0.0",
            "config": {
                "uri": "https://opshelm.example.com/hooks/okta",
                "authScheme": {"type": "HEADER", "key": "Authorization", "value": "hush"},
            },
        },
    }

    async def work(client: Any) -> None:
        group = ok(await client.add_group(AddGroupRequest.from_dict({"profile": {"name": "Pilots"}})))
        everyone = ok(await client.list_groups(q="Every"))
        assert [one.type for one in everyone] == ["BUILT_IN"]
        people = ok(await client.list_users())
        ok(await client.assign_user_to_group(group.id, people[0].id))
        assert [one.id for one in ok(await client.list_group_users(group.id))] == [people[0].id]
        assert len(ok(await client.list_user_groups(people[0].id))) == 2
        assigned = ok(
            await client.assign_group_to_application(org.app_id, group.id, ApplicationGroupAssignment(priority=3))
        )
        assert assigned.priority == 3
        assert len(ok(await client.list_application_group_assignments(org.app_id, expand="group"))) == 1
        assert ok(await client.get_application_group_assignment(org.app_id, group.id)).id == group.id
        assert len(ok(await client.list_assigned_applications_for_group(group.id))) == 1
        ok(await client.unassign_application_from_group(org.app_id, group.id))
        ok(await client.unassign_user_from_group(group.id, people[0].id))
        ok(await client.delete_group(group.id))
        assert failed(await client.get_group(group.id)) == "E0000007"

        made = ok(await client.create_event_hook(EventHook.from_dict(hook)))
        assert (made.status, made.verification_status) == ("ACTIVE", "UNVERIFIED")
        assert len(ok(await client.list_event_hooks())) == 1
        assert ok(await client.replace_event_hook(made.id, EventHook.from_dict(hook))).id == made.id
        ok(await client.deactivate_event_hook(made.id))
        ok(await client.activate_event_hook(made.id))
        ok(await client.deactivate_event_hook(made.id))
        ok(await client.delete_event_hook(made.id))
        assert failed(await client.get_event_hook(made.id)) == "E0000007"

        events = ok(await client.list_log_events(limit=100))
        assert "group.user_membership.add" in [one.event_type for one in events]
        some = ok(await client.list_log_events(filter='eventType sw "group."', sort_order="DESCENDING", limit=10))
        assert {one.event_type.split(".")[0] for one in some} == {"group"}

    sdk_call(config(org), work)


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("AppUser", "/apps/{app}/users/{user}"),
        ("AppUser", "/apps/{app}/users/{user}?expand=user"),
        ("User", "/users/{user}"),
        ("User", "/users?limit=1"),
        ("Group", "/groups?limit=1"),
        ("ApplicationGroupAssignment", "/apps/{app}/groups"),
        ("EventHook", "/eventHooks"),
        ("LogEvent", "/logs?limit=1"),
        ("AutoLoginApplication", "/apps/{app}"),
        ("UserSchema", "/meta/schemas/apps/{app}/default"),
        ("ProfileMapping", "/mappings"),
    ],
)
def test_bodies_hold_no_key_that_the_sdk_does_not_know(org: Any, model: str, path: str) -> None:
    import okta.models

    user = org.state()[0]["okta_id"]
    group = org.api("POST", "/groups", {"profile": {"name": "Pilots"}})["id"]
    org.api("PUT", f"/apps/{org.app_id}/groups/{group}", {})
    org.api(
        "POST",
        "/eventHooks",
        {
            "name": "h",
            "events": {"type": "EVENT_TYPE", "items": ["user.lifecycle.suspend"]},
            "channel": {"type": "HTTP", "version": "1.0.0", "config": {"uri": "https://example.com/h"}},
        },
    )
    body = org.api("GET", path.format(app=org.app_id, user=user))
    body = body[0] if isinstance(body, list) else body
    known = getattr(okta.models, model)
    assert known.from_dict(body) is not None
    # The app's own base attribute; the SDK's model knows those of Okta's user schema only.
    assert _unknown(known, body) - {"definitions.base.properties.userName"} == set()


def _unknown(model: Any, body: dict[str, Any]) -> set[str]:
    """Keys that the model lacks, in its nested models too; free dicts hold whatever they like."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    found = set(body) - set(fields)
    for name, value in body.items():
        nested = _models(fields[name].annotation) if name in fields else []
        free = {"additional_properties", "actual_instance"}
        if isinstance(value, dict) and nested and not free & set(nested[0].model_fields):
            found |= {f"{name}.{key}" for key in _unknown(nested[0], value)}
    return found


def _models(annotation: Any) -> list[Any]:
    import typing

    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) is typing.Union:
        return [model for one in typing.get_args(annotation) for model in _models(one)]
    return []


def test_group_rules_put_people_in_and_take_them_out(org: Any) -> None:
    from okta.models import GroupRule

    group_id = org.set_group("Board")
    person = org.state()[0]["okta_id"]
    org.api("POST", f"/users/{person}", {"profile": {"department": "Board"}})
    expression = {"type": "urn:okta:expression:1.0", "value": 'user.department == "Board"'}
    body = {
        "type": "group_rule",
        "name": "The board",
        "conditions": {"expression": expression},
        "actions": {"assignUserToGroups": {"groupIds": [group_id]}},
    }
    rule = org.api("POST", "/groups/rules", body)
    assert rule["status"] == "INACTIVE"
    # Every key is one that Okta's own model knows.
    assert set(rule) <= {field.alias or name for name, field in GroupRule.model_fields.items()}

    def there() -> list[str]:
        return [user["id"] for user in org.api("GET", f"/groups/{group_id}/users")]

    assert [GroupRule.from_dict(one).name for one in org.api("GET", "/groups/rules")] == ["The board"]
    assert there() == []
    org.api("POST", f"/groups/rules/{rule['id']}/lifecycle/activate")
    assert there() == [person]
    org.api("POST", f"/users/{person}", {"profile": {"department": "Docks"}})
    assert there() == []
