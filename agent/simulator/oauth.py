"""The org's authorization server, as far as a service app needs it: client credentials with private_key_jwt, and DPoP.

Clients are made by the control API. Access tokens are opaque; nothing here issues an ID token or knows a user.
"""

import base64
import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import jwt

from agent.simulator.errors import ApiError, invalid
from agent.simulator.state import OrgState

TOKEN_PATH = "/oauth2/v1/token"  # noqa: S105
LIFETIME = 3600
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ALGORITHMS = ["RS256", "RS384", "RS512"]
#: A proof is good for this many seconds around its ``iat``.
_PROOF_AGE = 300


@dataclass(kw_only=True, slots=True)
class Client:
    """A service app. ``dpop``: its tokens must be bound to a key."""

    client_id: str
    public_key: Any
    scopes: frozenset[str]
    dpop: bool = False


@dataclass(kw_only=True, slots=True)
class TokenGrant:
    """One access token. ``key``: the thumbprint that it is bound to; None for a Bearer token."""

    client_id: str
    scopes: frozenset[str]
    expires: float
    key: str | None = None


class TokenRefused(Exception):
    """An OAuth error answer (RFC 6749 §5.2): not Okta's usual shape."""

    def __init__(self, error: str, description: str, status: int = 400, nonce: str | None = None) -> None:
        super().__init__(description)
        self.error, self.description, self.status, self.nonce = error, description, status, nonce


@dataclass(slots=True)
class OAuth:
    """Clients and their tokens."""

    org: OrgState
    clients: dict[str, Client] = field(default_factory=dict)
    grants: dict[str, TokenGrant] = field(default_factory=dict)
    _used: set[str] = field(default_factory=set)
    _nonce: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def configure(self, body: dict[str, Any]) -> None:
        """Make or replace a client: ``client_id``, ``public_key`` (PEM or JWK), ``scopes``, ``dpop``; or revoke all."""
        if body.get("revoke"):
            self.grants.clear()
            return
        key = body.get("public_key")
        if not body.get("client_id") or not key:
            raise invalid("oauth", "oauth: client_id and public_key are needed")
        public = jwt.PyJWK(key).key if isinstance(key, dict) else key
        self.clients[body["client_id"]] = Client(
            client_id=body["client_id"],
            public_key=public,
            scopes=frozenset(body.get("scopes") or ()),
            dpop=bool(body.get("dpop")),
        )

    def token(self, form: dict[str, str], proof: str | None) -> dict[str, Any]:
        """The token call. Each assertion is good once, also where the answer is an error."""
        if form.get("grant_type") != "client_credentials":
            raise TokenRefused("unsupported_grant_type", "Only client_credentials is supported.")
        client = self._client(form)
        asked = frozenset(form.get("scope", "").split())
        if not asked or asked - client.scopes:
            raise TokenRefused("invalid_scope", "One or more scopes are not configured for the client application.")
        key = self._bind(client, proof)
        text = secrets.token_urlsafe(32)
        self.grants[text] = TokenGrant(
            client_id=client.client_id, scopes=asked, expires=time.time() + LIFETIME, key=key
        )
        kind = "DPoP" if key else "Bearer"
        return {"token_type": kind, "expires_in": LIFETIME, "access_token": text, "scope": " ".join(sorted(asked))}

    def grant_of(self, scheme: str, token: str, proof: str, method: str, path: str) -> TokenGrant:
        """The grant of an access token as a call presents it; E0000011 for anything that doesn't fit."""
        grant = self.grants.get(token)
        if grant is None or grant.expires < time.time() or (scheme == "DPoP") != (grant.key is not None):
            raise ApiError("E0000011")
        if grant.key is not None:
            try:
                thumbprint, claims = self._proof(proof, method, path)
            except TokenRefused:
                raise ApiError("E0000011") from None
            ath = digest(token)
            if thumbprint != grant.key or not hmac.compare_digest(str(claims.get("ath")), ath):
                raise ApiError("E0000011")
        return grant

    def _client(self, form: dict[str, str]) -> Client:
        refusal = TokenRefused("invalid_client", "The client_assertion is invalid.", 401)
        if form.get("client_assertion_type") != _ASSERTION:
            raise refusal
        text = form.get("client_assertion", "")
        try:
            issuer = jwt.decode(text, options={"verify_signature": False}).get("iss")
            client = self.clients[str(issuer)]
            claims = jwt.decode(
                text,
                client.public_key,
                algorithms=_ALGORITHMS,
                audience=f"{self.org.base}{TOKEN_PATH}",
                options={"require": ["exp", "sub", "iss"]},
            )
        except (jwt.PyJWTError, KeyError):
            raise refusal from None
        mark = str(claims.get("jti") or text)
        if claims["sub"] != client.client_id or mark in self._used:
            raise refusal
        self._used.add(mark)
        return client

    def _bind(self, client: Client, proof: str | None) -> str | None:
        if not proof:
            if client.dpop:
                raise TokenRefused("invalid_dpop_proof", "The DPoP proof JWT header is missing.")
            return None
        thumbprint, claims = self._proof(proof, "POST", TOKEN_PATH)
        if claims.get("nonce") != self._nonce:
            raise TokenRefused(
                "use_dpop_nonce", "Authorization server requires nonce in DPoP proof.", nonce=self._nonce
            )
        return thumbprint

    def _proof(self, proof: str, method: str, path: str) -> tuple[str, dict[str, Any]]:
        """The proof's key thumbprint (RFC 7638) and claims; it is made for this method and address, and used once."""
        refusal = TokenRefused("invalid_dpop_proof", "The DPoP proof JWT is invalid.")
        try:
            jwk = jwt.get_unverified_header(proof)["jwk"]
            claims = jwt.decode(proof, jwt.PyJWK(jwk), algorithms=_ALGORITHMS, options={"verify_aud": False})
            canonical = f'{{"e":"{jwk["e"]}","kty":"RSA","n":"{jwk["n"]}"}}'
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            raise refusal from None
        fits = claims.get("htm") == method and claims.get("htu") == f"{self.org.base}{path}"
        fresh = abs(time.time() - float(claims.get("iat", 0))) < _PROOF_AGE
        if not fits or not fresh or claims.get("jti") in self._used:
            raise refusal
        self._used.add(str(claims.get("jti")))
        return digest(canonical), claims


def digest(text: str) -> str:
    """SHA-256 as OAuth writes it: of a key, a token or a code verifier."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
