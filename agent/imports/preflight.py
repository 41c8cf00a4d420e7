"""May accounts be brought into this Okta app? Reads Okta and the account row; writes nothing.

=================================================  ============================================================
what is found                                      then
=================================================  ============================================================
a restored copy of the database                    frozen, until ``db accept-restore``
nothing pinned yet                                 frozen, until the first reconcile has pinned org and app
org or app id differ from the pinned ones          frozen, until ``pins accept``
the app is not ACTIVE, or is a profile source      frozen
the app doesn't create users (PUSH_NEW_USERS off)  frozen: Okta would never look for the account, nothing is linked
=================================================  ============================================================

``list`` looks at no brake; ``plan`` and ``apply`` look at all of them, ``apply`` at the pause too.
"""

from agent.model.errors import Frozen, OktaNotFound
from agent.model.okta import App
from agent.okta_org.org import OktaOrg
from agent.store.account import Account


def check(okta: OktaOrg, account: Account) -> App:
    """The app, or Frozen with the reason and the next step."""
    if account.distrust:
        raise Frozen(
            f"This database is not trusted: {account.distrust}. Nothing was done. Then: opshelm-agent db accept-restore"
        )
    if not account.pinned:
        raise Frozen(
            "The agent is not bound to an Okta app yet, so nothing may be written to Okta. Nothing was done. "
            "First: opshelm-agent reconcile, then reconcile --apply --first-run N"
        )
    org_id, app = okta.org_id(), _app(okta)
    if (account.org_id, account.app_id) != (org_id, app.id):
        raise Frozen(
            f"This agent is pinned to the app {account.app_id} of the org {account.org_id}, but Okta answers as the app "
            f"{app.id} of {org_id}. Nothing was done. If it was moved on purpose: opshelm-agent pins accept"
        )
    problem = _problem(app)
    if problem:
        raise Frozen(f"{problem} Nothing was done.")
    return app


def _app(okta: OktaOrg) -> App:
    try:
        return okta.app()
    except OktaNotFound as error:
        raise Frozen("Okta has no such app. Nothing was done. Check okta.app_id and okta.org_url.") from error


def _problem(app: App) -> str:
    if app.status != "ACTIVE":
        return f"The app {app.label} is {app.status or 'in no known state'} in Okta. Activate it in the Admin Console."
    if "PROFILE_MASTERING" in app.features:
        return (
            f"The app {app.label} is a profile source in Okta (PROFILE_MASTERING). Turn profile sourcing off."
        )
    if "PUSH_NEW_USERS" not in app.features:
        return (
            f"The app {app.label} doesn't create users (PUSH_NEW_USERS is off), so Okta would never look for the accounts "
            "and nothing would be linked. Turn Create Users on: Provisioning, To App."
        )
    return ""
