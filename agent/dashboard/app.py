"""The admin port: status page, metrics, health. Read-only; shows no people. Not for the internet: TLS and sign-in are not here."""

import hashlib
import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import REGISTRY as PROCESS
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agent.dashboard import page, status
from agent.dashboard.metrics import Daemon, DaemonCollector, StatusCollector
from agent.model.errors import AgentError
from agent.settings import Settings
from agent.store import keys

if TYPE_CHECKING:
    from agent.store.engine import Store

_log = structlog.get_logger("agent.dashboard")
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


def build(
    store: "Store", settings: Callable[[], Settings], receiver: str, daemon: Daemon, collectors: tuple[Any, ...] = ()
) -> Starlette:
    """``settings`` are those in force; ``receiver`` is shown as its address; ``collectors`` are further sources of metrics."""
    admin = Admin(store, settings, receiver, daemon)
    for collector in (StatusCollector(admin.status), DaemonCollector(daemon), *collectors):
        admin.registry.register(collector)
    routes = [Route("/metrics", admin.metrics), Route("/healthz", admin.alive), Route("/readyz", admin.ready)]
    if settings().dashboard.enabled:
        routes += [Route("/", admin.home), Route("/status.css", admin.style)]
    return Starlette(routes=routes)


class Admin:
    """Handlers. Those that read the database are plain functions: the framework runs them in its threads."""

    def __init__(self, store: "Store", settings: Callable[[], Settings], receiver: str, daemon: Daemon) -> None:
        self._daemon = daemon
        self._store = store
        self._settings = settings
        self._receiver = settings().server.public_url or receiver
        self.registry = CollectorRegistry()

    def status(self) -> status.StatusPage | None:
        try:
            with self._store.read() as conn:
                return status.read(conn, self._settings(), datetime.now(UTC))
        except AgentError as exc:
            _log.warning("the database can't be read", code=exc.code)
            return None

    def home(self, _request: Request) -> Response:
        found = self.status()
        if found is None:
            return PlainTextResponse("The database can't be read just now.\n", 503, _HEADERS)
        return Response(page.render(found, self._receiver, self._store.place), media_type="text/html", headers=_HEADERS)

    async def style(self, _request: Request) -> Response:
        return Response(page.STYLE, media_type="text/css", headers=_HEADERS)

    def metrics(self, request: Request) -> Response:
        """From this machine without a key; from elsewhere with one of scope metrics."""
        if not self._may_read_metrics(request):
            answer = "A key of scope metrics is needed: opshelm-agent keys create prometheus --scope metrics\n"
            return PlainTextResponse(answer, 401, {**_HEADERS, "www-authenticate": "Bearer"})
        text = generate_latest(self.registry) + generate_latest(PROCESS)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8", headers=_HEADERS)

    async def alive(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"}, headers=_HEADERS)

    def ready(self, _request: Request) -> Response:
        """The database answers and has the schema of this program, and no loop of the daemon stands still.

        Okta being down is no reason to take no pushes.
        """
        overdue = sorted(self._daemon.overdue())
        said = {"settings": self._daemon.in_force(), "since": f"{self._daemon.since():%Y-%m-%dT%H:%M:%SZ}"}
        if self.status() is None:
            return JSONResponse({"status": "unavailable", **said}, 503, _HEADERS)
        if overdue:
            return JSONResponse({"status": "overdue", "loops": overdue, **said}, 503, _HEADERS)
        return JSONResponse({"status": "ok", **said}, headers=_HEADERS)

    def _may_read_metrics(self, request: Request) -> bool:
        if request.client and _loopback(request.client.host):
            return True
        secret = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        digest = hashlib.sha256(secret.encode()).hexdigest()
        with self._store.read() as conn:
            key = keys.find(conn, digest)
        return key is not None and key.scope is keys.Scope.METRICS and key.valid(datetime.now(UTC))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
