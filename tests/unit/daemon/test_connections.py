"""A connection within its bounds: what is too long, too slow or too many, and what isn't. Against a transport of the test's own."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from uvicorn.server import ServerState

from agent.daemon.connections import (
    ANSWER_SECONDS,
    BODY_RATE,
    HEAD_SECONDS,
    MAX_HEAD,
    REST_SECONDS,
    CappedProtocol,
    PlacesConfig,
    Room,
)
from agent.receiver.metrics import counts

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Transport(asyncio.Transport):
    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self.written, self.aborted, self.unsent = b"", False, 0
        self.writes = 0
        self.over = asyncio.Event()
        self.protocol: CappedProtocol | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.host, 1) if name == "peername" else default

    def write(self, data: Any) -> None:
        """What comes after the end is dropped, as asyncio's own does."""
        if not self.over.is_set():
            self.written += data
            self.writes += 1

    def close(self) -> None:
        """Over is over, but the connection is lost only when all is taken."""
        if not self.over.is_set() and not self.unsent:
            self._lose()
        self.over.set()

    def abort(self) -> None:
        if not self.aborted and not (self.over.is_set() and not self.unsent):
            self._lose()
        self.aborted = True
        self.over.set()

    def _lose(self) -> None:
        if self.protocol is not None:
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self.over.is_set()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Served:
    """Connections of one listener. ``app`` answers 200 when the request is whole, or not before ``hold`` is set."""

    def __init__(self, places: int = 10) -> None:
        self.room = Room(places)
        self.config = PlacesConfig(
            self.app, self.room, http=CappedProtocol, ws="none", lifespan="off", log_config=None, interface="asgi3"
        )
        self.config.load()
        self.state = ServerState()
        self.hold = asyncio.Event()
        self.hold.set()
        self.bodies: list[int] = []
        #: Headers of the answer, and the parts of its body.
        self.headers, self.parts = [(b"content-length", b"0")], [b""]

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size, more = size + len(message["body"]), message["more_body"]
        self.bodies.append(size)
        await self.hold.wait()
        await send({"type": "http.response.start", "status": 200, "headers": self.headers})
        *first, last = self.parts
        for part in first:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": last})

    def connect(self, host: str = "192.0.2.1") -> CappedProtocol:
        made = CappedProtocol(
            config=self.config, server_state=self.state, app_state={}, _loop=asyncio.get_running_loop()
        )
        transport = Transport(host)
        transport.protocol = made
        made.connection_made(transport)
        return made

    async def finish(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    def after(self, seconds: float) -> None:
        self.room.drop_overdue(asyncio.get_running_loop().time() + seconds)


def status(connection: CappedProtocol) -> int | None:
    """Of the last answer; None where there is none."""
    transport: Any = connection.transport
    heads = [part for part in transport.written.split(b"HTTP/1.1 ") if part]
    return int(heads[-1][:3]) if heads else None


def closed(connection: CappedProtocol) -> bool:
    return connection.transport.is_closing()


def dropped() -> float:
    dropped = counts()["opshelm_agent_connections_dropped"]
    return sum(value for _, labels, value in dropped if labels == {"reason": "slow"})


def loop(test: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@loop
async def test_a_split_head_after_a_large_body_is_read() -> None:
    served = Served()
    one = served.connect()
    body = b"x" * (3 * MAX_HEAD)
    one.data_received(POST % len(body) + body[:-100])
    one.data_received(body[-100:] + GET[:10])
    one.data_received(GET[10:])
    await served.finish()
    await served.finish()
    assert (status(one), closed(one)) == (200, False)
    assert served.bodies == [len(body), 0]


@pytest.mark.parametrize("before", [b"", GET])
def test_a_head_that_never_ends_is_431(before: bytes) -> None:
    @loop
    async def run() -> None:
        served = Served()
        one = served.connect()
        one.data_received(before)
        await served.finish()
        one.data_received(b"GET / HTTP/1.1\r\n")
        for number in range(MAX_HEAD // 1000 + 1):
            assert not closed(one)
            one.data_received(b"X-%04d: " % number + b"x" * 1000 + b"\r\n")
        assert (status(one), closed(one)) == (431, True)

    run()


@loop
async def test_who_sends_nothing_is_cut_off_without_a_word() -> None:
    served = Served()
    one = served.connect()
    served.after(HEAD_SECONDS - 1)
    assert not closed(one)
    served.after(HEAD_SECONDS + 1)
    assert (status(one), closed(one)) == (None, True)


@loop
async def test_a_head_in_crumbs_has_no_more_time_than_another() -> None:
    served = Served()
    one = served.connect()
    for byte in GET[:-1]:
        one.data_received(bytes([byte]))
    served.after(HEAD_SECONDS + 1)
    assert (status(one), closed(one)) == (408, True)


@loop
async def test_a_body_must_come_at_a_rate_and_a_slow_one_gets_what_okta_tries_again() -> None:
    served = Served()
    one = served.connect()
    one.data_received(POST % 1000 + b"x" * 10)
    await served.finish()
    served.after(HEAD_SECONDS + 1)
    head, _, body = one.transport.written.partition(b"\r\n\r\n")  # type: ignore[attr-defined]
    assert (status(one), closed(one)) == (429, True)
    assert b"retry-after: 60" in head
    assert json.loads(body)["status"] == "429"


@loop
async def test_a_large_body_has_the_time_that_its_size_needs() -> None:
    served = Served()
    one = served.connect()
    come = int(BODY_RATE * 5)
    one.data_received(POST % (2 * come) + b"x" * come)
    await served.finish()
    served.after(HEAD_SECONDS + 4)
    assert not closed(one)
    served.after(HEAD_SECONDS + 6)
    assert status(one) == 429


@loop
async def test_a_request_that_the_agent_works_on_is_never_cut_off() -> None:
    served = Served(places=2)
    served.hold.clear()
    one, two = served.connect(), served.connect("192.0.2.2")
    for connection in (one, two):
        connection.data_received(GET)
    await served.finish()
    served.after(3600)
    third = served.connect("192.0.2.3")
    assert (closed(one), closed(two), status(third)) == (False, False, 429)
    served.hold.set()
    await served.finish()
    assert (status(one), status(two)) == (200, 200)


@loop
async def test_who_does_not_take_their_answer_is_cut_off() -> None:
    served = Served()
    served.hold.clear()
    one = served.connect()
    one.data_received(GET)
    await served.finish()
    one.transport.unsent = 1  # type: ignore[attr-defined]
    one.pause_writing()
    served.after(ANSWER_SECONDS - 1)
    assert not closed(one)
    served.after(ANSWER_SECONDS + 1)
    assert one.transport.aborted  # type: ignore[attr-defined]


@loop
async def test_who_leaves_a_little_of_their_answer_is_cut_off_too() -> None:
    """Less than what makes the transport say so."""
    for asked in (GET, GET[:-2] + b"Connection: close\r\n\r\n"):
        served = Served()
        one = served.connect()
        one.data_received(asked)
        one.transport.unsent = 1  # type: ignore[attr-defined]
        await served.finish()
        served.after(ANSWER_SECONDS - 1)
        assert not one.transport.aborted  # type: ignore[attr-defined]
        served.after(ANSWER_SECONDS + 1)
        assert one.transport.aborted  # type: ignore[attr-defined]


@loop
async def test_silent_connections_give_their_places_to_new_ones() -> None:
    served = Served(places=10)
    silent = [served.connect(f"192.0.2.{n % 5}") for n in range(30)]
    await served.finish()
    okta = served.connect("198.51.100.1")
    okta.data_received(GET)
    await served.finish()
    assert status(okta) == 200
    assert sum(not closed(connection) for connection in silent) < 10


@loop
async def test_one_address_has_half_of_all_places_for_what_it_does_not_use() -> None:
    served = Served(places=10)
    other = served.connect("198.51.100.1")
    silent = [served.connect() for _ in range(8)]
    assert [closed(connection) for connection in silent] == [True] * 3 + [False] * 5
    assert not closed(other)


@loop
async def test_a_stop_finishes_a_request_of_which_half_has_come() -> None:
    served = Served()
    half, idle, body = served.connect(), served.connect(), served.connect()
    half.data_received(GET[:10])
    idle.data_received(GET)
    body.data_received(POST % 4 + b"ab")
    await served.finish()
    for connection in (half, idle, body):
        connection.shutdown()
    half.data_received(GET[10:])
    body.data_received(b"cd")
    await served.finish()
    assert (status(half), closed(half)) == (200, True)
    assert (status(body), closed(body)) == (200, True)
    idle.data_received(GET)
    await served.finish()
    assert closed(idle)
    assert b"connection: close" in idle.transport.written  # type: ignore[attr-defined]


@loop
async def test_an_answer_is_one_write_and_a_kill_leaves_no_half_of_it() -> None:
    served = Served()
    one = served.connect()
    one.data_received(GET)
    await served.finish()
    one.data_received(b"HEAD" + GET[3:])
    await served.finish()
    assert one.transport.writes == 2  # type: ignore[attr-defined]
    assert one.transport.written.count(b"HTTP/1.1 200") == 2  # type: ignore[attr-defined]


@loop
async def test_an_answer_in_parts_is_sent_as_it_comes() -> None:
    served = Served()
    served.headers, served.parts = [], [b"ab", b"cde"]
    one = served.connect()
    one.data_received(GET)
    await served.finish()
    assert one.transport.written.endswith(b"2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")  # type: ignore[attr-defined]
    assert not closed(one)


@loop
async def test_an_answer_that_says_close_is_the_last_one() -> None:
    served = Served()
    served.headers.append((b"connection", b"close"))
    one = served.connect()
    one.data_received(GET)
    await served.finish()
    assert (status(one), one.transport.written.count(b"connection: close"), closed(one)) == (200, 1, True)  # type: ignore[attr-defined]


@loop
async def test_no_header_of_an_answer_holds_a_line_of_its_own() -> None:
    served = Served()
    served.headers.append((b"location", b"/x\r\nset-cookie: a=b"))
    one = served.connect()
    one.data_received(GET)
    await served.finish()
    assert (one.transport.written, closed(one)) == (b"", True)  # type: ignore[attr-defined]


@loop
async def test_who_rests_after_an_answer_is_let_go_without_being_counted() -> None:
    served = Served()
    before = dropped()
    one = served.connect()
    one.data_received(GET)
    await served.finish()
    served.after(REST_SECONDS - 0.5)
    assert not closed(one)
    served.after(REST_SECONDS + 0.5)
    assert (status(one), closed(one), dropped()) == (200, True, before)


@loop
async def test_answers_that_are_ready_together_leave_together() -> None:
    """Each that left alone would wake who waits for it, while the next one is worked out."""
    served, answered = Served(), list[int]()
    several = [served.connect(f"192.0.2.{n}") for n in range(5)]
    for one in several:
        one.transport.write = lambda _: answered.append(len(served.bodies))  # type: ignore[method-assign]
        one.data_received(GET)
    await served.finish()
    assert answered == [5] * 5


@loop
async def test_requests_that_come_while_an_answer_leaves_have_their_turn_one_after_the_other() -> None:
    served, gate, names = Served(), asyncio.Event(), list[str]()
    one = served.connect()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        names.append(scope["path"])
        if scope["path"] == "/slow":
            await gate.wait()
            names.append("/slow's end")
        name = scope["path"].encode()
        if scope["path"] == "/first":
            asyncio.get_running_loop().call_soon(
                one.data_received, GET.replace(b"/", b"/slow", 1) + GET.replace(b"/", b"/quick", 1)
            )
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(name))]})
        await send({"type": "http.response.body", "body": name})

    one.app = app  # type: ignore[assignment]
    one.data_received(GET.replace(b"/", b"/first", 1))
    await served.finish()
    gate.set()
    await served.finish()
    written: bytes = one.transport.written  # type: ignore[attr-defined]
    assert [part.rpartition(b"\r\n\r\n")[2] for part in written.split(b"HTTP/1.1 ")[1:]] == [
        b"/first",
        b"/slow",
        b"/quick",
    ]
    assert names == ["/first", "/slow", "/slow's end", "/quick"]


@loop
async def test_an_answer_is_sent_though_the_application_fails_right_after_it() -> None:
    served = Served()
    one = served.connect()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})
        raise RuntimeError

    one.app = app  # type: ignore[assignment]
    one.data_received(GET)
    await served.finish()
    assert status(one) == 500


@loop
async def test_who_asks_before_sending_a_body_is_told_to_go_on() -> None:
    served = Served()
    one = served.connect()
    one.data_received(POST[:-2] % 2 + b"Expect: 100-continue\r\n\r\n")
    await served.finish()
    assert one.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"  # type: ignore[attr-defined]
    one.data_received(b"ab")
    await served.finish()
    assert status(one) == 200


@loop
async def test_an_idle_connection_is_closed_soon_after_the_stop() -> None:
    served = Served()
    idle = served.connect()
    idle.shutdown()
    assert not closed(idle)
    await idle.transport.over.wait()  # type: ignore[attr-defined]
