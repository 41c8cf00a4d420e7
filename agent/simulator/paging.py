"""Pages as Okta cuts them: a limit, an opaque cursor, and ``link`` headers, self then next, each a line of its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlencode

from agent.simulator.errors import ApiError, invalid

T = TypeVar("T")
Links = list[tuple[bytes, bytes]]


def window_of(query: Mapping[str, str], usual: int, largest: int) -> tuple[int, int]:
    """The page's size and the row after which it begins, -1 without a cursor.

    A size outside 1..``largest`` is Okta's validation error, a cursor that no page has given is E0000029.
    """
    limit, after = query.get("limit", str(usual)), query.get("after")
    if not limit.isdigit() or not 1 <= int(limit) <= largest:
        raise invalid("limit", f"limit: The value must be between 1 and {largest}")
    try:
        return int(limit), -1 if after is None else int(after.removeprefix("000u"), 16)
    except ValueError:
        raise ApiError("E0000029") from None


def cut(
    rows: Sequence[T | None], after: int, limit: int, wanted: Callable[[T], bool] | None = None
) -> tuple[list[T], int | None]:
    """Up to ``limit`` rows behind ``after`` that are wanted, and the cursor of the next page if there is one."""
    page: list[T] = []
    last = after
    for at in range(after + 1, len(rows)):
        one = rows[at]
        if one is None or (wanted is not None and not wanted(one)):
            continue
        if len(page) == limit:
            return page, last
        page.append(one)
        last = at
    return page, None


def links(url: str, query: Mapping[str, str], limit: int, following: int | None) -> Links:
    """The two ``link`` headers; self stands on the last page too."""
    kept = {name: value for name, value in query.items() if name not in ("after", "limit")}
    here = {"after": query["after"]} if "after" in query else {}
    found = [_link(url, {**here, "limit": limit, **kept}, "self")]
    if following is not None:
        kept.pop("since", None)  # a cursor says where to go on; Okta refuses both together
        found.append(_link(url, {"after": f"000u{following:012x}", "limit": limit, **kept}, "next"))
    return found


def _link(url: str, query: dict[str, Any], relation: str) -> tuple[bytes, bytes]:
    return b"link", f'<{url}?{urlencode(query)}>; rel="{relation}"'.encode()
