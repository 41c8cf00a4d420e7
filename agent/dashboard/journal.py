"""The page of the journal: who did what, newest first, by person, actor, verb, kind and time. Writes nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.site import Site, Visit, named
from agent.model.errors import NotFound, UsageError
from agent.model.users import identity_key
from agent.runs.wording import fields
from agent.store import journal_rows
from agent.store.journal import Kind
from agent.store.journal_rows import JournalQuery

_PAGE = 50
_AT_ONCE = 1000
_COLUMNS = (
    *("id", "at", "kind", "verb", "login", "actor", "source", "reason", "run_id", "plan_id"),
    *("directory_id", "okta_id", "before", "after"),
)


def routes(site: Site) -> list[Route]:
    return site.page("/journal", rows, lists=True)


def rows(site: Site, visit: Visit) -> Response:
    query = _query(site, visit)
    if visit.format != "html":
        return site.listing(visit, "journal", _COLUMNS, _all(site, query))
    number = visit.number_asked("before")
    with site.store.read() as conn:
        page = journal_rows.search(conn, query, before=number, limit=_PAGE)
    return site.render(
        visit,
        "journal.html",
        page=page,
        kinds=list(Kind),
        asked=visit.filters("person", "actor", "verb", "kind", "since", "until"),
        follow=bool(visit.asked("follow")) and number is None,
        first=number is None,
    )


def _query(site: Site, visit: Visit) -> JournalQuery:
    person = visit.asked("person")
    user = None
    if person:
        directory = site.parts.directory
        user = directory.find(user_name_key=identity_key(person)) or directory.get(person)
        if user is None:
            raise NotFound(f"No account has the userName or the id {person}.")
    return JournalQuery(
        directory_id=user.id if user else None,
        actor=visit.asked("actor"),
        verb=visit.asked("verb"),
        kind=named(Kind, visit.asked("kind")),
        since=_moment(visit.asked("since")),
        until=_moment(visit.asked("until")),
    )


def _moment(text: str) -> datetime | None:
    """As a browser's field gives it, in UTC, or with an offset of its own."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{text} is no time; write it as 2026-03-01T08:00.") from None


def _all(site: Site, query: JournalQuery) -> Iterator[dict[str, Any]]:
    before: int | None = None
    while True:
        with site.store.read() as conn:
            page = journal_rows.search(conn, query, before=before, limit=_AT_ONCE)
        yield from (fields(row, *_COLUMNS) for row in page.rows)
        if page.older is None:
            return
        before = page.older
