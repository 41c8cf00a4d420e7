"""The HTTP/1.1 protocol below the app: uvicorn's httptools one, with a cap on what comes before a body.

httptools collects headers without a limit, so one connection could fill the memory; here it is cut off.
"""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: Request line and headers, together. The app refuses less with a proper answer (messages.MAX_HEADERS).
MAX_HEAD = 131_072


class CappedProtocol(HttpToolsProtocol):
    _head = 0

    def on_message_begin(self) -> None:
        self._head = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MAX_HEAD:
            # httptools turns what a callback raises into a parser error: 400, and the connection is closed.
            raise ValueError("the request's head is too long")
