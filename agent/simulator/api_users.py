"""/api/v1/users: people, their lifecycle, filter and search."""

from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agent.simulator import render
from agent.simulator.entities import User
from agent.simulator.errors import ApiError
from agent.simulator.filters import Filter, Predicate
from agent.simulator.org import Org
from agent.simulator.replies import empty, flag, json_body, page, paged, reply, routes

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


async def list_users(org: Org, request: Request) -> Response:
    """``search`` sees DEPROVISIONED people and lags; the plain list and ``q`` leave them out."""
    query = request.query_params
    wanted = _wanted(query)
    rows = _indexed(org) if "search" in query else org.rows
    return paged(request, rows, lambda one: render.user(one, org.base, single=False), (200, 200), wanted)


async def create_user(org: Org, request: Request) -> Response:
    body = await json_body(request)
    return _single(org, org.create(body, activate=flag(request, "activate", default=True)))


async def get_user(org: Org, request: Request) -> Response:
    wanted = request.path_params["id"]
    if wanted == "me":
        if request.scope.get("okta_client") is not None:
            raise ApiError("E0000006")  # A service app's token belongs to no user.
        return _single(org, org.admin)
    return _single(org, org.find(wanted))


async def update_user(org: Org, request: Request) -> Response:
    """POST changes what it names; PUT replaces the profile."""
    user = org.find(request.path_params["id"])
    body = await json_body(request)
    if "profile" in body:
        org.update(user, body["profile"], replace=request.method == "PUT")
    if "password" in (body.get("credentials") or {}):
        user.has_password = True
    return _single(org, user)


async def delete_user(org: Org, request: Request) -> Response:
    org.delete(org.find(request.path_params["id"]))
    return empty()


async def lifecycle(org: Org, request: Request) -> Response:
    user, verb = org.find(request.path_params["id"]), request.path_params["verb"]
    act = _VERBS.get(verb)
    if act is None:
        raise ApiError("E0000008")
    return reply(act(org, user, request) or {})


async def user_groups(org: Org, request: Request) -> Response:
    user = org.find(request.path_params["id"])
    return page(request, [render.group(group, org.base) for group in org.assignments.groups_of(user)], 200)


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


def _wanted(query: Mapping[str, str]) -> Predicate:
    """A search or filter says itself whom it wants; the plain list and ``q`` leave DEPROVISIONED people out."""
    if "search" in query:
        return Filter(query["search"], _resolve, fold=True, operators=_SEARCH_OPERATORS).compile()
    if "filter" in query:
        known = _FILTERED.__contains__
        return Filter(
            query["filter"],
            lambda name: _resolve(name) if known(name) else None,
            fold=False,
            operators=_FILTER_OPERATORS,
        ).compile()
    start = query.get("q", "").casefold()
    names = ("firstName", "lastName", "email")
    return lambda user: (
        user.status != "DEPROVISIONED"
        and (not start or any(str(user.profile.get(name, "")).casefold().startswith(start) for name in names))
    )


def _indexed(org: Org) -> list[User | None]:
    """What search reads: while its index lags (control API), users as they were when the lag began."""
    stale = org.stale
    if not stale:
        return org.rows
    rows = [stale.get(one.id, one) if one is not None else None for one in org.rows]
    for one in stale.values():
        if one is not None and one.id not in org.users:
            rows[one.row] = one
    return rows


ROUTES = [
    *routes("/api/v1/users", GET=list_users, POST=create_user),
    *routes("/api/v1/users/{id}", GET=get_user, POST=update_user, PUT=update_user, DELETE=delete_user),
    *routes("/api/v1/users/{id}/groups", GET=user_groups),
    *routes("/api/v1/users/{id}/lifecycle/{verb}", POST=lifecycle),
]
