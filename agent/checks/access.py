"""Checks on how the agent signs in to Okta: what it may do and needs to, whose the credential is, and Okta's limits."""

from collections.abc import Iterator
from datetime import datetime

from agent.model.check import Check, fail, ok, warn
from agent.model.errors import OktaDenied, OktaError
from agent.okta_org.limits import RateBudget
from agent.okta_org.org import OktaOrg
from agent.settings import Settings
from agent.store.account import Account

_READ = ("okta.apps.read", "okta.users.read")
#: A sweep that takes more of its interval than this leaves too little for everything else.
_MOST_OF_INTERVAL = 0.5


def needed(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Feature → the scopes without which it does not work, of those that are switched on."""
    found: dict[str, tuple[str, ...]] = {"reconcile": _READ}
    if settings.schedule.events is not None:
        found["events"] = ("okta.logs.read",)
    if settings.roles.owner:
        found["roles"] = ("okta.groups.read",)
    return found


def optional(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Feature → its scopes, of those that somebody asks for by hand."""
    groups = ("okta.groups.manage",) if settings.imports.groups else ()
    return {
        "import": ("okta.apps.manage", "okta.users.manage", *groups),
        "check of the mapping": ("okta.schemas.read",),
        "check of the event hook": ("okta.eventHooks.read",),
        "check --create-event-hook": ("okta.eventHooks.manage",),
    }


def checks(okta: OktaOrg, settings: Settings, now: datetime) -> Iterator[Check]:
    granted = okta.token_scopes()
    if granted is not None:
        yield _scopes(granted, settings)
        yield ok("token owner", "an OAuth app: nobody's account")
        return
    yield _log(okta, settings, now)
    yield _owner(okta)


def _scopes(granted: frozenset[str], settings: Settings) -> Check:
    features = needed(settings)
    missing = {feature: [s for s in scopes if not _covers(granted, s)] for feature, scopes in features.items()}
    said = [f"{feature} needs {', '.join(scopes)}" for feature, scopes in missing.items() if scopes]
    if said:
        return fail(
            "scopes",
            f"not granted: {'; '.join(said)}",
            "grant them to the OAuth app in Okta, and name them in okta.scopes",
        )
    more = optional(settings)
    known = {scope for scopes in (*features.values(), *more.values()) for scope in scopes}
    if granted - known:
        return warn(
            "scopes",
            f"granted, but nothing here uses {', '.join(sorted(granted - known))}",
            "take them away from the OAuth app and from okta.scopes",
        )
    used = "; ".join(f"{feature}: {', '.join(scopes)}" for feature, scopes in features.items())
    absent = [feature for feature, scopes in more.items() if not all(_covers(granted, s) for s in scopes)]
    without = f"; without those for {', '.join(absent)}" if absent else ""
    return ok("scopes", used + without)


def _covers(granted: frozenset[str], scope: str) -> bool:
    """Who may manage may read."""
    return scope in granted or scope.removesuffix(".read") + ".manage" in granted


def _log(okta: OktaOrg, settings: Settings, now: datetime) -> Check:
    """An API token has no scopes to read; the one call beside the app's own shows whether it may read the log."""
    if settings.schedule.events is None:
        return ok("scopes", "an API token has its owner's rights; it reads the app and its people")
    try:
        okta.log_events(since=now, limit=1)
    except OktaDenied as exc:
        return fail(
            "scopes", f"events: {exc.detail}", "give the token's owner an admin role that may read the System Log"
        )
    return ok("scopes", "an API token has its owner's rights; it reads the app, its people and the System Log")


def _owner(okta: OktaOrg) -> Check:
    fix = (
        "use an OAuth service app (okta.client_id, okta.private_key), or a service account that is assigned to nothing"
    )
    owner = okta.whoami()
    if owner is None:
        return ok("token owner", "nobody's account")
    login = str(owner.profile.get("login") or owner.id)
    if okta.person(owner.id).app_user is not None:
        return fail(
            "token owner", f"{login} is assigned to OpsHelm: when they leave, the token dies with their account", fix
        )
    return warn("token owner", f"the token is that of a person, {login}, and dies with their account", fix)


def rate(okta: OktaOrg, settings: Settings, account: Account) -> Check:
    """Call it last: Okta says its limits with every answer."""
    found: RateBudget | None = okta.budget().get("apps")
    if found is None or not found.limit:
        return ok("rate limit", "Okta has not said one yet")
    people = account.last_good_people or account.managed_active
    pages = -(-people // settings.reconcile.page_size)
    usable = found.limit * settings.okta.budget_share
    minutes = pages / usable
    detail = f"{found.limit} calls a minute to the app's users; a sweep of {people} people takes {pages}"
    every = settings.schedule.reconcile
    if every is not None and minutes > every.total_seconds() / 60 * _MOST_OF_INTERVAL:
        fix = "a longer schedule.reconcile, or a higher share for this token (Okta: Reports > Rate limits)"
        return warn("rate limit", f"{detail}, about {minutes:.0f} minutes", fix)
    if found.remaining is not None and found.remaining < found.limit * (1 - settings.okta.budget_share):
        return warn("rate limit", f"{detail}; only {found.remaining} are left just now", "look who else calls Okta")
    return ok("rate limit", detail)


def unless(name: str, error: OktaError) -> Check:
    """A check that could not be made."""
    return warn(name, f"could not be checked: {error.detail}", "see what Okta says, then run check again")
