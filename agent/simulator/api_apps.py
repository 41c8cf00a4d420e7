"""/api/v1/apps: the app, its users, its groups. One org has one app."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agent.simulator import ids, paging, render
from agent.simulator.entities import OrgAppUser
from agent.simulator.errors import ApiError, invalid, not_found
from agent.simulator.org import Org
from agent.simulator.replies import Endpoint, empty, json_body, page, paged, reply, routes

_READ_ONLY = {"id", "created", "lastUpdated", "status", "features", "_links", "_embedded", "orn"}


def app_json(org: Org) -> dict[str, Any]:
    """The app as it is, with links to what belongs to it."""
    href = f"{org.base}/api/v1/apps/{org.settings.app_id}"
    other = "deactivate" if org.app.get("status") == "ACTIVE" else "activate"
    links = {
        "appLinks": [{"name": "login", "href": f"{org.base}/home/opshelm", "type": "text/html"}],
        "groups": {"href": f"{href}/groups"},
        "logo": [{"name": "medium", "href": f"{org.base}/assets/img/logos/opshelm.png", "type": "image/png"}],
        "users": {"href": f"{href}/users"},
        other: {"href": f"{href}/lifecycle/{other}"},
    }
    return {**org.app, "_links": links}


def of_app(**methods: Endpoint) -> dict[str, Endpoint]:
    """For paths that name the app: a call about any other is refused."""

    def required(endpoint: Endpoint) -> Endpoint:
        async def answer(org: Org, request: Request) -> Response:
            app_id = request.path_params["app_id"]
            if app_id != org.settings.app_id or org.app_deleted:
                raise not_found(app_id, "AppInstance")
            return await endpoint(org, request)

        return answer

    return {method: required(endpoint) for method, endpoint in methods.items()}


async def list_apps(org: Org, request: Request) -> Response:
    begins = str(org.app["label"]).lower().startswith(request.query_params.get("q", "").lower())
    return paged(request, [org] if begins and not org.app_deleted else [], app_json, (20, 200))


async def get_app(org: Org, _request: Request) -> Response:
    return reply(app_json(org))


async def replace_app(org: Org, request: Request) -> Response:
    """PUT. ``features`` and the other read-only fields are ignored, as Okta ignores them."""
    body = await json_body(request)
    if not body.get("label"):
        raise invalid("label", "label: The field cannot be left blank")
    org.app.update({name: value for name, value in body.items() if name not in _READ_ONLY})
    org.app["lastUpdated"] = ids.now()
    org.log.add("application.lifecycle.update", app=True)
    return reply(app_json(org))


async def delete_app(org: Org, _request: Request) -> Response:
    if org.app.get("status") == "ACTIVE":
        raise ApiError("E0000056", causes=["The application must be deactivated before deletion."])
    org.app_deleted = True
    org.log.add("application.lifecycle.delete", app=True)
    return empty()


async def app_lifecycle(org: Org, request: Request) -> Response:
    verb = request.path_params["verb"]
    if verb not in ("activate", "deactivate"):
        raise ApiError("E0000008")
    org.app["status"] = "ACTIVE" if verb == "activate" else "INACTIVE"
    org.app["lastUpdated"] = ids.now()
    org.log.add(f"application.lifecycle.{verb}", app=True)
    return reply({})


async def list_app_users(org: Org, request: Request) -> Response:
    """The listing that a sweep reads; what is wrong with it, the control API says."""
    query = request.query_params
    limit, after = paging.window_of(query, 50, 500)
    start = query.get("q", "").casefold()
    shows = org.listing.shows

    def wanted(one: OrgAppUser) -> bool:
        return shows(one) and (not start or _begins(one, start))

    found, following = paging.cut(org.listing.rows(after, limit), after, limit, wanted)
    expand = query.get("expand") == "user"
    return page(request, [_shown(org, one, expand=expand) for one in found], limit, following)


async def assign_user(org: Org, request: Request) -> Response:
    body = await json_body(request)
    if not body.get("id"):
        raise invalid("id", "id: The field cannot be left blank")
    if body.get("scope", "USER") not in ("USER", "GROUP"):
        raise invalid("scope", "scope: The value must be USER or GROUP")
    app_user = org.assignments.assign(org.find(str(body["id"])), body)
    return reply(_shown(org, app_user))


async def get_app_user(org: Org, request: Request) -> Response:
    app_user = org.assignments.find(request.path_params["id"])
    return reply(_shown(org, app_user, expand=request.query_params.get("expand") == "user"))


async def update_app_user(org: Org, request: Request) -> Response:
    app_user = org.assignments.find(request.path_params["id"])
    org.assignments.update(app_user, await json_body(request))
    return reply(_shown(org, app_user))


async def unassign_user(org: Org, request: Request) -> Response:
    org.assignments.unassign(org.assignments.find(request.path_params["id"]))
    return empty()


async def list_app_groups(org: Org, request: Request) -> Response:
    expand = request.query_params.get("expand") == "group"
    groups = list(org.assignments.app_groups)
    return paged(request, groups, lambda group_id: _assignment(org, group_id, expand=expand), (20, 200))


async def app_group(org: Org, request: Request) -> Response:
    group_id = request.path_params["group_id"]
    assignments = org.assignments
    if request.method == "PUT":
        assignments.assign_group(assignments.group(group_id), await json_body(request, required=False))
    elif request.method == "DELETE":
        assignments.unassign_group(group_id)
        return empty()
    elif group_id not in assignments.app_groups:
        raise not_found(group_id, "AppGroupAssignment")
    return reply(_assignment(org, group_id, expand=request.query_params.get("expand") == "group"))


async def feature(_org: Org, request: Request) -> Response:
    """The features call serves a handful of Okta's own integrations; for any other app it answers this."""
    if request.path_params.get("name", "USER_PROVISIONING") not in ("USER_PROVISIONING", "INBOUND_PROVISIONING"):
        raise not_found(request.path_params["name"], "PublicAppFeatureSetName")
    raise invalid("feature", "Provisioning is not supported.")


async def connection(_org: Org, request: Request) -> Response:
    """The provisioning connection, like the features, isn't served for a custom SCIM app."""
    if request.method == "POST":
        await json_body(request)
    raise invalid("connection", "Provisioning is not supported.")


def _assignment(org: Org, group_id: str, *, expand: bool) -> dict[str, Any]:
    assigned = org.assignments.app_groups[group_id]
    body = render.group_assignment(group_id, assigned, org.base, org.settings.app_id)
    if expand:
        body["_embedded"] = {"group": render.group(org.assignments.group(group_id), org.base)}
    return body


def _shown(org: Org, app_user: OrgAppUser, *, expand: bool = False) -> msgspec.Raw:
    return msgspec.Raw(render.app_user(app_user, org.base, org.settings.app_id, expand=expand))


def _begins(app_user: OrgAppUser, start: str) -> bool:
    profile = app_user.user.profile
    words = (app_user.user_name, profile.get("firstName"), profile.get("lastName"), profile.get("email"))
    return any(str(word or "").casefold().startswith(start) for word in words)


_APP = "/api/v1/apps/{app_id}"
ROUTES = [
    *routes("/api/v1/apps", GET=list_apps),
    *routes(_APP, **of_app(GET=get_app, PUT=replace_app, DELETE=delete_app)),
    *routes(f"{_APP}/lifecycle/{{verb}}", **of_app(POST=app_lifecycle)),
    *routes(f"{_APP}/users", **of_app(GET=list_app_users, POST=assign_user)),
    *routes(f"{_APP}/users/{{id}}", **of_app(GET=get_app_user, POST=update_app_user, DELETE=unassign_user)),
    *routes(f"{_APP}/groups", **of_app(GET=list_app_groups)),
    *routes(f"{_APP}/groups/{{group_id}}", **of_app(GET=app_group, PUT=app_group, DELETE=app_group)),
    *routes(f"{_APP}/features", **of_app(GET=feature)),
    *routes(f"{_APP}/features/{{name}}", **of_app(GET=feature, PUT=feature)),
    *routes(f"{_APP}/connections/default", **of_app(GET=connection, POST=connection)),
    *routes(f"{_APP}/connections/default/lifecycle/{{verb}}", **of_app(POST=connection)),
]
