"""The server's outermost layer: authentication, rate limits, faults and the headers that every answer of Okta bears.

Routes and their rules are in the ``api_`` modules and in ``control``.
"""

import asyncio
import secrets
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Lifespan, Message, Receive, Scope, Send

from agent.simulator import api_apps, api_groups, api_hooks, api_logs, api_org, api_users, auth, control
from agent.simulator.errors import ApiError
from agent.simulator.faults import Fault
from agent.simulator.limits import LimitState
from agent.simulator.org import Org
from agent.simulator.replies import refuse

Headers = list[tuple[bytes, bytes]]
#: Served without a token.
_NOT_FOUND = (b"%2F", b"%5C", b"%3B")
_NOT_ALLOWED = (b"%3F", b"%23", b"%25", b"%2B", b"%20")
_OPEN = ("/.well-known/", "/oauth2/", "/simulator/")


def build(org: Org, lifespan: Lifespan[Starlette]) -> ASGIApp:
    parts = (api_users, api_apps, api_groups, api_logs, api_hooks, api_org, control)
    app = Starlette(
        lifespan=lifespan,
        routes=[route for part in parts for route in part.ROUTES],
        exception_handlers=dict.fromkeys((ApiError, HTTPException, Exception), _as_okta_says),
    )
    app.router.redirect_slashes = False
    app.state.org = org
    return Gate(app, org)


class Gate:
    """Everything that happens before a route is asked and after it has answered."""

    def __init__(self, app: ASGIApp, org: Org) -> None:
        self._app = app
        self._org = org

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/simulator/"):
            await self._app(scope, receive, send)
            return
        method, path, query = scope["method"], scope["path"], scope["query_string"].decode()
        standing = self._org.limits.count(path)
        fault = self._org.faults.hit(method, path, query)
        if fault is None:
            await self._serve(scope, receive, _Dressed(send, _headers(standing)), standing)
            return
        await asyncio.sleep(fault.delay_s)
        if fault.effect == "before" and (fault.status is not None):
            await _wrong(fault, _Dressed(send, _headers(standing, fault), fault))
        elif fault.effect == "before":
            await self._serve(scope, receive, _Dressed(send, _headers(standing), fault), standing)
        else:
            await self._serve(scope, receive, _nowhere, standing)
            if fault.status is not None:
                await _wrong(fault, _Dressed(send, _headers(standing, fault), fault))
            else:
                await _hang_up(send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, standing: LimitState) -> None:
        refusal = self._refusal(scope, standing)
        answer = self._app if refusal is None else refuse(refusal)
        await answer(scope, receive, send)

    def _refusal(self, scope: Scope, standing: LimitState) -> ApiError | None:
        """Why this call is not served; None: it is."""
        if not standing.allowed:
            return ApiError("E0000047")
        try:
            if not scope["path"].startswith(_OPEN):
                scope["okta_client"] = auth.authenticate(self._org, scope)
            # No address names such a person, however it is encoded; Okta says so in one of two ways.
            segments = scope["raw_path"].partition(b"?")[0].upper()
            if any(code in segments for code in _NOT_FOUND):
                return ApiError("E0000008")
            if any(code in segments for code in _NOT_ALLOWED):
                return ApiError("E0000022")
        except ApiError as exc:
            return exc
        return None


class _Dressed:
    """A ``send`` that adds Okta's headers and, for a fault, changes them or cuts the body short."""

    def __init__(self, send: Send, extra: Headers, fault: Fault | None = None) -> None:
        self._send = send
        self._extra = extra
        self._left = None if fault is None else fault.cut_after
        self._changes = {} if fault is None else fault.headers
        self._cut = False

    async def __call__(self, message: Message) -> None:
        if self._cut:
            return
        if message["type"] == "http.response.start":
            headers = [*message["headers"], *self._extra]
            for name, value in self._changes.items():
                key = name.lower().encode()
                headers = [pair for pair in headers if pair[0].lower() != key]
                if value is not None:
                    headers.append((key, str(value).encode()))
            message = {**message, "headers": headers}
        elif self._left is not None:
            body = message.get("body", b"")
            if len(body) > self._left:
                self._cut = True
                await self._send({**message, "body": body[: self._left], "more_body": True})
                await _hang_up(self._send)
                return
            self._left -= len(body)
        await self._send(message)


async def _wrong(fault: Fault, send: Send) -> None:
    status, body = fault.answer()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _nowhere(message: Message) -> None:
    """The work is done and the answer is lost."""


async def _hang_up(send: Callable[..., object]) -> None:
    """Close the connection under the answer; ASGI has no word for that, so it goes through uvicorn's own object."""
    await asyncio.sleep(0.05)  # What was written before goes out first.
    cycle = getattr(send, "__self__", None)
    if cycle is not None:
        cycle.transport.close()
        await asyncio.sleep(0)


def _headers(standing: LimitState, fault: Fault | None = None) -> Headers:
    if fault is not None and fault.status == 429:
        standing = LimitState(standing.limit, 0, standing.reset, allowed=False)
    return [(b"x-okta-request-id", secrets.token_urlsafe(20).encode()), *standing.headers()]


async def _as_okta_says(_request: Request, exc: Exception) -> Response:
    if not isinstance(exc, ApiError):
        status = exc.status_code if isinstance(exc, HTTPException) else 500
        exc = ApiError({405: "E0000022", 500: "E0000009"}.get(status, "E0000008"))
    return refuse(exc)
