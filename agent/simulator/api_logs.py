"""/api/v1/logs: the System Log, polled or bounded.

| asked                            | order            | ``next``                                          |
|----------------------------------|------------------|---------------------------------------------------|
| no ``until``, ASCENDING (poll)   | as stored        | always, on an empty page too                      |
| ``until``, or DESCENDING         | by ``published`` | while there is more                               |
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agent.simulator import ids, paging
from agent.simulator.errors import invalid
from agent.simulator.filters import Filter, Predicate
from agent.simulator.org import Org
from agent.simulator.replies import page, routes
from agent.simulator.syslog import Event

_KEPT = timedelta(days=180)
_DEFAULT = timedelta(days=7)
_ROOT_NAMES = (
    "uuid eventType version severity displayMessage actor client outcome target transaction debugContext "
    "authenticationContext securityContext request legacyEventType"
)
_ROOTS = frozenset(_ROOT_NAMES.split())


async def list_events(org: Org, request: Request) -> Response:
    query = request.query_params
    limit, after = paging.window_of(query, 100, 1000)
    order = query.get("sortOrder", "ASCENDING")
    if order not in ("ASCENDING", "DESCENDING"):
        raise invalid("sortOrder", "sortOrder: The value must be ASCENDING or DESCENDING")
    if "since" in query and "after" in query:
        raise invalid("since", "since and after are mutually exclusive.")
    since, until = _bounds(query)
    wanted = _wanted(query, since, until)
    events: list[Event] = org.log.events
    polling = "until" not in query and order == "ASCENDING"
    if not polling:
        events = sorted(events, key=lambda event: event["published"], reverse=order == "DESCENDING")
    found, following = paging.cut(events, after, limit, wanted)
    if polling and following is None:
        # What comes later is behind the last event stored now, wanted or not.
        following = max(after, len(events) - 1)
    return page(request, found, limit, following)


def _bounds(query: Mapping[str, str]) -> tuple[str, str | None]:
    """The window; with a cursor it reaches as far back as the log does."""
    now = datetime.now(UTC)
    try:
        since = ids.parse_time(query["since"]) if "since" in query else now - (_KEPT if "after" in query else _DEFAULT)
        until = ids.okta_time(ids.parse_time(query["until"])) if "until" in query else None
    except ValueError:
        raise invalid("since", "since and until: ISO 8601 times are expected") from None
    if since < now - _KEPT - timedelta(minutes=1):
        raise invalid("since", "'since': Cannot be older than 180 days from the current time.")
    return ids.okta_time(since), until


def _wanted(query: Mapping[str, str], since: str, until: str | None) -> Predicate:
    matches = Filter(query["filter"], _resolve, fold=True).compile() if query.get("filter") else None
    words = query.get("q", "").casefold().split()

    def wanted(event: Event) -> bool:
        if event["published"] < since or (until is not None and event["published"] >= until):
            return False
        if matches is not None and not matches(event):
            return False
        text = msgspec.json.encode(event).decode().casefold() if words else ""
        return all(word in text for word in words)

    return wanted


def _resolve(name: str) -> Callable[[Any], Any] | None:
    """A dotted path; through a list (``target.id``) it gives all values. ``published`` can't be filtered."""
    parts = name.split(".")
    if parts[0] not in _ROOTS:
        return None

    def read(one: Any) -> Any:
        values = [one]
        for part in parts:
            found = [value.get(part) for value in values if isinstance(value, dict)]
            values = [inner for value in found for inner in (value if isinstance(value, list) else [value])]
        return values

    return read


ROUTES = routes("/api/v1/logs", GET=list_events)
