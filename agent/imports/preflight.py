"""The brakes of an import: may accounts be brought into this Okta app, and may this plan be applied? Writes nothing.

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

from datetime import datetime

from agent.imports.planner import groups, too_many
from agent.model.codes import HeldCode, PlanStatus
from agent.model.errors import Frozen, HeldBack, NotFound, OktaNotFound
from agent.model.okta import App
from agent.model.plan import PLAN_FORMAT
from agent.okta_org.org import OktaOrg
from agent.store import account as account_row
from agent.store.account import Account
from agent.store.engine import Store
from agent.store.plans import StoredPlan

#: Of runs and of plans.
KIND = "import"


class Expired(Frozen):
    """The plan's time is over."""


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
        return f"The app {app.label} is a profile source in Okta (PROFILE_MASTERING). Turn profile sourcing off."
    if "PUSH_NEW_USERS" not in app.features:
        return (
            f"The app {app.label} doesn't create users (PUSH_NEW_USERS is off), so Okta would never look for the accounts "
            "and nothing would be linked. Turn Create Users on: Provisioning, To App."
        )
    return ""


def paused_by(store: Store) -> str:
    """Who paused applies, and how to go on; "" where nobody did."""
    with store.read() as conn:
        row = account_row.get(conn)
    if not row.paused:
        return ""
    return (
        f"Paused by {row.paused_by}: {row.paused_reason}. The rest was not done. "
        "Go on: opshelm-agent resume, then apply again."
    )


def applicable(stored: StoredPlan | None, plan_id: int, now: datetime, limit: int) -> StoredPlan:
    """The plan, if it may still be applied: it is an import's, unchanged, not held, not used, in time, within the limit."""
    if stored is None or stored.kind != KIND:
        what = "no plan" if stored is None else f"a {stored.kind} plan and no import plan"
        raise NotFound(f"There is {what} {plan_id}. Make one: opshelm-agent import plan --all")
    again = "Make a new one: opshelm-agent import plan …"
    same_format = stored.plan.format.split(".")[0] == PLAN_FORMAT.split(".")[0]
    if not same_format or stored.plan.checksum != stored.checksum:
        raise Frozen(f"Plan {plan_id} is not what was stored when it was made. Nothing was done. {again}")
    if stored.plan.held is not None:
        raise HeldBack(stored.plan.held, stored.plan.held_detail)
    if stored.status is not PlanStatus.READY:
        raise Frozen(f"Plan {plan_id} is {stored.status.value} already; a plan is applied once. {again}")
    if now >= stored.expires:
        raise Expired(f"Plan {plan_id} has expired ({stored.expires:%Y-%m-%d %H:%M} UTC). Nothing was done. {again}")
    wanted = len(groups(stored.plan))
    if wanted > limit:
        raise HeldBack(HeldCode.COUNT_EXCEEDED, too_many(wanted, limit))
    return stored
