"""A webhook receiver and a mail server on loopback that keep what they get; ``wait`` ends as soon as so much has come."""

import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult


class Posted(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class _Kept:
    def __init__(self) -> None:
        self.got: list[Any] = []
        self._come = threading.Condition()

    def keep(self, one: Any) -> None:
        with self._come:
            self.got.append(one)
            self._come.notify_all()

    def wait(self, count: int, seconds: float) -> bool:
        with self._come:
            return self._come.wait_for(lambda: len(self.got) >= count, seconds)


class WebhookReceiver(_Kept):
    """``status`` is what it answers with; one below 100 hangs up instead."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        """``context``: over TLS."""
        super().__init__()
        self.status = 200
        kept = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kept.keep(Posted(self.path, dict(self.headers), body))
                if kept.status >= 100:
                    self.send_response(kept.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"{'http' if context is None else 'https'}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class MailServer(_Kept):
    """``tls``: how it encrypts, as ``notify.smtp_tls`` says it; then it wants ``user`` and ``password`` too."""

    def __init__(
        self, tls: str = "none", context: ssl.SSLContext | None = None, user: str = "", password: str = ""
    ) -> None:
        super().__init__()
        kept = self

        class Handler:
            async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
                kept.keep(envelope)
                return "250 OK"

        #: User names and passwords that came.
        self.signed_in: list[tuple[bytes, bytes]] = []

        def right(_server: Any, _session: Any, _envelope: Any, _mechanism: str, said: Any) -> AuthResult:
            self.signed_in.append((said.login, said.password))
            fine = (said.login, said.password) == (user.encode(), password.encode())
            return AuthResult(success=fine, handled=False)

        with socket.create_server(("127.0.0.1", 0)) as free:  # the library can't tell which port it took
            self.port: int = free.getsockname()[1]
        wants: dict[str, Any] = {"authenticator": right} if user else {}
        if tls == "starttls":
            wants |= {"tls_context": context, "require_starttls": True, "auth_required": bool(user)}
        elif tls == "tls":
            # What came over TLS from the start, the library doesn't take for encrypted.
            wants |= {"ssl_context": context, "auth_require_tls": False}
        self._controller = Controller(Handler(), hostname="127.0.0.1", port=self.port, **wants)

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()
