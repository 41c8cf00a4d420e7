"""May this run change anything at all, and may it go on? Reads Okta and the account row; writes nothing.

=================================================  ============================================================
what is found                                      then
=================================================  ============================================================
no such app, or it is not ACTIVE                   frozen
PROFILE_MASTERING is among its features            frozen: OpsHelm would be the source of Okta's profiles
org or app id differ from the pinned ones          frozen, until ``pins accept``
its label changed                                  a finding
an import, and a restored copy of the database     frozen, until ``db accept-restore``
an import, and nothing pinned yet                  frozen, until the first reconcile has pinned org and app
an import, and PUSH_NEW_USERS is off               frozen: Okta would never look for the account, nothing is linked
=================================================  ============================================================

A reconcile of a restored copy, or before the pins, is the guard's to hold: a dry run shows what it would do.
"""

import threading

from msgspec import Struct

from agent.model.codes import FindingCode
from agent.model.errors import Frozen, OktaNotFound
from agent.model.okta import App
from agent.model.plan import Finding
from agent.okta_org.org import OktaOrg
from agent.runs.frame import Outcome
from agent.store import account as account_row
from agent.store import plans
from agent.store.account import Account
from agent.store.engine import Store


class Binding(Struct, frozen=True, kw_only=True):
    """Which org and app this run reads."""

    org_id: str
    app: App
    findings: tuple[Finding, ...] = ()


def check(okta: OktaOrg, account: Account, *, importing: bool = False) -> Binding:
    """Frozen, with the reason and the next step, or what the run is bound to."""
    if importing:
        _may_import(account)
    org_id = okta.org_id()
    app = usable_app(okta)
    if account.pinned and (account.org_id, account.app_id) != (org_id, app.id):
        raise Frozen(
            f"This agent is pinned to the app {account.app_id} of the org {account.org_id}, but Okta answers as the app "
            f"{app.id} of {org_id}. Nothing was changed. If it was moved on purpose: opshelm-agent pins accept"
        )
    if importing and "PUSH_NEW_USERS" not in app.features:
        raise Frozen(
            f"The app {app.label} doesn't create users (PUSH_NEW_USERS is off), so Okta would never look for the accounts "
            "and nothing would be linked. Nothing was changed. Turn Create Users on: Provisioning, To App."
        )
    findings: tuple[Finding, ...] = ()
    if account.pinned and account.app_label and account.app_label != app.label:
        detail = f"the app was called {account.app_label} when it was pinned; now it is {app.label}"
        findings = (Finding(code=FindingCode.APP_LABEL_CHANGED, login="", detail=detail),)
    return Binding(org_id=org_id, app=app, findings=findings)


def _may_import(account: Account) -> None:
    if account.distrust:
        raise Frozen(
            f"This database is not trusted: {account.distrust}. Nothing was changed. Then: opshelm-agent db accept-restore"
        )
    if not account.pinned:
        raise Frozen(
            "The agent is not bound to an Okta app yet, so nothing may be written to Okta. Nothing was changed. "
            "First: opshelm-agent reconcile, then reconcile --apply --first-run N"
        )


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


def braked(row: Account) -> str:
    """Why nothing can be approved or applied now, with what ends that; "" where it can."""
    if row.distrust:
        return f"This database is not trusted: {row.distrust}. Nothing can be applied before: opshelm-agent db accept-restore"
    return "Applies are paused; nothing can be approved before: opshelm-agent resume" if row.paused else ""


class Brake(Struct, frozen=True, kw_only=True):
    """Looked at before an apply begins and between its steps: what was begun is always finished."""

    store: Store
    #: Set: the process was asked to end.
    stop: threading.Event

    def pulled(self, plan_id: int | None = None) -> tuple[Outcome, str] | None:
        """Why nothing more of this plan may be done now, or None."""
        if self.stop.is_set():
            return Outcome.STOPPED, "The process was asked to stop; what was not begun waits for the next run."
        with self.store.read() as conn:
            row = account_row.get(conn)
            rejected = plan_id is not None and plans.is_rejected(conn, plan_id)
        if rejected:
            return Outcome.REJECTED, f"Plan {plan_id} was rejected meanwhile. Nothing was changed after that."
        if not row.paused:
            return None
        return Outcome.PAUSED, (
            f"Applies are paused by {row.paused_by} since {row.paused_at:%Y-%m-%d %H:%M} UTC ({row.paused_reason}). "
            "Nothing was changed after that. Resume: opshelm-agent resume"
        )

    def called_off(self, plan_id: int) -> tuple[Outcome, str]:
        """``pulled``, for a write that has found so itself."""
        return self.pulled(plan_id) or (Outcome.PAUSED, "Applies were paused for a moment; the rest was not done.")
