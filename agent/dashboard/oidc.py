"""Signing in with Okta: OpenID Connect with a code and PKCE. Says who somebody is and what the claim says; gives no role.

The ID token is believed when its signature is by one of the issuer's keys, and issuer, audience, time and nonce are right.
"""

import secrets
import ssl
from typing import Any
from urllib.parse import quote_plus

import httpx
from httpx._client import UseClientDefault
from msgspec import Struct

from agent.model.errors import AgentError
from agent.settings import Settings

DONE_PATH = "/sign-in/okta/done"
_SECONDS = 10.0
#: Clocks may differ.
_LEEWAY = 60
_SCOPES = "openid profile email groups"
_ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384"]


class SignInFailed(AgentError):
    """``detail`` is for the log: it says what Okta said, and never a token."""

    code = "sign_in_failed"


class Begun(Struct, frozen=True, kw_only=True):
    """A sign-in on its way to Okta: where to, and what has to come back."""

    address: str
    state: str
    nonce: str
    verifier: str


class SignedInPerson(Struct, frozen=True, kw_only=True):
    okta_id: str
    name: str
    claims: tuple[str, ...]


class Okta:
    """The issuer as the settings name it; asked anew at each sign-in."""

    def __init__(self, settings: Settings, redirect_uri: str) -> None:
        self._settings, self._redirect_uri = settings, redirect_uri
        self._issuer = (settings.dashboard.issuer or settings.okta.org_url or "").rstrip("/")

    def begin(self) -> Begun:
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
        with self._client() as client:
            endpoint = self._discovered(client)["authorization_endpoint"]
        challenge = {"code_challenge": create_s256_code_challenge(verifier), "code_challenge_method": "S256"}
        own = {"client_id": self._client_id, "redirect_uri": self._redirect_uri, "scope": _SCOPES}
        address = prepare_grant_uri(endpoint, response_type="code", state=state, nonce=nonce, **own, **challenge)
        return Begun(address=address, state=state, nonce=nonce, verifier=verifier)

    def finish(self, code: str, nonce: str, verifier: str) -> SignedInPerson:
        from joserfc import jwt
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        try:
            with self._client() as client:
                found = self._discovered(client)
                id_token = self._id_token(client, found["token_endpoint"], code, verifier)
                keys = KeySet.import_key_set(client.get(found["jwks_uri"]).raise_for_status().json())
            claims = jwt.decode(id_token, keys, algorithms=_ALGORITHMS).claims
            jwt.JWTClaimsRegistry(leeway=_LEEWAY, **self._required(nonce)).validate(claims)
        except (httpx.HTTPError, httpx.InvalidURL, AttributeError, JoseError, KeyError, TypeError, ValueError) as error:
            raise SignInFailed(f"Okta's answer to the sign-in can't be used: {type(error).__name__}") from error
        said = claims.get(self._settings.dashboard.roles_claim)
        values = said if isinstance(said, list) else [said]
        return SignedInPerson(
            # A custom authorization server's sub is the login; the id is uid.
            okta_id=str(claims.get("uid") or claims["sub"]),
            name=str(claims.get("preferred_username") or claims.get("email") or claims["sub"]),
            claims=tuple(str(value) for value in values if value is not None),
        )

    def _id_token(self, client: httpx.Client, endpoint: str, code: str, verifier: str) -> str:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri}
        secret = self._settings.dashboard.client_secret
        auth: httpx.BasicAuth | UseClientDefault = httpx.USE_CLIENT_DEFAULT
        if secret is None:
            form["client_id"] = self._client_id
        else:
            auth = httpx.BasicAuth(quote_plus(self._client_id), quote_plus(secret.get_secret_value()))
        answer = client.post(endpoint, data={**form, "code_verifier": verifier}, auth=auth)
        return str(answer.raise_for_status().json()["id_token"])

    @property
    def _client_id(self) -> str:
        return self._settings.dashboard.client_id or ""

    def _client(self) -> httpx.Client:
        okta = self._settings.okta
        trusted = ssl.create_default_context(cafile=okta.ca_file)
        return httpx.Client(timeout=_SECONDS, trust_env=False, proxy=okta.proxy, verify=trusted)

    def _discovered(self, client: httpx.Client) -> dict[str, Any]:
        address = f"{self._issuer}/.well-known/openid-configuration"
        try:
            found: dict[str, Any] = client.get(address).raise_for_status().json()
        except (httpx.HTTPError, ValueError) as error:
            raise SignInFailed(f"{self._issuer} can't be asked how to sign in: {type(error).__name__}") from error
        if not isinstance(found, dict) or str(found.get("issuer")).rstrip("/") != self._issuer:
            raise SignInFailed(f"{self._issuer} says that it is another issuer")
        if "authorization_endpoint" not in found:
            raise SignInFailed(f"{self._issuer} doesn't say how to sign in")
        return found

    def _required(self, nonce: str) -> dict[str, Any]:
        """Of the ID token's claims."""
        return {
            "iss": {"essential": True, "values": [self._issuer, f"{self._issuer}/"]},
            "aud": {"essential": True, "value": self._client_id},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "nonce": {"essential": True, "value": nonce},
        }
