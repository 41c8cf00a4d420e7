"""Does Okta's event hook lead here? Looks; ``create`` makes and verifies it, the one thing here that changes Okta."""

from agent.model.check import Check, fail, ok, warn
from agent.model.errors import OktaDenied, OktaError, UsageError
from agent.model.okta import EventHook
from agent.okta_org.org import OktaOrg
from agent.reconcile.event_names import HOOK_EVENTS, HOOK_EVENTS_WITH_ROLES
from agent.settings import Settings

PATH = "/hooks/okta"
NAME = "OpsHelm agent"
_CREATE = "opshelm-agent check --create-event-hook"


def address(settings: Settings) -> str | None:
    """Where Okta is to deliver; None without server.public_url."""
    url = settings.server.public_url
    return None if not url else url.rstrip("/").removesuffix("/scim/v2") + PATH


def check(okta: OktaOrg, settings: Settings) -> Check:
    every = settings.schedule.events
    if settings.okta.hook_secret is None:
        if every is None:
            fix = f'schedule.events = "30s", or okta.hook_secret and then {_CREATE}'
            return warn("event hook", "not set up, and the System Log is not read: changes wait for a sweep", fix)
        return ok("event hook", f"not set up; the System Log is read every {every.total_seconds():.0f} s")
    uri = address(settings)
    if uri is None:
        return warn("event hook", "okta.hook_secret is set, but not server.public_url", "set server.public_url")
    try:
        hooks = [hook for hook in okta.event_hooks() if hook.channel.config.uri == uri]
    except OktaDenied as exc:
        return warn("event hook", f"could not be checked: {exc.detail}", "grant okta.eventHooks.read, or look in Okta")
    return _judge(hooks, uri, _events(settings))


def _events(settings: Settings) -> tuple[str, ...]:
    return HOOK_EVENTS_WITH_ROLES if settings.roles.owner else HOOK_EVENTS


def _judge(hooks: list[EventHook], uri: str, wanted: tuple[str, ...]) -> Check:
    if not hooks:
        return warn("event hook", f"Okta has none for {uri}", _CREATE)
    live = [hook for hook in hooks if hook.status == "ACTIVE" and hook.verification_status == "VERIFIED"]
    if not live:
        hook = hooks[0]
        return fail(
            "event hook", f"{hook.id} is {hook.status}, {hook.verification_status}: Okta delivers nothing", _CREATE
        )
    subscribed = {event for hook in live for event in hook.events.items}
    missing = sorted(set(wanted) - subscribed)
    if missing:
        return warn(
            "event hook",
            f"does not deliver {', '.join(missing)}",
            "add them in Okta: Workflow > Event Hooks > the hook > Edit",
        )
    return ok("event hook", f"{live[0].id} delivers to {uri}")


def create(okta: OktaOrg, settings: Settings) -> EventHook:
    """The hook, verified: a new one, or the one that Okta has for this address. Raises where it can't be."""
    secret, uri = settings.okta.hook_secret, address(settings)
    if secret is None or uri is None:
        raise UsageError(
            "An event hook needs okta.hook_secret, any long random text, and server.public_url. Set both, restart the daemon, "
            "and try again."
        )
    found = next((hook for hook in okta.event_hooks() if hook.channel.config.uri == uri), None)
    if found is None:
        found = okta.create_event_hook(uri, secret.get_secret_value(), _events(settings), NAME)
    if found.verification_status == "VERIFIED":
        return found
    try:
        return okta.verify_event_hook(found.id)
    except OktaError as exc:
        raise type(exc)(
            f"Okta has the event hook {found.id}, but could not verify it: {exc.detail} Does {uri} reach the running daemon, "
            f"and does the daemon have the same okta.hook_secret? Then try again: {_CREATE}",
            status=exc.status,
            okta_code=exc.okta_code,
        ) from exc
