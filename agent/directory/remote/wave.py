"""Changes of several accounts side by side: fewer calls and transactions for each than one by one, and the same guard.

read together → judge each → intents → call each → read back together → outcomes. Only what is sure to be as good as by itself
is done so; all else goes through ``Writer.change`` afterwards, and so does whatever meets a difficulty on the way:

====================  =================================================================================================
what                  is done together where
====================  =================================================================================================
a link                a search shows the account with this person's externalId, so that only the store has to note it
an ordinary update    a search shows the account with a version (ETag), and the remote knows PATCH; no list is replaced, no
                      externalId written, and nobody's name, access, role or mark follows from it
neither of them       the agent wrote the account just now, for a search may lag; a call on it is in doubt; somebody else is
                      writing it
====================  =================================================================================================

Each account's turn is kept until its outcome is stored, so no push comes in between. Nothing here waits for a turn, and
nothing keeps them for long: ``Pace.late`` seconds after the first call no further one is begun, and none is tried for more
than ``Pace.brief``.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import Struct

from agent.directory.backend import AccountChange
from agent.directory.port import Written
from agent.directory.remote import change, merge
from agent.directory.remote.call_clock import ticking
from agent.directory.remote.caller import Accepted, Moved
from agent.directory.remote.judge import JudgedWrite
from agent.directory.remote.ledger import Intended
from agent.directory.remote.lookup import Resource
from agent.directory.remote.patience import Lost
from agent.directory.remote.reader import Known
from agent.directory.remote.step import PlannedCall, step_of
from agent.directory.remote.writer import Writer
from agent.model.errors import AnswerLost, DirectoryUnavailable, NotDone, VersionConflict
from agent.model.users import DirectoryUser
from agent.store.engine import crash_point

#: Intents that are stored at once where calls take less than ``_QUICK`` seconds: each is to be as old as its call, or nearly.
_AHEAD = 8
_QUICK = 0.5


class SideBySide:
    """Tasks at the same time, in threads of their own: a push may wait for an account that a wave is at. Close it."""

    def __init__(self, most: int) -> None:
        self._helpers = ThreadPoolExecutor(most, thread_name_prefix="remote-waves")

    def __call__(self, tasks: Sequence[Callable[[], None]], at_once: int) -> None:
        """Up to ``at_once`` at a time, one of them in the caller's own thread. They raise nothing."""
        left = deque(tasks)

        def take() -> None:
            while True:
                try:
                    task = left.popleft()
                except IndexError:
                    return
                task()

        helpers = [self._helpers.submit(take) for _ in range(min(at_once, len(tasks)) - 1)]
        take()
        for helper in helpers:
            helper.result()

    def close(self) -> None:
        self._helpers.shutdown(wait=True)


class _Begun(Struct, kw_only=True):
    """A change whose intent is stored. ``found``: the account as read after the call; None: not yet."""

    n: int
    step: PlannedCall
    intended: Intended
    said: Accepted | None = None
    found: Resource | DirectoryUser | None = None


class Waves:
    """Thread-safe. What doesn't go together goes through ``writer``."""

    def __init__(self, writer: Writer, side_by_side: SideBySide) -> None:
        self.writer = writer
        self.side_by_side = side_by_side

    def change(self, changes: Sequence[AccountChange], now: datetime, at_once: int) -> list[Written | Exception]:
        """Of different accounts; in their order, what was written or why not. ``at_once``: calls at a time."""
        wave = _Wave(changes, now, partial(self.side_by_side, at_once=at_once))
        try:
            with self.writer.locks.of_idle([one.user_id for one in changes]) as mine, ExitStack() as running:
                steps = self._steps(wave, [n for n, one in enumerate(changes) if one.user_id in mine])
                self._without_calls(wave, {n: step for n, step in steps.items() if not step.calls})
                to_call = {n: step for n, step in steps.items() if step.calls}
                begun = self._call(wave, to_call, running, at_once)
                self._read_back(wave, [one for one in begun if wave.goes_on(one.n)])
                crash_point("wave.called")
                self._end(wave, [one for one in begun if wave.goes_on(one.n)])
        except Exception as error:  # noqa: BLE001 - as of each of those that it stopped
            wave.end_all(error)
        wave.each([n for n in range(len(changes)) if n not in wave.results], partial(self._alone, wave))
        return [wave.results[n] for n in range(len(changes))]

    def _alone(self, wave: "_Wave", n: int) -> None:
        wave.results[n] = self.writer.change(wave.changes[n], wave.clock(), lost_race=wave.alone.get(n))

    # Before the calls

    def _steps(self, wave: "_Wave", mine: Sequence[int]) -> dict[int, PlannedCall]:
        """Of those that can be done together, by their number."""
        read = self.writer.reader.batch([wave.changes[n].user_id for n in mine])
        known = self.writer.reader.known_of(list(read))
        steps: dict[int, PlannedCall] = {}
        for n in mine:
            user_id = wave.changes[n].user_id
            if user_id in read:
                with wave.noting(n):
                    step = self._step(wave, n, read[user_id], known[user_id])
                    if step is not None:
                        steps[n] = step
        return steps

    def _step(self, wave: "_Wave", n: int, resource: Resource, known: Known) -> PlannedCall | None:
        lags = known.link is not None and self.writer.reader.recently_written(known.link)
        if known.waiting or lags:
            return None
        try:
            case = self.writer.case(wave.changes[n], resource, known, wave.clock())
        except VersionConflict:
            # Perhaps it is the search that shows something older, or less.
            return None
        step = step_of(case, resource, known)
        return step if _ordinary(step) and (self._callable(step) if step.calls else _confirmed(step)) else None

    def _callable(self, step: PlannedCall) -> bool:
        return (
            self.writer.caller.patches
            and step.resource.etag is not None
            and not step.external_id
            and not change.replaces_lists(step.old, step.new)
        )

    def _without_calls(self, wave: "_Wave", steps: dict[int, PlannedCall]) -> None:
        """What only the store keeps, in one transaction."""
        at = wave.clock()
        kept = {n: self.writer.without_call(step, at) for n, step in steps.items()}
        for n, user in kept.items():
            with wave.noting(n):
                wave.results[n] = Written(user=user.result(), changed=True)

    # The calls

    def _call(self, wave: "_Wave", steps: dict[int, PlannedCall], running: ExitStack, at_once: int) -> list[_Begun]:
        """As many as may still be begun, each at the remote."""
        begun: list[_Begun] = []
        numbers, size = list(steps), at_once
        wave.first_call = time.monotonic()
        while numbers and not self.writer.caller.no_patch and not (begun and wave.late(self.writer.caller.pace.late)):
            if not self.writer.caller.has_patched:
                # Whether it knows PATCH is tried with one.
                size = 1
            some, numbers = numbers[:size], numbers[size:]
            since = time.monotonic()
            now = {one.n: one for one in self._begin(wave, {n: steps[n] for n in some})}
            for one in now.values():
                running.enter_context(self.writer.ledger.running(one.intended.id))
            wave.each(list(now), lambda n, now=now: self._send(wave, now[n]))  # type: ignore[misc]
            begun += now.values()
            size = _AHEAD if time.monotonic() - since < _QUICK else at_once
        return begun

    def _begin(self, wave: "_Wave", steps: dict[int, PlannedCall]) -> list[_Begun]:
        at = wave.clock()
        intents = {n: self.writer.ledger.begin(step.case, at, external_id=False) for n, step in steps.items()}
        begun: list[_Begun] = []
        for n, intended in intents.items():
            with wave.noting(n):
                begun.append(_Begun(n=n, step=steps[n], intended=intended.result()))
        return begun

    def _send(self, wave: "_Wave", one: _Begun) -> None:
        step, context = one.step, one.step.case.context
        if wave.late(self.writer.caller.pace.late):
            # Another process must not find this intent too old while its call still waits here.
            self.writer.ledger.undone(one.intended, "It was not sent yet.", wave.clock(), refused=False)
            wave.alone[one.n] = None
            return

        def send() -> Resource | Accepted:
            return self.writer.caller.send(
                step.resource,
                step.old,
                step.new,
                patience=self.writer.caller.pace.brief,
                last_look=lambda: self.writer.ledger.last_look(one.intended.id, context.fence),
            )

        try:
            said = self.writer.outcome(one.intended, send, step.case, wave.clock())
        except AnswerLost:
            raise
        except Moved:
            wave.alone[one.n] = step.case
            if not self.writer.caller.no_patch:
                # A race, or its searches show versions that its writes don't know.
                self.writer.reader.batch.rest("a version that a search showed was refused")
        except DirectoryUnavailable as error:
            if isinstance(error, NotDone) and not _busy(error):
                raise
            # It was not done; by itself it may take its time.
            wave.alone[one.n] = None
        else:
            if isinstance(said, Accepted):
                one.said = said
            else:
                one.found = said

    # After them

    def _read_back(self, wave: "_Wave", sent: Sequence[_Begun]) -> None:
        unseen = {one.n: one for one in sent if one.found is None}
        shown = self.writer.reader.batch([one.step.before.id for one in unseen.values()])
        for one in unseen.values():
            found = shown.get(one.step.before.id)
            if found is not None and self._proves(one, found):
                one.found = found
        wave.each([n for n, one in unseen.items() if one.found is None], lambda n: self._confirm(wave, unseen[n]))
        for one in sent:
            if one.found is not None:
                crash_point("call.read")

    def _proves(self, one: _Begun, found: Resource) -> bool:
        """The search shows the version that the PATCH made, and the account exactly as it was wanted."""
        made = None if one.said is None else one.said.etag
        if made is None or made in (one.step.resource.etag, "") or found.etag != made:
            return False
        return self._joined(one, found).version == merge.version(one.step.after)

    def _confirm(self, wave: "_Wave", one: _Begun) -> None:
        def confirm() -> Resource:
            return self.writer.caller.confirm(one.step.before.id, one.step.old, one.step.new, essential=False)

        one.found = self.writer.outcome(one.intended, confirm, one.step.case, wave.clock())

    def _end(self, wave: "_Wave", begun: Sequence[_Begun]) -> None:
        at = wave.clock()
        endings: dict[int, Future[DirectoryUser]] = {}
        for one in begun:
            if one.found is not None:
                user = self._joined(one, one.found) if isinstance(one.found, Resource) else one.found
                endings[one.n] = self.writer.ledger.done(one.intended, user, at)
        for n, ending in endings.items():
            with wave.noting(n):
                wave.results[n] = Written(user=ending.result(), changed=True)

    def _joined(self, one: _Begun, found: Resource) -> DirectoryUser:
        return self.writer.reader.join_as(found.account, one.step.after, one.step.known.owner_keys)


class _Wave:
    """One wave as it goes on. ``results`` holds what has ended; ``alone`` what is left, with the race that it lost, if any."""

    def __init__(
        self,
        changes: Sequence[AccountChange],
        now: datetime,
        side_by_side: Callable[[Sequence[Callable[[], None]]], None],
    ) -> None:
        self.changes = changes
        self.clock = ticking(now)
        self.results: dict[int, Written | Exception] = {}
        self.alone: dict[int, JudgedWrite | None] = {}
        self._side_by_side = side_by_side
        self.first_call = math.inf

    def late(self, seconds: float) -> bool:
        return time.monotonic() - self.first_call > seconds

    def goes_on(self, n: int) -> bool:
        return n not in self.results and n not in self.alone

    def end_all(self, error: Exception) -> None:
        """That have no end yet."""
        for n in range(len(self.changes)):
            self.results.setdefault(n, error)

    @contextmanager
    def noting(self, n: int) -> Iterator[None]:
        """What is raised inside is the end of this change, and of no other one."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - its caller's to judge
            self.results[n] = error

    def each(self, numbers: Sequence[int], task: Callable[[int], Any]) -> None:
        """The task for each of these, side by side."""

        def run(n: int) -> None:
            with self.noting(n):
                task(n)

        self._side_by_side([partial(run, n) for n in numbers])


def _ordinary(step: PlannedCall) -> bool:
    """There is something to do, and neither limits nor owners follow it, and nobody else may want the name."""
    names = ("user_name_key", "active", "protected", "suspended", "hidden", "role")
    return step.before != step.after and all(getattr(step.before, name) == getattr(step.after, name) for name in names)


def _busy(error: NotDone) -> bool:
    """Not done because the remote asked for time (503); anything else was sent once more already."""
    return isinstance(error.__cause__, Lost) and error.__cause__.busy


def _confirmed(step: PlannedCall) -> bool:
    """The remote itself says whose account it is."""
    return step.resource.account.okta_id is not None and step.resource.account.okta_id == step.after.okta_id
