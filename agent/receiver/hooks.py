"""/hooks/okta: what Okta's event hook delivers. A message only names people to look at, and is answered once that is kept.

================================================  ======  ==========================================================
request                                           answer  and
================================================  ======  ==========================================================
no ``okta.hook_secret`` in the settings           404     as any address that doesn't exist
another secret, none, or two                      401     nothing is read; counted, one log line a minute
GET with ``x-okta-verification-challenge``        200     the challenge, as Okta's one-time verification wants it
another method, or GET without a challenge        405     –
a body over 1 MB                                  413     –
not one strict JSON object of an event hook       400     –
of another org                                    204     nothing is queued; counted and logged
events of this org                                204     after the commit that queued their people
the database doesn't answer within 2.5 s          503     Okta tries once more; what was queued twice is looked at once
================================================  ======  ==========================================================

Okta gives an answer three seconds, sends at least once and in no order, and does not sign: the secret is all there is.
"""

import asyncio
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

from agent.model.errors import StoreError
from agent.model.okta import LogEvent
from agent.model.structs import ready
from agent.receiver.messages import CLOSE, MAX_BODY, NO_STORE, Receive, Scope, Send
from agent.receiver.metrics import HOOK_EVENTS, HOOKS
from agent.reconcile.look_queue import Queued, queue
from agent.scim import strict
from agent.scim.errors import ScimRefused
from agent.settings import Settings
from agent.store.engine import Store
from agent.store.steps import CLOCK

PATH = "/hooks/okta"
#: Okta gives up after three seconds.
ANSWER_SECONDS = 2.5
#: Larger bodies are decoded beside the loop, so that pushes don't wait for them.
_SMALL = 32_768
_CHALLENGE = re.compile(rb"[!-~]{1,256}")
_LOG_EVERY = 60.0

_log = structlog.get_logger("agent.receiver")


class _Refusal(Exception):
    def __init__(self, status: int, result: str) -> None:
        super().__init__(status)
        self.status = status
        self.result = result


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    source: str
    events: list[LogEvent]
    #: Events that could not be read.
    unreadable: int = 0


class Hooks:
    """The ASGI app. ``queued`` is called, on the loop, when somebody is to be looked at."""

    def __init__(self, store: Store, settings: Callable[[], Settings], queued: Callable[[], None]) -> None:
        self._store = store
        self._settings = settings
        self._queued = queued
        self._said: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers: list[tuple[bytes, bytes]] = []
        body = b""
        try:
            challenge = self._admit(scope)
            if challenge is not None:
                status, result = 200, "verified"
                body = msgspec.json.encode({"verification": challenge})
            else:
                status, result = 204, await self._take(scope, receive)
        except _Refusal as answer:
            status, result = answer.status, answer.result
            headers = [(b"allow", b"GET, POST")] if status == 405 else []
            if status != 405:
                headers.append(CLOSE)  # the body may still be on its way, and nobody will read it
        HOOKS.labels(result).inc()
        await _send(send, status, body, headers)

    def _admit(self, scope: Scope) -> str | None:
        """The challenge to echo, or None for a delivery. Raises before anything was read."""
        settings = self._settings()
        secret = settings.okta.hook_secret
        if secret is None or not settings.okta.configured:
            raise _Refusal(404, "not_set_up")
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1 or not _same(given[0], secret.get_secret_value()):
            self._say("event hook without the right secret", peer=_peer(scope))
            raise _Refusal(401, "unauthorized")
        if scope["method"] == "POST":
            return None
        challenge = next((v for name, v in scope["headers"] if name == b"x-okta-verification-challenge"), b"")
        if scope["method"] != "GET" or not _CHALLENGE.fullmatch(challenge):
            raise _Refusal(405, "not_allowed")
        return challenge.decode()

    async def _take(self, scope: Scope, receive: Receive) -> str:
        body = await _read(scope, receive)
        delivery = decode(body) if len(body) <= _SMALL else await asyncio.to_thread(decode, body)
        settings = self._settings()
        if not same_org(delivery.source, settings.okta.org_url or ""):
            self._say("event hook of another org; ignored", source=delivery.source[:200])
            return "foreign_source"
        if not delivery.events:
            return "empty"
        queued = await self._keep(delivery, settings)
        HOOK_EVENTS.labels("fresh").inc(queued.fresh)
        HOOK_EVENTS.labels("duplicate").inc(queued.duplicates)
        HOOK_EVENTS.labels("unreadable").inc(delivery.unreadable)
        if queued.anything:
            self._queued()
        return "queued" if queued.fresh else "duplicate"

    async def _keep(self, delivery: Delivery, settings: Settings) -> Queued:
        work = partial(
            queue,
            found=delivery.events,
            app_id=settings.okta.app_id or "",
            page_size=settings.reconcile.page_size,
            now=CLOCK.now(),
            delivery=f"delivery {delivery.id}" if delivery.id else "",
        )
        try:
            # What runs out of time is still done: a second delivery finds it met.
            kept = asyncio.wrap_future(self._store.submit(work))
            return await asyncio.wait_for(asyncio.shield(kept), ANSWER_SECONDS)
        except TimeoutError:
            kept.add_done_callback(self._late)
            raise _Refusal(503, "unavailable") from None
        except StoreError as exc:
            _log.error("event hook not kept", code=exc.code)
            raise _Refusal(503, "unavailable") from exc

    def _late(self, kept: "asyncio.Future[Queued]") -> None:
        if not kept.cancelled() and kept.exception() is None and kept.result().anything:
            self._queued()

    def _say(self, event: str, **fields: Any) -> None:
        """A stranger can't fill the log."""
        now = time.monotonic()
        if now - self._said.get(event, -_LOG_EVERY) >= _LOG_EVERY:
            self._said[event] = now
            _log.warning(event, **fields)


def decode(body: bytes) -> Delivery:
    """A delivery; one event that can't be read doesn't cost the others."""
    try:
        message = strict.decode(body, cased=True)
    except ScimRefused:
        raise _Refusal(400, "malformed") from None
    data, source = message.get("data"), message.get("source")
    found = data.get("events") if isinstance(data, dict) else None
    if not isinstance(found, list) or not isinstance(source, str):
        raise _Refusal(400, "malformed")
    readable = [event for event in map(_event, found) if event is not None]
    name = message.get("eventId")
    return Delivery(
        id=name if isinstance(name, str) else "", source=source, events=readable, unreadable=len(found) - len(readable)
    )


def same_org(source: str, org_url: str) -> bool:
    """``source`` is the hook's own address in Okta."""
    try:
        return _origin(source) == _origin(org_url)
    except ValueError:
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _event(value: Any) -> LogEvent | None:
    try:
        return msgspec.convert(value, ready[LogEvent])
    except msgspec.ValidationError:
        return None


def _same(given: bytes, secret: str) -> bool:
    # Digests first, so that not even the length shows in the time.
    digests = (hashlib.sha256(value).digest() for value in (given, secret.encode()))
    return hmac.compare_digest(*digests)


def _peer(scope: Scope) -> str:
    client: Sequence[Any] = scope.get("client") or ("",)
    return str(client[0])


async def _read(scope: Scope, receive: Receive) -> bytes:
    """The body, refused before it is read where its length is given, else while it streams in."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not length.isdigit() or len(length) > 15 or int(length) > MAX_BODY:
        raise _Refusal(413, "too_large")
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refusal(400, "malformed")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            raise _Refusal(413, "too_large")
        parts.append(part)
        more = bool(message.get("more_body"))
    return b"".join(parts)


async def _send(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    if status != 204:
        headers = [*headers, (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, NO_STORE]})
    await send({"type": "http.response.body", "body": body})
