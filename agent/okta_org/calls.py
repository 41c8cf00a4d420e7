"""Every call of Okta's API that the agent knows: its path, rate-limit bucket, scope and decoding. No IO.

Buckets follow Okta's published table: everything under an app shares one, the app itself has its own, and so on.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from agent.model.errors import Unaddressable, UsageError
from agent.model.okta import App, AppGroup, AppUser, EventHook, LogEvent, OktaUser
from agent.okta_org import call
from agent.okta_org.call import Call

T = TypeVar("T")

_app_user = call.person(AppUser, call.app_user)
_app_users = call.page(AppUser, call.app_user)
_user = call.person(OktaUser, call.okta_user)
_users = call.page(OktaUser, call.okta_user)
_events = call.page(LogEvent, call.log_event)
_app_groups = call.one(list[AppGroup])

#: Okta's largest page of users when a filter or a search is given.
USERS_PER_PAGE = 200
#: Characters with which a login is searched for instead of being asked for by its address.
_UNADDRESSABLE = frozenset("/?#%+ ;\\")


def org() -> Call[dict[str, Any]]:
    return Call(
        what="say which org it is",
        path="/.well-known/okta-organization",
        bucket="well-known",
        scope="",
        decode=call.anything,
        signed=False,
    )


def app(app_id: str) -> Call[App]:
    return Call(
        what="read the app",
        path=f"/api/v1/apps/{segment(app_id)}",
        bucket="apps/{id}",
        scope="okta.apps.read",
        decode=call.one(App),
    )


def app_schema(app_id: str) -> Call[dict[str, Any]]:
    return Call(
        what="read the app's user schema",
        path=f"/api/v1/meta/schemas/apps/{segment(app_id)}/default",
        bucket="other",
        scope="okta.schemas.read",
        decode=call.anything,
    )


def app_users(app_id: str, limit: int) -> Call[list[AppUser]]:
    return Call(
        what="list the app's users",
        path=f"/api/v1/apps/{segment(app_id)}/users?limit={limit}",
        bucket="apps",
        scope="okta.apps.read",
        decode=_app_users,
    )


def app_user(app_id: str, okta_id: str) -> Call[AppUser]:
    return Call(
        what="read one app user",
        path=f"/api/v1/apps/{segment(app_id)}/users/{segment(okta_id)}?expand=user",
        bucket="apps",
        scope="okta.apps.read",
        decode=_app_user,
    )


def user(id_or_login: str) -> Call[OktaUser]:
    return Call(
        what="read one Okta user",
        path=f"/api/v1/users/{segment(id_or_login)}",
        bucket="GET users/{id}",
        scope="okta.users.read",
        decode=_user,
    )


def whoami() -> Call[OktaUser]:
    return Call(
        what="say whose token this is",
        path="/api/v1/users/me",
        bucket="GET users/{id}",
        scope="okta.users.read.self",
        decode=_user,
    )


def users(*, filter: str = "", search: str = "") -> Call[list[OktaUser]]:  # noqa: A002 - Okta's own names
    query = {"filter": filter} if filter else {"search": search}
    return Call(
        what="list Okta users",
        path="/api/v1/users?" + urlencode({**query, "limit": USERS_PER_PAGE}, quote_via=quote),
        bucket="users",
        scope="okta.users.read",
        decode=_users,
    )


def users_with_status(status: str) -> Call[list[OktaUser]]:
    return users(filter=equals("status", status))


def users_deprovisioned_since(since: datetime) -> Call[list[OktaUser]]:
    return users(filter=f'{equals("status", "DEPROVISIONED")} and lastUpdated gt "{moment(since)}"')


def log_events(since: datetime | None, filter: str, limit: int) -> Call[list[LogEvent]]:  # noqa: A002
    """Without ``until`` and ascending Okta orders by persistence, so that a later page holds what came late."""
    query = {"since": moment(since) if since else "", "filter": filter, "limit": limit, "sortOrder": "ASCENDING"}
    return Call(
        what="read the System Log",
        path="/api/v1/logs?" + urlencode({k: v for k, v in query.items() if v}, quote_via=quote),
        bucket="logs",
        scope="okta.logs.read",
        decode=_events,
    )


def continued(call: Call[T], path: str) -> Call[T]:
    """The same call at another cursor; a cursor of another endpoint is refused."""
    if urlsplit(path).path != urlsplit(call.path).path:
        raise UsageError(f"The cursor belongs to another listing than the one asked to {call.what}.")
    return replace(call, path=path)


def create_user(profile: dict[str, Any], *, activate: bool, groups: tuple[str, ...]) -> Call[OktaUser]:
    body: dict[str, Any] = {"profile": profile}
    if groups:
        body["groupIds"] = list(groups)
    return Call(
        method="POST",
        what="create the Okta user",
        path=f"/api/v1/users?activate={'true' if activate else 'false'}",
        body=body,
        bucket="users",
        scope="okta.users.manage" + (" and okta.groups.manage" if groups else ""),
        decode=_user,
    )


def activate_user(okta_id: str, *, send_email: bool) -> Call[None]:
    return Call(
        method="POST",
        what="activate the Okta user",
        path=f"/api/v1/users/{segment(okta_id)}/lifecycle/activate?sendEmail={'true' if send_email else 'false'}",
        bucket="other",
        scope="okta.users.manage",
        decode=call.nothing,
    )


def assign(app_id: str, okta_id: str, user_name: str, profile: dict[str, Any] | None) -> Call[AppUser]:
    body: dict[str, Any] = {"id": okta_id, "scope": "USER", "credentials": {"userName": user_name}}
    if profile:
        body["profile"] = profile
    return Call(
        method="POST",
        what="assign the Okta user to the app",
        path=f"/api/v1/apps/{segment(app_id)}/users",
        body=body,
        bucket="apps",
        scope="okta.apps.manage",
        decode=_app_user,
    )


def add_to_group(group_id: str, okta_id: str) -> Call[None]:
    return Call(
        method="PUT",
        what="add the Okta user to the group",
        path=f"/api/v1/groups/{segment(group_id)}/users/{segment(okta_id)}",
        bucket="groups/{id}",
        scope="okta.groups.manage",
        decode=call.nothing,
    )


def app_groups(app_id: str) -> Call[list[AppGroup]]:
    return Call(
        what="list the groups that are assigned to the app",
        path=f"/api/v1/apps/{segment(app_id)}/groups?limit=200&expand=group",
        bucket="apps",
        scope="okta.apps.read",
        decode=_app_groups,
    )


def group_members(group_id: str) -> Call[list[OktaUser]]:
    return Call(
        what="list the members of the group",
        path=f"/api/v1/groups/{segment(group_id)}/users?limit=1000",
        bucket="groups/{id}",
        scope="okta.groups.read",
        decode=_users,
    )


def event_hooks() -> Call[list[EventHook]]:
    return Call(
        what="list the event hooks",
        path="/api/v1/eventHooks",
        bucket="other",
        scope="okta.eventHooks.read",
        decode=call.one(list[EventHook]),
    )


def create_event_hook(url: str, secret: str, events: tuple[str, ...], name: str) -> Call[EventHook]:
    config = {"uri": url, "authScheme": {"type": "HEADER", "key": "Authorization", "value": secret}}
    return Call(
        method="POST",
        what="create the event hook",
        path="/api/v1/eventHooks",
        body={
            "name": name,
            "events": {"type": "EVENT_TYPE", "items": list(events)},
            "channel": {"type": "HTTP", "version": "1.0.0", "config": config},
        },
        bucket="other",
        scope="okta.eventHooks.manage",
        decode=call.one(EventHook),
    )


def verify_event_hook(hook_id: str) -> Call[EventHook]:
    return Call(
        method="POST",
        what="verify the event hook",
        path=f"/api/v1/eventHooks/{segment(hook_id)}/lifecycle/verify",
        bucket="other",
        scope="okta.eventHooks.manage",
        decode=call.one(EventHook),
    )


def equals(attribute: str, value: str) -> str:
    """A term of Okta's filters and searches; quotes in the value can't end it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{attribute} eq "{escaped}"'


def moment(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError("a moment needs a time zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def addressable(value: str) -> bool:
    """Whether a path can name it. Okta answers 404 or 405 to some characters, however they are encoded.

    These would reach another endpoint: "" lists everybody, "me" is the token's owner.
    """
    return value not in ("", ".", "..", "me") and _UNADDRESSABLE.isdisjoint(value)


def segment(value: str) -> str:
    """One segment of a path."""
    if not addressable(value):
        raise Unaddressable(f'"{value}" is not an id of Okta.')
    return quote(value, safe="")
