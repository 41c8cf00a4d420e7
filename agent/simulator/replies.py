"""HTTP answers for the routes: JSON through msgspec, bodies read strictly. No rules of Okta's beyond the shapes."""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agent.simulator import paging
from agent.simulator.errors import ApiError
from agent.simulator.org import Org

_encode = msgspec.json.encode


def org_of(request: Request) -> Org:
    org: Org = request.app.state.org
    return org


def reply(body: Any, status: int = 200) -> Response:
    return raw(_encode(body), status)


def raw(body: bytes, status: int = 200, extra: paging.Links | None = None) -> Response:
    """JSON that is rendered already."""
    answer = Response(body, status, media_type="application/json")
    answer.raw_headers.extend(extra or ())
    return answer


def empty() -> Response:
    """204: without body and content type."""
    return Response(status_code=204)


def page(request: Request, rendered: list[bytes], limit: int, following: int | str | None) -> Response:
    """A list answer with its link headers."""
    url = f"{org_of(request).base}{request.url.path}"
    links = paging.links(url, request.query_params, limit, following)
    return raw(b"[" + b",".join(rendered) + b"]", 200, links)


async def json_body(request: Request, *, required: bool = True) -> dict[str, Any]:
    """The request's object; E0000003 for anything else. ``required`` False lets an empty body pass as {}."""
    content = await request.body()
    if not content and not required:
        return {}
    try:
        body = msgspec.json.decode(content)
    except msgspec.DecodeError:
        raise ApiError("E0000003") from None
    if not isinstance(body, dict):
        raise ApiError("E0000003")
    return body


def flag(request: Request, name: str, *, default: bool) -> bool:
    return request.query_params.get(name, str(default)).lower() == "true"
