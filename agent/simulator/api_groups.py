"""/api/v1/groups: groups and who is in them."""

from operator import attrgetter

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.simulator import api_apps, ids, paging, render
from agent.simulator.errors import ApiError
from agent.simulator.filters import Filter
from agent.simulator.replies import empty, json_body, org_of, page, reply

_encode = msgspec.json.encode
_FIELDS = {
    "id": attrgetter("id"),
    "type": attrgetter("type"),
    "profile.name": attrgetter("name"),
    "lastUpdated": attrgetter("last_updated"),
}


async def list_groups(request: Request) -> Response:
    """``q`` is the beginning of a name; ``search`` and ``filter`` know id, type and profile.name."""
    org, query = org_of(request), request.query_params
    limit, after = paging.limit_of(query, 10_000, 10_000), paging.cursor_of(query)
    groups = list(org.assignments.groups.values())
    start = query.get("q", "").casefold()
    text = query.get("search") or query.get("filter")
    holds = Filter(text, _FIELDS.get, fold="search" in query).compile() if text else None
    found, following = paging.cut(
        groups, after, limit, lambda group: group.name.casefold().startswith(start) and (holds is None or holds(group))
    )
    return page(request, [_encode(render.group(group, org.base)) for group in found], limit, following)


async def create_group(request: Request) -> Response:
    org = org_of(request)
    profile = (await json_body(request)).get("profile") or {}
    group = org.assignments.create_group(str(profile.get("name") or ""), profile.get("description"))
    return reply(render.group(group, org.base))


async def one_group(request: Request) -> Response:
    """GET, PUT (name and description) and DELETE."""
    org = org_of(request)
    group = org.assignments.group(request.path_params["id"])
    if request.method == "DELETE":
        org.assignments.delete_group(group)
        return empty()
    if request.method == "PUT":
        profile = (await json_body(request)).get("profile") or {}
        if group.everyone or not profile.get("name"):
            raise ApiError("E0000060" if group.everyone else "E0000003")
        group.name, group.description = str(profile["name"]), profile.get("description")
        group.last_updated = ids.now()
    return reply(render.group(group, org.base))


async def group_users(request: Request) -> Response:
    org, query = org_of(request), request.query_params
    limit, after = paging.limit_of(query, 1000, 1000), paging.cursor_of(query)
    members = org.assignments.members(org.assignments.group(request.path_params["id"]))
    found, following = paging.cut(members, after, limit)
    return page(request, [_encode(render.user(one, org.base, single=False)) for one in found], limit, following)


async def group_apps(request: Request) -> Response:
    org = org_of(request)
    group = org.assignments.group(request.path_params["id"])
    assigned = group.id in org.assignments.app_groups and not org.app_deleted
    return page(request, [_encode(api_apps.app_json(org))] if assigned else [], 20, None)


async def membership(request: Request) -> Response:
    """PUT adds, DELETE removes; both change who has the app if the group grants it."""
    org = org_of(request)
    group = org.assignments.group(request.path_params["id"])
    user = org.find(request.path_params["user_id"])
    if request.method == "PUT":
        org.assignments.add_member(group, user)
    else:
        org.assignments.remove_member(group, user)
    return empty()


ROUTES = [
    Route("/api/v1/groups", list_groups, methods=["GET"]),
    Route("/api/v1/groups", create_group, methods=["POST"]),
    Route("/api/v1/groups/{id}", one_group, methods=["GET", "PUT", "DELETE"]),
    Route("/api/v1/groups/{id}/users", group_users, methods=["GET"]),
    Route("/api/v1/groups/{id}/apps", group_apps, methods=["GET"]),
    Route("/api/v1/groups/{id}/users/{user_id}", membership, methods=["PUT", "DELETE"]),
]
