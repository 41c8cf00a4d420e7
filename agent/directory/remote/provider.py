"""What the remote says it can do: its ServiceProviderConfig (RFC 7643 §5, RFC 9865), read leniently. Tries nothing out.

A remote without one is taken to filter and page by index; PATCH is tried, and PUT used once it turned out not to work.
"""

from typing import Any

from msgspec import Struct

from agent.directory.remote.transport import Answer


class Provider(Struct, frozen=True, kw_only=True):
    #: False: the remote has no ServiceProviderConfig, or none that can be read.
    announced: bool = False
    patch: bool = True
    etag: bool = False
    filter: bool = True
    #: The most that a page may hold; None: not said.
    max_results: int | None = None
    cursor: bool = False
    index: bool = True

    def page_size(self, wanted: int) -> int:
        return min(wanted, self.max_results) if self.max_results else wanted


def read(answer: Answer) -> Provider:
    value = {key.lower(): item for key, item in answer.json().items()}
    if not answer.ok or not value.keys() & {"patch", "filter", "etag", "bulk", "sort"}:
        return Provider()
    pagination = _object(value.get("pagination"))
    found = _object(value.get("filter"))
    sizes = [n for n in (_number(pagination.get("maxpagesize")), _number(found.get("maxresults"))) if n]
    return Provider(
        announced=True,
        patch=_supported(value, "patch"),
        etag=_supported(value, "etag"),
        filter=_supported(value, "filter"),
        max_results=min(sizes, default=None),
        cursor=_true(pagination.get("cursor")),
        index=_true(pagination.get("index", True)),
    )


def _object(value: Any) -> dict[str, Any]:
    return {str(key).lower(): item for key, item in value.items()} if isinstance(value, dict) else {}


def _supported(value: dict[str, Any], name: str) -> bool:
    return _true(_object(value.get(name)).get("supported"))


def _true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")


def _number(value: Any) -> int | None:
    """A positive count, also one that came as text."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
