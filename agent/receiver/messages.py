"""HTTP as the receiver sees it: a request's parts, read once, a body with a limit, a response. Routes nothing."""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from itertools import chain
from typing import Any
from urllib.parse import unquote_to_bytes

from agent.receiver.refusals import ScimError
from agent.scim.errors import invalid_syntax, invalid_value
from agent.scim.search_request import LARGEST

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MAX_BODY = 1_000_000
#: A body that is larger than MAX_BODY is still taken in, and thrown away, up to this size.
_MAX_DRAINED = 8 * MAX_BODY
MAX_HEADERS = 32_768
#: Parameters that a SCIM query has, twice over.
_MAX_PARAMETERS = 20
_BLANK = re.compile(rb" |%20")
_NUMBER = re.compile(r"(-?)0*([0-9]+)")
_MEDIA_TYPES = ("application/scim+json", "application/json")
_USUAL_TYPES = {name.encode() + charset for name in _MEDIA_TYPES for charset in (b"", b"; charset=utf-8")}
JSON = (b"content-type", b"application/scim+json")
NO_STORE = (b"cache-control", b"no-store")
CLOSE = (b"connection", b"close")


class Request:
    """Made for every request, so it does no more than it must: the query is parsed when somebody asks."""

    __slots__ = ("_parameters", "authorization", "headers", "id", "method", "parts", "peer", "scope")

    def __init__(self, scope: Scope, parts: list[str], request_id: str) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.parts = parts
        self.id = request_id
        client = scope.get("client")
        self.peer: str = client[0] if client else ""
        headers: Headers = scope["headers"]
        self.headers = dict(headers)
        self.authorization = self.headers.get(b"authorization", b"")
        if len(self.headers) < len(headers) and [name for name, _ in headers].count(b"authorization") > 1:
            # That is an attack on whatever stands before us: two parsers could choose differently. None counts.
            self.authorization = b""
        if sum(map(len, chain.from_iterable(headers))) > MAX_HEADERS:
            raise ScimError(431, f"The request's headers are longer than {MAX_HEADERS} bytes.")
        self._parameters: dict[str, str] | None = None

    @property
    def parameters(self) -> dict[str, str]:
        """The query, names in lower case; the same one twice is refused, for which would count?"""
        if self._parameters is None:
            self._parameters = _parameters(self.scope["query_string"])
        return self._parameters

    def number(self, name: str, default: int) -> int:
        text = self.parameters.get(name.lower())
        if text is None:
            return default
        found = _NUMBER.fullmatch(text)
        if not found:
            raise invalid_value(f"{name} must be an integer.")
        sign, digits = found.groups()
        # However long it is: a number that large means "all", and pages have a size of their own.
        number = int(digits) if len(digits) <= 18 else LARGEST
        return -number if sign else number


def _parameters(query: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    if not query:
        return found
    pairs = query.split(b"&")
    if len(pairs) > _MAX_PARAMETERS:
        raise invalid_syntax(f"The query has more than {_MAX_PARAMETERS} parameters.")
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        try:
            key = name.decode()
            if "%" in key:
                key = unquote_to_bytes(name.replace(b"+", b" ")).decode()
            # Who writes a blank as a blank means a plus by a plus: userName%20eq%20"a+b@example.com", as people type it.
            plus_is_plus = _BLANK.search(value) is not None
            text = unquote_to_bytes(value if plus_is_plus else value.replace(b"+", b" ")).decode()
        except UnicodeDecodeError as exc:
            raise invalid_syntax("The query is not UTF-8.") from exc
        key = key.lower()
        if key in found:
            raise invalid_syntax(f"The query has {key!a} twice.")
        found[key] = text
    return found


async def read_body(request: Request, receive: Receive) -> bytes:
    """The body, counted while it streams in; refused before it is read where its headers say enough."""
    _check_type(request.headers)
    length = request.headers.get(b"content-length", b"0")
    if len(length) > 15 or int(length) > _MAX_DRAINED:
        raise _too_large()
    if int(length) > MAX_BODY:
        await _drain(receive)
        raise _too_large()
    message = await receive()
    if not message.get("more_body") and message["type"] != "http.disconnect":
        body: bytes = message.get("body", b"")
        if len(body) > MAX_BODY:
            raise _too_large()
        return body
    parts, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise invalid_syntax("The request ended before its body did.")
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            await _drain(receive, size)
            raise _too_large()
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


async def _drain(receive: Receive, taken: int = 0) -> None:
    """Whoever is still sending when the connection closes sees a reset in the place of the answer."""
    while taken <= _MAX_DRAINED:
        message = await receive()
        taken += len(message.get("body", b""))
        if not message.get("more_body"):
            return


def _too_large() -> ScimError:
    return ScimError(413, f"The body is larger than {MAX_BODY} bytes.")


def _check_type(headers: dict[bytes, bytes]) -> None:
    if b"content-encoding" not in headers and headers.get(b"content-type") in _USUAL_TYPES:
        return
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ScimError(415, "Compressed bodies are not taken.")
    media_type, *parameters = headers.get(b"content-type", b"").decode("latin-1").lower().split(";")
    if media_type.strip() not in _MEDIA_TYPES:
        raise ScimError(415, "The body must be application/scim+json or application/json.")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise ScimError(415, "The body must be UTF-8.")


class Response:
    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes = b"", headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.status = status
        self.body = body
        self.headers = headers

    async def send(self, send: Send, request_id: str) -> None:
        headers: Headers = [(b"x-request-id", request_id.encode()), NO_STORE, *self.headers]
        # 204 and 304 have neither a body nor the headers that describe one.
        if self.body or self.status not in (204, 304):
            headers += (JSON, (b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})
