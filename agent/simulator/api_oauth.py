"""POST /oauth2/v1/token, whose errors have OAuth's shape and not Okta's."""

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agent.simulator.oauth import TOKEN_PATH, TokenRefused
from agent.simulator.replies import org_of, reply


async def issue(request: Request) -> Response:
    """POST /oauth2/v1/token."""
    form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
    try:
        return reply(org_of(request).oauth.token(form, request.headers.get("dpop")))
    except TokenRefused as exc:
        answer = reply({"error": exc.error, "error_description": exc.description}, exc.status)
        if exc.nonce is not None:
            answer.headers["dpop-nonce"] = exc.nonce
        return answer


ROUTES = [Route(TOKEN_PATH, issue, methods=["POST"])]
