"""Signing in and out: a one-time link on this machine, Okta, or the password for emergencies. Shows nothing of the agent.

A sign-in that fails says no more than that; the log has why. Each address has few tries.
"""

import hmac
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import structlog
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from agent.dashboard.oidc import DONE_PATH, Okta, SignInFailed
from agent.dashboard.roles import local, role_by
from agent.dashboard.site import COOKIE, Site, Visit, read_form, same_origin
from agent.settings import Settings
from agent.store import sessions
from agent.store.engine import Connection
from agent.store.sessions import DashboardRole, How, Session, SignIn
from agent.store.steps import CLOCK

_log = structlog.get_logger("agent.dashboard")
#: Failed tries of one address within the window; a person mistypes less often, and a guess of 256 bits needs more.
_TRIES = 10
_WINDOW = 600.0
#: Addresses that are remembered; a flood from more forgets the oldest.
_ADDRESSES = 10_000
#: From here to Okta and back, a second factor included.
_ON_THE_WAY = timedelta(minutes=10)
_STATE_COOKIE = "opshelm_sign_in"
_NAME = re.compile(r"[\w.@+-][\w.@+ -]{0,63}")
#: Of a password; argon2 would take any.
_LONGEST = 1000


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
        self._site, self._tries, self._one = site, tries or Tries(), Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/sign-in", self._page, methods=["GET"]),
            Route("/sign-in/link/{secret}", self._by_link, methods=["GET"]),
            Route("/sign-in/okta", self._to_okta, methods=["GET"]),
            Route(DONE_PATH, self._from_okta, methods=["GET"]),
            Route("/sign-in/password", self._password, methods=["POST"]),
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
        secret, now = str(request.path_params["secret"]), CLOCK.now()
        near = local(request, self._settings)
        if barred := self._barred(request, How.LINK, None if near else "it was not opened on this machine"):
            return barred
        begun = self._site.store.write(lambda conn: sessions.take(conn, secret, How.LINK, now))
        if begun is None:
            return self._refused(request, How.LINK, "it was used before, or its time is over")
        return self._in(request, begun.next, how=How.LINK, name=begun.name, role=DashboardRole.ADMIN)

    # Okta

    def _to_okta(self, request: Request) -> Response:
        if self._settings.dashboard.client_id is None:
            return self._shown(request, "Signing in with Okta is not set up.", 404)
        if barred := self._barred(request, How.OKTA, self._in_the_open(request)):
            return barred
        try:
            begun = self._okta(request).begin()
        except SignInFailed as error:
            _log.warning("a sign-in can't begin", how="okta", reason=error.detail)
            return self._shown(request, "Okta can't be asked just now. The agent's log says why.", 503)
        until = CLOCK.now() + _ON_THE_WAY
        path = own_path(request.query_params.get("next", "/"))
        started = SignIn(how=How.OKTA, nonce=begun.nonce, verifier=begun.verifier, next=path, expires=until)
        self._site.store.write(lambda conn: sessions.begin(conn, begun.state, started))
        answer = RedirectResponse(begun.address, 303)
        # So that nobody's browser can be brought to finish a sign-in that another one has begun.
        self._set_cookie(request, answer, _STATE_COOKIE, begun.state, _ON_THE_WAY)
        return answer

    def _from_okta(self, request: Request) -> Response:
        query, now = request.query_params, CLOCK.now()
        if barred := self._barred(request, How.OKTA, self._in_the_open(request)):
            return barred
        state = query.get("state", "")
        if not state or not hmac.compare_digest(state.encode(), request.cookies.get(_STATE_COOKIE, "").encode()):
            return self._refused(request, How.OKTA, "it was not begun by this browser")
        begun = self._site.store.write(lambda conn: sessions.take(conn, state, How.OKTA, now))
        if begun is None:
            return self._refused(request, How.OKTA, "it was finished before, or took too long")
        if "code" not in query:
            return self._refused(request, How.OKTA, f"Okta said {query.get('error', 'nothing')[:60]}")
        try:
            person = self._okta(request).finish(query["code"], begun.nonce, begun.verifier)
        except SignInFailed as error:
            return self._refused(request, How.OKTA, error.detail)
        role = role_by(person.claims, self._settings.dashboard)
        if role is None:
            return self._refused(request, How.OKTA, "none of the person's claims has a role in the settings")
        with self._site.store.read() as conn:
            out = sessions.is_out(conn, person.okta_id)
        if out:
            return self._refused(request, How.OKTA, "the person's account is deactivated")
        who = {"name": person.name, "okta_id": person.okta_id, "claims": person.claims}
        answer = self._in(request, begun.next, how=How.OKTA, role=role, **who)
        answer.delete_cookie(_STATE_COOKIE, path="/sign-in")
        return answer

    def _okta(self, request: Request) -> Okta:
        own = f"http://{request.headers.get('host', '')}"
        return Okta(self._settings, (self._settings.dashboard.public_url or own).rstrip("/") + DONE_PATH)

    # The password

    async def _password(self, request: Request) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(self._by_password, request, form or {})

    def _by_password(self, request: Request, form: Mapping[str, Sequence[str]]) -> Response:
        kept = self._settings.dashboard.password_hash
        name, password = ((form.get(field) or [""])[-1] for field in ("name", "password"))
        if kept is None:
            return self._shown(request, "There is no password.", 404)
        foreign = not same_origin(request, self._settings) or self._in_the_open(request)
        if barred := self._barred(
            request, How.PASSWORD, "it came from another site, or not by TLS" if foreign else None
        ):
            return barred
        if not _NAME.fullmatch(name.strip()):
            return self._shown(request, "Say who you are, in letters and digits: the journal keeps it.", 400)
        if not self._right(kept.get_secret_value(), password):
            return self._refused(request, How.PASSWORD, "it was wrong")
        path, signed = request.query_params.get("next", "/"), f"{name.strip()} (password)"
        return self._in(request, path, how=How.PASSWORD, name=signed, role=DashboardRole.ADMIN)

    def _in_the_open(self, request: Request) -> str | None:
        """Passwords, codes and sessions travel over TLS, or not over a network at all."""
        if local(request, self._settings) or _by_tls(request, self._settings):
            return None
        return "it came neither by TLS nor from this machine"

    def _right(self, kept: str, password: str) -> bool:
        with self._one:  # each takes 64 MB
            try:
                return PasswordHasher().verify(kept, password[:_LONGEST])
            except (VerificationError, InvalidHashError):
                return False

    # Into a session

    @property
    def _lasts(self) -> timedelta:
        return self._settings.dashboard.session

    def _in(self, request: Request, path: str, **who: Any) -> Response:
        """A new session, whatever there was before: nobody's old cookie becomes somebody else's session."""
        now, secret, old = CLOCK.now(), sessions.new_secret(), request.cookies.get(COOKIE, "")
        session = Session(created=now, expires=now + self._lasts, **who)

        def work(conn: Connection) -> None:
            sessions.end(conn, old)
            sessions.start(conn, secret, session)

        self._site.store.write(work)
        _log.info("signed in", how=session.how.value, role=session.role.value)
        answer = RedirectResponse(own_path(path), 303)
        self._set_cookie(request, answer, COOKIE, secret, self._lasts)
        return answer

    def _set_cookie(self, request: Request, answer: Response, name: str, secret: str, lasts: timedelta) -> None:
        path = "/" if name == COOKIE else "/sign-in"
        age, secure = int(lasts.total_seconds()), _by_tls(request, self._settings)
        answer.set_cookie(name, secret, max_age=age, path=path, httponly=True, samesite="lax", secure=secure)

    def _barred(self, request: Request, how: How, why: str | None) -> Response | None:
        """What is answered before anything is looked at: it came as it must not (``why``), or too often."""
        if why is not None:
            return self._refused(request, how, why)
        if self._tries.left(self._address(request)):
            return None
        answer = self._shown(request, "Too many sign-ins failed from your address. Wait ten minutes.", 429)
        answer.headers["retry-after"] = str(int(_WINDOW))
        return answer

    def _refused(self, request: Request, how: How, why: str) -> Response:
        self._tries.failed(self._address(request))
        _log.warning("a sign-in was refused", how=how.value, reason=why, address=self._address(request))
        return self._shown(request, "That did not sign you in. The agent's log says why.", 403)

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
