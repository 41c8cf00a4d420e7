"""One HTTP connection within bounds of size, time and number, so that no client keeps others out. Knows no route and no setting.

A connection *waits* while the agent has nothing to do for it: its next request is not whole, or its answer isn't taken.

==================================================  ================================================
a connection that …                                 then
==================================================  ================================================
sends a head of more than MAX_HEAD bytes            431
sends no whole head within HEAD_SECONDS             408, or nothing where nothing was sent
sends a body slower than BODY_RATE after that time  429: what Okta tries again by itself
doesn't take its answer for ANSWER_SECONDS          is cut off
has its answer and rests for REST_SECONDS           is closed
comes when its address has half of all places       takes the place of the address's longest waiting
comes when all places are taken                     takes the place of the longest waiting; else 429
==================================================  ================================================
"""

import asyncio
import re
import resource
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from agent.receiver.metrics import DROPPED
from agent.receiver.refusals import NO_MEMORY, RETRY_AFTER
from agent.scim.errors import error_body

if TYPE_CHECKING:
    from uvicorn._types import ASGISendEvent, HTTPResponseStartEvent

#: Request line and headers together; Okta's are under 1 kB. The parser itself has no limit.
MAX_HEAD = 32_768
HEAD_SECONDS = 10.0
#: Bytes a second on the whole; a body of 1 MB may take two minutes.
BODY_RATE = 10_000.0
ANSWER_SECONDS = 30.0
REST_SECONDS = 5.0
#: How long a connection without a request stays open when the agent stops: one may be on its way.
_LAST_CALL_SECONDS = 0.5
#: More places help nobody: each is a descriptor and some memory, and Okta uses a few dozen.
_MOST_PLACES = 4096
_MOST_FILES = 16_384
#: What a larger answer costs isn't the waking.
_SMALL = 16_384
#: In a header of an answer; uvicorn refuses it.
_UNFIT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search


def _again_later(why: str) -> bytes:
    """Made beforehand: 429 is what Okta tries again by itself."""
    body = error_body(429, why)
    return (
        b"HTTP/1.1 429 Too Many Requests\r\nretry-after: %d\r\ncontent-type: application/scim+json\r\n"
        b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (RETRY_AFTER, len(body), body)
    )


_NO_MEMORY = _again_later(NO_MEMORY)
_NO_PLACE = _again_later("OpsHelm's agent has too many connections just now; please try again later.")
_SLOW_BODY = _again_later("The request came too slowly and was not read to its end; please try again.")
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_SLOW_HEAD = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


def places() -> int:
    """How many connections the open files of this process allow for; the other half is the database's and Okta's.

    The limit is raised as far as the process may, to a point.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    return _MOST_PLACES if soft == resource.RLIM_INFINITY else min(soft // 2, _MOST_PLACES)


class Room:
    """The places of one listener. Used on the loop alone."""

    def __init__(self, whole: int) -> None:
        self._whole = whole
        self._open = 0
        #: Longest waiting first.
        self._waiting: dict[CappedProtocol, None] = {}
        self._waiting_of: dict[str, dict[CappedProtocol, None]] = {}

    def enter(self, connection: "CappedProtocol") -> None:
        self._open += 1
        self.wait(connection)
        of_address = self._waiting_of[connection.address]
        if len(of_address) > self._whole // 2:
            next(iter(of_address)).drop("no_place")
        elif self._open > self._whole:
            next(iter(self._waiting)).drop("no_place")

    def wait(self, connection: "CappedProtocol") -> None:
        self.serve(connection)
        self._waiting[connection] = None
        self._waiting_of.setdefault(connection.address, {})[connection] = None

    def serve(self, connection: "CappedProtocol") -> None:
        """The agent is at work for it: it can't be dropped."""
        if self._waiting.pop(connection, connection) is None:
            of_address = self._waiting_of[connection.address]
            del of_address[connection]
            if not of_address:
                del self._waiting_of[connection.address]

    def leave(self, connection: "CappedProtocol") -> None:
        self.serve(connection)
        self._open -= 1

    def drop_overdue(self, moment: float) -> None:
        for connection in [one for one in self._waiting if one.overdue(moment)]:
            if connection.rests:
                connection.transport.close()
            else:
                connection.drop("slow")


class PlacesConfig(uvicorn.Config):
    """uvicorn's, and what its connections share."""

    def __init__(self, app: Any, room: Room, **more: Any) -> None:
        super().__init__(app, **more)
        self.room = room


class _Cycle(RequestResponseCycle):
    """A request and its answer. One that is whole when it is sent is put together here, in one write; uvicorn sends any other.

    A process that is killed between two leaves half an answer, of which no proxy can make a "later".
    """

    _start: "HTTPResponseStartEvent | None" = None

    async def send(self, message: "ASGISendEvent") -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None and message["type"] == "http.response.body":
            body = message.get("body", b"")
            head = None if message.get("more_body") else self._head(start, len(body))
            if head is not None:
                await self._write(head + body)
                return
            await super().send(start)
        await super().send(message)

    def _head(self, start: "HTTPResponseStartEvent", length: int) -> bytes | None:
        """The bytes before a body that ends the answer; None where there is more to it than to write them down."""
        headers = [*self.default_headers, *start.get("headers", ())]
        found = dict(headers)
        told = found.get(b"content-length")
        if not (told == b"%d" % length if told is not None else start["status"] in (204, 304)):
            return None
        if self.scope["method"] == "HEAD" or _UNFIT(b"".join(chain.from_iterable(headers))):
            return None
        closing = found.get(b"connection")
        if closing == b"close":
            self.keep_alive = False
        elif closing is not None:
            return None
        elif not self.keep_alive:
            headers.append((b"connection", b"close"))
        lines = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        return b"%b%b\r\n" % (STATUS_LINE[start["status"]], lines)

    async def _write(self, answer: bytes) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        try:
            if len(answer) <= _SMALL:
                # Behind all that is ready now, so that answers leave together: each one alone would wake whoever waits for it, a
                # proxy on this machine say, which costs half as much as the rest of a read.
                await asyncio.sleep(0)
        finally:
            self._send_off(answer)

    def _send_off(self, answer: bytes) -> None:
        if self.disconnected:
            return
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.transport.write(answer)
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class CappedProtocol(HttpToolsProtocol):
    #: Bytes of the head that is being read.
    _head = 0
    #: No whole head of the next request has come yet.
    _in_head = True
    #: Something of a request has come that is not whole.
    _begun = False
    #: Requests that began in the piece that is being read.
    _beginnings = 0
    #: Bytes of the body.
    _body = 0
    #: Since when it waits.
    _since = 0.0
    _unread = False
    _too_long = False
    _last = False
    address = ""

    def __init__(self, config: PlacesConfig, *args: Any, **kwargs: Any) -> None:
        super().__init__(config, *args, **kwargs)
        self._room = config.room

    # What the transport says

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.address = self.client[0] if self.client else ""
        self._since = self.loop.time()
        self._room.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        idle, self._beginnings = not self._begun, 0
        super().data_received(data)
        # Only what belongs to this head: the piece may have begun with the end of another request.
        if self._begun and self._in_head and self._beginnings == (1 if idle else 0):
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(_TOO_LARGE)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = True
        self._settle()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread = False
        self._settle()

    # What the parser says

    def on_message_begin(self) -> None:
        self._begun, self._in_head, self._head = True, True, 0
        self._beginnings += 1
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head, self._body, self._since = False, 0, self.loop.time()
        if len(self.url) + sum(map(len, chain.from_iterable(self.headers))) > MAX_HEAD:
            self._too_long = True
            raise ValueError("head too long")  # ends the parser; send_400_response answers
        super().on_headers_complete()
        self.cycle.__class__ = _Cycle  # uvicorn has no place to name it
        if self._last:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._begun, self._in_head = False, True
        super().on_message_complete()
        self._settle()

    # What uvicorn says

    def on_response_complete(self) -> None:
        # As uvicorn does, but for its timer: who rests is the room's to see, once a second for all.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            if self._untaken:
                self._settle()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        self._settle()

    def send_400_response(self, msg: str) -> None:
        # Called while the parser's error is handled; what a callback of ours raised is behind it.
        error = sys.exception()
        if self._too_long:
            self._refuse(_TOO_LARGE)
        elif error is not None and isinstance(error.__context__, MemoryError):
            self._refuse(_NO_MEMORY)
        else:
            super().send_400_response(msg)

    def shutdown(self) -> None:
        """What was begun is finished, also a request that is not whole yet."""
        self._last = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif not self._begun:
            self.loop.call_later(_LAST_CALL_SECONDS, self._close_if_nothing_began)

    # What the room asks

    @property
    def rests(self) -> bool:
        """Its answer is taken, and nothing of another request has come."""
        return not (self._untaken or self._begun or self.cycle is None) and self.cycle.response_complete

    @property
    def _untaken(self) -> bool:
        """Something of an answer waits here, much or little, since the other side doesn't read on."""
        return self._unread or self.transport.get_write_buffer_size() > 0

    def overdue(self, moment: float) -> bool:
        waited = moment - self._since
        if self._untaken:
            return waited > ANSWER_SECONDS
        if self.rests:
            return waited > REST_SECONDS
        if self._in_head:
            return waited > HEAD_SECONDS
        if self.flow.read_paused:
            # It is the agent that doesn't read on.
            self._since = moment
            return False
        return waited > HEAD_SECONDS + self._body / BODY_RATE

    def drop(self, reason: str) -> None:
        """Give its place up; with an answer where one can be given."""
        DROPPED.labels(reason).inc()
        self._room.serve(self)
        if reason == "no_place":
            answer = _NO_PLACE
        elif not self._begun:
            answer = b""
        else:
            answer = _SLOW_HEAD if self._in_head else _SLOW_BODY
        answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        self._refuse(b"" if answering else answer)
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _settle(self) -> None:
        """Whose turn is it now?"""
        if self._unread or self.cycle.response_complete or self.cycle.more_body:
            self._since = self.loop.time()
            self._room.wait(self)
        else:
            self._room.serve(self)

    def _close_if_nothing_began(self) -> None:
        if not self._begun and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()

    def _refuse(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            if answer:
                self.transport.write(answer)
            self.transport.close()
