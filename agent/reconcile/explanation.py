"""One person, step by step: what each side says, which rule decides, what the guard says, what would happen now.

Plain data for whoever shows it. Reads Okta and the directory; stores nothing and changes nothing.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from agent.directory.port import Directory
from agent.model.absence import Proof
from agent.model.cases import CaseRow, CurrentAccount, Pair
from agent.model.codes import SAID_NO, ActionState, PlanStatus
from agent.model.desired import ASSIGNED, LIVE, user_status
from agent.model.errors import Frozen, OktaError
from agent.model.guard import APPROVABLE_RUNS, BOUNDED, NEED_COUNT, NO_GRANT
from agent.model.holds import APPROVABLE, ONE_BY_ONE, Hold, way_out
from agent.model.okta import Person
from agent.model.plan import Action, Finding, Plan
from agent.model.times import when
from agent.model.users import identity_key
from agent.okta_org.org import OktaOrg
from agent.reconcile.direct_read import PeopleRead, Selection
from agent.reconcile.look_queue import words
from agent.reconcile.planner import Comparison, Planner
from agent.runs import frame
from agent.runs.frame import Outcome
from agent.runs.stored_plans import SHORT_CHECKSUM, PlanKind
from agent.store import account, events, holds, plans
from agent.store.engine import Connection, Store
from agent.store.events import PushFailure
from agent.store.plans import StoredPlan

#: Further back nothing waits any more.
_NEWEST = 50
_OVER = (PlanStatus.REJECTED, PlanStatus.EXPIRED)


class StepStatus(StrEnum):
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


class ExplanationStep(Struct, frozen=True):
    #: app, assignment, okta user, push, match, scope, rule, role, difference, guard, plan, result.
    name: str
    status: StepStatus
    detail: str


class Explanation(Struct, frozen=True, kw_only=True):
    login: str
    #: frozen, held, drift or in_step, as a dry run would end.
    outcome: Outcome
    steps: tuple[ExplanationStep, ...]
    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()


def explain(login: str, okta: OktaOrg, planner: Planner, store: Store, now: datetime) -> Explanation:
    row = store.ask(account.get)
    try:
        binding = frame.bind(okta, row)
        found = planner.reader().read(Selection(logins=(login,)))
    except Frozen as error:
        step = ExplanationStep("app", StepStatus.FAILURE, error.detail)
        return Explanation(login=login, outcome=Outcome.FROZEN, steps=(step,))
    except OktaError as error:
        step = ExplanationStep("okta", StepStatus.FAILURE, error.detail)
        known = _known(login, planner.directory, store, now)
        return Explanation(login=login, outcome=Outcome.INCOMPLETE, steps=(step, *known))
    compared = planner.single(found, binding)
    plan = planner.judged(planner.proposal(compared, binding, NO_GRANT, 0, (login,)))
    with store.read() as conn:
        failed = events.failures_of(conn, found.persons)
        # Names that go in a circle wait as one change: its hold is that of the person with whom it begins.
        names = _names(login, found) | {a.directory_id for a in plan.actions if a.cycle and a.directory_id}
        stored = _waits(conn, names, now)
    steps = [
        ExplanationStep("app", StepStatus.SUCCESS, f"{binding.app.label} is ACTIVE in org {binding.org_id}"),
        *_okta(found),
        *_pushes(failed),
        *_sides(found),
        *_role(found, compared),
        _difference(plan),
        _guard(plan),
        *stored,
        _result(plan),
    ]
    outcome = Outcome.HELD if plan.holds_back else Outcome.DRIFT if plan.actions else Outcome.IN_STEP
    return Explanation(login=login, outcome=outcome, steps=tuple(steps), actions=plan.actions, findings=plan.findings)


def _known(login: str, directory: Directory, store: Store, now: datetime) -> list[ExplanationStep]:
    """What there is to say without Okta: the account, what waits of it, and the plan that it waits in."""
    account = directory.find(user_name_key=identity_key(login))
    names = {name for name in (login, account.id if account else None, account.okta_id if account else None) if name}
    said = (
        "no account has this userName"
        if account is None
        else f"{'active' if account.active else 'inactive'}, {account.id}"
    )
    with store.read() as conn:
        waits = _waits(conn, names, now)
    return [ExplanationStep("opshelm", StepStatus.SUCCESS if account else StepStatus.SKIPPED, said), *waits]


def _okta(found: PeopleRead) -> list[ExplanationStep]:
    """What Okta says of the first person asked for; the others are read for their names alone."""
    person = next(iter(found.persons.values()), None)
    if person is None:
        return [ExplanationStep("okta user", StepStatus.SKIPPED, "Okta knows nobody by this login")]
    user = user_status(person.okta_user)
    status = StepStatus.SUCCESS if user in LIVE else StepStatus.WARNING
    return [_assignment(person), ExplanationStep("okta user", status, user or "not known to Okta any more")]


def _assignment(person: Person) -> ExplanationStep:
    app_user = person.app_user
    if app_user is None:
        return ExplanationStep("assignment", StepStatus.WARNING, "not assigned to the app in Okta")
    by = "by a group" if app_user.scope == "GROUP" else "directly" if app_user.scope == "USER" else "in an unknown way"
    detail = (
        f"app user {app_user.id}, assigned {by}, with the userName {app_user.user_name or '(none)'}: {app_user.status}, "
        f"{app_user.sync_state or 'no sync state'}"
    )
    fine = app_user.status in ASSIGNED and app_user.sync_state != "ERROR"
    return ExplanationStep("assignment", StepStatus.SUCCESS if fine else StepStatus.WARNING, detail)


def _pushes(failed: dict[str, PushFailure]) -> list[ExplanationStep]:
    return [
        ExplanationStep(
            "push",
            StepStatus.FAILURE if one.healed is None else StepStatus.WARNING,
            words(one) + (f"; repaired {when(one.healed)}" if one.healed else ""),
        )
        for one in failed.values()
    ]


def _sides(found: PeopleRead) -> list[ExplanationStep]:
    if found.pairs:
        return _assigned(found.pairs[0])
    if found.absences:
        return _absent(*found.absences[0])
    return [ExplanationStep("scope", StepStatus.SKIPPED, "no account here that the agent would change")]


def _role(found: PeopleRead, compared: Comparison) -> list[ExplanationStep]:
    """Nothing where no group gives roles, or the person has no account that one could give it to."""
    if compared.roles is None or not found.pairs:
        return []
    said = compared.roles.said.get(found.pairs[0].want.okta_id)
    if said is None:
        return []
    status = StepStatus.SUCCESS if compared.roles.whole else StepStatus.WARNING
    return [ExplanationStep("role", status, said)]


def _assigned(c: Pair) -> list[ExplanationStep]:
    want = c.want
    return [
        _match(c),
        _scope(c.bound or c.named or c.holder),
        ExplanationStep("rule", StepStatus.SUCCESS, f"{want.row.value}: wanted {want.wanted.value}"),
    ]


def _match(c: Pair) -> ExplanationStep:
    for side, how in (
        (c.bound, "by the Okta user id"),
        (c.named, "by Okta's externalId"),
        (c.holder, "by userName alone"),
    ):
        if side is not None:
            status = StepStatus.WARNING if side is c.holder and c.linked is None else StepStatus.SUCCESS
            return ExplanationStep("match", status, f"{side.user_name} ({side.id}), {how}")
    return ExplanationStep("match", StepStatus.SUCCESS, "no account: it would be new")


def _scope(side: CurrentAccount | None) -> ExplanationStep:
    if side is None:
        return ExplanationStep("scope", StepStatus.SUCCESS, "new accounts are managed")
    if side.protected:
        return ExplanationStep("scope", StepStatus.SKIPPED, "protected: the agent leaves it as it is")
    what = "managed" if side.managed else "local: only linked, never changed otherwise"
    return ExplanationStep(
        "scope", StepStatus.SUCCESS if side.managed else StepStatus.WARNING, f"{what}; {side.role.value}"
    )


def _absent(side: CurrentAccount, proof: Proof) -> list[ExplanationStep]:
    return [
        _scope(side),
        ExplanationStep(
            "rule",
            StepStatus.SUCCESS,
            f"{CaseRow.DEACTIVATE.value}: who is gone is inactive, once proven ({proof.answer.value}: {proof.detail})",
        ),
    ]


def _difference(plan: Plan) -> ExplanationStep:
    changes = [
        f"{path}: {change.before!r} → {change.after!r}"
        for action in plan.actions
        for path, change in action.changes.items()
    ]
    if not changes:
        return ExplanationStep("difference", StepStatus.SUCCESS, "none")
    return ExplanationStep("difference", StepStatus.WARNING, "; ".join(changes))


def _guard(plan: Plan) -> ExplanationStep:
    if plan.held is not None:
        return ExplanationStep("guard", StepStatus.FAILURE, f"{plan.held.value}: {plan.held_detail}")
    held = next((action for action in plan.actions if action.held is not None), None)
    if held is not None and held.held is not None:
        return ExplanationStep("guard", StepStatus.FAILURE, f"{held.held.value}: {held.held_detail}")
    return ExplanationStep("guard", StepStatus.SUCCESS if plan.actions else StepStatus.SKIPPED, "passes")


def _names(login: str, found: PeopleRead) -> set[str]:
    """What the actions of stored plans may call this person; whoever was read for a name alone is left out."""
    sides = [(c.bound, c.named) for c in found.pairs[:1]] or [(account, None) for account, _ in found.absences[:1]]
    accounts = [side for pair in sides for side in pair if side is not None]
    return {login, *list(found.persons)[:1], *(account.id for account in accounts)}


def _waits(conn: Connection, people: Collection[str], now: datetime) -> list[ExplanationStep]:
    found = holds.open_holds(conn, people=sorted(people))
    said = _holds(found, now, frame.braked(account.get(conn)))
    return [*said, *_stored_plan(conn, people, now, decided=bool(found))]


def _holds(found: Sequence[Hold], now: datetime, brake: str) -> list[ExplanationStep]:
    """What the register has of this person: why, since when, who decided what, and the one thing that ends it."""
    steps = []
    for hold in found:
        hours = (now - hold.since).total_seconds() / 3600
        said = f", {hold.decision.value} by {hold.decided_by}" if hold.decided_by else ""
        detail = (
            f"{hold.kind.value} {hold.code.value} since {when(hold.since)} ({hours:.0f} h){said}: {hold.detail.rstrip('.')}. "
            f"To end it: {way_out(hold, brake)}"
        )
        steps.append(ExplanationStep("hold", StepStatus.WARNING, detail))
    return steps


def _result(plan: Plan) -> ExplanationStep:
    doable = [a.kind.value for a in plan.actions if a.held is None and plan.held is None]
    if doable:
        return ExplanationStep("result", StepStatus.SUCCESS, f"would {', then '.join(doable)}")
    detail = "nothing now: it waits for a person" if plan.actions else "nothing to do"
    return ExplanationStep("result", StepStatus.SKIPPED, detail)


# The stored plan that somebody waits in, or the one that held them at last


def _stored_plan(conn: Connection, people: Collection[str], now: datetime, *, decided: bool) -> list[ExplanationStep]:
    """The plan that is open comes before newer ones: a run that holds the same again leaves the old one to be approved.

    ``decided``: there is an open hold of them. What a plan left out because of a decision that has ended since waits no more.
    """
    found = [one for one in plans.about(conn, people, _NEWEST) if decided or not _only_nos(one)]
    for stored in found:
        held = _held(stored, stored.plan.actions)
        if held and stored.status is PlanStatus.HELD and stored.expires > now:
            return [ExplanationStep("plan", StepStatus.WARNING, _open(conn, stored, held))]
    for stored in found:
        held = _held(stored, stored.plan.actions)
        if held and (stored.status in _OVER or stored.status is PlanStatus.HELD):
            return [ExplanationStep("plan", StepStatus.SKIPPED, _over(stored, held))]
        if any(action.state is ActionState.DONE for action in stored.plan.actions):
            break
    return []


def _only_nos(stored: StoredPlan) -> bool:
    held = _held(stored, stored.plan.actions)
    return bool(held) and all(action.held in SAID_NO for action in held)


def _held(stored: StoredPlan, actions: Collection[Action]) -> list[Action]:
    waiting = (ActionState.PENDING, ActionState.HELD, ActionState.REJECTED)
    whole = stored.plan.held is not None
    return [a for a in actions if a.state in waiting and (whole or a.held is not None)]


def _open(conn: Connection, stored: StoredPlan, held: list[Action]) -> str:
    why = f"{_plan_name(stored)} waits for a person ({_why_held(stored, held)}) until {when(stored.expires)}."
    approve = f"opshelm-agent plans approve {stored.id} --checksum {stored.checksum[:SHORT_CHECKSUM]}"
    if stored.kind != PlanKind.RECONCILE:
        return f"{why} See: opshelm-agent plans show {stored.id}"
    brake = frame.braked(account.get(conn))
    if brake:
        return f"{why} {brake}"
    if stored.plan.held is not None:
        if stored.plan.held not in APPROVABLE_RUNS:
            return f"{why} No approval lifts that."
        count = f" --count {_bounded(conn, stored)}" if stored.plan.held in NEED_COUNT else ""
        return f"{why} Approve it, for all who wait in it: {approve}{count}"
    liftable = [a for a in held if a.held in APPROVABLE | ONE_BY_ONE]
    if not liftable:
        return f"{why} No approval lifts that."
    return f"{why} Approve it for this person: {approve}{''.join(f' --action {a.n}' for a in liftable)}"


def _over(stored: StoredPlan, held: list[Action]) -> str:
    again = "A later run that wants the same makes a new plan: opshelm-agent reconcile"
    if stored.status is PlanStatus.REJECTED:
        said = (stored.decision or "").removeprefix("reject: ")
        at = f" at {when(stored.decided_at)}" if stored.decided_at else ""
        return f"{_plan_name(stored)}, which held this, was rejected by {stored.decided_by}{at} ({said}). {again}"
    return (
        f"{_plan_name(stored)} held this ({_why_held(stored, held)}) and expired at {when(stored.expires)}, "
        f"approved by nobody. {again}"
    )


def _plan_name(stored: StoredPlan) -> str:
    return f"plan {stored.id}" if stored.kind == PlanKind.RECONCILE else f"{stored.kind} plan {stored.id}"


def _why_held(stored: StoredPlan, held: list[Action]) -> str:
    code, detail = (
        (stored.plan.held, stored.plan.held_detail) if stored.plan.held else (held[0].held, held[0].held_detail)
    )
    return f"{code}: {detail}" if code and detail else str(code or "held")


def _bounded(conn: Connection, stored: StoredPlan) -> int:
    whole = plans.get(conn, stored.id)
    return sum(action.kind in BOUNDED for action in whole.plan.actions) if whole else 0
