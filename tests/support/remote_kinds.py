"""Servers that behave like ones that people run, as far as an agent in front of them would notice."""

from collections.abc import Callable
from typing import Any

from agent.model.users import ENTERPRISE_URN
from support.sloppy import CORE, Body, Call, Reply, Sloppy, error

#: What Django's own user has room for.
_FEW = ("schemas", "id", "meta", "userName", "externalId", "active", "name", "emails")
_NAMES = ("givenName", "familyName")
_PATHS = ("userName", "externalId", "active", "name.givenName", "name.familyName", "emails")


def _listed(*resources: Body) -> Reply:
    return Reply(200, {"totalResults": len(resources), "Resources": list(resources)})


def _attributes(*names: str, subs: tuple[str, ...] = ()) -> list[Body]:
    given = [{"name": sub} for sub in subs]
    return [{"name": name, **({"subAttributes": given} if name == "name" else {})} for name in names]


def _keep(body: Body) -> None:
    for key in [key for key in body if key not in _FEW]:
        del body[key]
    if "name" in body:
        body["name"] = {key: value for key, value in body["name"].items() if key in _NAMES}


def _without_versions(user: Body) -> Body:
    return {**user, "meta": {"resourceType": "User", "created": "2026-01-01T00:00:00Z"}}


def drops_what_it_has_no_room_for(server: Sloppy) -> None:
    """Like django-scim2: a yes to everything that is posted or put; other PATCHes are not implemented. No versions."""
    server.config = {"patch": {"supported": True}, "filter": {"supported": True}, "etag": {"supported": False}}
    server.shape_user = _without_versions

    def answer(_: Sloppy, call: Call) -> Reply | None:
        if call.method == "PATCH" and any(o["path"] not in _PATHS for o in call.body["Operations"]):
            return error(501, "Not Implemented")
        if call.method in ("POST", "PUT"):
            _keep(call.body)
        return None

    server.scripted = answer


def refuses_the_extension(server: Sloppy) -> None:
    """Like django-scim2-server, but for what it says of itself: a body with the enterprise extension is a 400."""
    server.config["etag"] = {"supported": False}
    server.shape_user = _without_versions

    def answer(_: Sloppy, call: Call) -> Reply | None:
        if call.method in ("POST", "PUT"):
            if ENTERPRISE_URN in call.body:
                return error(400, f"1 validation error for User\n{ENTERPRISE_URN}\n  Extra inputs are not permitted")
            _keep(call.body)
            for email in call.body.get("emails", ()):
                email.pop("type", None)
        if call.method == "PATCH":
            call.body["Operations"] = [o for o in call.body["Operations"] if o["path"] in _PATHS]
        return None

    server.scripted = answer


def says_what_it_keeps(server: Sloppy) -> None:
    """Like django-scim2-server: the same, and Schemas and ResourceTypes say so."""
    refuses_the_extension(server)
    refuses = server.scripted
    assert refuses is not None

    def answer(one: Sloppy, call: Call) -> Reply | None:
        if call.path == "/Schemas":
            names = _attributes("userName", "active", "name", "emails", subs=_NAMES)
            return _listed({"id": CORE, "name": "User", "attributes": names})
        if call.path == "/ResourceTypes":
            return _listed({"id": "User", "endpoint": "/Users", "schema": CORE})
        return refuses(one, call)

    server.scripted = answer


def has_no_emails(server: Sloppy) -> None:
    """Like mlflow-oidc-auth, but for names: Schemas say what it keeps, e-mails aren't of it; a PATCH of anything else is refused."""
    server.config["etag"] = {"supported": False}
    kept = ("schemas", "id", "meta", "userName", "externalId", "active", "displayName", "name")

    def answer(_: Sloppy, call: Call) -> Reply | None:
        if call.path == "/Schemas":
            names = _attributes("userName", "active", "displayName", "name", "externalId", subs=_NAMES)
            return _listed({"id": CORE, "name": "User", "attributes": names})
        for operation in call.body["Operations"] if call.method == "PATCH" else ():
            if operation["path"].partition(".")[0] not in kept:
                return error(400, f"Unsupported attribute path '{operation['path']}'", "invalidPath")
        for name in [name for name in call.body if name not in kept] if call.method in ("POST", "PUT") else ():
            del call.body[name]
        return None

    server.scripted = answer
    server.shape_user = lambda user: {key: value for key, value in _without_versions(user).items() if key in kept}


def lists_everybody(server: Sloppy) -> None:
    """Like SCIMMY under Express 5 as far as paging goes: startIndex and count say nothing to it."""

    def answer(_: Sloppy, call: Call) -> Reply | None:
        if call.method == "GET" and call.path == "/Users":
            call.query.pop("startIndex", None)
            call.query["count"] = "1000"
        return None

    server.scripted = answer


def named_by_login(server: Sloppy) -> None:
    """Like scimgateway with its loki plugin: an account's id is the userName that it was made with."""
    server.id_of = lambda name: name


def respells(server: Sloppy) -> None:
    """Titles in capitals, and phone numbers without blanks."""

    def shaped(user: Body) -> Body:
        user = dict(user)
        if isinstance(user.get("title"), str):
            user["title"] = user["title"].upper()
        numbers: list[dict[str, Any]] = user.get("phoneNumbers") or []
        if numbers:
            user["phoneNumbers"] = [{**one, "value": one["value"].replace(" ", "").replace("-", "")} for one in numbers]
        return user

    server.shape_user = shaped


Kind = Callable[[Sloppy], None]
#: Each with whether it keeps a title as it was written.
KINDS: dict[str, tuple[Kind, bool]] = {
    "django-scim2": (drops_what_it_has_no_room_for, False),
    "django-scim2-server, silent": (refuses_the_extension, False),
    "django-scim2-server": (says_what_it_keeps, False),
    "SCIMMY on Express 5": (lists_everybody, True),
    "scimgateway loki": (named_by_login, True),
    "respelling": (respells, False),
    "mlflow-oidc-auth": (has_no_emails, False),
}
