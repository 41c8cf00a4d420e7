"""A scripted HTTP server on loopback: what it answers is written down request by request, down to the bytes.

It knows nothing of Okta. What nobody wrote down is answered with 599 and kept in ``unscripted``.
"""

import asyncio
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

APP = "0oaOPSHELM1"
TOKEN = "00Secret-api-token-value"


@dataclass
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def json(self):
        return json.loads(self.body)


@dataclass
class Say:
    status: int = 200
    body: object = b""
    headers: list[tuple[str, str]] = field(default_factory=list)
    #: Seconds before the answer; None: never.
    delay: float | None = 0.0
    #: Send only so many bytes of the body, then cut the line.
    cut_after: int | None = None
    #: Close without any answer.
    hang_up: bool = False
    json: bool = True

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()

    def head(self, length: int) -> bytes:
        kind = [("Content-Type", "application/json")] if self.json else [("Content-Type", "text/html")]
        lines = [*kind, *self.headers, ("Content-Length", str(length))]
        return f"HTTP/1.1 {self.status} X\r\n".encode() + "".join(f"{k}: {v}\r\n" for k, v in lines).encode() + b"\r\n"


Rule = Callable[[Asked], Say]


class Scripted:
    def __init__(self, ssl=None) -> None:
        self.asked: list[Asked] = []
        self.unscripted: list[str] = []
        self.connections = 0
        self.now_open = 0
        self.most_open = 0
        self._script: dict[str, deque[Say]] = defaultdict(deque)
        self._rules: dict[str, Rule] = {}
        self._ssl = ssl
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if ssl else 'http'}://127.0.0.1:{self.port}"

    def say(self, path: str, *answers: Say) -> None:
        """Answer requests for this path (query left out, or the whole target) with these, in order."""
        self._script[path].extend(answers)

    def rule(self, path: str, rule: Rule) -> None:
        """Answer every request for this path by a function; what ``say`` holds comes first."""
        self._rules[path] = rule

    def targets(self, path: str = "") -> list[str]:
        return [asked.target for asked in self.asked if asked.target.startswith(path)]

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self):
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._ssl)

    async def _stop(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer) -> None:
        self.connections += 1
        try:
            while (asked := await self._read(reader)) is not None:
                self.asked.append(asked)
                self.now_open += 1
                self.most_open = max(self.most_open, self.now_open)
                go_on = await self._answer(self._next(asked), writer)
                self.now_open -= 1
                if not go_on:
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _read(self, reader) -> Asked | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Asked(method, target, headers, body)

    def _next(self, asked: Asked) -> Say:
        for key in (asked.target, asked.path):
            if self._script[key]:
                return self._script[key].popleft()
            if key in self._rules:
                return self._rules[key](asked)
        self.unscripted.append(f"{asked.method} {asked.target}")
        return Say(599)

    async def _answer(self, say: Say, writer) -> bool:
        await asyncio.sleep(3600 if say.delay is None else say.delay)
        if say.hang_up:
            return False
        body = say.encoded()
        writer.write(say.head(len(body)) + body[: say.cut_after])
        await writer.drain()
        return say.cut_after is None


def links(*pairs: tuple[str, str]) -> list[tuple[str, str]]:
    """One Link line for each (rel, address)."""
    return [("Link", f'<{address}>; rel="{rel}"') for rel, address in pairs]


def okta_error(code: str, summary: str = "", *causes: str) -> dict:
    return {
        "errorCode": code,
        "errorSummary": summary,
        "errorLink": code,
        "errorId": "oae1",
        "errorCauses": [{"errorSummary": cause} for cause in causes],
    }
