"""May this run change anything at all? The org, the app and their pins. Reads Okta and the account row; writes nothing.

===========================================  =====================================================
what Okta says                               then
===========================================  =====================================================
no such app, or it is not ACTIVE             frozen
PROFILE_MASTERING is among its features      frozen: OpsHelm would be the source of Okta's profiles
org or app id differ from the pinned ones    frozen, until ``pins accept``
its label changed                            a finding
===========================================  =====================================================
"""

from msgspec import Struct

from agent.model.codes import FindingCode
from agent.model.errors import Frozen, OktaNotFound
from agent.model.okta import App
from agent.model.plan import Finding
from agent.okta_org.org import OktaOrg
from agent.store.account import Account


class Binding(Struct, frozen=True, kw_only=True):
    """Which org and app this run reads."""

    org_id: str
    app: App
    findings: tuple[Finding, ...] = ()


def check(okta: OktaOrg, account: Account) -> Binding:
    """Frozen, with the reason and the next step, or what the run is bound to."""
    org_id = okta.org_id()
    app = usable_app(okta)
    if account.pinned and (account.org_id, account.app_id) != (org_id, app.id):
        raise Frozen(
            f"This agent is pinned to the app {account.app_id} of the org {account.org_id}, but Okta answers as the app "
            f"{app.id} of {org_id}. Nothing was changed. If it was moved on purpose: opshelm-agent pins accept"
        )
    findings: tuple[Finding, ...] = ()
    if account.pinned and account.app_label and account.app_label != app.label:
        detail = f"the app was called {account.app_label} when it was pinned; now it is {app.label}"
        findings = (Finding(code=FindingCode.APP_LABEL_CHANGED, login="", detail=detail),)
    return Binding(org_id=org_id, app=app, findings=findings)


def usable_app(okta: OktaOrg) -> App:
    try:
        app = okta.app()
    except OktaNotFound as error:
        raise Frozen("Okta has no such app. Nothing was changed. Check okta.app_id and okta.org_url.") from error
    if app.status != "ACTIVE":
        raise Frozen(
            f"The app {app.label} is {app.status or 'in no known state'} in Okta, so its assignments say nothing. Nothing "
            "was changed. Activate it in the Admin Console, or stop the agent."
        )
    if "PROFILE_MASTERING" in app.features:
        raise Frozen(
            f"The app {app.label} is a profile source in Okta (PROFILE_MASTERING): OpsHelm would be the source of what the "
            "agent would correct. Nothing was changed. Turn profile sourcing off in Okta."
        )
    return app
