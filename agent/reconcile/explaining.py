"""One person, step by step: what each side says, which rule decides, what the guard says, what would happen now.

Plain data for whoever shows it. Reads Okta and the directory; stores nothing and changes nothing.
"""

from enum import StrEnum

from msgspec import Struct

from agent.model.absence import Proof
from agent.model.cases import Account, Candidate, CaseRow
from agent.model.errors import Frozen
from agent.model.guard import NO_GRANT
from agent.model.plan import Action, Finding, Plan
from agent.okta_org.org import OktaOrg
from agent.reconcile import preflight
from agent.reconcile.planner import Planner
from agent.reconcile.preflight import Binding
from agent.reconcile.single import Asked, Found
from agent.store import account
from agent.store.engine import Store


class Status(StrEnum):
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


class Step(Struct, frozen=True, kw_only=True):
    #: app, assignment, match, scope, rule, difference, guard, result.
    name: str
    status: Status
    detail: str


class Explanation(Struct, frozen=True, kw_only=True):
    login: str
    steps: tuple[Step, ...]
    actions: tuple[Action, ...] = ()
    findings: tuple[Finding, ...] = ()


def explain(login: str, okta: OktaOrg, planner: Planner, store: Store) -> Explanation:
    with store.read() as conn:
        row = account.get(conn)
    try:
        binding = preflight.check(okta, row)
    except Frozen as error:
        return Explanation(login=login, steps=(Step(name="app", status=Status.FAILURE, detail=error.detail),))
    found = planner.read(Asked(logins=(login,)))
    plan = planner.judged(planner.single_of(found, binding, (login,)), NO_GRANT)
    steps = [_app(binding), *_sides(found), _difference(plan), _guard(plan), _result(plan)]
    return Explanation(login=login, steps=tuple(steps), actions=plan.actions, findings=plan.findings)


def _app(binding: Binding) -> Step:
    return Step(
        name="app", status=Status.SUCCESS, detail=f"{binding.app.label} is ACTIVE in org {binding.org_id}"
    )


def _sides(found: Found) -> list[Step]:
    if found.candidates:
        return _assigned(found.candidates[0])
    if found.absences:
        return _absent(*found.absences[0])
    return [
        Step(name="assignment", status=Status.SKIPPED, detail="not assigned in Okta"),
        Step(name="scope", status=Status.SKIPPED, detail="no account here that the agent would change"),
    ]


def _assigned(c: Candidate) -> list[Step]:
    want = c.want
    return [
        Step(
            name="assignment",
            status=Status.SUCCESS,
            detail=f"app user {want.okta_id} with the userName {want.user_name}",
        ),
        _match(c),
        _scope(c.bound or c.named or c.holder),
        Step(name="rule", status=Status.SUCCESS, detail=f"{want.row.value}: wanted {want.wanted.value}"),
    ]


def _match(c: Candidate) -> Step:
    for side, how in (
        (c.bound, "by the Okta user id"),
        (c.named, "by Okta's externalId"),
        (c.holder, "by userName alone"),
    ):
        if side is not None:
            status = Status.WARNING if side is c.holder and c.linked is None else Status.SUCCESS
            return Step(name="match", status=status, detail=f"{side.user_name} ({side.id}), {how}")
    return Step(name="match", status=Status.SUCCESS, detail="no account: it would be new")


def _scope(side: Account | None) -> Step:
    if side is None:
        return Step(name="scope", status=Status.SUCCESS, detail="new accounts are managed")
    if side.protected:
        return Step(name="scope", status=Status.SKIPPED, detail="protected: the agent leaves it as it is")
    what = "managed" if side.managed else "local: only linked, never changed otherwise"
    return Step(
        name="scope",
        status=Status.SUCCESS if side.managed else Status.WARNING,
        detail=f"{what}; {side.role.value}",
    )


def _absent(side: Account, proof: Proof) -> list[Step]:
    return [
        Step(name="assignment", status=Status.WARNING, detail=f"{proof.answer.value}: {proof.detail}"),
        _scope(side),
        Step(
            name="rule",
            status=Status.SUCCESS,
            detail=f"{CaseRow.DEACTIVATE.value}: who is gone is inactive, once proven",
        ),
    ]


def _difference(plan: Plan) -> Step:
    changes = [
        f"{path}: {change.before!r} → {change.after!r}"
        for action in plan.actions
        for path, change in action.changes.items()
    ]
    if not changes:
        return Step(name="difference", status=Status.SUCCESS, detail="none")
    return Step(name="difference", status=Status.WARNING, detail="; ".join(changes))


def _guard(plan: Plan) -> Step:
    if plan.held is not None:
        return Step(name="guard", status=Status.FAILURE, detail=f"{plan.held.value}: {plan.held_detail}")
    held = next((action for action in plan.actions if action.held is not None), None)
    if held is not None and held.held is not None:
        return Step(name="guard", status=Status.FAILURE, detail=f"{held.held.value}: {held.held_detail}")
    return Step(name="guard", status=Status.SUCCESS if plan.actions else Status.SKIPPED, detail="passes")


def _result(plan: Plan) -> Step:
    doable = [a.kind.value for a in plan.actions if a.held is None and plan.held is None]
    if doable:
        return Step(name="result", status=Status.SUCCESS, detail=f"would {', then '.join(doable)}")
    detail = "nothing now: it waits for a person" if plan.actions else "nothing to do"
    return Step(name="result", status=Status.SKIPPED, detail=detail)
