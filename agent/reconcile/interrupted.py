"""What an apply that was interrupted has left: actions whose outcome nobody recorded, and approvals that still hold.

Read back, never sent again blindly: an action whose account is as it wanted is done, any other is stale and the next plan
sees what is true now. Called with the lease held, before anything else is done. (The run itself is ended by agent.runs.frame.)

What a person let go (``--first-run N``, ``plans approve``) holds for those very actions, each done once, until
``guard.plan_expiry`` after the decision – whether the process dies, is stopped or paused in between. The next sweep makes a
plan of its own; where it wants the same action for the same person, the approval counts there. What was tried and failed,
has moved, or was held meanwhile is not among it. Nothing is approved here.
"""

from datetime import datetime, timedelta

from msgspec import Struct

from agent.directory.port import Directory
from agent.model.codes import ActionKind, ActionState, PlanStatus
from agent.model.guard import Identity
from agent.model.plan import Action, fulfilled
from agent.model.users import DirectoryUser, identity_key
from agent.store import plans
from agent.store.engine import Connection, Store
from agent.store.plans import SentAction, StoredPlan

#: How a stored plan says that a person let its marked actions go.
APPROVE = "approve"
#: Why an action ends that was sent and did not happen.
DIED = "the process died before it was done"


def recover(store: Store, directory: Directory, now: datetime) -> int:
    """Settle what was left; answers how many actions that were."""
    with store.read() as conn:
        left = [sent for sent in plans.sent_actions(conn) if _reconciles(sent.action)]
    if left:
        ended = [(sent, _happened(directory, sent.action)) for sent in left]
        store.write(lambda conn: _settle(conn, ended, now))
    return len(left)


def _reconciles(action: Action) -> bool:
    return action.kind not in (ActionKind.OKTA_CREATE, ActionKind.OKTA_ASSIGN)


def _happened(directory: Directory, action: Action) -> bool:
    if action.kind is ActionKind.RENAME_CYCLE:
        members = [(directory.get(account), name) for account, _, name in action.cycle]
        return all(user is not None and user.user_name_key == identity_key(name) for user, name in members)
    return fulfilled(action, _account(directory, action))


def _account(directory: Directory, action: Action) -> DirectoryUser | None:
    if action.directory_id is not None:
        return directory.get(action.directory_id)
    return directory.find(okta_id=action.okta_id) if action.okta_id else None


def _settle(conn: Connection, ended: list[tuple[SentAction, bool]], now: datetime) -> None:
    for sent, happened in ended:
        state = ActionState.DONE if happened else ActionState.STALE
        error = "" if happened else DIED
        plans.mark(conn, sent.plan_id, [sent.action.n], state, now, error=error)


class Approval(Struct, frozen=True, kw_only=True):
    """What is left of it."""

    #: The plans that were being applied.
    plan_ids: tuple[int, ...] = ()
    identities: frozenset[Identity] = frozenset()
    by: str = ""
    at: datetime | None = None


NOTHING_LEFT = Approval()


def approval_left(conn: Connection, now: datetime, expiry: timedelta) -> Approval:
    found = [
        (stored, identities)
        for stored in plans.open_decided(conn, APPROVE, since=now - expiry)
        if not stored.plan.scope
        and (identities := frozenset(a.identity for a in stored.plan.actions if _waits(stored, a)))
    ]
    if not found:
        return NOTHING_LEFT
    first = found[0][0]  # the oldest decision bounds the time of all
    return Approval(
        plan_ids=tuple(stored.id for stored, _ in found),
        identities=frozenset().union(*(identities for _, identities in found)),
        by=first.decided_by or "",
        at=first.decided_at,
    )


def _waits(stored: StoredPlan, action: Action) -> bool:
    if action.n not in stored.approved:
        return False
    begun = action.state is ActionState.STALE and action.error == DIED
    return begun or action.state in (ActionState.PENDING, ActionState.SENT)


def hand_on(conn: Connection, approval: Approval, to: StoredPlan | None) -> None:
    """The newer plan has it from now on, and no older one any more."""
    if to is not None and approval.at is not None and to.id not in approval.plan_ids:
        numbers = [a.n for a in to.plan.actions if a.identity in approval.identities]
        if numbers:
            plans.decide(conn, to.id, actor=approval.by, decision=APPROVE, now=approval.at, approve=numbers)
    for plan_id in approval.plan_ids:
        if to is None or plan_id != to.id:
            plans.set_status(conn, plan_id, PlanStatus.STALE)


def words(approval: Approval) -> str:
    if approval.at is None:
        return ""
    return (
        f"This goes on with plan {approval.plan_ids[-1]}, whose apply was interrupted; {approval.by} approved it at "
        f"{approval.at:%Y-%m-%d %H:%M} UTC."
    )
