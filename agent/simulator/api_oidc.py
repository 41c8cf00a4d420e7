"""OpenID Connect over HTTP: discovery, the authorization endpoint and the keys. The token call is in api_org, with the other one."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from agent.simulator.oauth import TOKEN_PATH
from agent.simulator.oidc import AUTHORIZE_PATH, KEYS_PATH
from agent.simulator.replies import org_of, reply, routes


async def discovery(request: Request) -> Response:
    """GET /.well-known/openid-configuration."""
    base = org_of(request).base
    return reply(
        {
            "issuer": base,
            "authorization_endpoint": f"{base}{AUTHORIZE_PATH}",
            "token_endpoint": f"{base}{TOKEN_PATH}",
            "jwks_uri": f"{base}{KEYS_PATH}",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }
    )


async def authorize(request: Request) -> Response:
    return RedirectResponse(org_of(request).oidc.authorize(dict(request.query_params)), 302)


async def keys(request: Request) -> Response:
    return reply(org_of(request).oidc.keys())


ROUTES = [
    *routes("/.well-known/openid-configuration", GET=discovery),
    *routes(AUTHORIZE_PATH, GET=authorize),
    *routes(KEYS_PATH, GET=keys),
]
