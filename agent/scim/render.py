"""Users out: one user, a page, the plain object that filters and PATCH of scim2-models work on. Bytes are put together
from the profile's own encoding; nothing is decoded again unless a projection asks for it.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import quote

import msgspec

from agent.model.users import ENTERPRISE_URN, DirectoryUser, ShownUser
from agent.scim.schema import CORE_URN

LIST_URN = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
_CORE_ONLY = (CORE_URN,)
_WITH_ENTERPRISE = (CORE_URN, ENTERPRISE_URN)
#: How the extension's key ends, and no other one. In a text the quote would be escaped. It is the last one of a profile, and
#: Python's ``in`` would try it as a number first.
_ENTERPRISE_KEY = b':User":'
_encode = msgspec.json.Encoder().encode
#: An id that is its own escape, as all are that the agent makes.
_PLAIN = re.compile(r"[0-9A-Za-z_-]+").fullmatch


class _Meta(msgspec.Struct, rename="camel", tag_field="resourceType", tag="User", gc=False):
    created: datetime
    last_modified: datetime
    location: str
    version: str


class _Head(msgspec.Struct, omit_defaults=True, rename="camel", gc=False):
    """All that is shown beside the profile."""

    schemas: tuple[str, ...]
    id: str
    user_name: str
    active: bool
    meta: _Meta
    external_id: str | None = None


def etag(user: ShownUser) -> str:
    return f'W/"{user.version}"'


def location(user: ShownUser, base: str) -> str:
    return f"{base}/Users/{user.id if _PLAIN(user.id) else quote(user.id, safe='')}"


def user(user: ShownUser, base: str) -> bytes:
    """The user's JSON. ``base`` is the public address of the SCIM root."""
    schemas = _WITH_ENTERPRISE if user.profile.rfind(_ENTERPRISE_KEY) > 0 else _CORE_ONLY
    meta = _Meta(user.created, user.updated, location(user, base), etag(user))
    head = _encode(_Head(schemas, user.id, user.user_name, user.active, meta, user.okta_id))
    return head[:-1] + b"," + user.profile[1:] if len(user.profile) > 2 else head


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
    value["schemas"] = list(_CORE_ONLY if user.profile.enterprise is None else _WITH_ENTERPRISE)
    value["userName"] = user.user_name
    value["active"] = user.active
    if user.okta_id is not None:
        value["externalId"] = user.okta_id
    return value
