"""The page of what failed and isn't repaired: groups by cause, the people of one, and having them tried again."""

from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.site import Site, Visit
from agent.model.errors import NotFound, UsageError
from agent.reconcile import look_queue
from agent.runs.wording import fields
from agent.store import failed_people
from agent.store.failed_people import FailedAt

_COLUMNS = ("at", "login", "where", "detail", "okta_id", "directory_id", "plan_id")
_SHOWN = 100
#: People that one answer or one retry takes.
_MOST = 100_000


def routes(site: Site) -> list[Route]:
    return [*site.page("/failures", groups, lists=True), *site.act("/failures/retry", retry)]


def groups(site: Site, visit: Visit) -> Response:
    chosen = visit.asked("group") or None
    if visit.format != "html":
        with site.store.read() as conn:
            found = failed_people.people(conn, chosen, limit=_MOST)
        return site.listing(visit, "failures", _COLUMNS, (fields(one, *_COLUMNS) for one in found))
    with site.store.read() as conn:
        found_groups = failed_people.groups(conn)
        people = failed_people.people(conn, chosen, limit=_SHOWN) if chosen else []
    group = next((one for one in found_groups if one.id == chosen), None)
    return site.render(
        visit,
        "failures.html",
        groups=found_groups,
        group=group,
        chosen=chosen,
        people=people,
        Where=FailedAt,
        asked=visit.number_asked("asked"),
    )


def retry(site: Site, visit: Visit) -> Response:
    """All, a group, or the people who are ticked in it."""
    group = visit.said("group") or None
    picked = set(visit.form.get("person", ()))
    with site.store.read() as conn:
        found = failed_people.people(conn, group, limit=_MOST)
    if visit.said("who") == "chosen":
        if not picked:
            raise UsageError("Nobody was chosen. Nothing was asked for.")
        found = [one for one in found if (one.okta_id or one.directory_id or one.login) in picked]
    if not found:
        raise NotFound("Nothing of that waits any more: it is repaired, or somebody else has asked.")
    by, size = visit.by(visit.said("reason")), site.settings.reconcile.page_size
    queued = site.store.write(lambda conn: look_queue.retry(conn, found, by, page_size=size))
    return site.go("/failures", asked=str(queued.people), **({"group": group} if group else {}))
