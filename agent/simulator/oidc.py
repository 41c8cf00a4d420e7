"""The org's authorization server for people: OpenID Connect with a code, a client secret and PKCE. There is no sign-in form.

Who sits before the browser is said by the control API; a person who isn't LIVE is refused.
"""

import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode

from agent.simulator.entities import LIVE, OrgGroup, User
from agent.simulator.errors import invalid
from agent.simulator.oauth import TokenRefused, digest
from agent.simulator.state import OrgState

AUTHORIZE_PATH, KEYS_PATH = "/oauth2/v1/authorize", "/oauth2/v1/keys"
#: How long a code is good.
_CODE_AGE = 60
_KID = "simulated-1"


@dataclass(kw_only=True, slots=True)
class WebApp:
    client_id: str
    client_secret: str
    redirect_uris: tuple[str, ...]


@dataclass(kw_only=True, slots=True)
class Code:
    """One sign-in that waits for its token call."""

    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str
    okta_id: str
    expires: float


@dataclass(slots=True)
class Oidc:
    """Web apps, who signs in next, and codes. Its key is made at the first use."""

    org: OrgState
    find: Callable[[str], User]
    groups_of: Callable[[User], list[OrgGroup]]
    apps: dict[str, WebApp] = field(default_factory=dict)
    codes: dict[str, Code] = field(default_factory=dict)
    #: The Okta user before the browser.
    person: str = ""
    _key: Any = None

    def configure(self, body: dict[str, Any]) -> None:
        """``client_id``, ``client_secret`` and ``redirect_uris`` make an app; ``person`` is an id or a login."""
        if client_id := body.get("client_id"):
            self.apps[client_id] = WebApp(
                client_id=client_id,
                client_secret=str(body.get("client_secret") or ""),
                redirect_uris=tuple(body.get("redirect_uris") or ()),
            )
        if person := body.get("person"):
            self.person = self.find(person).id

    def authorize(self, query: dict[str, str]) -> str:
        """Where the browser goes on to. A redirect address that no app has is an error page, never followed."""
        app = self.apps.get(query.get("client_id", ""))
        if app is None or query.get("redirect_uri") not in app.redirect_uris:
            raise invalid("redirect_uri", "redirect_uri: must be a Login redirect URI in the client app settings")
        answer = {"state": query.get("state", "")}
        user = self.org.users.get(self.person)
        if "openid" not in query.get("scope", "").split() or query.get("response_type") != "code":
            answer |= {"error": "invalid_scope", "error_description": "openid and response_type code are needed."}
        elif query.get("code_challenge_method") != "S256" or not query.get("code_challenge"):
            answer |= {"error": "invalid_request", "error_description": "PKCE code challenge is required."}
        elif user is None or user.status not in LIVE:
            answer |= {"error": "access_denied", "error_description": "User is not assigned to the client application."}
        else:
            code = secrets.token_urlsafe(24)
            self.codes[code] = Code(
                client_id=app.client_id,
                redirect_uri=query["redirect_uri"],
                challenge=query["code_challenge"],
                nonce=query.get("nonce", ""),
                okta_id=user.id,
                expires=time.time() + _CODE_AGE,
            )
            answer["code"] = code
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def token(self, form: dict[str, str], basic: str) -> dict[str, Any]:
        """The token call with a code; each code is good once."""
        given_id, given_secret = _client(form, basic)
        app, code = self.apps.get(given_id), self.codes.pop(form.get("code", ""), None)
        if app is None or not hmac.compare_digest(app.client_secret.encode(), given_secret.encode()):
            raise TokenRefused(
                "invalid_client", "The client secret supplied for a confidential client is invalid.", 401
            )
        challenge = digest(form.get("code_verifier", ""))
        if (
            code is None
            or code.expires < time.time()
            or (code.client_id, code.redirect_uri) != (app.client_id, form.get("redirect_uri"))
            or not hmac.compare_digest(code.challenge, challenge)
        ):
            raise TokenRefused("invalid_grant", "The authorization code is invalid or has expired.")
        return {
            "token_type": "Bearer",
            "expires_in": 3600,
            "access_token": secrets.token_urlsafe(32),
            "scope": "openid profile email groups",
            "id_token": self._id_token(code),
        }

    def keys(self) -> dict[str, Any]:
        from jwt.algorithms import RSAAlgorithm

        public = json.loads(RSAAlgorithm.to_jwk(self._private().public_key()))
        return {"keys": [public | {"kid": _KID, "use": "sig", "alg": "RS256"}]}

    def _id_token(self, code: Code) -> str:
        import jwt

        user, now = self.org.users[code.okta_id], int(time.time())
        claims = {
            "iss": self.org.base,
            "aud": code.client_id,
            "sub": user.id,
            "iat": now,
            "exp": now + 3600,
            "nonce": code.nonce,
            "preferred_username": user.profile["login"],
            "email": user.profile.get("email", ""),
            "groups": sorted(group.name for group in self.groups_of(user)),
        }
        return jwt.encode(claims, self._private(), algorithm="RS256", headers={"kid": _KID})

    def _private(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import rsa

        if self._key is None:
            self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        return self._key


def _client(form: dict[str, str], basic: str) -> tuple[str, str]:
    """Id and secret, from the Authorization header or the form."""
    if not basic.startswith("Basic "):
        return form.get("client_id", ""), form.get("client_secret", "")
    name, _, secret = base64.b64decode(basic.removeprefix("Basic ")).decode().partition(":")
    return unquote_plus(name), unquote_plus(secret)
