"""The body of POST /.search (RFC 7644 §3.4.3). Sorting is not supported, and ServiceProviderConfig says so."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from agent.scim.errors import invalid_value

#: Beyond this a number means no more than "all" (count) or "past the end" (startIndex); every database takes it.
LARGEST = 10**18


class SearchRequest(Struct, frozen=True, kw_only=True):
    """Lists of attributes are joined by commas, as in a query."""

    filter: str | None
    start_index: int
    count: int | None
    attributes: str | None
    excluded_attributes: str | None


def read(value: Mapping[str, Any]) -> SearchRequest:
    parts = {key.lower(): item for key, item in value.items() if item is not None}
    wanted = parts.get("filter")
    if wanted is not None and not isinstance(wanted, str):
        raise invalid_value("filter must be a string.")
    return SearchRequest(
        filter=wanted,
        start_index=_number(parts, "startIndex", 1),
        count=_number(parts, "count", -1) if "count" in parts else None,
        attributes=_names(parts, "attributes"),
        excluded_attributes=_names(parts, "excludedAttributes"),
    )


def _number(parts: Mapping[str, Any], name: str, default: int) -> int:
    number = parts.get(name.lower(), default)
    if isinstance(number, bool) or not isinstance(number, int):
        raise invalid_value(f"{name} must be an integer.")
    return max(-LARGEST, min(number, LARGEST))


def _names(parts: Mapping[str, Any], name: str) -> str | None:
    names = parts.get(name.lower())
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise invalid_value(f"{name} must be a list of strings.")
    return ",".join(names)
