"""What a run says to the register of holds: what it found held, and what nobody wants any more. Decides nothing.

A dry run says so too: it has read both sides. A run that may not conclude anything (nothing is pinned, the listing was wrong)
says nothing, and none says anything of somebody whom Okta has pushed since the run began to read, or whose account somebody
else has changed meanwhile: that was decided by a newer view.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime

from agent.model.codes import FindingCode, HeldCode
from agent.model.guard import ends_access
from agent.model.holds import ChangeKind, Decision, Reason, key_of, kind_of, subject_of, wish_of
from agent.model.plan import Action, Plan
from agent.reconcile.planner import Proposal
from agent.store import holds
from agent.store.engine import Connection

#: Holds of a whole run that are about people who would lose their access.
_OF_LEAVERS = frozenset({HeldCode.EMPTY_SOURCE, HeldCode.SOURCE_DROP})
#: Of these people this run has learnt nothing.
_UNKNOWN = frozenset(
    {
        FindingCode.PENDING,
        FindingCode.SYNCING,
        FindingCode.SYNCING_TOO_LONG,
        FindingCode.LEFT_ALONE,
        FindingCode.UNREADABLE,
        FindingCode.ABSENCE_DISPROVED,
        FindingCode.DUPLICATE_LISTED,
    }
)


def note(conn: Connection, proposal: Proposal, plan: Plan, now: datetime, *, run_id: int, plan_id: int | None) -> None:
    """After the plan was judged. Nothing where nothing is pinned yet, or the listing was wrong."""
    if not proposal.facts.pinned or plan.held in (HeldCode.ABSENCE_DISPROVED, HeldCode.DISTRUST):
        return
    compared, newer = proposal.compared, holds.pushed_after(conn, proposal.push_mark)
    held = [a for a in plan.actions if a.held is not None or (plan.held in _OF_LEAVERS and ends_access(a))]
    newer |= holds.changed_since(conn, {a.directory_id: a.version for a in held if a.directory_id and a.version})
    found(conn, plan, now, run_id=run_id, plan_id=plan_id, pushed=newer)
    holds.lapse(conn, now)
    if plan.held in _OF_LEAVERS or not holds.any_open(conn):
        return  # who isn't in this listing may be wanted all the same
    # What a person rejected is over where Okta wants something else by now.
    wanted = {key_of(action) for action in plan.actions if not _overtaken(proposal, action, now)}
    wanted |= {(account, ChangeKind.IDENTITY) for action in plan.actions for account, _, _ in action.cycle}
    # A person without an account has one by now, or the other way round.
    wanted |= {(subject_of(None, a.okta_id, a.login), kind_of(a)) for a in plan.actions}
    if compared.roles is not None and not compared.roles.whole:
        # A group that could not be read ends nobody's no.
        wanted |= {key for key in proposal.facts.holds if key[1] is ChangeKind.ROLE}
    people = None if compared.swept_at is not None else compared.read
    unknown = [found for found in proposal.plan.findings if found.code in _UNKNOWN]
    names = {name for one in unknown for name in (one.directory_id, one.okta_id, one.login) if name}
    holds.unwanted(conn, wanted, people, now, unknown=names | newer)


def _overtaken(proposal: Proposal, action: Action, now: datetime) -> bool:
    hold = proposal.facts.hold_of(action)
    return hold is not None and hold.decision is Decision.REJECTED and not hold.stops(wish_of(action), now)


def found(
    conn: Connection, plan: Plan, now: datetime, *, run_id: int, plan_id: int | None, pushed: AbstractSet[str]
) -> None:
    """What is held of a plan, each action as the hold of one person. ``pushed``: names of those of whom there is a newer view."""
    code = plan.held if plan.held in _OF_LEAVERS else None
    reasons = []
    held = {action.n: action for action in plan.actions if action.held is not None}
    for action in plan.actions:
        why = (
            (action.held, action.held_detail)
            if action.held
            else (code, plan.held_detail)
            if ends_access(action)
            else (None, "")
        )
        if why[0] is not None and pushed.isdisjoint((action.directory_id, action.okta_id, action.login)):
            reasons.append(
                Reason(
                    directory_id=action.directory_id,
                    okta_id=action.okta_id,
                    login=action.login,
                    kind=kind_of(action),
                    code=why[0],
                    detail=why[1],
                    wish=wish_of(action),
                    plan_id=plan_id,
                    action_n=action.n,
                    waits_for=_waits_for(action, held),
                )
            )
    holds.find(conn, reasons, now, by=f"run {run_id}")


def _waits_for(action: Action, held: Mapping[int, Action]) -> str:
    """Whose change has to be decided first: the person with whom it begins, where that is another one."""
    first, seen = action, {action.n}
    while (before := next((held[n] for n in first.needs if n in held and n not in seen), None)) is not None:
        first = before
        seen.add(before.n)
    same = (first.okta_id, first.directory_id) == (action.okta_id, action.directory_id)
    return "" if same or first.held is not action.held else first.login
