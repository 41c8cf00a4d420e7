"""Actions into a remote directory, several calls at a time, each with its state. Knows no plan and no guard.

A few actions are marked as sent, carried out and marked with their ends, then the next few: a process that dies leaves few
to read back. Updates and links go together, and share transactions. Actions of one account, and actions that need others,
take turns. Renames in a ring go through a temporary name, one call after the other; what a failure leaves there is an
ordinary rename for the next sweep.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from datetime import datetime
from functools import partial

from agent.directory import actions as planned
from agent.directory import rules
from agent.directory.port import ContextOf, Ended, WriteContext, Written
from agent.directory.remote.outbox import Outbox
from agent.directory.remote.patience import HURRIED, ticking
from agent.directory.rules import AccountChange, require_version
from agent.model.codes import ActionKind, ActionState
from agent.model.errors import AgentError, FenceLost, NotFound, StoreError
from agent.model.plan import Action
from agent.model.users import identity_key
from agent.store import account, plans
from agent.store.engine import Connection, crash_point

#: For each call that may be under way at the same time.
_AHEAD = 8
#: Share of the time in which the process was at work. Above it is busy enough, below more calls may come in between.
_BUSY, _IDLE = 0.9, 0.6
#: Changes together at the start; the seconds under which there may be more, and above which fewer.
_FEW, _MANY = 8, 32
_QUICK, _LONG = 1.5, 4.0
_TOGETHER = (ActionKind.UPDATE, ActionKind.LINK)


def side_by_side(helpers: Executor, at_once: int, tasks: Sequence[Callable[[], None]]) -> None:
    """Up to ``at_once`` at a time, one of them in the caller's own thread. They raise nothing."""
    left = deque(tasks)

    def take() -> None:
        while True:
            try:
                task = left.popleft()
            except IndexError:
                return
            task()

    others = [helpers.submit(take) for _ in range(min(at_once, len(tasks)) - 1)]
    take()
    for other in others:
        other.result()


class Width:
    """How many calls are worth having under way at once, and how many changes are made together.

    Calls: as many as keep this process busy. A remote that answers at once is limited by the agent itself, and more threads would
    only wait for each other, at the cost of CPU; one that takes its time is asked several things at once. Judged by the CPU time
    that a few calls took. Starts with all: most runs are short, and a remote is rarely next door.

    Changes: more together share more, but whoever pushes one of these accounts waits for all of them. Starts with few, and never
    fewer than calls find something to do.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.calls = most
        self.most_together = max(_MANY, most)
        self.together = max(_FEW, most)

    def note(self, seconds: float, cpu: float, made: int) -> None:
        """``cpu``: seconds of CPU that this process used while ``seconds`` went by and so many changes were ``made``."""
        if seconds <= 0:
            return
        if seconds < _QUICK and made >= self.together:
            self.together = min(2 * self.together, self.most_together)
        elif seconds > _LONG:
            self.together = max(self.together // 2, self.most)
        share = cpu / seconds
        if share < _IDLE:
            self.calls = min(2 * self.calls, self.most)
        elif share > _BUSY:
            self.calls = max(self.calls - 1, 1)


class RemoteBatches:
    """Keeps which versions its own writes made, so that a second action of a person fits.

    ``helpers``: threads of its own, since a push may wait for an account that a run is at.
    """

    def __init__(self, outbox: Outbox, helpers: Executor, concurrency: int, *, username_is_email: bool) -> None:
        self._outbox = outbox
        self._helpers = helpers
        self._store = outbox.ledger.store
        self._username_is_email = username_is_email
        self._versions: dict[str, int] = {}
        self._width = Width(concurrency)
        self.size = concurrency * _AHEAD

    def write(self, plan_id: int, actions: Sequence[Action], context_of: ContextOf, now: datetime) -> list[Ended]:
        ended: list[Ended] = []
        clock = ticking(now)
        for wave in _waves(actions, lambda: self._width.together):
            # Whoever judges how old a call is must not take it for as old as the first of the run.
            at, before = clock(), len(ended)
            ready = list(planned.possible(wave, ended))
            self._store_ends(plan_id, ended[before:], at)
            if not self._sent(plan_id, [action.n for action in ready], at):
                break
            ended += self._together(plan_id, ready, context_of, at)
        return ended

    def _sent(self, plan_id: int, numbers: Sequence[int], now: datetime) -> bool:
        """False: the apply was called off."""

        def work(conn: Connection) -> bool:
            if plans.called_off(conn, plan_id, numbers, now, paused=account.lock(conn).paused):
                return False
            plans.mark(conn, plan_id, numbers, ActionState.SENT, now)
            return True

        return self._store.write(work)

    def _together(self, plan_id: int, actions: Sequence[Action], context_of: ContextOf, now: datetime) -> list[Ended]:
        crash_point("apply.sent")
        ends = self._called(actions, context_of, now)
        ended: list[Ended] = []
        stopped: Exception | None = None
        for action in actions:
            end = ends[action.n]
            if isinstance(end, Written):
                if action.directory_id is not None:
                    # Nothing follows a create in the same plan.
                    self._versions[action.directory_id] = end.user.version
                ended.append(Ended(n=action.n, state=ActionState.DONE))
            elif isinstance(end, AgentError) and not isinstance(end, StoreError | FenceLost):
                ended.append(planned.outcome(action, end))
            else:
                # It stays sent: whoever comes next reads it back. The others have their ends first.
                stopped = end
        self._store_ends(plan_id, ended, now)
        if stopped is not None:
            raise stopped
        return ended

    def _called(
        self, actions: Sequence[Action], context_of: ContextOf, now: datetime
    ) -> dict[int, Written | Exception]:
        """What was written or why not, by the action's number; as many calls at once as are worth it."""
        ends: dict[int, Written | Exception] = {}
        clock, began, cpu = ticking(now), time.monotonic(), time.process_time()

        def call(action: Action) -> None:
            try:
                ends[action.n] = self._call(action, context_of(action), clock())
            except Exception as error:  # noqa: BLE001 - raised once the outcomes of the others are stored
                ends[action.n] = error

        together = [action for action in actions if action.kind in _TOGETHER]
        others = [partial(call, action) for action in actions if action.kind not in _TOGETHER]
        run = partial(side_by_side, self._helpers, self._width.calls)
        run(others)
        changes = [self._change(action, context_of(action), clock()) for action in together]
        written = self._outbox.together(changes, clock(), run)
        ends.update(zip((action.n for action in together), written, strict=True))
        self._width.note(time.monotonic() - began, time.process_time() - cpu, len(actions))
        return ends

    def _call(self, action: Action, context: WriteContext, now: datetime) -> Written:
        if action.kind is ActionKind.CREATE:
            return self._outbox.create(planned.draft(action, None), context, now)
        if action.kind is ActionKind.RENAME_CYCLE:
            return self._ring(action, context, now)
        return self._outbox.change(self._change(action, context, now), now)

    def _change(self, action: Action, context: WriteContext, now: datetime) -> AccountChange:
        account = action.directory_id or ""
        version = self._versions.get(account, action.version)
        return AccountChange(account, planned.becomes(action, context, now), context, version)

    def _store_ends(self, plan_id: int, ended: Sequence[Ended], now: datetime) -> None:
        if ended:
            self._store.write(lambda conn: planned.store_ends(conn, plan_id, ended, now))

    # A ring of renames

    def _ring(self, action: Action, context: WriteContext, now: datetime) -> Written:
        """In the order in which names get free, the first one by way of a temporary name."""
        names = {account: self._name_of(account, version) for account, version, _ in action.cycle}
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
        user = self._outbox.reader.by_id(account, patience=HURRIED)
        if user is None:
            raise NotFound("There is no such user.")
        require_version(user, self._versions.get(account, version))
        return user.user_name

    def _rename(self, account: str, name: str, context: WriteContext, now: datetime) -> Written:
        draft = partial(planned.renamed, name, self._username_is_email)
        written = self._outbox.change(AccountChange(account, rules.wanted_by(draft, context, now), context), now)
        self._versions[account] = written.user.version
        return written


def _waves(actions: Sequence[Action], size: Callable[[], int]) -> Iterator[list[Action]]:
    """In order, at most ``size`` together, asked anew for each; nothing beside what it needs, and no account twice."""
    wave: list[Action] = []
    numbers: set[int] = set()
    people: set[str] = set()
    for action in actions:
        mine = {x for x in (action.directory_id, action.okta_id, *(c[0] for c in action.cycle)) if x}
        if len(wave) >= size() or numbers.intersection(action.needs) or people & mine:
            yield wave
            wave, numbers, people = [], set(), set()
        wave.append(action)
        numbers.add(action.n)
        people |= mine
    if wave:
        yield wave
