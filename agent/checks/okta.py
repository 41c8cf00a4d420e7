"""Checks on Okta's side: credentials, the app and its settings, pins, clock. Reads only."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.checks.check import Check, fail, ok, warn
from agent.model.errors import AgentError, OktaDenied, OktaNotFound
from agent.model.okta import App

if TYPE_CHECKING:
    from agent.okta_org.org import OktaOrg
    from agent.store.account import Account

#: What OpsHelm's documentation tells to tick under To App.
_PUSHES = {
    "PUSH_NEW_USERS": "Create Users",
    "PUSH_PROFILE_UPDATES": "Update User Attributes",
    "PUSH_USER_DEACTIVATION": "Deactivate Users",
}
_EMAIL_TEMPLATES = ("${source.email}", "${user.email}")
_MAX_SKEW_SECONDS = 60


def checks(okta: "OktaOrg", account: "Account") -> Iterator[Check]:
    try:
        org_id, app = okta.org_id(), okta.app()
    except OktaDenied as exc:
        yield fail(
            "okta", exc.detail, "check okta.api_token, or okta.client_id with okta.private_key and its scopes"
        )
        return
    except OktaNotFound as exc:
        yield fail("okta", exc.detail, "check okta.app_id: the 0oa… in the address of the app's page")
        return
    except AgentError as exc:
        yield fail("okta", exc.detail, "check okta.org_url, the proxy and the network")
        return
    yield ok("okta", f"org {org_id} answers")
    yield from _app(app)
    yield _pins(org_id, app, account)
    skew = okta.clock_skew()
    if skew is not None and abs(skew) > _MAX_SKEW_SECONDS:
        yield warn(
            "clock",
            f"this machine's clock is {abs(skew):.0f} s off Okta's",
            "set up time synchronisation (NTP)",
        )
    elif skew is not None:
        yield ok("clock", "agrees with Okta's")


def _app(app: App) -> Iterator[Check]:
    if app.status != "ACTIVE":
        yield fail("app", f"the app is {app.status or 'of unknown status'}", "activate the app in Okta")
    else:
        yield ok("app", f"{app.id} is active")
    if "PROFILE_MASTERING" in app.features:
        yield fail(
            "app features",
            "the app is a profile source; runs change nothing",
            "turn profile sourcing off in Okta",
        )
    missing = [words for feature, words in _PUSHES.items() if feature not in app.features]
    if missing:
        yield warn(
            "app features",
            f"not enabled under To App: {', '.join(missing)}",
            "Okta: app > Provisioning > To App > Edit",
        )
    else:
        yield ok("app features", "create, update and deactivate are enabled")
    template = app.credentials.user_name_template if app.credentials else None
    if template and template.template and template.template not in _EMAIL_TEMPLATES:
        yield warn(
            "username format",
            "is not Email, as OpsHelm needs it",
            "Okta: app > Sign On > Application username format",
        )


def _pins(org_id: str, app: App, account: "Account") -> Check:
    if not account.pinned:
        return warn(
            "pins",
            "nothing is pinned yet; the first apply pins",
            "opshelm-agent reconcile, then plans approve",
        )
    if (org_id, app.id) != (account.org_id, account.app_id):
        return fail(
            "pins",
            f"pinned to org {account.org_id}, app {account.app_id}; the settings lead to org {org_id}, app {app.id}",
            "correct okta.org_url and okta.app_id, or after a planned move: opshelm-agent pins accept --reason …",
        )
    if app.label != account.app_label:
        return warn(
            "pins", "the app's label has changed since it was pinned", "look whether it is the right app"
        )
    return ok("pins", "org and app are the pinned ones")
