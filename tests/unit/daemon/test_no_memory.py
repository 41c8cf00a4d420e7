"""What the HTTP parser could not take in for lack of memory is answered as that, and not as a mistake of the sender."""

import json
from types import SimpleNamespace

from httptools import HttpParserError, HttpRequestParser

from agent.daemon.connections import CappedProtocol


class Transport:
    def __init__(self) -> None:
        self.written, self.closed = b"", False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


class Failing:
    """Callbacks of which one fails."""

    def __init__(self, cause: Exception) -> None:
        self._cause = cause

    def on_body(self, _: bytes) -> None:
        raise self._cause


def answered(cause: Exception) -> Transport:
    protocol = CappedProtocol.__new__(CappedProtocol)
    protocol.transport = transport = Transport()  # type: ignore[assignment]
    protocol.server_state = SimpleNamespace(default_headers=[])  # type: ignore[assignment]
    try:
        HttpRequestParser(Failing(cause)).feed_data(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
    except HttpParserError:
        protocol.send_400_response("Invalid HTTP request received.")
    assert transport.closed
    return transport


def test_without_memory_the_answer_is_one_that_okta_tries_again() -> None:
    head, _, body = answered(MemoryError()).written.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 429 Too Many Requests"
    assert {"retry-after: 60", f"content-length: {len(body)}"} <= set(lines)
    assert json.loads(body)["status"] == "429"


def test_anything_else_that_the_parser_refuses_is_400() -> None:
    assert answered(ValueError()).written.startswith(b"HTTP/1.1 400 ")
