"""Signing in and out: a one-time link on this machine, Okta, or the password for emergencies. Shows nothing of the agent.

A sign-in that fails says no more than that; the log has why. Each address has few tries.
"""

import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Lock
from urllib.parse import urlsplit

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agent.dashboard.roles import local
from agent.dashboard.site import COOKIE, Site, Visit
from agent.settings import Settings
from agent.store import sessions
from agent.store.engine import Connection
from agent.store.sessions import DashboardRole, How, Session

_log = structlog.get_logger("agent.dashboard")
#: Failed tries of one address within the window; a person mistypes less often, and a guess of 256 bits needs more.
_TRIES = 10
_WINDOW = 600.0
#: Addresses that are remembered; a flood from more forgets the oldest.
_ADDRESSES = 10_000


class Tries:
    """Failed sign-ins by address, in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, Lock()
        self._failed: dict[str, deque[float]] = {}

    def left(self, address: str) -> bool:
        with self._lock:
            mine = self._failed.get(address, deque())
            while mine and mine[0] <= self._clock() - _WINDOW:
                mine.popleft()
            return len(mine) < _TRIES

    def failed(self, address: str) -> None:
        with self._lock:
            self._failed.setdefault(address, deque(maxlen=_TRIES)).append(self._clock())
            while len(self._failed) > _ADDRESSES:
                del self._failed[next(iter(self._failed))]


class SignIns:
    """The pages that somebody sees who is not signed in."""

    def __init__(self, site: Site, tries: Tries | None = None) -> None:
        self._site, self._tries = site, tries or Tries()

    def routes(self) -> list[Route]:
        return [
            Route("/sign-in", self._page, methods=["GET"]),
            Route("/sign-in/link/{secret}", self._by_link, methods=["GET"]),
            *self._site.act("/sign-out", sign_out, role=DashboardRole.VIEWER),
        ]

    @property
    def _settings(self) -> Settings:
        return self._site.settings

    def _page(self, request: Request) -> Response:
        return self._shown(request, "")

    def _shown(self, request: Request, problem: str, status: int = 200) -> Response:
        return self._site.render(
            None,
            "sign_in.html",
            code=status,
            problem=problem,
            next=own_path(request.query_params.get("next", "/")),
            settings=self._settings.dashboard,
            local=local(request, self._settings),
        )

    def _by_link(self, request: Request) -> Response:
        secret, now = str(request.path_params["secret"]), datetime.now(UTC)
        if not local(request, self._settings):
            return self._refused(request, "link", "it was not opened on this machine")
        if not self._tries.left(self._address(request)):
            return self._too_many(request)
        begun = self._site.store.write(lambda conn: sessions.take(conn, secret, How.LINK, now))
        if begun is None:
            return self._refused(request, "link", "it was used before, or its time is over")
        return self._in(
            request,
            begun.next,
            Session(how=How.LINK, name=begun.name, role=DashboardRole.ADMIN, created=now, expires=now + self._lasts),
        )

    @property
    def _lasts(self) -> timedelta:
        return self._settings.dashboard.session

    def _in(self, request: Request, path: str, session: Session) -> Response:
        """A new session, whatever there was before: nobody's old cookie becomes somebody else's session."""
        secret, old = sessions.new_secret(), request.cookies.get(COOKIE, "")

        def work(conn: Connection) -> None:
            sessions.end(conn, old)
            sessions.start(conn, secret, session)

        self._site.store.write(work)
        _log.info("signed in", how=session.how.value, role=session.role.value)
        answer = RedirectResponse(own_path(path), 303)
        answer.set_cookie(
            COOKIE,
            secret,
            max_age=int(self._lasts.total_seconds()),
            httponly=True,
            samesite="lax",
            secure=_by_tls(request, self._settings),
        )
        return answer

    def _refused(self, request: Request, how: str, why: str) -> Response:
        self._tries.failed(self._address(request))
        _log.warning("a sign-in was refused", how=how, reason=why, address=self._address(request))
        return self._shown(request, "That did not sign you in. The agent's log says why.", 403)

    def _too_many(self, request: Request) -> Response:
        answer = self._shown(request, "Too many sign-ins failed from your address. Wait ten minutes.", 429)
        answer.headers["retry-after"] = str(int(_WINDOW))
        return answer

    def _address(self, request: Request) -> str:
        return request.client.host if request.client else ""


def sign_out(site: Site, visit: Visit) -> Response:
    secret = visit.request.cookies.get(COOKIE, "")
    site.store.write(lambda conn: sessions.end(conn, secret))
    answer = site.go("/sign-in")
    answer.delete_cookie(COOKIE)
    return answer


def own_path(path: str) -> str:
    """A path of this site to go on with; anything else leads to the first page."""
    parts = urlsplit(path.replace("\\", "/"))
    fine = path.startswith("/") and not path.startswith("//") and not (parts.scheme or parts.netloc)
    return path if fine and path.isprintable() else "/"


def _by_tls(request: Request, settings: Settings) -> bool:
    public = urlsplit(settings.dashboard.public_url or "")
    return public.scheme == "https" and request.headers.get("host", "") == public.netloc
