"""Actions into the embedded directory, many in one transaction, each with its state. Knows no plan and no guard.

What raises has written nothing of the batch: the store is down, or the lease was lost.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agent.directory import actions as planned
from agent.directory import rename_cycle, transition
from agent.directory.port import ContextOf, Ended, WriteContext, Written
from agent.model.codes import ActionKind, ActionState
from agent.model.errors import AgentError, FenceLost, StoreError
from agent.model.plan import Action
from agent.store import account, lease, plans
from agent.store.account import Account
from agent.store.crash_points import crash_point
from agent.store.engine import Connection, Raised

if TYPE_CHECKING:
    from agent.directory.sql import SqlDirectory

#: Changes that the counters of the account row follow.
_COUNTED = frozenset({"active", "suspended", "externalId", "origin"})


def _holds_lease(conn: Connection, fence: int | None) -> None:
    if fence is not None:
        lease.check(conn, fence)


class SqlBatches:
    """Keeps which versions its own writes made, so that a second action of a person fits."""

    def __init__(self, directory: "SqlDirectory", size: int) -> None:
        self._directory = directory
        self.size = size
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
        locked = account.lock(conn)
        for action in planned.possible(actions, ended):
            ended.append(self._one(conn, action, context_of(action), now, versions, locked))
            if not _keeps_counters(action):
                locked = account.lock(conn)
        crash_point("apply.written")
        planned.keep(conn, plan_id, ended, now)
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
            return planned.outcome(action, error)
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
            return [_value(directory.create_in(conn, planned.draft(action, None), context, now))]
        if action.kind is ActionKind.RENAME_CYCLE:
            members = [(member, version(member, seen), name) for member, seen, name in action.cycle]
            return rename_cycle.rename_in(conn, members, context, now, directory.policy)
        directory_id = action.directory_id or ""
        return [
            _value(
                directory.change_in(
                    conn,
                    directory_id,
                    lambda before: transition.modified(before, planned.draft(action, before), context, now),
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
