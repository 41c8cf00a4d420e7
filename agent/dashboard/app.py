"""The admin port: pages behind a sign-in, and metrics and health without one."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog
from prometheus_client import REGISTRY as PROCESS
from prometheus_client import CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.dashboard import check, failures, holds, imports, journal, overview, people, plans, runs, status
from agent.dashboard import keys as keys_page
from agent.dashboard import settings as settings_page
from agent.dashboard.activity import Activity
from agent.dashboard.import_desk import ImportDesk
from agent.dashboard.metrics import Daemon, DaemonCollector, StatusCollector
from agent.dashboard.roles import local
from agent.dashboard.signin import SignIns
from agent.dashboard.site import HEADERS, STATIC, Parts, Site
from agent.model.errors import AgentError
from agent.store import keys
from agent.store.steps import CLOCK

_log = structlog.get_logger("agent.dashboard")


def build(parts: Parts, receiver: str, daemon: Daemon, collectors: tuple[Any, ...] = ()) -> Starlette:
    """``receiver`` is shown as the receiver's address; ``collectors`` are further sources of metrics."""
    admin = Admin(parts, daemon)
    for collector in (StatusCollector(admin.status), DaemonCollector(daemon), *collectors):
        admin.registry.register(collector)
    routes: list[BaseRoute] = [
        Route("/metrics", admin.metrics),
        Route("/healthz", admin.alive),
        Route("/readyz", admin.ready),
    ]
    site = Site(parts, receiver)
    counted = Activity()
    desk = ImportDesk(lambda: parts.importer() if parts.reconciler else None, CLOCK.now)
    if parts.settings.dashboard.enabled:
        routes += _pages(site, daemon, desk, counted)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        # Thirty days of the journal take a second, which nobody who opens the first page is to wait for.
        first = asyncio.create_task(run_in_threadpool(_count, parts, counted))
        yield
        await first
        for one in (desk, site.desk):
            await run_in_threadpool(one.close)

    def nowhere(request: Request, _error: Exception) -> Response:
        return site.refusal(404, "Not found", f"There is no page at {request.url.path}.")

    pages = {404: nowhere} if parts.settings.dashboard.enabled else {}
    return Starlette(routes=routes, middleware=[Middleware(WithHeaders)], lifespan=lifespan, exception_handlers=pages)


def _count(parts: Parts, counted: Activity) -> None:
    if not parts.settings.dashboard.enabled:
        return
    try:
        with parts.store.read() as conn:
            counted.read(conn, CLOCK.now())
    except AgentError as exc:
        _log.warning("the activity of thirty days can't be counted yet", code=exc.code)


def _pages(site: Site, daemon: Daemon, desk: ImportDesk, counted: Activity) -> list[BaseRoute]:
    return [
        Mount("/static", StaticFiles(directory=STATIC)),
        *SignIns(site).routes(),
        *overview.routes(site, counted),
        *runs.routes(site),
        *plans.routes(site),
        *holds.routes(site),
        *people.routes(site),
        *failures.routes(site),
        *imports.routes(site, desk),
        *journal.routes(site),
        *keys_page.routes(site),
        *settings_page.routes(site, daemon),
        *check.routes(site, daemon),
    ]


class WithHeaders:
    """What no answer of this port may lack, errors and files too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        files = scope["type"] == "http" and scope["path"].startswith("/static/")

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                there = {name for name, _ in message["headers"]}
                wanted = {**HEADERS, "cache-control": "public, max-age=86400"} if files else HEADERS
                more = [(name.encode(), value.encode()) for name, value in wanted.items() if name.encode() not in there]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        await self._app(scope, receive, with_headers)


class Admin:
    """What needs no sign-in. Handlers that read the database are plain functions: the framework runs them in its threads."""

    def __init__(self, parts: Parts, daemon: Daemon) -> None:
        self._daemon = daemon
        self._parts = parts
        self.registry = CollectorRegistry()

    def status(self) -> status.StatusPage | None:
        try:
            with self._parts.store.read() as conn:
                return status.read(conn, self._parts.settings, CLOCK.now())
        except AgentError as exc:
            _log.warning("the database can't be read", code=exc.code)
            return None

    def metrics(self, request: Request) -> Response:
        """From this machine without a key; from elsewhere, or through a proxy, with one of scope metrics."""
        if not local(request, self._parts.settings) and not self._has_key(request):
            answer = "A key of scope metrics is needed: opshelm-agent keys create prometheus --scope metrics\n"
            return PlainTextResponse(answer, 401, {"www-authenticate": "Bearer"})
        text = generate_latest(self.registry) + generate_latest(PROCESS)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def alive(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    def ready(self, _request: Request) -> Response:
        """The database answers, takes what is written and has the schema of this program, and no loop of the daemon stands still.

        Okta being down is no reason to take no pushes.
        """
        overdue = sorted(self._daemon.overdue())
        said = {"settings": self._daemon.in_force(), "since": f"{self._daemon.since():%Y-%m-%dT%H:%M:%SZ}"}
        full = self._parts.store.full
        if full is not None:
            return JSONResponse({"status": "disk_full", "why": full.detail, **said}, 503)
        if self.status() is None:
            return JSONResponse({"status": "unavailable", **said}, 503)
        if overdue:
            return JSONResponse({"status": "overdue", "loops": overdue, **said}, 503)
        return JSONResponse({"status": "ok", **said})

    def _has_key(self, request: Request) -> bool:
        secret = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
        digest = hashlib.sha256(secret.encode()).hexdigest()
        with self._parts.store.read() as conn:
            key = keys.find(conn, digest)
        return key is not None and key.scope is keys.KeyScope.METRICS and key.valid(CLOCK.now())
