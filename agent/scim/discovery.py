"""ServiceProviderConfig, Schemas and ResourceTypes (RFC 7644 §4). Says what the receiver does and nothing that it does not."""

from collections.abc import Sequence
from typing import Any

import msgspec

from agent.model.attributes import Attribute
from agent.model.users import ENTERPRISE_URN
from agent.scim.render import LIST_URN
from agent.scim.schema import CORE, CORE_URN, ENTERPRISE

#: Users on one page at most; more asked for are capped.
MAX_RESULTS = 1000

_CONFIG_URN = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
_SCHEMA_URN = "urn:ietf:params:scim:schemas:core:2.0:Schema"
_TYPE_URN = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"


def service_provider_config(base: str) -> bytes:
    return msgspec.json.encode(
        {
            "schemas": [_CONFIG_URN],
            "patch": {"supported": True},
            "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
            "filter": {"supported": True, "maxResults": MAX_RESULTS},
            "changePassword": {"supported": False},
            "sort": {"supported": False},
            "etag": {"supported": True},
            # RFC 9865.
            "pagination": {
                "cursor": True,
                "index": True,
                "defaultPaginationMethod": "index",
                "defaultPageSize": 100,
                "maxPageSize": MAX_RESULTS,
            },
            "authenticationSchemes": [
                {
                    "type": "oauthbearertoken",
                    "name": "API key",
                    "description": "An API key made by `opshelm-agent keys create`, as bearer token.",
                    "specUri": "https://www.rfc-editor.org/rfc/rfc6750",
                    "primary": True,
                }
            ],
            "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
        }
    )


def schemas(base: str) -> dict[str, bytes]:
    """Each schema's document, by URN."""
    return {
        CORE_URN: _schema(base, CORE_URN, "User", "A person's OpsHelm account.", CORE),
        ENTERPRISE_URN: _schema(
            base, ENTERPRISE_URN, "EnterpriseUser", "What organisations keep of their people.", ENTERPRISE.subs
        ),
    }


def resource_types(base: str) -> dict[str, bytes]:
    """Each resource type's document, by name. Users only: OpsHelm has no groups."""
    return {
        "User": msgspec.json.encode(
            {
                "schemas": [_TYPE_URN],
                "id": "User",
                "name": "User",
                "description": "A person's OpsHelm account.",
                "endpoint": "/Users",
                "schema": CORE_URN,
                "schemaExtensions": [{"schema": ENTERPRISE_URN, "required": False}],
                "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/User"},
            }
        )
    }


def listed(documents: Sequence[bytes]) -> bytes:
    count = len(documents)
    return msgspec.json.encode(
        {
            "schemas": [LIST_URN],
            "totalResults": count,
            "startIndex": 1,
            "itemsPerPage": count,
            "Resources": [msgspec.Raw(document) for document in documents],
        }
    )


def _schema(base: str, urn: str, name: str, description: str, attributes: Sequence[Attribute]) -> bytes:
    return msgspec.json.encode(
        {
            "schemas": [_SCHEMA_URN],
            "id": urn,
            "name": name,
            "description": description,
            "attributes": [_attribute(attribute) for attribute in attributes],
            "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{urn}"},
        }
    )


def _attribute(attribute: Attribute) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": attribute.name,
        "type": attribute.kind,
        "multiValued": attribute.multi,
        "description": attribute.description,
        "required": attribute.required,
        "mutability": attribute.mutability,
        "returned": attribute.returned,
    }
    if attribute.kind in ("string", "reference"):
        shown |= {"caseExact": attribute.case_exact, "uniqueness": attribute.uniqueness}
    if attribute.canonical:
        shown["canonicalValues"] = list(attribute.canonical)
    if attribute.references:
        shown["referenceTypes"] = list(attribute.references)
    if attribute.subs:
        shown["subAttributes"] = [_attribute(sub) for sub in attribute.subs]
    return shown
