"""The receiver's own description in OpenAPI 3.1: what it takes and answers, read off the one table of attributes.

Served at /scim/v2/openapi.json, with a key like everything else. Describes; routes and checks nothing.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from agent.model.attributes import Attribute
from agent.model.users import ENTERPRISE_URN
from agent.scim.discovery import MAX_RESULTS
from agent.scim.schema import CORE, ENTERPRISE

_SCIM = "application/scim+json"
_MESSAGES = "urn:ietf:params:scim:api:messages:2.0:"
_ERRORS = {
    "400": "A value, a filter, a path or the syntax is wrong; `scimType` says which.",
    "401": "No valid API key.",
    "403": "Forbidden: a filter on a discovery document, or a DELETE of a local account.",
    "404": "There is no such user, or nothing at this address.",
    "405": "The method is not allowed here; `Allow` names those that are.",
    "409": "The userName, externalId or e-mail is taken, or a rule of OpsHelm forbids the change.",
    "412": "The user has changed since the version in If-Match.",
    "413": "The body is larger than 1 MB.",
    "415": "The body is neither application/scim+json nor application/json.",
    "429": "Not just now; `Retry-After` says when to come back. Nothing was changed.",
    "431": "The headers are too long.",
    "500": "The agent failed; its log has the request's id.",
    "501": "Not supported.",
}
_ALWAYS = ("400", "401", "404", "405", "429", "431", "500")
_BODY = (*_ALWAYS, "413", "415")
_CHANGE = (*_BODY, "403", "409", "412")
_SHOWN = ("attributes", "excludedAttributes")
_FILTER = {"type": "string", "maxLength": 2048}
_COUNTS = {"startIndex": {"type": "integer"}, "count": {"type": "integer", "description": f"At most {MAX_RESULTS}."}}


def document(base: str) -> bytes:
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "OpsHelm Okta agent: SCIM 2.0", "version": "2.0"},
            "servers": [{"url": base}],
            "security": [{"key": []}],
            "paths": _paths(),
            "components": {
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
                "schemas": _schemas(),
                "responses": {status: _response(description, "Error") for status, description in _ERRORS.items()},
            },
        }
    )


def _paths() -> dict[str, Any]:
    shown = [_query(name, {"type": "string"}) for name in _SHOWN]
    listing = [_query("filter", _FILTER), *(_query(name, schema) for name, schema in _COUNTS.items()), *shown]
    user, many = (
        _response("The user, or what of it is asked for.", "AnsweredUser"),
        _response("A page of users.", "ListResponse"),
    )
    match = {"name": "If-Match", "in": "header", "schema": {"type": "string"}}
    seen = {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}}
    search = _operation("Search with a body.", "200", many, _BODY, body="SearchRequest")
    found = _response("The document.", "Document")
    return {
        "/Users": {
            "get": _operation("Search.", "200", many, _ALWAYS, listing),
            "post": _operation("Create, or revive a leaver.", "201", user, _CHANGE, shown, body="User"),
        },
        "/Users/{id}": {
            "parameters": [_in_path("id")],
            "get": _operation("One user.", "200", user, _ALWAYS, [seen, *shown]),
            "put": _operation("Replace.", "200", user, _CHANGE, [match, *shown], body="User"),
            "patch": _operation("Change.", "200", user, _CHANGE, [match, *shown], body="PatchOp"),
            "delete": _operation("Deactivate and hide.", "204", {"description": "Done."}, _CHANGE, [match]),
        },
        "/Users/.search": {"post": search},
        "/.search": {"post": search},
        "/Groups": {
            "get": _operation("Always empty: OpsHelm has no groups.", "200", many, _ALWAYS),
            "post": _operation("Never.", "501", {"$ref": "#/components/responses/501"}, _ALWAYS),
        },
        **{
            f"/{name}": {"get": _operation("Discovery.", "200", found, (*_ALWAYS, "403"))}
            for name in ("ServiceProviderConfig", "Schemas", "ResourceTypes", "openapi.json")
        },
        **{
            f"/{name}/{{id}}": {
                "parameters": [_in_path("id")],
                "get": _operation("Discovery.", "200", found, (*_ALWAYS, "403")),
            }
            for name in ("Schemas", "ResourceTypes")
        },
    }


def _operation(
    summary: str, status: str, answer: dict[str, Any], errors: Iterable[str], parameters: Any = (), *, body: str = ""
) -> dict[str, Any]:
    answers = {code: {"$ref": f"#/components/responses/{code}"} for code in errors}
    made: dict[str, Any] = {"summary": summary, "responses": {status: answer, **answers}}
    if any(parameter.get("name") == "If-None-Match" for parameter in parameters):
        made["responses"]["304"] = {"description": "The caller has this version already."}
    if parameters:
        made["parameters"] = list(parameters)
    if body:
        schema = {"schema": {"$ref": f"#/components/schemas/{body}"}}
        made["requestBody"] = {"required": True, "content": {_SCIM: schema, "application/json": schema}}
    return made


def _response(description: str, schema: str) -> dict[str, Any]:
    content = {_SCIM: {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": schema}


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}


def _schemas() -> dict[str, Any]:
    strings = {"type": "array", "items": {"type": "string"}}
    user = _object(CORE)
    user["properties"] |= {"schemas": strings, ENTERPRISE_URN: _object(ENTERPRISE.subs)}
    operation = {
        "type": "object",
        "required": ["op"],
        "properties": {"op": {"enum": ["add", "replace", "remove"]}, "path": {"type": "string"}, "value": {}},
    }
    listed = {"totalResults": {"type": "integer"}, "Resources": {"type": "array", "items": {"type": "object"}}}
    error = {
        "schemas": strings,
        "status": {"type": "string"},
        "detail": {"type": "string"},
        "scimType": {"type": "string"},
    }
    return {
        "User": user | {"required": ["userName"]},
        "AnsweredUser": user | {"required": ["schemas", "id"]},
        "PatchOp": {
            "type": "object",
            "required": ["schemas", "Operations"],
            "properties": {
                "schemas": {"const": [f"{_MESSAGES}PatchOp"]},
                "Operations": {"type": "array", "items": operation, "minItems": 1, "maxItems": 100},
            },
        },
        "SearchRequest": {
            "type": "object",
            "required": ["schemas"],
            "properties": {
                "schemas": {"const": [f"{_MESSAGES}SearchRequest"]},
                "filter": _FILTER,
                **_COUNTS,
                **dict.fromkeys(_SHOWN, strings),
            },
        },
        "ListResponse": {"type": "object", "required": ["schemas", "totalResults"], "properties": listed},
        "Error": {"type": "object", "required": ["schemas", "status", "detail"], "properties": error},
        "Document": {"type": "object"},
    }


def _object(attributes: Iterable[Attribute]) -> dict[str, Any]:
    return {"type": "object", "properties": {attribute.name: _schema(attribute) for attribute in attributes}}


def _schema(attribute: Attribute) -> dict[str, Any]:
    if attribute.subs:
        schema = _object(attribute.subs)
    else:
        schema = {"type": "boolean" if attribute.kind == "boolean" else "string"}
    schema["description"] = attribute.description
    if attribute.mutability == "readOnly":
        schema["readOnly"] = True
    return {"type": "array", "items": schema} if attribute.multi else schema
