"""Actions into the directory, many in one transaction, each with its state. Knows no plan and no guard.

``write`` never raises for one action: what a rule refused, what moved and what failed is told action by action. It raises
only when nothing of the batch was written: the store is down, or the lease was lost.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from agent.directory import rename_cycle, transition
from agent.directory.action_drafts import draft
from agent.directory.port import WriteContext, Written
from agent.directory.sql import SqlDirectory
from agent.model.codes import ActionKind, ActionState, HeldCode, RefusalCode
from agent.model.errors import AgentError, FenceLost, NotFound, Refused, StoreError, VersionConflict
from agent.model.plan import Action
from agent.store import account, lease, plans
from agent.store.account import Account
from agent.store.crash_points import crash_point
from agent.store.engine import Connection, Raised

ContextOf = Callable[[Action], WriteContext]

#: What a rule that refuses while applying means for the action. Missing here: failed.
_HELD = {
    RefusalCode.LAST_OWNER: HeldCode.LAST_OWNER,
    RefusalCode.OWNER_IDENTITY: HeldCode.OWNER_IDENTITY,
    RefusalCode.PUSH_BURST: HeldCode.PUSH_BURST,
    RefusalCode.DEACTIVATIONS_24H: HeldCode.DEACTIVATIONS_24H,
    RefusalCode.REJECTED: HeldCode.REJECTED,
    RefusalCode.NAME_REUSE: HeldCode.NAME_REUSE,
    RefusalCode.INVALID_USER_NAME: HeldCode.NAME_INVALID,
    RefusalCode.EMAIL_NOT_USER_NAME: HeldCode.NAME_INVALID,
    RefusalCode.BLANK: HeldCode.NAME_INVALID,
    RefusalCode.OWNERS_UNKNOWN: HeldCode.OWNERS_UNKNOWN,
}
#: Somebody else was quicker, or the account is no longer ours: the next plan sees it.
_STALE = frozenset({RefusalCode.UNIQUENESS, RefusalCode.PROTECTED, RefusalCode.LOCAL_ACCOUNT, RefusalCode.HIDDEN})

#: Changes that the counters of the account row follow.
_COUNTED = frozenset({"active", "suspended", "externalId", "origin"})


class Ended(Struct, frozen=True, kw_only=True):
    n: int
    state: ActionState
    error: str = ""
    held: HeldCode | None = None


def after_undone(n: int, first: int) -> Ended:
    return Ended(n=n, state=ActionState.STALE, error=f"action {first}, which must come first, was not done")


def _holds_lease(conn: Connection, fence: int | None) -> None:
    if fence is not None:
        lease.check(conn, fence)


class Writer:
    """For the embedded directory. Keeps which versions its own writes made, so that a second action of a person fits."""

    def __init__(self, directory: SqlDirectory, batch: int) -> None:
        self._directory = directory
        self.batch = batch
        self._versions: dict[str, int] = {}

    def write(self, plan_id: int, actions: Sequence[Action], context_of: ContextOf, now: datetime) -> list[Ended]:
        """All of them in one transaction, after a first one that says they are under way."""
        store = self._directory.store
        numbers = [action.n for action in actions]
        fence = context_of(actions[0]).fence

        def sent(conn: Connection) -> None:
            _holds_lease(conn, fence)
            plans.mark(conn, plan_id, numbers, ActionState.SENT, now)

        store.write(sent)
        crash_point("apply.sent")
        if store.dialect == "sqlite":
            # Nobody can take the lease while this transaction has the write lock: one look is as good as one for each.
            unfenced = {action.n: replace(context_of(action), fence=None) for action in actions}
            ended, versions = store.write(
                lambda conn: self._all(conn, plan_id, actions, lambda a: unfenced[a.n], now, fence)
            )
        else:
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
        undone: set[int] = set()
        locked = account.lock(conn)
        for action in actions:
            first = next((n for n in action.needs if n in undone), None)
            if first is None:
                ended.append(self._one(conn, action, context_of(action), now, versions, locked))
                if not _keeps_counters(action):
                    locked = account.lock(conn)
            else:
                ended.append(after_undone(action.n, first))
            if ended[-1].state is not ActionState.DONE:
                undone.add(action.n)
        crash_point("apply.written")
        plans.mark_each(conn, plan_id, [(e.n, e.state, e.error) for e in ended if e.held is None], now)
        for e in ended:
            if e.held is not None:
                plans.hold(conn, plan_id, e.n, e.held, e.error)
        return ended, versions

    def _one(
        self,
        conn: Connection,
        action: Action,
        context: WriteContext,
        now: datetime,
        versions: dict[str, int],
        locked: Account,
    ) -> Ended:
        try:
            written = self._write(conn, action, context, now, versions, locked)
        except (StoreError, FenceLost):
            raise
        except AgentError as error:
            return outcome(action, error)
        for done in written:
            versions[done.user.id] = done.user.version
        return Ended(n=action.n, state=ActionState.DONE)

    def _write(
        self,
        conn: Connection,
        action: Action,
        context: WriteContext,
        now: datetime,
        versions: dict[str, int],
        locked: Account,
    ) -> list[Written]:
        def version(directory_id: str, planned: int | None) -> int | None:
            return versions.get(directory_id, self._versions.get(directory_id, planned))

        directory = self._directory
        if action.kind is ActionKind.CREATE:
            return [_value(directory.create_in(conn, draft(action, None), context, now))]
        if action.kind is ActionKind.RENAME_CYCLE:
            members = [(member, version(member, seen), name) for member, seen, name in action.cycle]
            return rename_cycle.rename_in(conn, members, context, now, directory.policy)
        directory_id = action.directory_id or ""
        return [
            _value(
                directory.change_in(
                    conn,
                    directory_id,
                    lambda before: transition.modified(before, draft(action, before), context, now),
                    context,
                    now,
                    version(directory_id, action.version),
                    locked,
                )
            )
        ]


def _keeps_counters(action: Action) -> bool:
    """Nobody becomes active, inactive, managed or an owner by it: the account row is as it was."""
    return action.kind is ActionKind.UPDATE and not action.changes.keys() & _COUNTED


def _value(written: Written | Raised) -> Written:
    if isinstance(written, Raised):
        raise written.error
    return written


def outcome(action: Action, error: AgentError) -> Ended:
    """What an error that concerns this action alone makes of it."""
    if isinstance(error, VersionConflict | NotFound):
        return Ended(n=action.n, state=ActionState.STALE, error=error.detail)
    if isinstance(error, Refused):
        return _refused(action, error)
    return Ended(n=action.n, state=ActionState.FAILED, error=f"{error.code}: {error.detail}")


def _refused(action: Action, refused: Refused) -> Ended:
    if refused.reason in _STALE:
        return Ended(n=action.n, state=ActionState.STALE, error=refused.detail)
    held = _HELD.get(refused.reason)
    state = ActionState.FAILED if held is None else ActionState.HELD
    return Ended(n=action.n, state=state, error=refused.detail, held=held)
