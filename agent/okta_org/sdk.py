"""The SDK's own executor, used below its models: it signs (API token, OAuth, DPoP), we read.

Only this module, ``access`` and ``slim`` import okta and aiohttp; they are imported on connecting, for that takes time.
Everything that the SDK may answer or raise comes out as an ``Answer`` or as an error of the model; no text of the SDK's or
of aiohttp's errors is passed on, for those hold headers and proxy addresses with their secrets.

Of the SDK's habits these are switched off: its log (it prints tokens), its environment variables and okta.yaml files, its
retries (without a pause for 503, without an end for a far reset), its redirects, its cookies and its own reading of the
environment's proxies, which knows no NO_PROXY.
"""

import errno
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from agent.model.errors import OktaDenied, OktaError, OktaThrottled, OktaUnreachable
from agent.okta_org.access import org_url, proxy, sdk_config, silence, timeout, trust
from agent.okta_org.caller import CONCURRENT, Untrusted
from agent.okta_org.calls import Call, OktaAnswer
from agent.okta_org.slim import HTTPClient, HTTPError, NoOpCache, OktaAPIError, RequestExecutor
from agent.settings import OktaSettings

_TOKEN_PATH = "/oauth2/v1/token"  # noqa: S105 - an address, not a secret
_CREDENTIALS = ("api_token", "client_id", "private_key", "key_id", "scopes", "dpop")


class Sdk:
    """The wire to one org: one session, one executor. Lives on one event loop."""

    def __init__(self, settings: OktaSettings, session: aiohttp.ClientSession) -> None:
        self.generation = 0
        self.org_url = org_url(settings)
        self.granted: frozenset[str] | None = None
        self._settings, self._session = settings, session
        self._executor = self._sign_with(settings)

    @classmethod
    async def open(cls, settings: OktaSettings) -> "Sdk":
        silence()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trust(settings), limit=CONCURRENT),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=timeout(settings),
        )
        # aiohttp would send GET, PUT and DELETE again by itself when the line breaks; trying again is the caller's to decide.
        session._retry_connection = False  # noqa: SLF001 - no argument sets it
        try:
            return cls(settings, session)
        except BaseException:
            await session.close()
            raise

    async def close(self) -> None:
        await self._session.close()

    async def send(self, call: Call[Any]) -> OktaAnswer:
        request = await self._request(call)
        try:
            _, response, body, error = await self._executor.fire_request_helper(request, 0, time.time())
        except Exception as raised:  # noqa: BLE001 - the SDK raises what it should return
            response, body, error = None, None, raised
        if response is None:
            raise _lost(error, may_have_left=not call.reads, doing=f"asked to {call.what}") from None
        return _answer(response, body)

    def forget_token(self) -> bool:
        if not self._settings.client_id or self._settings.api_token:
            return False
        self._executor._oauth.clear_access_token()  # noqa: SLF001 - the SDK offers no other way
        self._executor.clear_cached_token()
        self.generation += 1
        return True

    async def adopt(self, settings: OktaSettings) -> bool:
        fresh = {name: getattr(settings, name) for name in _CREDENTIALS}
        if fresh == {name: getattr(self._settings, name) for name in _CREDENTIALS}:
            return False
        changed = self._settings.model_copy(update=fresh)
        self._executor = self._sign_with(changed)
        self._settings, self.granted = changed, None
        self.generation += 1
        return True

    async def scopes(self) -> frozenset[str] | None:
        """The scopes that Okta granted to the OAuth app; None with an API token, which has its owner's rights."""
        if self._oauth_mode and self.granted is None:
            await self._signed("GET", "/api/v1/users/me", None)
        return self.granted

    @property
    def _oauth_mode(self) -> bool:
        return self._settings.api_token is None

    def _sign_with(self, settings: OktaSettings) -> Any:
        config = sdk_config(settings, self.org_url)
        way = proxy(settings, self.org_url)
        return RequestExecutor(config, NoOpCache(), lambda built: _OneHost(built, self._session, way, self._note))

    def _note(self, scope: str) -> None:
        self.granted = frozenset(scope.split())

    async def _request(self, call: Call[Any]) -> dict[str, Any]:
        if call.signed:
            return await self._signed(call.method, call.path, call.body)
        headers = {"Accept": "application/json"}
        return {"method": call.method, "url": self.org_url + call.path, "headers": headers, "data": None, "form": {}}

    async def _signed(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """Signing may itself call Okta, for an OAuth token. The call proper has not left when this fails."""
        try:
            # An absolute address: the SDK looks for the org's anywhere in it, in a filter's value too.
            request, error = await self._executor.create_request(
                method, self.org_url + path, body, keep_empty_params=True
            )
        except Exception as raised:  # noqa: BLE001 - whatever an odd token answer makes the SDK raise
            request, error = None, raised
        if request is None:
            raise _token_failure(error) from None
        return dict(request)


class _OneHost(HTTPClient):  # type: ignore[misc]
    """The SDK's HTTP client with one session, a time-out for each try, no redirects and no log."""

    def __init__(
        self, built: dict[str, Any], session: aiohttp.ClientSession, proxy: str | None, note: Callable[[str], None]
    ) -> None:
        super().__init__({**built, "proxy": {"host": "unused"}})  # None would make it read the environment
        self._session, self._proxy, self._note = session, proxy, note

    async def send_request(self, request: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
        data = json.dumps(request["data"]) if request["data"] else request["form"] or None
        try:
            async with self._session.request(
                request["method"],
                request["url"],
                headers=request["headers"],
                data=data,
                proxy=self._proxy,
                allow_redirects=False,
            ) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, ValueError) as error:  # OSError: time-outs too
            return None, None, None, error
        if response.status == 200 and urlsplit(request["url"]).path == _TOKEN_PATH:
            self._note(_scope(body))
        # Only text makes the SDK see that a DPoP nonce is asked for.
        return (
            response.request_info,
            response,
            body.decode(errors="replace") if response.status >= 400 else body,
            None,
        )


def _answer(response: Any, body: Any) -> OktaAnswer:
    headers: dict[str, list[str]] = {}
    for name, value in response.headers.items():
        headers.setdefault(name.lower(), []).append(value)
    return OktaAnswer(
        status=response.status,
        headers=headers,
        body=body.encode() if isinstance(body, str) else body or b"",
        next=tuple(str(link["url"]) for link in response.links.getall("next", ())),
    )


def _lost(error: object, *, may_have_left: bool, doing: str) -> OktaUnreachable:
    """No answer at all. Only a connection that was never made proves that a write wasn't done."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return Untrusted(f"Okta's certificate isn't trusted ({_name(error)}) when {doing}. See okta.ca_file.")
    never_left = isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return OktaUnreachable(
            f"The proxy refused ({error.status}) when Okta was {doing}. See okta.proxy, or HTTPS_PROXY and NO_PROXY."
        )
    return OktaUnreachable(
        f"Okta didn't answer ({_name(error)}) when {doing}.", maybe_done=may_have_left and not never_left
    )


def _name(error: object) -> str:
    cause = getattr(error, "os_error", None)
    # asyncio's own words name neither; where a name has several addresses, its error has no number.
    if isinstance(cause, ConnectionRefusedError) or f"[Errno {errno.ECONNREFUSED}]" in str(cause):
        return "connection refused"
    reason = getattr(cause, "strerror", None)
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


def _token_failure(error: object) -> OktaError:
    """The OAuth token was not to be had; the call itself never left."""
    status = getattr(error, "status", None) if isinstance(error, OktaAPIError | HTTPError) else None
    if status is None:
        return _lost(error, may_have_left=False, doing="asked for an OAuth token")
    code = str(getattr(error, "error_code", ""))
    if status == 429:
        return OktaThrottled(
            "Okta's rate limit stopped the agent when asked for an OAuth token.", status=429, okta_code=code
        )
    if status >= 500 or not code:
        return OktaUnreachable(f"Okta gave no OAuth token ({status}).", status=status, okta_code=code)
    if code == "invalid_dpop_proof":
        return OktaDenied(
            f"Okta gave no OAuth token ({status} {code}): the app demands DPoP. Set okta.dpop = true, or switch the demand off "
            "in Okta (the app's General tab, Proof of possession). Set already: check this machine's clock.",
            status=401,
            okta_code=code,
        )
    return OktaDenied(
        f"Okta gave no OAuth token ({status} {code}). Check okta.client_id, okta.private_key, okta.key_id and that the app "
        f"was granted every scope of okta.scopes.",
        status=401,
        okta_code=code,
    )


def _scope(body: bytes) -> str:
    try:
        return str(json.loads(body).get("scope", ""))
    except (ValueError, AttributeError):
        return ""
