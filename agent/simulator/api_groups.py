"""/api/v1/groups: groups, who is in them, and the rules that put people there."""

from operator import attrgetter

from starlette.requests import Request
from starlette.responses import Response

from agent.simulator import api_apps, ids, render
from agent.simulator.entities import OrgGroup
from agent.simulator.errors import ApiError, invalid
from agent.simulator.filters import Filter
from agent.simulator.org import Org
from agent.simulator.replies import empty, json_body, page, paged, reply, routes

_FIELDS = {
    "id": attrgetter("id"),
    "type": attrgetter("type"),
    "profile.name": attrgetter("name"),
    "lastUpdated": attrgetter("last_updated"),
}


async def list_groups(org: Org, request: Request) -> Response:
    """``q`` is the beginning of a name; ``search`` and ``filter`` know id, type and profile.name."""
    query = request.query_params
    start = query.get("q", "").casefold()
    text = query.get("search") or query.get("filter")
    matches = Filter(text, _FIELDS.get, fold="search" in query).compile() if text else None

    def wanted(group: OrgGroup) -> bool:
        return group.name.casefold().startswith(start) and (matches is None or matches(group))

    groups = list(org.assignments.groups.values())
    return paged(request, groups, lambda group: render.group(group, org.base), (10_000, 10_000), wanted)


async def create_group(org: Org, request: Request) -> Response:
    profile = (await json_body(request)).get("profile") or {}
    group = org.assignments.create_group(str(profile.get("name") or ""), profile.get("description"))
    return reply(render.group(group, org.base))


async def one_group(org: Org, request: Request) -> Response:
    """GET, PUT (name and description) and DELETE."""
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


async def group_users(org: Org, request: Request) -> Response:
    members = org.assignments.members(org.assignments.group(request.path_params["id"]))
    return paged(request, members, lambda one: render.user(one, org.base, single=False), (1000, 1000))


async def group_apps(org: Org, request: Request) -> Response:
    group = org.assignments.group(request.path_params["id"])
    assigned = group.id in org.assignments.app_groups and not org.app_deleted
    return page(request, [api_apps.app_json(org)] if assigned else [], 20)


async def membership(org: Org, request: Request) -> Response:
    """PUT adds, DELETE removes; both change who has the app if the group grants it."""
    group = org.assignments.group(request.path_params["id"])
    user = org.find(request.path_params["user_id"])
    org.assignments.set_member(group, user, member=request.method == "PUT")
    return empty()


async def list_rules(org: Org, request: Request) -> Response:
    return page(request, [render.group_rule(rule) for rule in org.group_rules.rules.values()], 50)


async def create_rule(org: Org, request: Request) -> Response:
    body = await json_body(request)
    expression = ((body.get("conditions") or {}).get("expression") or {}).get("value")
    groups = ((body.get("actions") or {}).get("assignUserToGroups") or {}).get("groupIds")
    rule = org.group_rules.make(str(body.get("name") or ""), str(expression or ""), list(groups or ()))
    return reply(render.group_rule(rule))


async def one_rule(org: Org, request: Request) -> Response:
    """GET, and DELETE of one that is not active."""
    rules = org.group_rules
    rule = rules.find(request.path_params["id"])
    if request.method == "GET":
        return reply(render.group_rule(rule))
    if rule.status == "ACTIVE":
        raise invalid("rule", "Cannot delete an active rule")
    del rules.rules[rule.id]
    return empty()


async def rule_lifecycle(org: Org, request: Request) -> Response:
    rules, verb = org.group_rules, request.path_params["verb"]
    if verb not in ("activate", "deactivate"):
        raise ApiError("E0000008")
    rules.set_active(rules.find(request.path_params["id"]), active=verb == "activate")
    return empty()


ROUTES = [
    *routes("/api/v1/groups/rules", GET=list_rules, POST=create_rule),
    *routes("/api/v1/groups/rules/{id}", GET=one_rule, DELETE=one_rule),
    *routes("/api/v1/groups/rules/{id}/lifecycle/{verb}", POST=rule_lifecycle),
    *routes("/api/v1/groups", GET=list_groups, POST=create_group),
    *routes("/api/v1/groups/{id}", GET=one_group, PUT=one_group, DELETE=one_group),
    *routes("/api/v1/groups/{id}/users", GET=group_users),
    *routes("/api/v1/groups/{id}/apps", GET=group_apps),
    *routes("/api/v1/groups/{id}/users/{user_id}", PUT=membership, DELETE=membership),
]
