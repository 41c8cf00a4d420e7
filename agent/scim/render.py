"""Users out: one user, a page, the plain object that filters and PATCH of scim2-models work on. Bytes are put together
from the profile's own encoding; nothing is decoded again unless a projection asks for it.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from agent.model.users import ENTERPRISE_URN, DirectoryUser
from agent.scim.schema import CORE_URN

LIST_URN = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_CORE_ONLY = (CORE_URN,)
_WITH_ENTERPRISE = (CORE_URN, ENTERPRISE_URN)
_encode = msgspec.json.Encoder().encode


class _Head(msgspec.Struct, omit_defaults=True, rename="camel"):
    schemas: tuple[str, ...]
    id: str
    user_name: str
    active: bool
    external_id: str | None = None


class _Meta(msgspec.Struct, rename="camel", tag_field="resourceType", tag="User"):
    created: datetime
    last_modified: datetime
    location: str
    version: str


class _Tail(msgspec.Struct):
    meta: _Meta


def _schemas(user: DirectoryUser) -> tuple[str, ...]:
    return _CORE_ONLY if user.profile.enterprise is None else _WITH_ENTERPRISE


def etag(user: DirectoryUser) -> str:
    return f'W/"{user.version}"'


def location(user: DirectoryUser, base: str) -> str:
    return f"{base}/Users/{quote(user.id, safe='')}"


def user(user: DirectoryUser, base: str) -> bytes:
    """The user's JSON. ``base`` is the public address of the SCIM root."""
    head = _encode(_Head(_schemas(user), user.id, user.user_name, user.active, user.okta_id))
    meta = _Meta(user.created, user.updated, location(user, base), etag(user))
    middle = _encode(user.profile)
    comma = b"," if len(middle) > 2 else b""
    return head[:-1] + comma + middle[1:-1] + b"," + _encode(_Tail(meta))[1:]


def page(resources: Iterable[bytes], *, total: int, start_index: int, count: int) -> bytes:
    return b'{"schemas":["%b"],"totalResults":%d,"startIndex":%d,"itemsPerPage":%d,"Resources":[%b]}' % (
        LIST_URN.encode(),
        total,
        start_index,
        count,
        b",".join(resources),
    )


def cursor_page(resources: Iterable[bytes], *, total: int, count: int, following: str | None) -> bytes:
    """RFC 9865 §2: no startIndex; the last page has no nextCursor."""
    behind = b"" if following is None else b',"nextCursor":"%b"' % following.encode()
    return b'{"schemas":["%b"],"totalResults":%d,"itemsPerPage":%d%b,"Resources":[%b]}' % (
        LIST_URN.encode(),
        total,
        count,
        behind,
        b",".join(resources),
    )


def plain(user: DirectoryUser) -> dict[str, Any]:
    """What a PATCH may work on: the user without id and meta."""
    value: dict[str, Any] = msgspec.to_builtins(user.profile)
    value["schemas"] = list(_schemas(user))
    value["userName"] = user.user_name
    value["active"] = user.active
    if user.okta_id is not None:
        value["externalId"] = user.okta_id
    return value
