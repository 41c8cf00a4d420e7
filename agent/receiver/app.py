"""The receiver's ASGI app: authenticate → route → handle → answer. Everything under /scim/v2 needs a key, discovery too.

The path is taken as it was sent and tidied up only at its ends: what is encoded or doubled elsewhere is authenticated like
everything else and then not found. Only what is somebody's to choose, an account's id, is decoded, once, when its segment has
been found: a slash in it (%2F) stays a part of it. Bodies are read after the key was checked.
"""

import asyncio
import itertools
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import structlog

from agent.directory.port import Directory, WriteContext
from agent.model.codes import Source
from agent.model.errors import AgentError
from agent.receiver import openapi
from agent.receiver.auth import Authenticator
from agent.receiver.lookups import Lookups
from agent.receiver.messages import CLOSE, Receive, Request, Response, Scope, Send
from agent.receiver.metrics import ANSWERS
from agent.receiver.refusals import NO_SUCH_USER, RETRY_AFTER, ScimError, translate
from agent.receiver.stored import StoredKeys, StoredRefusals
from agent.receiver.users import Users
from agent.scim import discovery
from agent.scim.errors import error_body
from agent.scim.render import page
from agent.settings import Settings
from agent.store.engine import Store
from agent.store.keys import ApiKey

ROOT = "/scim/v2"
ASGI = Callable[[Scope, Receive, Send], Awaitable[None]]

_READS = ("GET", "HEAD")
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "remove"}
_NO_GROUPS = "OpsHelm has no groups; turn Group Push off."
_CUT_OFF = "OpsHelm's agent stops just now; whether this was done is not known. Please try again later."

log = structlog.get_logger("agent.receiver")


def base_url(settings: Settings) -> str:
    """The SCIM root's address as Okta sees it: from the settings, never from a request."""
    server = settings.server
    if server.public_url:
        return server.public_url.rstrip("/").removesuffix(ROOT) + ROOT
    host = "localhost" if server.host in ("", "0.0.0.0", "::") else server.host  # noqa: S104 - compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port}{ROOT}"


def build(
    directory: Directory,
    store: Store,
    settings: Settings,
    *,
    hooks: ASGI | None = None,
    max_waiting: Callable[[], int] | None = None,
    looked_for: Lookups | None = None,
) -> ASGI:
    """The app for ``server.port``. ``hooks`` answers /hooks/okta, which has a secret of its own; ``max_waiting`` is the setting
    where that may change; ``looked_for`` is what other processes of the daemon share.
    """
    # The filter grammar takes most of a second to load: now, not when the first client needs it.
    threading.Thread(target=_warm_up, name="scim-grammar", daemon=True).start()
    waiting = max_waiting or (lambda: settings.receiver.max_waiting)
    return Receiver(directory, store, settings, hooks, waiting, looked_for or Lookups())


class Receiver:
    def __init__(
        self,
        directory: Directory,
        store: Store,
        settings: Settings,
        hooks: ASGI | None,
        max_waiting: Callable[[], int],
        looked_for: Lookups,
    ) -> None:
        base = base_url(settings)
        self._auth = Authenticator(StoredKeys(store), blocking=directory.reads_block, monotonic=time.monotonic)
        self._refusals = StoredRefusals(store)
        self._hooks = hooks
        self._users = Users(directory, base, max_waiting, looked_for)
        self._openapi = openapi.document(base)
        self._config = discovery.service_provider_config(base)
        self._listings = {"Schemas": discovery.schemas(base), "ResourceTypes": discovery.resource_types(base)}
        self._ids = itertools.count(1)
        self._prefix = secrets.token_hex(6)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = _as_sent(scope)
        if path == "/hooks/okta" and self._hooks is not None:
            await self._hooks(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = f"{self._prefix}-{next(self._ids):x}"
        try:
            response = await self._answer(scope, path, receive, request_id)
        except asyncio.CancelledError:
            # The process ends and waits for nobody any more. The server's own answer, 500, is one that Okta never tries again.
            log.warning("request cut off: the agent stops", request_id=request_id, method=scope["method"])
            response = _error(ScimError(429, _CUT_OFF, retry_after=RETRY_AFTER))
        ANSWERS.count(scope["method"], response.status, time.perf_counter() - started)
        await response.send(send, request_id)

    async def _answer(self, scope: Scope, path: str, receive: Receive, request_id: str) -> Response:
        if path == "/healthz":
            return Response(200, b'{"status":"ok"}')
        if path != ROOT and not path.startswith(ROOT + "/"):
            return Response(404, error_body(404, f"There is nothing here; SCIM is at {ROOT}."))
        caller: ApiKey | None = None
        request: Request | None = None
        try:
            request = Request(scope, _parts(path), request_id)
            caller = await self._auth.identify(request)
            return await self._route(request, caller, receive)
        except Exception as exc:
            error = translate(exc, scope["method"])
            if error is None:
                log.exception("request failed", request_id=request_id, method=scope["method"])
                error = ScimError(500, f"The agent failed unexpectedly; see its log for request {request_id}.")
            if request is not None and caller is not None and _writes(request):
                await self._note(request, caller, error)
            return _error(error)

    async def _route(self, request: Request, caller: ApiKey, receive: Receive) -> Response:
        match request.parts:
            case ["Users"]:
                if request.method in _READS:
                    return await self._users.search(request)
                _allow(request, "GET", "POST")
                return await self._users.post(request, _context(request, caller), receive)
            case ["Users", ".search"] | [".search"]:
                _allow(request, "POST")
                return await self._users.dot_search(request, receive)
            case ["Bulk" | "Me" as name]:
                raise ScimError(501, f"{name} is not supported; see ServiceProviderConfig.")
            case ["Users", segment]:
                return await self._user(request, _id(segment), caller, receive)
            case ["Groups", *rest]:
                return self._groups(request, rest)
            case ["ServiceProviderConfig"]:
                _discovery(request)
                return Response(200, self._config)
            case ["openapi.json"]:
                _discovery(request)
                return Response(200, self._openapi)
            case [("Schemas" | "ResourceTypes") as name, *rest] if len(rest) < 2:
                _discovery(request)
                return self._document(name, rest)
        raise ScimError(404, "There is nothing at this address.")

    async def _user(self, request: Request, user_id: str, caller: ApiKey, receive: Receive) -> Response:
        if request.method in _READS:
            return await self._users.get(request, user_id)
        _allow(request, "GET", "PUT", "PATCH", "DELETE")
        context = _context(request, caller)
        match request.method:
            case "PUT":
                return await self._users.put(request, user_id, context, receive)
            case "PATCH":
                return await self._users.patch(request, user_id, context, receive)
        return await self._users.delete(request, user_id, context)

    def _groups(self, request: Request, rest: list[str]) -> Response:
        if request.method not in _READS:
            raise ScimError(501, _NO_GROUPS)
        if rest:
            raise ScimError(404, _NO_GROUPS)
        return Response(200, page((), total=0, start_index=1, count=0))

    def _document(self, name: str, rest: list[str]) -> Response:
        documents = self._listings[name]
        if not rest:
            return Response(200, discovery.listed(list(documents.values())))
        wanted = unquote(rest[0]).lower()
        for key, document in documents.items():
            if key.lower() == wanted:
                return Response(200, document)
        raise ScimError(404, f"There is no such document in {name}.")

    async def _note(self, request: Request, caller: ApiKey, error: ScimError) -> None:
        """One journal row for what was refused before the directory, which keeps its own, was asked."""
        log.info("request refused", request_id=request.id, method=request.method, status=error.status, key=caller.id)
        if error.journalled or error.status == 429:
            return
        try:
            await asyncio.wrap_future(
                self._refusals.record(
                    verb=_VERBS.get(request.method, "other"),
                    directory_id=_named(request.parts),
                    reason=f"{error.status} {error.scim_type or ''}: {error.detail}",
                    context=_context(request, caller),
                    now=datetime.now(UTC),
                )
            )
        except AgentError as exc:
            log.error("refused attempt not journalled", request_id=request.id, code=exc.code)  # noqa: TRY400 - no traceback


def _parts(path: str) -> list[str]:
    """The segments under the root. One slash more at either end is nothing: a base address may be entered with its own.

    Any other empty segment is one that no route has.
    """
    return path[len(ROOT) + 1 :].removeprefix("/").removesuffix("/").split("/")


def _as_sent(scope: Scope) -> str:
    """The path with its escapes. A server that keeps none of it has decoded it already: whatever is in it is text."""
    raw: bytes | None = scope.get("raw_path")
    return quote(scope["path"]) if raw is None else raw.decode("latin-1").partition("?")[0]


def _id(segment: str) -> str:
    """The id that a client means, in the one spelling that everything behind this knows. No account's holds a NUL."""
    if "%" not in segment and segment.isascii():
        return segment
    try:
        found = unquote(segment.encode("latin-1").decode(), errors="strict")
    except UnicodeDecodeError:
        raise ScimError(404, NO_SUCH_USER) from None
    if "\0" in found:
        raise ScimError(404, NO_SUCH_USER)
    return found


def _named(parts: list[str]) -> str | None:
    """Whom a refused request was about."""
    match parts:
        case ["Users", segment]:
            with suppress(ScimError):
                return _id(segment)[:255] or None
    return None


def _context(request: Request, caller: ApiKey) -> WriteContext:
    return WriteContext(actor=caller.actor, source=Source.PUSH, request_id=request.id)


def _allow(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise _not_allowed(request, *methods)


def _not_allowed(request: Request, *methods: str) -> ScimError:
    error = ScimError(405, f"{request.method} is not allowed here.")
    error.allow = (*methods, "HEAD") if "GET" in methods else methods
    return error


def _discovery(request: Request) -> None:
    if request.method not in _READS:
        raise _not_allowed(request, "GET")
    # RFC 7644 §4: a filter on these is refused, or it would seem to have been applied.
    if "filter" in request.parameters:
        raise ScimError(403, "These documents can't be filtered.")


def _writes(request: Request) -> bool:
    return request.method not in _READS and request.parts[-1] != ".search"


def _error(error: ScimError) -> Response:
    headers = []
    if error.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="OpsHelm SCIM"'))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after))
    if error.allow:
        headers.append((b"allow", ", ".join(error.allow).encode()))
    if error.status in (401, 413, 415, 431):
        # The body may still be on its way, and nobody will read it.
        headers.append(CLOSE)
    return Response(error.status, error.body, headers)


def _warm_up() -> None:
    from agent.scim import library

    library.warm_up()
