"""What all pages share: who visits, whether they may, templates, headers, and one answer as page, CSV or JSON.

A page is a plain function ``(Site, Visit) -> Response``; the framework runs it in one of its threads. A page that acts gets
its form read, its origin and token checked, and its errors answered; nothing else may change anything.
"""

import hmac
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import jinja2
import msgspec
import structlog
from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from agent import __version__
from agent.dashboard import words
from agent.dashboard.desk import Desk
from agent.dashboard.roles import role_of
from agent.directory.port import Directory
from agent.imports import Importer
from agent.model import csv_text
from agent.model.errors import AgentError, NotFound, StoreUnavailable, UsageError
from agent.okta_org import RateBudget
from agent.reconcile.reconciler import Reconciler
from agent.runs.wording import FORMAT_VERSION, LARGEST_ID
from agent.settings import Settings
from agent.settings.values import parse_duration
from agent.store import account, first_approvals, sessions
from agent.store.engine import Connection, Store
from agent.store.first_approvals import FirstApproval
from agent.store.journal import Signature
from agent.store.sessions import DashboardRole, Session
from agent.store.steps import CLOCK

_log = structlog.get_logger("agent.dashboard")
T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    # Not no-referrer: with that a browser says "Origin: null" of the page's own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
COOKIE = "opshelm_session"
#: In the order of the navigation.
PAGES = (
    *(("/", "Overview"), ("/runs", "Runs"), ("/plans", "Plans"), ("/holds", "Holds"), ("/people", "People")),
    *(("/failures", "Failures"), ("/imports", "Import"), ("/journal", "Journal"), ("/keys", "Keys")),
    *(("/settings", "Settings"), ("/check", "Check")),
)
#: To htmx: this part changes no more, ask no further.
OVER = 286
#: A form has ids, a reason and a count; one that names thousands of actions still fits.
_MOST_FORM_BYTES = 1_000_000
_MOST_FIELDS = 20_000
#: Of a list that has page numbers.
_LAST_PAGE = 99_999
#: Rows that one read of a list takes that is written out whole.
CHUNK = 2000


class Parts(Protocol):
    """The agent as the dashboard uses it (agent.bootstrap.Agent fulfils it). Each is asked for anew: settings change."""

    @property
    def settings(self) -> Settings: ...
    @property
    def store(self) -> Store: ...
    @property
    def directory(self) -> Directory: ...
    @property
    def reconciler(self) -> Reconciler | None: ...
    def budget(self) -> Mapping[str, RateBudget] | None:
        """What Okta's headers said is left; None without [okta]."""

    def importer(self) -> Importer:
        """Not without [okta]."""


class Visit(Struct, frozen=True, kw_only=True):
    """One request of somebody who is signed in."""

    request: Request
    session: Session
    #: What a form sends back to show that it is this session's own.
    token: str
    now: datetime
    form: Mapping[str, Sequence[str]] = {}

    @property
    def format(self) -> str:
        """html, csv or json, by the address's end."""
        _, _, end = self.request.url.path.rpartition(".")
        return end if end in ("csv", "json") else "html"

    @property
    def partial(self) -> bool:
        """Htmx asks for a part of the page."""
        return "hx-request" in self.request.headers

    def number_asked(self, name: str) -> int | None:
        """From the query; None for what is no number of a row."""
        text = self.asked(name)
        return int(text) if text.isdecimal() and len(text) < 11 and int(text) <= LARGEST_ID else None

    @property
    def page(self) -> int:
        """Which page of a list is asked for, from 1 on."""
        return min(self.number_asked("page") or 1, _LAST_PAGE)

    def number(self, name: str) -> int:
        """From the address's path. NotFound for one that fits into no column."""
        found = int(self.request.path_params[name])
        if found > LARGEST_ID:
            raise NotFound(f"There is no number {found}.")
        return found

    def asked(self, name: str) -> str:
        """From the address's query. PostgreSQL refuses a NUL in whatever it is asked."""
        return self.request.query_params.get(name, "").replace("\0", "").strip()

    def filters(self, *names: str) -> dict[str, str]:
        """What a list was asked for; "" where it wasn't."""
        return {name: self.asked(name) for name in names}

    def said(self, name: str) -> str:
        """One field of the form."""
        return (self.form.get(name) or [""])[-1].strip()

    def why(self) -> str:
        """The form's reason, which must be said."""
        if not self.said("reason"):
            raise UsageError("Say why; it is kept in the journal. Nothing was changed.")
        return self.said("reason")

    def lasting(self, name: str) -> timedelta | None:
        """How long, as the form says it."""
        try:
            return parse_duration(self.said(name)) if self.said(name) else None
        except ValueError as error:
            raise UsageError(f"{error}. Nothing was changed.") from None

    def chosen(self, name: str) -> list[int]:
        """The ticked boxes of that name; what is no number was not ticked here."""
        return [int(text) for text in self.form.get(name, ()) if text.isascii() and text.isdecimal() and len(text) < 19]

    def by(self, reason: str = "") -> Signature:
        """The signature under what is decided here."""
        return Signature(actor=self.session.name, source="dashboard", at=self.now, reason=reason)


View = Callable[["Site", Visit], Response]


def named(kind: type[E], text: str) -> E | None:
    """The member that the text names; None where it names none."""
    return kind(text) if text in set(kind) else None


class Site:
    """One for each process. ``desk`` is its only state: what was begun and takes longer than a request."""

    def __init__(self, parts: Parts, receiver: str) -> None:
        self.parts, self._receiver, self.desk = parts, receiver, Desk()
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("agent.dashboard"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters.update(words.FILTERS)
        self._templates.globals.update(
            version=__version__, static=static, token=_token_field, query=_query, navigation=PAGES
        )

    @property
    def store(self) -> Store:
        return self.parts.store

    @property
    def settings(self) -> Settings:
        return self.parts.settings

    @property
    def receiver(self) -> str:
        """The receiver's address as Okta sees it."""
        return self.settings.server.public_url or self._receiver

    # Routes

    def page(
        self, path: str, view: View, *, role: DashboardRole = DashboardRole.VIEWER, lists: bool = False
    ) -> list[Route]:
        """``lists``: there as .csv and .json too."""

        def answer(request: Request) -> Response:
            return self._answer(request, view, role, {})

        ends = ("", ".csv", ".json") if lists else ("",)
        return [Route(path + end, answer, methods=["GET"]) for end in ends]

    def act(self, path: str, view: View, *, role: DashboardRole = DashboardRole.OPERATOR) -> list[Route]:
        """A form's target."""

        async def answer(request: Request) -> Response:
            form = await read_form(request)
            if form is None:
                return self.refusal(413, "Too large", "This form says more than the dashboard reads.")
            return await run_in_threadpool(self._answer, request, view, role, form)

        return [Route(path, answer, methods=["POST"])]

    def _answer(self, request: Request, view: View, role: DashboardRole, form: Mapping[str, Sequence[str]]) -> Response:
        try:
            visit = self.visit(request, form)
            if visit is None:
                return self._to_sign_in(request)
            if request.method != "GET" and (why := self._foreign(visit)):
                return self.refusal(403, "Not from this page", why, visit)
            if not visit.session.role.covers(role):
                why = f"This needs the role {role.value}; yours is {visit.session.role.value}. Nothing was changed."
                return self.refusal(403, "Not allowed", why, visit)
            return self._caught(view, visit)
        except StoreUnavailable as error:
            _log.warning("the database can't be used", code=error.code)
            return self.refusal(503, "No database", error.detail)

    def _caught(self, view: View, visit: Visit) -> Response:
        try:
            return view(self, visit)
        except NotFound as error:
            return self.refusal(404, "Not found", error.detail, visit)
        except StoreUnavailable:
            raise
        except AgentError as error:
            return self.refusal(409, "Not done", error.detail, visit)

    def visit(self, request: Request, form: Mapping[str, Sequence[str]] | None = None) -> Visit | None:
        """Who it is; None where nobody is signed in."""
        secret, now = request.cookies.get(COOKIE, ""), CLOCK.now()
        if not secret:
            return None
        with self.store.read() as conn:
            session = sessions.find(conn, secret, now)
        if session is None or role_of(session, self.settings) is not session.role:
            return None
        token = hmac.new(secret.encode(), b"form", sha256).hexdigest()
        return Visit(request=request, session=session, token=token, now=now, form=form or {})

    def _foreign(self, visit: Visit) -> str:
        """Why a form is none of ours; "" where it is."""
        if not same_origin(visit.request, self.settings):
            return "The browser says that this form was sent from another site. Nothing was changed."
        if not hmac.compare_digest(visit.said("token").encode(), visit.token.encode()):
            return "This form is of a session that has ended. Nothing was changed; go back, and load the page anew."
        return ""

    def _to_sign_in(self, request: Request) -> Response:
        if request.method != "GET" or "hx-request" in request.headers or request.url.path.endswith((".json", ".csv")):
            return self.refusal(401, "Signed out", "Sign in first. Nothing was changed.")
        here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/sign-in?{urlencode({'next': here})}", 303)

    def second_person(self, visit: Visit, subject: str, numbers: Collection[int]) -> Signature | None:
        """The signature under an approval; None where it is the first of two that the settings want, and now waits."""
        by = visit.by()
        if not self.settings.dashboard.second_person:
            return by
        mine = FirstApproval(
            subject=subject,
            numbers=tuple(sorted(numbers)),
            identity=visit.session.identity,
            name=visit.session.name,
            at=visit.now,
            expires=visit.now + self.settings.guard.plan_expiry,
        )
        other = self.store.write(lambda conn: first_approvals.agree(conn, mine))
        return None if other is None else replace(by, actor=f"{by.actor}, after {other.name}")

    # Answers

    def render(self, visit: Visit | None, template: str, *, code: int = 200, **context: Any) -> Response:
        """A page with what every page has: where one is, who one is, and the banner while applies are paused."""
        text = self._templates.get_template(template).render(self._shared(visit), **context)
        return Response(text, code, media_type="text/html")

    def stream(self, visit: Visit, template: str, **context: Any) -> Response:
        """The same, sent while it is made: what ``context`` has to wait for comes when it is there."""
        pieces = self._templates.get_template(template).generate(self._shared(visit), **context)
        return StreamingResponse(pieces, media_type="text/html")

    def _shared(self, visit: Visit | None) -> dict[str, Any]:
        row = None
        if visit is not None:
            with self.store.read() as conn:
                row = account.get(conn)
        now = CLOCK.now() if visit is None else visit.now
        return {"visit": visit, "now": now, "Role": DashboardRole, "account": row}

    def refusal(self, status: int, title: str, why: str, visit: Visit | None = None) -> Response:
        return self.render(visit, "refusal.html", code=status, title=title, why=why)

    def go(self, path: str, **query: str) -> Response:
        """On to another page of this site, after something was done."""
        return RedirectResponse(f"{path}?{urlencode(query)}" if query else path, 303)

    def listing(self, visit: Visit, name: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Response:
        """The list as the address's end asks for it; streamed, however long. ``rows`` is read while it is sent."""
        headers = {"content-disposition": f'attachment; filename="{quote(name)}.{visit.format}"'}
        if visit.format == "json":
            return StreamingResponse(_json_lines(name, rows), headers=headers, media_type="application/json")
        return StreamingResponse(csv_text.lines(columns, rows), headers=headers, media_type="text/csv")

    def whole(self, read: Callable[[Connection, int, T | None], Sequence[T]]) -> Iterator[T]:
        """A list read bit by bit, ``CHUNK`` rows at once; ``read`` is told how many came before, and the last of them."""
        count, last = 0, None
        while True:
            with self.store.read() as conn:
                found = read(conn, count, last)
            yield from found
            if len(found) < CHUNK:
                return
            count, last = count + len(found), found[-1]

    def json(self, kind: str, body: Mapping[str, Any]) -> Response:
        """One thing as JSON, in the shape of the command line's."""
        text = msgspec.json.encode({"format_version": FORMAT_VERSION, "kind": kind, **body})
        return Response(text, media_type="application/json")


async def read_form(request: Request) -> Mapping[str, Sequence[str]] | None:
    """A form's fields; None where it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_FORM_BYTES:
            return None
    try:
        fields = parse_qs(body.decode(errors="replace"), keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        return {name: [value.replace("\0", "") for value in values] for name, values in fields.items()}
    except ValueError:
        return None


def same_origin(request: Request, settings: Settings) -> bool:
    """Whether the browser says that what was sent comes from a page of this site. Saying nothing is no."""
    origins = {f"http://{request.headers.get('host', '')}"}
    if settings.dashboard.public_url is not None:
        parts = urlsplit(settings.dashboard.public_url)
        origins.add(f"{parts.scheme}://{parts.netloc}")
    return request.headers.get("origin") in origins


def _query(filters: Mapping[str, str], **more: object) -> str:
    """The part of an address that asks for the same list; what is empty is left out."""
    return urlencode({name: value for name, value in {**filters, **more}.items() if value != ""})


def _token_field(visit: Visit) -> Markup:
    """Belongs into every form that does something."""
    return Markup('<input type="hidden" name="token" value="{}">').format(visit.token)


def static(name: str) -> str:
    """The address of a file that comes with the program; another version has another one."""
    return f"/static/{name}?{__version__}"


STATIC = Path(__file__).parent / "static"


def _json_lines(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """One document, an array within it."""
    yield msgspec.json.encode({"format_version": FORMAT_VERSION, "kind": name})[:-1]
    yield b"," + msgspec.json.encode(name) + b":["
    for n, row in enumerate(rows):
        yield (b",\n" if n else b"\n") + msgspec.json.encode(row)
    yield b"]}\n"
