"""The control API, ``/simulator/…``: what a real org's API has no call for. JSON in and out, without a token."""

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agent.simulator import api_apps, imports, oracle, render, storm
from agent.simulator.entities import OrgAppUser, User
from agent.simulator.errors import ApiError, invalid, require_known
from agent.simulator.org import Org
from agent.simulator.provisioning import MODES
from agent.simulator.replies import Endpoint, empty, json_body, reply, routes

_USER_FIELDS = ["status", "created", "activated", "statusChanged", "lastUpdated", "passwordChanged"]
_APP_USER_FIELDS = ["status", "syncState", "externalId", "scope", "created", "lastUpdated", "statusChanged", "lastSync"]
_PROVISIONING = {"mode", "loss", "scim_url", "scim_key", "time_scale", "external_id", "push_waiting"}


async def set_provisioning(org: Org, request: Request) -> Response:
    """``mode``, ``loss``; also where pushes go, how fast they are retried, and what a PUT's externalId is.

    ``push_waiting`` true then sends whoever has no account yet, as an administrator's forced sync does.
    """
    body = await json_body(request)
    engine = org.provisioning
    require_known(body, _PROVISIONING, "provisioning")
    if body.get("mode", engine.mode) not in MODES or body.get("external_id", "echo") not in ("echo", "own"):
        raise invalid("provisioning", f"mode: one of {', '.join(MODES)}; external_id: echo or own")
    engine.mode = body.get("mode", engine.mode)
    engine.loss = float(body.get("loss", engine.loss))
    engine.time_scale = float(body.get("time_scale", engine.time_scale))
    engine.external_id = body.get("external_id", engine.external_id)
    engine.client.url = body.get("scim_url", engine.client.url)
    engine.client.key = body.get("scim_key", engine.client.key)
    pushed = engine.push_waiting() if body.get("push_waiting") else 0
    return reply({"mode": engine.mode, "loss": engine.loss, "scim_url": engine.client.url, "queued": pushed})


async def pushes(org: Org, request: Request) -> Response:
    """What was sent and answered, oldest first; ``since`` leaves out what had a lower or the same number."""
    client = org.provisioning.client
    since = int(request.query_params.get("since", "0"))
    return reply({"sent": client.sent, "pushes": [one for one in client.pushes if one["n"] > since]})


async def tasks(org: Org, _request: Request) -> Response:
    return reply({"tasks": list(org.provisioning.tasks.values())})


async def retry_tasks(org: Org, request: Request) -> Response:
    """All of them, or those in ``ids``."""
    body = await json_body(request, required=False)
    return reply({"retried": org.provisioning.retry(body.get("ids"))})


async def wait_idle(org: Org, request: Request) -> Response:
    """Answers when no push and no hook delivery is under way; 504 after ``timeout`` seconds."""
    timeout = float(request.query_params.get("timeout", "30"))
    try:
        async with asyncio.timeout(timeout):
            await org.provisioning.quiet()
            await org.hook_delivery.quiet()
    except TimeoutError:
        return reply({"idle": False}, 504)
    return reply({"idle": True})


async def set_faults(org: Org, request: Request) -> Response:
    try:
        body = msgspec.json.decode(await request.body())
    except msgspec.DecodeError:
        raise ApiError("E0000003") from None
    org.faults.configure(body)
    return empty()


async def get_faults(org: Org, _request: Request) -> Response:
    """The list as it stands, with what is left of each ``times``."""
    return reply(org.faults.listed)


def setter(change: Callable[[Org, dict[str, Any]], None]) -> Endpoint:
    """A PUT that changes something of the org, and answers nothing."""

    async def answer(org: Org, request: Request) -> Response:
        change(org, await json_body(request))
        return empty()

    return answer


def set_search(org: Org, body: dict[str, Any]) -> None:
    """``{"lag": true}``: search answers with the people of this moment until the lag is ended."""
    require_known(body, {"lag"}, "search")
    org.stale = {} if body.get("lag") else None


def set_oidc(org: Org, body: dict[str, Any]) -> None:
    """A web app: ``client_id``, ``client_secret``, ``redirect_uris``; or ``person``, who sits before the browser."""
    require_known(body, {"client_id", "client_secret", "redirect_uris", "person"}, "oidc")
    org.oidc.configure(body)


def set_limits(org: Org, body: dict[str, Any]) -> None:
    """``{"apps": N}``: enforced from now on; null: headers only."""
    require_known(body, {"apps"}, "limits")
    org.limits.enforced = body.get("apps")


def set_org(org: Org, body: dict[str, Any]) -> None:
    """``{"id": …}``: what ``/.well-known/okta-organization`` says."""
    require_known(body, {"id"}, "org")
    org.id = str(body["id"])


async def set_app(org: Org, request: Request) -> Response:
    """Any raw field of the app, as it is."""
    org.app.update(await json_body(request))
    for app_user in org.assignments.app_users.values():
        app_user.rendered = None
    return reply(api_apps.app_json(org))


def set_schema(org: Org, body: dict[str, Any]) -> None:
    """Fields of attributes of the app's user schema, as they are; without an ``externalNamespace`` one isn't sent."""
    for name, fields in body.items():
        org.schema_changes.setdefault(name, {}).update(fields)


async def set_app_user(org: Org, request: Request) -> Response:
    """Any raw field. ``profile`` is merged, ``without`` lists profile keys to leave out. Nothing is pushed."""
    app_user = org.assignments.find(request.path_params["id"])
    body = await json_body(request)
    if "profile" in body:
        app_user.own = {**(app_user.own or {}), **body.pop("profile")}
    app_user.without = frozenset(body.pop("without", app_user.without))
    name = (body.get("credentials") or {}).get("userName")
    if name:
        app_user.user_name, app_user.own_name = name, True
        del body["credentials"]
    _set_fields(app_user, body, _APP_USER_FIELDS)
    app_user.rendered = None
    return reply(msgspec.Raw(render.app_user(app_user, org.base, org.settings.app_id)))


async def set_user(org: Org, request: Request) -> Response:
    """Any raw field; ``profile`` is merged, null takes a value away. Nothing is pushed, no lifecycle rule is asked."""
    user = org.find(request.path_params["id"])
    body = await json_body(request)
    org.touch(user)
    if "profile" in body:
        merged = {**user.profile, **body.pop("profile")}
        org.put_profile(user, {name: value for name, value in merged.items() if value is not None}, push=False)
    _set_fields(user, body, _USER_FIELDS)
    return reply(render.user(user, org.base, single=True))


async def set_group(org: Org, request: Request) -> Response:
    """Made where there is none of this name. ``members`` (ids or logins) are all of them; ``assigned``: to the app.

    ``rule``: an expression that from now on puts in whom it fits.
    """
    body = await json_body(request)
    require_known(body, {"name", "members", "assigned", "rule"}, "group")
    given = org.assignments
    name = str(body.get("name") or "")
    group = next((one for one in given.groups.values() if one.name == name), None) or given.create_group(name, None)
    if "members" in body:
        wanted = {org.find(str(one)).id for one in body["members"]}
        for okta_id in wanted ^ group.members:
            given.set_member(group, org.find(okta_id), member=okta_id in wanted)
    if body.get("rule"):
        org.group_rules.set_active(org.group_rules.make(name, str(body["rule"]), [group.id]), active=True)
    if body.get("assigned", group.id in given.app_groups) is not (group.id in given.app_groups):
        if body["assigned"]:
            given.assign_group(group, {})
        else:
            given.unassign_group(group.id)
    return reply(render.group(group, org.base))


async def make_events(org: Org, request: Request) -> Response:
    return reply(storm.make(org, await json_body(request)))


async def run_import(org: Org, request: Request) -> Response:
    return reply(await imports.run(org, await json_body(request, required=False)))


async def state(org: Org, request: Request) -> Response:
    """Every person with what the app should hold. ``settle`` (seconds), ``suspended=deactivate``, ``expected=false``."""
    query = request.query_params
    now = datetime.now(UTC)
    settle = timedelta(seconds=float(query.get("settle", "300")))
    off = query.get("suspended") == "deactivate"
    expected = query.get("expected") != "false"
    people = []
    for user in org.users.values():
        app_user = org.assignments.app_users.get(user.id)
        want = oracle.wanted(user, app_user, now, settle=settle, suspended_off=off)
        people.append(_person(org, user, app_user, want, expected=expected))
    return reply({"people": people})


def _person(org: Org, user: User, app_user: OrgAppUser | None, want: str, *, expected: bool) -> dict[str, Any]:
    shown = None if app_user is None else msgspec.Raw(render.app_user(app_user, org.base, org.settings.app_id))
    person = {
        "okta_id": user.id,
        "login": user.profile.get("login"),
        "user_status": (user.raw or {}).get("status", user.status),
        "app_user": shown,
        "wanted": want,
    }
    if expected:
        person["expected"] = {} if app_user is None else oracle.expected(app_user)
    return person


def _set_fields(one: User | OrgAppUser, body: dict[str, Any], known: list[str]) -> None:
    for name, value in body.items():
        if name in known:
            setattr(one, re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", name), value)
        else:
            one.raw = {**(one.raw or {}), name: value}


ROUTES = [
    *routes("/simulator/provisioning", PUT=set_provisioning),
    *routes("/simulator/pushes", GET=pushes),
    *routes("/simulator/tasks", GET=tasks),
    *routes("/simulator/tasks/retry", POST=retry_tasks),
    *routes("/simulator/idle", GET=wait_idle),
    *routes("/simulator/faults", GET=get_faults, PUT=set_faults),
    *routes("/simulator/listing", PUT=setter(lambda org, body: org.listing.configure(body))),
    *routes("/simulator/search", PUT=setter(set_search)),
    *routes("/simulator/oauth", PUT=setter(lambda org, body: org.oauth.configure(body))),
    *routes("/simulator/oidc", PUT=setter(set_oidc)),
    *routes("/simulator/limits", PUT=setter(set_limits)),
    *routes("/simulator/org", PUT=setter(set_org)),
    *routes("/simulator/app", PUT=set_app),
    *routes("/simulator/schema", PUT=setter(set_schema)),
    *routes("/simulator/app-users/{id}", PUT=set_app_user),
    *routes("/simulator/users/{id}", PUT=set_user),
    *routes("/simulator/groups", PUT=set_group),
    *routes("/simulator/events", POST=make_events),
    *routes("/simulator/import", POST=run_import),
    *routes("/simulator/state", GET=state),
]
