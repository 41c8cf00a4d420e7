"""Actions into the embedded directory, many in one transaction, each with its state. Knows no plan and no guard.

What raises has written nothing of the batch: the store is down, or the lease was lost.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from msgspec.structs import replace

from agent.directory import actions as planned
from agent.directory import transition, writes
from agent.directory.backend import AccountChange
from agent.directory.port import ContextOf, Draft, Ended, Written
from agent.directory.scope import Policy, WriteScope, locked_account
from agent.model.codes import ActionKind, ActionState
from agent.model.errors import AgentError, FenceLost, StoreError
from agent.model.plan import Action
from agent.model.users import DirectoryUser
from agent.store import lease, plans
from agent.store.crash_points import crash_point
from agent.store.engine import Connection, Raised, Store

#: Changes that the counters of the account row follow.
_COUNTED = frozenset({"active", "suspended", "externalId", "origin"})


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
        row = locked_account(conn, self._policy)
        if plans.called_off(conn, plan_id, [action.n for action in actions], now, paused=row.paused):
            return ended, versions
        for action in planned.possible(actions, ended):
            ended.append(self._one(WriteScope(conn, row, context_of(action), now, self._policy), action, versions))
            if not _keeps_counters(action):
                row = locked_account(conn, self._policy)
        crash_point("apply.written")
        planned.store_ends(conn, plan_id, ended, now)
        return ended, versions

    def _one(self, scope: WriteScope, action: Action, versions: dict[str, int]) -> Ended:
        try:
            written = self._write(scope, action, versions)
        except (StoreError, FenceLost):
            raise
        except AgentError as error:
            return planned.outcome(action, error)
        if isinstance(written, Raised):
            return planned.outcome(action, written.error)
        for one in written if isinstance(written, list) else [written]:
            versions[one.user.id] = one.user.version
        return Ended(n=action.n, state=ActionState.DONE)

    def _write(self, scope: WriteScope, action: Action, versions: dict[str, int]) -> Written | list[Written] | Raised:
        if action.kind is ActionKind.CREATE:
            return writes.create(scope, planned.draft(action, None))
        is_email = self._policy.receiver.username_is_email

        def change(account_id: str, seen: int | None, draft: Callable[[DirectoryUser], Draft]) -> AccountChange:
            version = versions.get(account_id, self._versions.get(account_id, seen))
            return AccountChange(account_id, transition.by(draft, scope.context, scope.now), scope.context, version)

        if action.kind is ActionKind.RENAME_CYCLE:
            renames = [change(one, seen, partial(planned.renamed, name, is_email)) for one, seen, name in action.cycle]
            return writes.change_together(scope, renames)
        return writes.change(scope, change(action.directory_id or "", action.version, partial(planned.draft, action)))


def _keeps_counters(action: Action) -> bool:
    """Nobody becomes active, inactive, managed or an owner by it: the account row is as it was."""
    return action.kind is ActionKind.UPDATE and not action.changes.keys() & _COUNTED
