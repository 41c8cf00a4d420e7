"""HTTP answers for the routes: JSON through msgspec, bodies read strictly. No rules of Okta's beyond the shapes."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.simulator import paging
from agent.simulator.errors import ApiError
from agent.simulator.org import Org

T = TypeVar("T")
Endpoint = Callable[[Org, Request], Awaitable[Response]]


_object = msgspec.json.Decoder(dict[str, Any]).decode


def org_of(request: Request) -> Org:
    org: Org = request.app.state.org
    return org


def routes(path: str, **methods: Endpoint) -> list[Route]:
    """``routes("/x", GET=show, DELETE=remove)``."""
    return [Route(path, _answering(endpoint), methods=[method]) for method, endpoint in methods.items()]


def _answering(endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return await endpoint(org_of(request), request)

    return answer


def reply(body: Any, status: int = 200, extra: paging.Links | None = None) -> Response:
    """``body`` as JSON; what is rendered already comes as ``msgspec.Raw``."""
    answer = Response(msgspec.json.encode(body), status, media_type="application/json")
    answer.raw_headers.extend(extra or ())
    return answer


def refuse(error: ApiError) -> Response:
    return reply(error.body(), error.status)


def empty() -> Response:
    """204: without body and content type."""
    return Response(status_code=204)


def page(request: Request, shown: list[Any], limit: int, following: int | None = None) -> Response:
    url = f"{org_of(request).base}{request.url.path}"
    return reply(shown, 200, paging.links(url, request.query_params, limit, following))


def paged(
    request: Request,
    rows: Sequence[T | None],
    show: Callable[[T], Any],
    sizes: tuple[int, int],
    wanted: Callable[[T], bool] | None = None,
) -> Response:
    """The page that the query asks for; ``sizes`` are the usual one and the largest."""
    limit, after = paging.window_of(request.query_params, *sizes)
    found, following = paging.cut(rows, after, limit, wanted)
    return page(request, [show(one) for one in found], limit, following)


async def json_body(request: Request, *, required: bool = True) -> dict[str, Any]:
    """The request's object; E0000003 for anything else. ``required`` False lets an empty body pass as {}."""
    content = await request.body()
    if not content and not required:
        return {}
    try:
        return _object(content)
    except msgspec.DecodeError:
        raise ApiError("E0000003") from None


def flag(request: Request, name: str, *, default: bool) -> bool:
    return request.query_params.get(name, str(default)).lower() == "true"
