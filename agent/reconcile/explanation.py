"""One person, step by step: what each side says, which rule decides, what the guard says, what would happen now.

Plain data for whoever shows it. Reads Okta and the directory; stores nothing and changes nothing.
"""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from agent.model.absence import Proof
from agent.model.cases import CaseRow, CurrentAccount, Pair
from agent.model.desired import ASSIGNED, LIVE, user_status
from agent.model.errors import Frozen
from agent.model.guard import NO_GRANT
from agent.model.okta import Person
from agent.model.plan import Action, Finding, Plan
from agent.okta_org.org import OktaOrg
from agent.reconcile import plan_status
from agent.reconcile.direct_read import Asked, PeopleRead
from agent.reconcile.event_queue import words
from agent.reconcile.plan_status import Told
from agent.reconcile.planner import Planner
from agent.runs import preflight
from agent.runs.preflight import Binding
from agent.runs.report import Outcome
from agent.store import account, events
from agent.store.engine import Store
from agent.store.events import PushFailure


class StepStatus(StrEnum):
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


class ExplanationStep(Struct, frozen=True, kw_only=True):
    #: app, assignment, okta user, push, match, scope, rule, difference, guard, plan, result.
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
    with store.read() as conn:
        row = account.get(conn)
    try:
        binding = preflight.check(okta, row)
    except Frozen as error:
        step = ExplanationStep(name="app", status=StepStatus.FAILURE, detail=error.detail)
        return Explanation(login=login, outcome=Outcome.FROZEN, steps=(step,))
    found = planner.read(Asked(logins=(login,)))
    plan = planner.judged(planner.single_of(found, binding, (login,)), NO_GRANT)
    with store.read() as conn:
        failed = events.failures_of(conn, found.persons)
        waits = plan_status.look(conn, _names(login, found), now)
    steps = [
        _app(binding),
        *_okta(found),
        *_pushes(failed),
        *_sides(found),
        _difference(plan),
        _guard(plan),
        *_stored(waits),
        _result(plan),
    ]
    return Explanation(
        login=login, outcome=_outcome(plan), steps=tuple(steps), actions=plan.actions, findings=plan.findings
    )


def _outcome(plan: Plan) -> Outcome:
    if plan.held is not None or any(action.held is not None for action in plan.actions):
        return Outcome.HELD
    return Outcome.DRIFT if plan.actions else Outcome.IN_STEP


def _app(binding: Binding) -> ExplanationStep:
    return ExplanationStep(
        name="app", status=StepStatus.SUCCESS, detail=f"{binding.app.label} is ACTIVE in org {binding.org_id}"
    )


def _okta(found: PeopleRead) -> list[ExplanationStep]:
    """What Okta says of the first person asked for; the others are read for their names alone."""
    person = next(iter(found.persons.values()), None)
    if person is None:
        return [ExplanationStep(name="okta user", status=StepStatus.SKIPPED, detail="Okta knows nobody by this login")]
    user = user_status(person.okta_user)
    status = StepStatus.SUCCESS if user in LIVE else StepStatus.WARNING
    return [
        _assignment(person),
        ExplanationStep(name="okta user", status=status, detail=user or "not known to Okta any more"),
    ]


def _assignment(person: Person) -> ExplanationStep:
    app_user = person.app_user
    if app_user is None:
        return ExplanationStep(name="assignment", status=StepStatus.WARNING, detail="not assigned to the app in Okta")
    by = "by a group" if app_user.scope == "GROUP" else "directly" if app_user.scope == "USER" else "in an unknown way"
    detail = (
        f"app user {app_user.id}, assigned {by}, with the userName {app_user.user_name or '(none)'}: {app_user.status}, "
        f"{app_user.sync_state or 'no sync state'}"
    )
    fine = app_user.status in ASSIGNED and app_user.sync_state != "ERROR"
    return ExplanationStep(name="assignment", status=StepStatus.SUCCESS if fine else StepStatus.WARNING, detail=detail)


def _pushes(failed: dict[str, PushFailure]) -> list[ExplanationStep]:
    return [
        ExplanationStep(
            name="push",
            status=StepStatus.FAILURE if one.healed is None else StepStatus.WARNING,
            detail=words(one) + (f"; repaired {one.healed:%Y-%m-%d %H:%M} UTC" if one.healed else ""),
        )
        for one in failed.values()
    ]


def _sides(found: PeopleRead) -> list[ExplanationStep]:
    if found.candidates:
        return _assigned(found.candidates[0])
    if found.absences:
        return _absent(*found.absences[0])
    return [
        ExplanationStep(name="scope", status=StepStatus.SKIPPED, detail="no account here that the agent would change")
    ]


def _assigned(c: Pair) -> list[ExplanationStep]:
    want = c.want
    return [
        _match(c),
        _scope(c.bound or c.named or c.holder),
        ExplanationStep(name="rule", status=StepStatus.SUCCESS, detail=f"{want.row.value}: wanted {want.wanted.value}"),
    ]


def _match(c: Pair) -> ExplanationStep:
    for side, how in (
        (c.bound, "by the Okta user id"),
        (c.named, "by Okta's externalId"),
        (c.holder, "by userName alone"),
    ):
        if side is not None:
            status = StepStatus.WARNING if side is c.holder and c.linked is None else StepStatus.SUCCESS
            return ExplanationStep(name="match", status=status, detail=f"{side.user_name} ({side.id}), {how}")
    return ExplanationStep(name="match", status=StepStatus.SUCCESS, detail="no account: it would be new")


def _scope(side: CurrentAccount | None) -> ExplanationStep:
    if side is None:
        return ExplanationStep(name="scope", status=StepStatus.SUCCESS, detail="new accounts are managed")
    if side.protected:
        return ExplanationStep(
            name="scope", status=StepStatus.SKIPPED, detail="protected: the agent leaves it as it is"
        )
    what = "managed" if side.managed else "local: only linked, never changed otherwise"
    return ExplanationStep(
        name="scope",
        status=StepStatus.SUCCESS if side.managed else StepStatus.WARNING,
        detail=f"{what}; {side.role.value}",
    )


def _absent(side: CurrentAccount, proof: Proof) -> list[ExplanationStep]:
    return [
        _scope(side),
        ExplanationStep(
            name="rule",
            status=StepStatus.SUCCESS,
            detail=f"{CaseRow.DEACTIVATE.value}: who is gone is inactive, once proven ({proof.answer.value}: {proof.detail})",
        ),
    ]


def _difference(plan: Plan) -> ExplanationStep:
    changes = [
        f"{path}: {change.before!r} → {change.after!r}"
        for action in plan.actions
        for path, change in action.changes.items()
    ]
    if not changes:
        return ExplanationStep(name="difference", status=StepStatus.SUCCESS, detail="none")
    return ExplanationStep(name="difference", status=StepStatus.WARNING, detail="; ".join(changes))


def _guard(plan: Plan) -> ExplanationStep:
    if plan.held is not None:
        return ExplanationStep(name="guard", status=StepStatus.FAILURE, detail=f"{plan.held.value}: {plan.held_detail}")
    held = next((action for action in plan.actions if action.held is not None), None)
    if held is not None and held.held is not None:
        return ExplanationStep(name="guard", status=StepStatus.FAILURE, detail=f"{held.held.value}: {held.held_detail}")
    return ExplanationStep(
        name="guard", status=StepStatus.SUCCESS if plan.actions else StepStatus.SKIPPED, detail="passes"
    )


def _names(login: str, found: PeopleRead) -> set[str]:
    """What the actions of stored plans may call this person; whoever was read for a name alone is left out."""
    sides = [(c.bound, c.named) for c in found.candidates[:1]] or [(account, None) for account, _ in found.absences[:1]]
    accounts = [side for pair in sides for side in pair if side is not None]
    return {login, *list(found.persons)[:1], *(account.id for account in accounts)}


def _stored(waits: Told | None) -> list[ExplanationStep]:
    if waits is None:
        return []
    status = StepStatus.WARNING if waits.waits else StepStatus.SKIPPED
    return [ExplanationStep(name="plan", status=status, detail=waits.detail)]


def _result(plan: Plan) -> ExplanationStep:
    doable = [a.kind.value for a in plan.actions if a.held is None and plan.held is None]
    if doable:
        return ExplanationStep(name="result", status=StepStatus.SUCCESS, detail=f"would {', then '.join(doable)}")
    detail = "nothing now: it waits for a person" if plan.actions else "nothing to do"
    return ExplanationStep(name="result", status=StepStatus.SKIPPED, detail=detail)
