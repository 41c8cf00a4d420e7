"""Actions into a remote directory, several calls at a time, each with its state. Knows no plan and no guard.

A few actions are marked as sent, called together and marked with their ends, then the next few: their outcomes share a
transaction, and a process that dies leaves few to read back. Actions of one account, and actions that need others, take turns. Renames in a ring go through a temporary
name, one call after the other; what a failure leaves there is an ordinary rename for the next sweep.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import partial

from agent.directory.port import Draft, WriteContext, Written
from agent.directory.remote.directory import RemoteDirectory
from agent.model.codes import ActionKind, ActionState
from agent.model.crash_points import crash_point
from agent.model.errors import AgentError, FenceLost, NotFound, StoreError, VersionConflict
from agent.model.mapping import apply
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action
from agent.model.users import DirectoryUser, identity_key
from agent.reconcile.drafts import draft
from agent.reconcile.writing import ContextOf, Ended, after_undone, outcome
from agent.store import plans

#: Actions that are marked as sent at once, for each call that may be under way at the same time.
_AHEAD = 4


class CallingWriter:
    """For a remote directory. Keeps which versions its own writes made, so that a second action of a person fits."""

    def __init__(self, directory: RemoteDirectory) -> None:
        self._directory = directory
        self._versions: dict[str, int] = {}
        self._together = directory.concurrency * _AHEAD
        #: A run looks whether it is to stop after so many.
        self.batch = self._together * 2

    def write(
        self, plan_id: int, actions: Sequence[Action], context_of: ContextOf, now: datetime
    ) -> list[Ended]:
        ended: list[Ended] = []
        undone: set[int] = set()
        for wave in _waves(actions, self._together):
            ready = []
            for action in wave:
                first = next((n for n in action.needs if n in undone), None)
                if first is None:
                    ready.append(action)
                else:
                    ended.append(after_undone(action.n, first))
                    undone.add(action.n)
                    self._mark(plan_id, [ended[-1]], now)
            done = self._together_now(plan_id, ready, context_of, now)
            ended += done
            undone |= {e.n for e in done if e.state is not ActionState.DONE}
        return ended

    def _together_now(
        self, plan_id: int, actions: Sequence[Action], context_of: ContextOf, now: datetime
    ) -> list[Ended]:
        store = self._directory.store
        numbers = [action.n for action in actions]
        store.write(lambda conn: plans.mark(conn, plan_id, numbers, ActionState.SENT, now))
        crash_point("apply.sent")
        calls = [(action, self._begin(action, context_of(action), now)) for action in actions]
        ended: list[Ended] = []
        written: list[tuple[Action, Written]] = []
        stopped: AgentError | None = None
        for action, call in calls:
            try:
                written.append((action, call.result()))
            except (StoreError, FenceLost) as error:
                # It stays sent: whoever comes next reads it back. The others have their ends first.
                stopped = error
            except AgentError as error:
                ended.append(outcome(action, error))
        crash_point("wave.called")
        endings = [store.submit(one.ending) if one.ending else None for _, one in written]
        for (action, one), ending in zip(written, endings, strict=True):
            try:
                if ending is not None:
                    ending.result()
            except StoreError as error:
                stopped = error
                continue
            self._versions[one.user.id] = one.user.version
            ended.append(Ended(n=action.n, state=ActionState.DONE))
        self._mark(plan_id, ended, now)
        if stopped is not None:
            raise stopped
        return ended

    def _begin(self, action: Action, context: WriteContext, now: datetime) -> "Future[Written]":
        if action.kind is ActionKind.CREATE:
            return self._directory.create(draft(action, None), context, now, later=True)
        if action.kind is ActionKind.RENAME_CYCLE:
            return self._directory.run(partial(self._ring, action, context, now))
        account = action.directory_id or ""
        return self._directory.modify(
            account,
            partial(draft, action),
            context,
            now,
            expected_version=self._version(account, action.version),
            later=True,
        )

    def _version(self, account: str, planned: int | None) -> int | None:
        return self._versions.get(account, planned)

    def _mark(self, plan_id: int, ended: Sequence[Ended], now: datetime) -> None:
        def work(conn: object) -> None:
            plans.mark_each(conn, plan_id, [(e.n, e.state, e.error) for e in ended if e.held is None], now)  # type: ignore[arg-type]
            for e in ended:
                if e.held is not None:
                    plans.hold(conn, plan_id, e.n, e.held, e.error)  # type: ignore[arg-type]

        self._directory.store.write(work)

    # A ring of renames

    def _ring(self, action: Action, context: WriteContext, now: datetime) -> Written:
        """In the order in which names get free, the first one by way of a temporary name."""
        names = {
            account: self._name_of(account, self._version(account, version))
            for account, version, _ in action.cycle
        }
        wanted = {identity_key(name): (account, name) for account, _, name in action.cycle}
        first = action.cycle[0][0]
        free = names[first]
        written = self._rename(first, f"moving-{first[:8]}.{free}", context, now)
        while True:
            account, name = wanted[identity_key(free)]
            free = names[account]
            written = self._rename(account, name, context, now)
            if account == first:
                return written

    def _name_of(self, account: str, version: int | None) -> str:
        user = self._directory.get(account)
        if user is None:
            raise NotFound("There is no such user.")
        if version is not None and user.version != version:
            raise VersionConflict(
                f"The account has changed since version {version}; it is at {user.version}."
            )
        return user.user_name

    def _rename(self, account: str, name: str, context: WriteContext, now: datetime) -> Written:
        def renamed(before: DirectoryUser) -> Draft:
            is_email = self._directory.policy.receiver.username_is_email
            profile = apply(before.profile, {EMAIL_PATH: name}) if is_email else before.profile
            return Draft(user_name=name, profile=profile, active=before.active, active_said=False)

        written = self._directory.change_now(account, renamed, context, now)
        self._versions[account] = written.user.version
        return written


def _waves(actions: Sequence[Action], size: int) -> Iterator[list[Action]]:
    """In order, at most ``size`` together; nothing beside what it needs, and no account twice."""
    wave: list[Action] = []
    numbers: set[int] = set()
    people: set[str] = set()
    for action in actions:
        mine = {x for x in (action.directory_id, action.okta_id, *(c[0] for c in action.cycle)) if x}
        if len(wave) == size or numbers.intersection(action.needs) or people & mine:
            yield wave
            wave, numbers, people = [], set(), set()
        wave.append(action)
        numbers.add(action.n)
        people |= mine
    if wave:
        yield wave
