"""/api/v1/eventHooks: made ACTIVE and UNVERIFIED; nothing is delivered before the challenge was answered."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agent.simulator import ids, render
from agent.simulator.entities import Hook
from agent.simulator.errors import ApiError, found, invalid
from agent.simulator.org import Org
from agent.simulator.replies import empty, json_body, page, reply, routes
from agent.simulator.syslog import NOT_FOR_HOOKS


async def list_hooks(org: Org, request: Request) -> Response:
    return page(request, [_body(org, hook) for hook in org.hooks.values()], 200)


async def create_hook(org: Org, request: Request) -> Response:
    hook = Hook(id=org.ids.new("who"), **_fields(await json_body(request)))
    org.hooks[hook.id] = hook
    return reply(_body(org, hook))


async def one_hook(org: Org, request: Request) -> Response:
    """GET, PUT (a new address must be verified anew) and DELETE (only when INACTIVE)."""
    hook = _find(org, request)
    if request.method == "DELETE":
        if hook.status == "ACTIVE":
            raise invalid("eventHook", "The event hook must be deactivated before deletion.")
        del org.hooks[hook.id]
        return empty()
    if request.method == "PUT":
        fields = _fields(await json_body(request))
        if fields["uri"] != hook.uri:
            hook.verification = "UNVERIFIED"
        for name, value in fields.items():
            setattr(hook, name, value)
        hook.last_updated = ids.now()
    return reply(_body(org, hook))


async def lifecycle(org: Org, request: Request) -> Response:
    hook = _find(org, request)
    verb = request.path_params["verb"]
    if verb == "verify":
        await org.hook_delivery.verify(hook)
    elif verb in ("activate", "deactivate"):
        hook.status, hook.last_updated = ("ACTIVE" if verb == "activate" else "INACTIVE"), ids.now()
    else:
        raise ApiError("E0000008")
    return reply(_body(org, hook))


def _find(org: Org, request: Request) -> Hook:
    return found(org.hooks, request.path_params["id"], "EventHook")


def _fields(body: dict[str, Any]) -> dict[str, Any]:
    """The settable fields of a hook; raises for what Okta would refuse."""
    config = (body.get("channel") or {}).get("config") or {}
    items = (body.get("events") or {}).get("items") or []
    scheme = config.get("authScheme") or {}
    if not body.get("name") or not config.get("uri") or not items:
        raise invalid("eventHook", "name, events.items and channel.config.uri: The field cannot be left blank")
    refused = sorted(NOT_FOR_HOOKS.intersection(items))
    if refused:
        raise invalid("events", *(f"events: {name} is not eligible for event hooks" for name in refused))
    return {
        "name": body["name"],
        "description": body.get("description"),
        "items": list(items),
        "uri": config["uri"],
        "headers": [one for one in config.get("headers") or () if one],
        "auth_key": scheme.get("key") or "Authorization",
        "auth_value": scheme.get("value") or "",
    }


def _body(org: Org, hook: Hook) -> dict[str, Any]:
    return render.hook(hook, org.base, org.admin.id)


ROUTES = [
    *routes("/api/v1/eventHooks", GET=list_hooks, POST=create_hook),
    *routes("/api/v1/eventHooks/{id}", GET=one_hook, PUT=one_hook, DELETE=one_hook),
    *routes("/api/v1/eventHooks/{id}/lifecycle/{verb}", POST=lifecycle),
]
