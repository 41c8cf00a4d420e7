"""An action of a plan as a write, and what the write's outcome makes of it; the same for both backends.

====================================  ================================================================================
the write …                           the action is
====================================  ================================================================================
was done                              done
found another version, or nobody      stale: somebody else was quicker, and the next plan sees it
is refused for what is there now      stale too: a name that is taken, an account that is protected or local now,
                                      a push of Okta's that came since
is refused by a rule for people       held, with the rule's code
failed in any other way               failed
====================================  ================================================================================
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from agent.directory.port import Draft, Ended
from agent.model.codes import ActionKind, ActionState, HeldCode, RefusalCode
from agent.model.errors import AgentError, NotFound, Refused, VersionConflict
from agent.model.mapping import apply
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action, profile_values
from agent.model.users import DirectoryUser, Profile
from agent.store import plans
from agent.store.engine import Connection

#: What a rule that refuses while applying means for the action. Missing here: failed.
_HELD = {
    RefusalCode.LAST_OWNER: HeldCode.LAST_OWNER,
    RefusalCode.OWNER_IDENTITY: HeldCode.OWNER_IDENTITY,
    RefusalCode.PUSH_BURST: HeldCode.PUSH_BURST,
    RefusalCode.DEACTIVATIONS_24H: HeldCode.DEACTIVATIONS_24H,
    RefusalCode.REJECTED: HeldCode.REJECTED,
    RefusalCode.BLOCKED: HeldCode.BLOCKED,
    RefusalCode.NAME_REUSE: HeldCode.NAME_REUSE,
    RefusalCode.INVALID_USER_NAME: HeldCode.NAME_INVALID,
    RefusalCode.EMAIL_NOT_USER_NAME: HeldCode.NAME_INVALID,
    RefusalCode.BLANK: HeldCode.NAME_INVALID,
    RefusalCode.OWNERS_UNKNOWN: HeldCode.OWNERS_UNKNOWN,
}
_STALE = frozenset(
    {
        RefusalCode.UNIQUENESS,
        RefusalCode.PROTECTED,
        RefusalCode.LOCAL_ACCOUNT,
        RefusalCode.HIDDEN,
        RefusalCode.WAITS,
        RefusalCode.MOVED,
    }
)


def draft(action: Action, before: DirectoryUser | None) -> Draft:
    """What the account shall be; only what the action names differs from ``before`` (None: a create)."""
    after = {path: change.after for path, change in action.changes.items()}
    profile = apply(before.profile if before else Profile(), profile_values(action))
    if before is None:
        return Draft(user_name=str(after["userName"]), profile=profile, active=True, okta_id=action.okta_id)
    return Draft(
        user_name=str(after.get("userName", before.user_name)),
        profile=profile,
        active=False if "suspended" in after else bool(after.get("active", before.active)),
        okta_id=action.okta_id if action.kind is ActionKind.LINK else None,
    )


def renamed(user_name: str, is_email: bool, before: DirectoryUser) -> Draft:
    """The userName of one in a ring, and the e-mail that equals it."""
    profile = apply(before.profile, {EMAIL_PATH: user_name}) if is_email else before.profile
    return Draft(user_name=user_name, profile=profile, active=before.active, active_said=False)


def outcome(action: Action, error: AgentError) -> Ended:
    """What an error that concerns this action alone makes of it."""
    moved = isinstance(error, VersionConflict | NotFound)
    if moved or (isinstance(error, Refused) and error.reason in _STALE):
        return Ended(n=action.n, state=ActionState.STALE, error=error.detail)
    if isinstance(error, Refused):
        held = _HELD.get(error.reason)
        state = ActionState.FAILED if held is None else ActionState.HELD
        return Ended(n=action.n, state=state, error=error.detail, held=held)
    return Ended(n=action.n, state=ActionState.FAILED, error=f"{error.code}: {error.detail}")


def possible(actions: Sequence[Action], ended: list[Ended]) -> Iterator[Action]:
    """Those whose first steps were done, as ``ended`` says when each has its turn; the others' ends are added to it."""
    for action in actions:
        undone = {one.n for one in ended if one.state is not ActionState.DONE} if action.needs else ()
        first = next((n for n in action.needs if n in undone), None)
        if first is None:
            yield action
        else:
            ended.append(Ended.after(action.n, first))


def store_ends(conn: Connection, plan_id: int, ended: Sequence[Ended], now: datetime) -> None:
    """Store what became of these actions."""
    plans.mark_each(conn, plan_id, [(e.n, e.state, e.error) for e in ended if e.held is None], now)
    for e in ended:
        if e.held is not None:
            plans.hold(conn, plan_id, e.n, e.held, e.error)
