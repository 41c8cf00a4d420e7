"""The page of API keys: made and shown once, rolled with a grace period, revoked."""

from datetime import timedelta

from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.site import Site, Visit, named
from agent.model.errors import UsageError
from agent.runs.wording import fields
from agent.store import keys
from agent.store.keys import ApiKey, KeyScope
from agent.store.sessions import DashboardRole

_COLUMNS = ("id", "name", "key", "scope", "state", "created", "created_by", "expires", "last_used")


def routes(site: Site) -> list[Route]:
    acts = (("/keys/create", create), ("/keys/roll", roll), ("/keys/revoke", revoke))
    return [
        *site.page("/keys", all_keys, lists=True),
        *(route for path, act in acts for route in site.act(path, act, role=DashboardRole.ADMIN)),
    ]


def all_keys(site: Site, visit: Visit) -> Response:
    with site.store.read() as conn:
        found = keys.list_all(conn)
    if visit.format != "html":
        return site.listing(visit, "keys", _COLUMNS, (_row(key, visit) for key in found))
    found.sort(key=lambda key: (not key.valid(visit.now), key.name, -key.id))
    return site.render(
        visit, "keys.html", keys=found, scopes=list(KeyScope), last_end=keys.last_end(found), done=visit.asked("done")
    )


def _row(key: ApiKey, visit: Visit) -> dict[str, object]:
    said = {"key": key.shown, **fields(key, "scope"), "state": key.state(visit.now)}
    return {**fields(key, "id", "name"), **said, **fields(key, "created", "created_by", "expires", "last_used")}


def create(site: Site, visit: Visit) -> Response:
    name, kind = visit.said("name"), named(KeyScope, visit.said("scope")) or KeyScope.SCIM
    if not name:
        raise UsageError("A key needs a name, such as okta. Nothing was made.")
    lasts = visit.lasting("lasts")
    by, expires = visit.by(), None if lasts is None else visit.now + lasts
    made = site.store.write(lambda conn: keys.create(conn, by, name=name, scope=kind, expires=expires))
    return _shown(site, visit, made)


def roll(site: Site, visit: Visit) -> Response:
    name, grace = visit.said("name"), visit.lasting("grace") or timedelta(0)
    by = visit.by()
    made = site.store.write(lambda conn: keys.roll(conn, by, name=name, grace=grace))
    return _shown(site, visit, made)


def _shown(site: Site, visit: Visit, made: tuple[ApiKey, str]) -> Response:
    """In the answer itself: the secret is kept nowhere, so no other page can show it."""
    key, secret = made
    return site.render(visit, "key_made.html", key=key, secret=secret, receiver=site.receiver)


def revoke(site: Site, visit: Visit) -> Response:
    """Of the last key that Okta can push with the name has to be typed."""
    name, number = visit.said("name"), visit.chosen("id")
    by, meant = visit.by(), visit.said("typed") == name
    try:
        site.store.write(
            lambda conn: keys.revoke(conn, by, name=name, key_id=number[0] if number else None, last_too=meant)
        )
    except keys.LastKey:
        why = (
            f"{name} is the last key that Okta can push with: every push would fail and become a task in Okta. Nothing was "
            "changed. Roll it instead, or type its name to revoke it all the same."
        )
        raise UsageError(why) from None
    return site.go("/keys", done="revoked")
