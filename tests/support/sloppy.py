"""A SCIM server on loopback that does what a test tells it: correct by default, and wrong in one way at a time.

``users`` is what it holds, raw. ``scripted`` answers a request instead of the server; every request is in ``calls``.
"""

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

KEY = "sloppy-test-key"
CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
_FILTER = re.compile(r'(\w+) eq "((?:[^"\\]|\\.)*)"')

Body = dict[str, Any]


class Call:
    """One request, and what becomes of it. ``applied`` is called by hooks that let the server do its work first."""

    def __init__(self, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: Body) -> None:
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body

    @property
    def writes(self) -> bool:
        return self.method != "GET"


class Reply:
    """``raw`` instead of a JSON body; ``cut``: the connection ends after so many bytes of it (0: without any answer)."""

    def __init__(
        self, status: int = 200, body: Any = None, *, raw: bytes | None = None, cut: int | None = None, **headers: str
    ) -> None:
        self.status, self.headers, self.cut = status, headers, cut
        self.content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()


#: Answers a call itself, or None to let the server do so.
Hook = Callable[["Sloppy", Call], Reply | None]


class Sloppy:
    def __init__(self) -> None:
        self.users: dict[str, Body] = {}
        self.calls: list[Call] = []
        self.scripted: Hook | None = None
        self.config: Body = {
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
            "patch": {"supported": True},
            "filter": {"supported": True, "maxResults": 200},
            "etag": {"supported": True},
            "bulk": {"supported": False},
        }
        #: The most that a page holds, whatever was asked for.
        self.page_cap = 1000
        #: The last look at a list of all accounts.
        self.shape_list: Callable[[Body], Body] = lambda body: body
        self.shape_user: Callable[[Body], Body] = lambda user: user
        #: None: numbered. A server whose ids are the userName has this one of its own.
        self.id_of: Callable[[str], str] | None = None
        self.filters = True
        self.pages_by_cursor = False
        #: What lists show, where they lag behind the accounts.
        self.stale: dict[str, Body] | None = None
        self._lock = threading.Lock()
        self._next = 1
        self.url = ""

    def add(self, name: str, /, **more: Any) -> str:
        user_id = f"u{self._next:06d}" if self.id_of is None else self.id_of(name)
        self._next += 1
        body = {
            "schemas": [CORE],
            "id": user_id,
            "userName": name,
            "active": True,
            "emails": [{"value": name, "type": "work", "primary": True}],
            "meta": {"resourceType": "User", "version": 'W/"1"'},
        }
        self.users[user_id] = body | more
        return user_id

    def count(self, method: str, path: str = "") -> int:
        return sum(call.method == method and path in call.path for call in self.calls)

    def answer(self, call: Call) -> Reply:
        with self._lock:
            self.calls.append(call)
            reply = self.scripted(self, call) if self.scripted is not None else None
            return reply or self.apply(call)

    def apply(self, call: Call) -> Reply:
        """What a correct server would do."""
        if call.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "no such key")
        if call.path == "/ServiceProviderConfig":
            return Reply(200, self.config) if self.config else _error(404, "nothing here")
        if call.path == "/Users":
            return self._list(call) if call.method == "GET" else self._create(call)
        found = self.users.get(unquote(call.path.removeprefix("/Users/")))
        if found is None:
            return _error(404, "no such user")
        if call.method == "GET":
            return self._shown(200, found)
        if "if-match" in call.headers and call.headers["if-match"] != found["meta"]["version"]:
            return _error(412, "it has changed")
        return self._write(call, found)

    def _list(self, call: Call) -> Reply:
        everybody = list((self.users if self.stale is None else self.stale).values())
        terms = [_FILTER.fullmatch(term) for term in call.query.get("filter", "").split(" or ")]
        match = all(terms)
        if match and self.filters:
            wanted = {(term[1], json.loads(f'"{term[2]}"').lower()) for term in terms if term}
            if {name for name, _ in wanted} == {"id"} and self.stale is None:
                everybody = [self.users[value] for _, value in wanted if value in self.users]
            else:
                everybody = [u for u in everybody if any(str(u.get(n, "")).lower() == v for n, v in wanted)]
        count = min(int(call.query.get("count", "100")), self.page_cap)
        start = int(call.query.get("cursor") or call.query.get("startIndex", "1"))
        page = everybody[start - 1 : start - 1 + count]
        body: Body = {
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": len(everybody),
            "startIndex": start,
            "itemsPerPage": len(page),
            "Resources": [self.shape_user(dict(u)) for u in page],
        }
        if "cursor" in call.query and start + len(page) <= len(everybody):
            body["nextCursor"] = str(start + len(page))
        return Reply(200, body if match else self.shape_list(body))

    def _create(self, call: Call) -> Reply:
        name = str(call.body["userName"])
        if any(str(u["userName"]).lower() == name.lower() for u in self.users.values()):
            return _error(409, f"{name} is taken here", "uniqueness")
        user_id = self.add(name, **{k: v for k, v in call.body.items() if k not in ("id", "meta")})
        return self._shown(201, self.users[user_id])

    def _write(self, call: Call, found: Body) -> Reply:
        if call.method == "PATCH":
            if not self.config.get("patch", {}).get("supported", True):
                return _error(501, "no PATCH here")
            for operation in call.body["Operations"]:
                _patch(found, operation)
        elif call.method == "PUT":
            for key in set(found) - {"id", "meta"}:
                del found[key]
            found.update({k: v for k, v in call.body.items() if k not in ("id", "meta")})
        version = int(re.sub(r"\D", "", found["meta"]["version"])) + 1
        found["meta"] = {**found["meta"], "version": f'W/"{version}"'}
        return self._shown(200, found)

    def _shown(self, status: int, user: Body) -> Reply:
        shown = self.shape_user(dict(user))
        tag = shown["meta"].get("version") if isinstance(shown.get("meta"), dict) else None
        return Reply(status, shown, **({"ETag": tag} if tag else {}))


def _patch(user: Body, operation: Body) -> None:
    path, op = operation["path"], operation["op"]
    target, leaf = user, path
    if path.startswith("urn:"):
        urn, _, leaf = path.rpartition(":")
        target = user.setdefault(urn, {})
    elif "." in path:
        head, _, leaf = path.partition(".")
        target = user.setdefault(head, {})
    if op == "remove":
        target.pop(leaf, None)
    else:
        target[leaf] = operation["value"]


def _error(status: int, detail: str, scim_type: str | None = None) -> Reply:
    body = {"schemas": [ERROR], "status": str(status), "detail": detail}
    return Reply(status, body | ({"scimType": scim_type} if scim_type else {}))


def error(status: int, detail: str = "as told", scim_type: str | None = None) -> Reply:
    return _error(status, detail, scim_type)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    sloppy: Sloppy

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {key.lower(): value for key, value in self.headers.items()}
        call = Call(self.command, parts.path, query, headers, json.loads(content) if content else {})
        reply = self.sloppy.answer(call)
        if reply.cut is not None:
            self.close_connection = True
        if reply.cut == 0:
            return
        self.send_response_only(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/scim+json")
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content if reply.cut is None else reply.content[: reply.cut])

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names

    def log_message(self, *_: object) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of some tests."""


@contextmanager
def sloppy_server(tls: ssl.SSLContext | None = None) -> Iterator[Sloppy]:
    sloppy = Sloppy()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"sloppy": sloppy}))
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    sloppy.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield sloppy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
