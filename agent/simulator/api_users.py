"""/api/v1/users: people, their lifecycle, filter and search."""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.simulator import paging, render
from agent.simulator.entities import User
from agent.simulator.errors import ApiError
from agent.simulator.filters import Filter
from agent.simulator.org import Org
from agent.simulator.replies import empty, flag, json_body, org_of, page, reply

_encode = msgspec.json.encode
_FIELDS: dict[str, Callable[[User], Any]] = {
    "id": lambda user: user.id,
    "status": lambda user: user.status,
    "lastUpdated": lambda user: user.last_updated,
    "created": lambda user: user.created,
    "activated": lambda user: user.activated,
    "statusChanged": lambda user: user.status_changed,
}
#: What ``filter`` knows; ``search`` knows every attribute.
_FILTERED = {"id", "status", "lastUpdated", "profile.login", "profile.email", "profile.firstName", "profile.lastName"}
_FILTER_OPERATORS = frozenset({"eq", "gt", "ge", "lt", "le"})
_SEARCH_OPERATORS = frozenset({"eq", "sw", "co", "gt", "ge", "lt", "le", "pr"})


async def list_users(request: Request) -> Response:
    """``search`` sees DEPROVISIONED people and lags; the plain list and ``q`` leave them out."""
    org, query = org_of(request), request.query_params
    limit, after = paging.limit_of(query, 200, 200), paging.cursor_of(query)
    if "search" in query:
        found, following = _search(org, query["search"], after, limit)
    else:
        found, following = paging.cut(org.rows, after, limit, _wanted(query.get("filter"), query.get("q")))
    return page(request, [_encode(render.user(one, org.base, single=False)) for one in found], limit, following)


async def create_user(request: Request) -> Response:
    org = org_of(request)
    body = await json_body(request)
    return _single(org, org.create(body, activate=flag(request, "activate", default=True)))


async def get_user(request: Request) -> Response:
    org, wanted = org_of(request), request.path_params["id"]
    if wanted == "me":
        if request.scope.get("okta_client") is not None:
            raise ApiError("E0000006")  # A service app's token belongs to no user.
        return _single(org, org.admin)
    return _single(org, org.find(wanted))


async def update_user(request: Request) -> Response:
    """POST changes what it names; PUT replaces the profile."""
    org = org_of(request)
    user = org.find(request.path_params["id"])
    body = await json_body(request)
    if "profile" in body:
        org.update(user, body["profile"], replace=request.method == "PUT")
    if "password" in (body.get("credentials") or {}):
        user.has_password = True
    return _single(org, user)


async def delete_user(request: Request) -> Response:
    org = org_of(request)
    org.delete(org.find(request.path_params["id"]))
    return empty()


async def lifecycle(request: Request) -> Response:
    """POST /users/{id}/lifecycle/{verb}."""
    org = org_of(request)
    user, verb = org.find(request.path_params["id"]), request.path_params["verb"]
    act = _VERBS.get(verb)
    if act is None:
        raise ApiError("E0000008")
    return reply(act(org, user, request) or {})


async def user_groups(request: Request) -> Response:
    org = org_of(request)
    user = org.find(request.path_params["id"])
    groups = [_encode(render.group(group, org.base)) for group in org.assignments.groups_of(user)]
    return page(request, groups, 200, None)


def _activate(org: Org, user: User, request: Request) -> dict[str, Any]:
    org.activate(user)
    return _activation(org, request)


def _reactivate(org: Org, user: User, request: Request) -> dict[str, Any]:
    if user.status != "PROVISIONED":
        raise ApiError("E0000038")
    return _activation(org, request)


def _activation(org: Org, request: Request) -> dict[str, Any]:
    if flag(request, "sendEmail", default=True):
        return {}
    token = f"U{org.draw.getrandbits(96):x}"
    return {"activationUrl": f"{org.base}/tokens/{token}/verify", "activationToken": token}


def _reset_password(org: Org, user: User, request: Request) -> dict[str, Any]:
    org.set_live_status(user, "RECOVERY", "reset_password")
    if flag(request, "sendEmail", default=True):
        return {}
    return {"resetPasswordUrl": f"{org.base}/reset_password/drp{org.draw.getrandbits(64):x}"}


def _expire_password(org: Org, user: User, request: Request) -> dict[str, Any]:
    org.set_live_status(user, "PASSWORD_EXPIRED", "expire_password")
    if request.path_params["verb"] == "expire_password_with_temp_password":
        return {"tempPassword": f"{org.draw.getrandbits(48):x}"}
    return render.user(user, org.base, single=True)


_VERBS: dict[str, Callable[[Org, User, Request], dict[str, Any] | None]] = {
    "activate": _activate,
    "reactivate": _reactivate,
    "deactivate": lambda org, user, _: org.deactivate(user),
    "suspend": lambda org, user, _: org.suspend(user),
    "unsuspend": lambda org, user, _: org.unsuspend(user),
    "unlock": lambda org, user, _: org.unlock(user),
    "reset_password": _reset_password,
    "reset_factors": lambda _org, _user, _request: None,
    "expire_password": _expire_password,
    "expire_password_with_temp_password": _expire_password,
}


def _single(org: Org, user: User) -> Response:
    return reply(render.user(user, org.base, single=True))


def _resolve(name: str) -> Callable[[User], Any] | None:
    if name in _FIELDS:
        return _FIELDS[name]
    scope, _, attribute = name.partition(".")
    if scope != "profile" or not attribute:
        return None
    return lambda user: user.profile.get(attribute)


def _wanted(text: str | None, prefix: str | None) -> Callable[[User], bool]:
    """The plain list leaves DEPROVISIONED people out; a filter says itself what it wants."""
    if text is not None:
        known = _FILTERED.__contains__
        return Filter(
            text, lambda name: _resolve(name) if known(name) else None, fold=False, operators=_FILTER_OPERATORS
        ).compile()
    if prefix is None:
        return lambda user: user.status != "DEPROVISIONED"
    start = prefix.casefold()
    names = ("firstName", "lastName", "email")
    return lambda user: (
        user.status != "DEPROVISIONED"
        and any(str(user.profile.get(name, "")).casefold().startswith(start) for name in names)
    )


def _search(org: Org, text: str, after: int, limit: int) -> tuple[list[User], int | None]:
    """Search reads an index: while it lags (control API), users as they were when the lag began."""
    wanted = Filter(text, _resolve, fold=True, operators=_SEARCH_OPERATORS).compile()
    stale = org.stale
    if not stale:
        return paging.cut(org.rows, after, limit, wanted)
    rows = [stale.get(one.id, one) if one is not None else None for one in org.rows]
    gone = [one for one in stale.values() if one is not None and one.id not in org.users]
    for one in gone:
        rows[one.row] = one
    return paging.cut(rows, after, limit, wanted)


ROUTES = [
    Route("/api/v1/users", list_users, methods=["GET"]),
    Route("/api/v1/users", create_user, methods=["POST"]),
    Route("/api/v1/users/{id}", get_user, methods=["GET"]),
    Route("/api/v1/users/{id}", update_user, methods=["POST", "PUT"]),
    Route("/api/v1/users/{id}", delete_user, methods=["DELETE"]),
    Route("/api/v1/users/{id}/groups", user_groups, methods=["GET"]),
    Route("/api/v1/users/{id}/lifecycle/{verb}", lifecycle, methods=["POST"]),
]
