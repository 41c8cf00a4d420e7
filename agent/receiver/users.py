"""The /Users resource: what each method does with a request and the directory. Knows no rule about accounts."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import TypeVar

import structlog
from msgspec.structs import replace

from agent.directory.port import Directory, Draft, Identity, WriteContext, Written
from agent.model.errors import AgentError, Refused
from agent.model.users import DirectoryUser, ShownUser, identity_key
from agent.receiver.bounded_pool import BoundedPool
from agent.receiver.commit_wakeup import CommitWakeups
from agent.receiver.lookups import Lookups
from agent.receiver.messages import Receive, Request, Response, read_body
from agent.receiver.metrics import WAITING
from agent.receiver.refusals import NO_SUCH_USER, ScimError, translate
from agent.scim import body, filter, patch, projection, render, search_request, strict  # noqa: A004 - our module, not the builtin
from agent.scim.discovery import MAX_RESULTS
from agent.scim.errors import invalid_value
from agent.scim.patch import PatchOperation
from agent.scim.terms import Compare, Filter
from agent.store.engine import crash_point
from agent.store.steps import CLOCK

T = TypeVar("T")
log = structlog.get_logger("agent.receiver")

DEFAULT_COUNT = 100
_CURSOR_DIGITS = 19
_BUSY_SECONDS = 30
#: A body of so many bytes takes long enough to be read elsewhere; Okta's have a few thousand.
_LARGE = 50_000
#: How often a PATCH is worked out anew because the account changed meanwhile.
_RACES = 5
_UNIQUE: dict[str, Identity] = {"userName": "user_name_key", "externalId": "okta_id", "id": "id"}


class Users:
    """``base`` is the public address of the SCIM root; ``max_waiting`` bounds the writes that wait for their commit, as it is now.

    ``looked_for``: bound accounts whose userName was looked for.
    """

    def __init__(self, directory: Directory, base: str, max_waiting: Callable[[], int], looked_for: Lookups) -> None:
        self._directory = directory
        self._base = base
        self._max_waiting = max_waiting
        self._waiting = 0
        WAITING.set_function(lambda: self._waiting)
        self._wakeups: CommitWakeups | None = None
        self._searches, self._patches = BoundedPool("searches"), BoundedPool("patches")
        self._bodies = BoundedPool("large bodies")
        self._looked_for = looked_for

    async def get(self, request: Request, user_id: str) -> Response:
        shown = self._projection(request)
        user = await self._shown(user_id)
        seen = request.headers.get(b"if-none-match")
        if seen is not None and _matches(seen, user.version):
            return Response(304, b"", ((b"etag", render.etag(user).encode()),))
        return self._one(200, user, shown)

    async def search(self, request: Request) -> Response:
        if "cursor" in request.parameters:
            return await self._by_cursor(request, request.parameters["cursor"])
        return await self._listed(
            text=request.parameters.get("filter"),
            start=request.number("startIndex", 1),
            count=request.number("count", DEFAULT_COUNT),
            shown=self._projection(request),
        )

    async def dot_search(self, request: Request, receive: Receive) -> Response:
        """The same search with its parameters in a body (RFC 7644 §3.4.3), under the same limits."""
        value = await self._decode(await read_body(request, receive), strict.decode)
        wish = search_request.read(value)
        return await self._listed(
            text=wish.filter,
            start=wish.start_index,
            count=DEFAULT_COUNT if wish.count is None else wish.count,
            shown=projection.read(wish.attributes, wish.excluded_attributes),
        )

    async def _by_cursor(self, request: Request, cursor: str) -> Response:
        """RFC 9865. A cursor is the place of the last account that was shown; it never gets old."""
        if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) < _CURSOR_DIGITS):
            raise ScimError(400, "The cursor is not one that this server gave.", "invalidCursor")
        count = min(max(0, request.number("count", DEFAULT_COUNT)), MAX_RESULTS)
        shown = self._projection(request)
        text = request.parameters.get("filter")
        found = await self._found(text, lambda where: self._directory.search_after(where, int(cursor or 0), count))
        resources = [render.user(user, self._base) for user in found.users]
        if shown is not None:
            resources = [shown.apply(resource) for resource in resources]
        following = None if found.next is None else str(found.next)
        return Response(
            200, render.cursor_page(resources, total=found.total, count=len(resources), following=following)
        )

    async def _listed(
        self, *, text: str | None, start: int, count: int, shown: projection.Projection | None
    ) -> Response:
        start, count = max(1, start), min(max(0, count), MAX_RESULTS)
        total, found = await self._found(text, lambda where: self._search(where, start, count))
        resources = [render.user(user, self._base) for user in found]
        if shown is not None:
            resources = [shown.apply(resource) for resource in resources]
        return Response(200, render.page(resources, total=total, start_index=start, count=len(resources)))

    async def post(self, request: Request, context: WriteContext, receive: Receive) -> Response:
        shown = self._projection(request)
        said = await self._decode(await read_body(request, receive), _body)
        _tell(request, [".".join(place) for place in said.no_text])
        draft = Draft(
            user_name=said.user_name,
            profile=said.profile,
            active=said.active is not False,
            okta_id=said.okta_id,
            active_said=said.active is not None,
        )
        written = await self._write(lambda now: self._directory.create(draft, context, now), "POST")
        return self._one(201, ShownUser.of(written.user), shown)

    async def put(self, request: Request, user_id: str, context: WriteContext, receive: Receive) -> Response:
        shown = self._projection(request)
        said = await self._decode(await read_body(request, receive), _body)
        _tell(request, [".".join(place) for place in said.no_text])
        context = replace(context, says_active=said.active is not None)

        def change(user: DirectoryUser) -> Draft:
            return Draft(
                user_name=said.user_name,
                profile=said.over(user.profile),
                active=user.active if said.active is None else said.active,
                okta_id=said.okta_id,
                active_said=said.active is not None,
            )

        return self._one(200, await self._modify(request, user_id, change, context), shown)

    async def patch(self, request: Request, user_id: str, context: WriteContext, receive: Receive) -> Response:
        shown = self._projection(request)
        said = await self._decode(await read_body(request, receive), strict.decode)
        apply = patch.switch(said)
        if apply is not None:
            return self._one(200, await self._modify(request, user_id, _drafting(apply), context), shown)
        apply = await self._patches.run(lambda: patch.read(said))
        _tell(request, apply.no_text)
        context = replace(context, says_active=apply.says_active)
        for _ in range(_RACES):
            try:
                user = await self._modify(request, user_id, await self._worked_out(user_id, apply), context)
            except _Moved:
                continue
            return self._one(200, user, shown)
        raise ScimError(429, "The user keeps changing. Nothing was changed.", retry_after=_BUSY_SECONDS)

    async def _worked_out(self, user_id: str, apply: PatchOperation) -> Callable[[DirectoryUser], Draft]:
        """The change, ready before the writer's turn; for the account as it is now alone."""
        before = await self._read(lambda: self._directory.get(user_id))
        if before is None or before.hidden:
            raise ScimError(404, NO_SUCH_USER)
        draft = await self._patches.run(lambda: _drafting(apply)(before))

        def change(user: DirectoryUser) -> Draft:
            if user != before:
                raise _Moved
            return draft

        return change

    async def delete(self, request: Request, user_id: str, context: WriteContext) -> Response:
        version = await self._expected(request, user_id)
        await self._write(lambda now: self._directory.remove(user_id, context, now, expected_version=version), "DELETE")
        return Response(204)

    async def _decode(self, raw: bytes, decode: Callable[[bytes], T]) -> T:
        return decode(raw) if len(raw) < _LARGE else await self._bodies.run(lambda: decode(raw))

    async def _modify(
        self, request: Request, user_id: str, change: Callable[[DirectoryUser], Draft], context: WriteContext
    ) -> ShownUser:
        version = await self._expected(request, user_id)
        if self._looked_for.lately(user_id):
            context = replace(context, links=True)
        written = await self._write(
            lambda now: self._directory.modify(user_id, change, context, now, expected_version=version), request.method
        )
        return ShownUser.of(written.user)

    async def _expected(self, request: Request, user_id: str) -> int | None:
        """The version that If-Match allows; None where any is right. A tag that we never gave is a lost race."""
        tags = request.headers.get(b"if-match")
        if tags is None:
            return None
        user = await self._shown(user_id)
        if tags.strip() == b"*":
            return None
        if not _matches(tags, user.version):
            raise ScimError(412, "The user has changed since that version; read it again.")
        return user.version

    async def _shown(self, user_id: str) -> ShownUser:
        user = await self._read(lambda: self._directory.show("id", user_id))
        if user is None:
            raise ScimError(404, NO_SUCH_USER)
        return user

    async def _found(self, text: str | None, search: Callable[[Filter | None], T]) -> T:
        """What an index finds is read as any account is; whatever else is asked for may take a while."""
        quick = None if text is None else filter.simple(text)
        if text is None or quick is not None:
            return await self._read(lambda: search(quick))
        return await self._searches.run(lambda: search(filter.parse(text)))

    def _search(self, where: Filter | None, start: int, count: int) -> tuple[int, list[ShownUser]]:
        if isinstance(where, Compare) and where.op == "eq" and isinstance(where.value, str):
            by = _UNIQUE.get(str(where.target))
            if by is not None:
                # Unique attributes are looked up, not searched.
                named = by == "user_name_key"
                found = self._directory.show(by, identity_key(where.value) if named else where.value)
                users = [] if found is None else [found]
                if named and users and users[0].okta_id is not None:
                    # Okta looks for a userName before it assigns somebody, and links them to the account that it finds.
                    self._looked_for.note(users[0].id)
                return len(users), users[start - 1 :][:count]
        page = self._directory.search(where, start, count)
        return page.total, list(page.users)

    async def _read(self, read: Callable[[], T]) -> T:
        return await asyncio.to_thread(read) if self._directory.reads_block else read()

    async def _write(self, submit: Callable[[datetime], "Future[Written]"], method: str) -> Written:
        if self._waiting >= self._max_waiting():
            busy = ScimError(
                429, f"{self._waiting} writes are waiting. Nothing was changed.", retry_after=_BUSY_SECONDS
            )
            busy.journalled = True  # a row for each would add to the very load that it tells of
            raise busy
        self._waiting += 1
        try:
            written = await self._waiter().wait(submit(CLOCK.now()))
        except Exception as exc:
            error = translate(exc, method)
            if error is None:
                raise
            # The directory keeps its own row of what its rules refuse.
            error.journalled = isinstance(exc, Refused)
            raise error from exc
        else:
            crash_point("push.committed")
            return written
        finally:
            self._waiting -= 1

    def _waiter(self) -> CommitWakeups:
        if self._wakeups is None:
            self._wakeups = CommitWakeups(asyncio.get_running_loop())
        return self._wakeups

    def _projection(self, request: Request) -> projection.Projection | None:
        if not request.scope["query_string"]:
            return None
        parameters = request.parameters
        return projection.read(parameters.get("attributes"), parameters.get("excludedattributes"))

    def _one(self, status: int, user: ShownUser, shown: projection.Projection | None) -> Response:
        rendered = render.user(user, self._base)
        if shown is not None:
            rendered = shown.apply(rendered)
        headers = [(b"etag", render.etag(user).encode())]
        if status == 201:
            headers.append((b"location", render.location(user, self._base).encode()))
        return Response(status, rendered, headers)


def _body(raw: bytes) -> body.Body:
    value = strict.decode(raw)
    body.check_schemas(value)
    said = body.read(value)
    if not said.user_name:
        raise invalid_value("userName is required.")
    return said


class _Moved(AgentError):
    """The account is not the one any more that a PATCH was worked out for."""

    def __init__(self) -> None:
        super().__init__("The account changed meanwhile.")


def _drafting(apply: PatchOperation) -> Callable[[DirectoryUser], Draft]:
    def change(user: DirectoryUser) -> Draft:
        after = apply(user)
        return Draft(
            user_name=after.user_name,
            profile=after.profile,
            active=after.active,
            okta_id=after.okta_id,
            active_said=apply.says_active,
        )

    return change


def _tell(request: Request, no_text: Sequence[str]) -> None:
    if no_text:
        log.warning("values left out: lists where text is kept", request_id=request.id, attributes=sorted({*no_text}))


def _matches(tags: bytes, version: int) -> bool:
    """Whether a list of entity tags names the version; weak and strong alike, since bodies are never sliced."""
    own = b'"%d"' % version
    return tags.strip() == b"*" or any(tag.strip().removeprefix(b"W/") == own for tag in tags.split(b","))
