"""The pages of people: the list, one person with what decides and what happened, and what an operator does to one of them."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.site import Site, Visit, named
from agent.directory.port import Acts
from agent.model.codes import Source
from agent.model.errors import AgentError, NotFound
from agent.model.holds import way_out
from agent.model.users import DirectoryUser, Role, public_view
from agent.runs.wording import fields
from agent.store import account, holds, people, timeline
from agent.store.people import ListedPerson, Which
from agent.store.sessions import DashboardRole
from agent.store.timeline import Older

_PAGE = 50
#: Accounts that a CSV file reads at once.
_AT_ONCE = 5000
_COLUMNS = ("login", "name", "state", "role", "managed", "protected", "okta_id", "id", "updated")
_NO_OKTA = "there is no Okta to ask: okta.org_url, okta.app_id and the credentials are not set."
#: What the page says after an act.
_DONE = {
    "block": "Deactivated and blocked: nothing gives the access back before it is unblocked.",
    "unblock": "Active again, as a member. Whether Okta wants that too, the next run sees.",
    "link": "Linked: Okta manages it from now on.",
    "unlink": "Local again; neither Okta's pushes nor a run link it.",
    "role": "The role was changed.",
}


def routes(site: Site) -> list[Route]:
    return [
        *site.page("/people", everybody, lists=True),
        *site.page("/person", person),
        *site.page("/person/steps", steps),
        *site.act("/person/block", block),
        *site.act("/person/unblock", unblock),
        *site.act("/person/link", link),
        *site.act("/person/unlink", unlink),
        # Only an owner changes a role in OpsHelm.
        *site.act("/person/role", role, role=DashboardRole.ADMIN),
    ]


# The list


def everybody(site: Site, visit: Visit) -> Response:
    which, search = named(Which, visit.asked("which")) or Which.ALL, visit.asked("search")
    if visit.format != "html":
        return site.listing(visit, "people", _COLUMNS, _rows(site, which, search))
    with site.store.read() as conn:
        page = people.page(conn, which=which, search=search, after=visit.asked("after"), limit=_PAGE)
        row = account.get(conn)
    return site.render(
        visit,
        "people.html",
        page=page,
        which=which,
        search=search,
        after=visit.asked("after"),
        filters=list(Which),
        counts={Which.ALL: row.visible},
    )


def _rows(site: Site, which: Which, search: str) -> Iterator[dict[str, Any]]:
    after: str | None = ""
    while after is not None:
        with site.store.read() as conn:
            page = people.page(conn, which=which, search=search, after=after, limit=_AT_ONCE)
        yield from map(_row, page.people)
        after = page.following


def _row(one: ListedPerson) -> dict[str, Any]:
    return {
        "login": one.user_name,
        **fields(one, "name", "state", "role"),
        "managed": "managed" if one.managed else "local",
        "protected": "protected" if one.protected else "",
        **fields(one, "okta_id", "id", "updated"),
    }


# One person


def person(site: Site, visit: Visit) -> Response:
    user = _user(site, visit.asked("id"))
    with site.store.read() as conn:
        told = timeline.of(conn, user, _older(visit), limit=_PAGE)
        waiting = holds.of_user(conn, user)
    return site.render(
        visit,
        "person.html",
        user=user,
        told=told,
        holds=[(hold, way_out(hold)) for hold in waiting],
        blocked=any(hold.decision == "blocked" and hold.kind == "activate" for hold in waiting),
        values=public_view(user),
        owner=user.role is Role.OWNER,
        done=_DONE.get(visit.asked("done"), ""),
        okta=site.parts.reconciler is not None,
        first=_older(visit) is None,
    )


def steps(site: Site, visit: Visit) -> Response:
    """Asks Okta and OpsHelm now, which may take a while: the page loads it when it stands."""
    user, found, error = _user(site, visit.asked("id")), None, ""
    reconciler = site.parts.reconciler
    try:
        found = reconciler.explain(user.user_name) if reconciler else None
    except AgentError as problem:
        # Within the page of a person, for whom OpsHelm's half is still shown.
        error = problem.detail
    return site.render(visit, "steps.html", user=user, found=found, error=error or ("" if found else _NO_OKTA))


def _user(site: Site, user_id: str) -> DirectoryUser:
    found = site.parts.directory.get(user_id) if user_id else None
    if found is None:
        raise NotFound(f"No account has the id {user_id}." if user_id else "The address names nobody.")
    return found


def _older(visit: Visit) -> Older | None:
    before = visit.number_asked("before")
    try:
        return None if before is None else Older(before, datetime.fromisoformat(visit.asked("at")))
    except ValueError:
        return None


# What an operator does


def block(site: Site, visit: Visit) -> Response:
    lasts = visit.lasting("until")
    until = None if lasts is None else visit.now + lasts
    visit.why()
    return _act(site, visit, "block", lambda acts, user_id: acts.deactivate(user_id, until=until))


def unblock(site: Site, visit: Visit) -> Response:
    return _act(site, visit, "unblock", lambda acts, user_id: acts.reactivate(user_id))


def link(site: Site, visit: Visit) -> Response:
    okta_id, reconciler = visit.said("okta_id"), site.parts.reconciler
    if reconciler is not None:
        reconciler.named(okta_id, _user(site, visit.said("id")))
    return _act(site, visit, "link", lambda acts, user_id: acts.link(user_id, okta_id))


def unlink(site: Site, visit: Visit) -> Response:
    return _act(site, visit, "unlink", lambda acts, user_id: acts.unlink(user_id))


def role(site: Site, visit: Visit) -> Response:
    wanted = Role.OWNER if visit.said("role") == Role.OWNER.value else Role.MEMBER
    return _act(site, visit, "role", lambda acts, user_id: acts.set_role(user_id, wanted))


def _act(site: Site, visit: Visit, done: str, act: Callable[[Acts, str], DirectoryUser]) -> Response:
    user = _user(site, visit.said("id"))
    acts = site.parts.directory.operator(
        actor=visit.session.name, reason=visit.said("reason"), now=visit.now, source=Source.DASHBOARD
    )
    act(acts, user.id)
    return site.go("/person", id=user.id, done=done)
