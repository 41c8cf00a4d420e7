"""An action of a plan as a write, and what the write's outcome makes of it; and many of them in one transaction of the embedded
directory. Knows no plan and no guard.

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

A batch that raises has written nothing: the store is down, or the lease was lost.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby

from msgspec.structs import replace

from agent.directory import rows, rules, writes
from agent.directory.port import ContextOf, Draft, Ended, WriteContext, Written
from agent.directory.rows import Policy, WriteScope, locked_account
from agent.directory.rules import AccountChange, Becomes
from agent.model.codes import ActionKind, ActionState, HeldCode, RefusalCode
from agent.model.errors import AgentError, FenceLost, NotFound, Refused, StoreError, VersionConflict
from agent.model.mapping import apply
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action, profile_values
from agent.model.users import DirectoryUser, Profile, Role
from agent.store import lease, plans
from agent.store.engine import Connection, Raised, Store, crash_point

#: Changes that other accounts or the counters of the account row have to do with.
_MORE = frozenset({"active", "suspended", "externalId", "origin", "userName", EMAIL_PATH})
#: So many of those that haven't are worth a statement that reads all their accounts.
_MANY = 8


def _holds_lease(conn: Connection, fence: int | None) -> None:
    if fence is not None:
        lease.check(conn, fence)


class SqlBatches:
    """Keeps which versions its own writes made, so that a second action of a person fits."""

    def __init__(self, store: Store, policy: Policy, size: int) -> None:
        self._store = store
        self._policy = policy
        self.size = size
        self._versions: dict[str, int] = {}

    def write(self, plan_id: int, actions: Sequence[Action], context_of: ContextOf, now: datetime) -> list[Ended]:
        """All of them in one transaction, after a first one that says they are under way; none where it was called off."""
        store = self._store
        numbers = [action.n for action in actions]
        fence = context_of(actions[0]).fence

        def sent(conn: Connection) -> None:
            _holds_lease(conn, fence)
            plans.mark(conn, plan_id, numbers, ActionState.SENT, now)

        store.write(sent)
        crash_point("apply.sent")
        ended, versions = store.write(lambda conn: self._all(conn, plan_id, actions, context_of, now, fence))
        self._versions.update(versions)
        return ended

    def _all(
        self,
        conn: Connection,
        plan_id: int,
        actions: Sequence[Action],
        context_of: ContextOf,
        now: datetime,
        fence: int | None,
    ) -> tuple[list[Ended], dict[str, int]]:
        _holds_lease(conn, fence)
        # Runs again from the start when the transaction is tried again: nothing outside the database is touched.
        versions: dict[str, int] = {}
        ended: list[Ended] = []
        row = locked_account(conn, self._policy)
        if plans.called_off(conn, plan_id, [action.n for action in actions], now, paused=row.paused):
            return ended, versions
        for details, alike in groupby(actions, _details_only):
            some = list(alike)
            ahead = details and len(some) >= _MANY
            with rows.ahead(conn, [action.directory_id or "" for action in some] if ahead else []):
                for action in possible(some, ended):
                    scope = WriteScope(conn, row, context_of(action), now, self._policy)
                    ended.append(self._one(scope, action, versions))
                    if not details:
                        row = locked_account(conn, self._policy)
        crash_point("apply.written")
        store_ends(conn, plan_id, ended, now)
        return ended, versions

    def _one(self, scope: WriteScope, action: Action, versions: dict[str, int]) -> Ended:
        try:
            written = self._write(scope, action, versions)
        except (StoreError, FenceLost):
            raise
        except AgentError as error:
            return outcome(action, error)
        if isinstance(written, Raised):
            return outcome(action, written.error)
        for one in written if isinstance(written, list) else [written]:
            versions[one.user.id] = one.user.version
        return Ended(n=action.n, state=ActionState.DONE)

    def _write(self, scope: WriteScope, action: Action, versions: dict[str, int]) -> Written | list[Written] | Raised:
        context, now = scope.context, scope.now
        is_email = self._policy.receiver.username_is_email

        def change(account_id: str, seen: int | None, wanted: Becomes) -> AccountChange:
            version = versions.get(account_id, self._versions.get(account_id, seen))
            return AccountChange(account_id, wanted, context, version)

        if action.kind is ActionKind.RENAME_CYCLE:
            named = [
                (one, seen, rules.wanted_by(partial(renamed, name, is_email), context, now))
                for one, seen, name in action.cycle
            ]
            return writes.change_together(scope, [change(*one) for one in named])
        if action.kind is ActionKind.CREATE and not action.succeeds:
            return writes.create(scope, draft(action, None))
        single = change(action.directory_id or "", action.version, becomes(action, context, now))
        if action.kind is ActionKind.CREATE:
            from agent.directory import succession

            return succession.succeed(scope, single, draft(action, None), action.assigned)
        return writes.change(scope, single)


def _details_only(action: Action) -> bool:
    """Nobody's name or access changes by it: it is written without a look at other accounts, and the account row stays."""
    return action.kind is ActionKind.UPDATE and not action.changes.keys() & _MORE


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
        name, given_id = str(after["userName"]), after.get("id")
        return Draft(user_name=name, profile=profile, active=True, okta_id=action.okta_id, id=given_id)
    return Draft(
        user_name=str(after.get("userName", before.user_name)),
        profile=profile,
        active=False if "suspended" in after else bool(after.get("active", before.active)),
        okta_id=action.okta_id if action.kind is ActionKind.LINK else None,
    )


def becomes(action: Action, context: WriteContext, now: datetime) -> Becomes:
    """What one account that is there becomes by it."""
    if action.kind is ActionKind.ROLE:
        return partial(_with_role, action)
    return rules.wanted_by(partial(draft, action), context, now)


def _with_role(action: Action, before: DirectoryUser) -> DirectoryUser:
    """An account that is inactive by now doesn't become an owner's."""
    role = Role(action.changes["role"].after)
    if role is Role.OWNER and not before.active:
        raise VersionConflict("The account is inactive by now.")
    return replace(before, role=role)


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
