"""What an org says about itself: its id, the app's user schema, the profile mappings. And its authorization server: OpenID
Connect, and the token endpoint of both, whose errors have OAuth's shape and not Okta's.
"""

from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agent.simulator import render, schema
from agent.simulator.api_apps import of_app
from agent.simulator.errors import not_found
from agent.simulator.oauth import TOKEN_PATH, TokenRefused
from agent.simulator.oidc import AUTHORIZE_PATH, KEYS_PATH
from agent.simulator.org import Org
from agent.simulator.replies import json_body, page, reply, routes

_TO_APP, _TO_USER = "prm0simulated0toapp0", "prm0simulated0touser"


async def well_known(org: Org, _request: Request) -> Response:
    """GET /.well-known/okta-organization, without a token."""
    return reply({"id": org.id, "pipeline": "idx", "_links": {"organization": {"href": org.base}}})


async def app_schema(org: Org, _request: Request) -> Response:
    href = f"{org.base}/api/v1/meta/schemas/apps/{org.settings.app_id}/default"
    properties = {
        attribute.name: _property(attribute) | org.schema_changes.get(attribute.name, {})
        for attribute in schema.ATTRIBUTES
    }
    everything = {"allOf": [{"$ref": "#/definitions/custom"}, {"$ref": "#/definitions/base"}]}
    user_name = {
        "title": "Username",
        "type": "string",
        "required": True,
        "scope": "NONE",
        "maxLength": 100,
        "permissions": [{"principal": "SELF", "action": "READ_ONLY"}],
    }
    return reply(
        {
            "id": href,
            "$schema": "http://json-schema.org/draft-04/schema#",
            "name": f"{org.app['label']} User",
            "title": f"{org.app['label']} User",
            "lastUpdated": org.app["lastUpdated"],
            "created": org.app["created"],
            "definitions": {
                "custom": {"id": "#custom", "type": "object", "properties": properties, "required": []},
                "base": {
                    "id": "#base",
                    "type": "object",
                    "properties": {"userName": user_name},
                    "required": ["userName"],
                },
            },
            "type": "object",
            "properties": {"profile": everything},
        }
    )


async def list_mappings(org: Org, request: Request) -> Response:
    """GET /mappings?sourceId=&targetId=: the two between the org's users and the app."""
    query = request.query_params
    found = [
        {name: value for name, value in one.items() if name != "properties"}
        for one in (_mapping(org, _TO_APP), _mapping(org, _TO_USER))
        if query.get("sourceId") in (None, one["source"]["id"]) and query.get("targetId") in (None, one["target"]["id"])
    ]
    return page(request, found, 20)


async def one_mapping(org: Org, request: Request) -> Response:
    """GET; POST would change an expression, which this org's mapping doesn't have: it answers what is there."""
    mapping_id = request.path_params["id"]
    if mapping_id not in (_TO_APP, _TO_USER):
        raise not_found(mapping_id, "ProfileMapping")
    if request.method == "POST":
        await json_body(request)
    return reply(_mapping(org, mapping_id))


async def issue_token(org: Org, request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
    try:
        if form.get("grant_type") == "authorization_code":
            return reply(org.oidc.token(form, request.headers.get("authorization", "")))
        return reply(org.oauth.token(form, request.headers.get("dpop")))
    except TokenRefused as exc:
        nonce = [] if exc.nonce is None else [(b"dpop-nonce", exc.nonce.encode())]
        return reply({"error": exc.error, "error_description": exc.description}, exc.status, nonce)


async def discovery(org: Org, _request: Request) -> Response:
    base = org.base
    return reply(
        {
            "issuer": base,
            "authorization_endpoint": f"{base}{AUTHORIZE_PATH}",
            "token_endpoint": f"{base}{TOKEN_PATH}",
            "jwks_uri": f"{base}{KEYS_PATH}",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }
    )


async def authorize(org: Org, request: Request) -> Response:
    return RedirectResponse(org.oidc.authorize(dict(request.query_params)), 302)


async def keys(org: Org, _request: Request) -> Response:
    return reply(org.oidc.keys())


def _property(attribute: schema.AppSchemaAttribute) -> dict[str, Any]:
    return {
        "title": attribute.title,
        "type": "string",
        "externalName": attribute.external_name,
        "externalNamespace": attribute.namespace,
        "required": attribute.required,
        "scope": "NONE",
        "mutability": "READ_WRITE",
        "master": {"type": "PROFILE_MASTER"},
        "permissions": [{"principal": "SELF", "action": "READ_ONLY"}],
    }


def _mapping(org: Org, mapping_id: str) -> dict[str, Any]:
    base, app_id = org.base, org.settings.app_id
    user_end = {
        "id": render.TYPE_ID,
        "name": "user",
        "type": "user",
        "_links": {"self": {"href": f"{base}/api/v1/meta/types/user/{render.TYPE_ID}"}},
    }
    app_end = {
        "id": app_id,
        "name": org.app["name"],
        "type": "appuser",
        "_links": {"self": {"href": f"{base}/api/v1/apps/{app_id}"}},
    }
    to_app = mapping_id == _TO_APP
    mapped = [attribute for attribute in schema.ATTRIBUTES if attribute.source]
    properties = {
        (attribute.name if to_app else str(attribute.source)): {
            "expression": f"user.{attribute.source}" if to_app else f"appuser.{attribute.name}",
            "pushStatus": "PUSH" if to_app else "DONT_PUSH",
        }
        for attribute in mapped
    }
    return {
        "id": mapping_id,
        "source": user_end if to_app else app_end,
        "target": app_end if to_app else user_end,
        "properties": properties,
        "_links": {"self": {"href": f"{base}/api/v1/mappings/{mapping_id}"}},
    }


ROUTES = [
    *routes("/.well-known/okta-organization", GET=well_known),
    *routes("/api/v1/meta/schemas/apps/{app_id}/default", **of_app(GET=app_schema)),
    *routes("/api/v1/mappings", GET=list_mappings),
    *routes("/api/v1/mappings/{id}", GET=one_mapping, POST=one_mapping),
    *routes(TOKEN_PATH, POST=issue_token),
    *routes("/.well-known/openid-configuration", GET=discovery),
    *routes(AUTHORIZE_PATH, GET=authorize),
    *routes(KEYS_PATH, GET=keys),
]
