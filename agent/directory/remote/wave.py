"""Changes of several accounts side by side: fewer calls and transactions for each than one by one, and the same guard.

read together → judge each → intents → call each → read back together → outcomes. Whatever is more than an ordinary change (who
is active, a name, a role, a mark), loses a race, or is being written by somebody else, goes through ``Writer.change`` afterwards.
Each account's turn is kept until its outcome is stored, so no push comes in between; nothing here waits for a turn.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from msgspec import Struct

from agent.directory.port import WriteContext, Written
from agent.directory.remote import change
from agent.directory.remote.caller import Caller, Moved
from agent.directory.remote.judge import Case
from agent.directory.remote.ledger import Intended, Ledger
from agent.directory.remote.lookup import Resource
from agent.directory.remote.reading import Known, Reader
from agent.directory.remote.step import Step, step_of
from agent.directory.remote.turns import Turns
from agent.directory.remote.writer import Wanted, Writer, patience_of
from agent.model.crash_points import crash_point
from agent.model.errors import NotFound
from agent.model.ticking import ticking
from agent.model.users import DirectoryUser

#: Carries tasks out, several at a time, and comes back when all have ended. They raise nothing.
SideBySide = Callable[[Sequence[Callable[[], None]]], None]


class Wish(NamedTuple):
    """One change of a wave; as for ``Writer.change``."""

    user_id: str
    wanted: Wanted
    context: WriteContext
    expected_version: int | None


class _Begun(Struct, kw_only=True):
    """A change whose intent is stored. ``found``: the account as read after the call; None: not yet."""

    n: int
    step: Step
    intended: Intended
    found: Resource | DirectoryUser | None = None


class Waves:
    """Thread-safe."""

    def __init__(self, reader: Reader, caller: Caller, ledger: Ledger, writer: Writer, turns: Turns) -> None:
        self._reader = reader
        self._caller = caller
        self._ledger = ledger
        self._writer = writer
        self._turns = turns

    def change(
        self, wishes: Sequence[Wish], now: datetime, side_by_side: SideBySide
    ) -> list[Written | Exception]:
        """Of different accounts; in their order, what was written or why not."""
        wave = _Wave(wishes, now, side_by_side)
        try:
            with self._turns.of_idle([wish.user_id for wish in wishes]) as mine:
                self._together(wave, [n for n, wish in enumerate(wishes) if wish.user_id in mine])
        except Exception as error:  # noqa: BLE001 - as of each of those that it stopped
            wave.ends_for_all(error)
        alone = [n for n in range(len(wishes)) if n not in wave.results]
        wave.each(alone, lambda n: self._alone(wave, n))
        return [wave.results[n] for n in range(len(wishes))]

    def _alone(self, wave: "_Wave", n: int) -> None:
        wish = wave.wishes[n]
        wave.results[n] = self._writer.change(
            wish.user_id, wish.wanted, wish.context, wave.clock(), expected_version=wish.expected_version,
            lost_race=wave.lost_races.get(n),
        )  # fmt: skip

    def _together(self, wave: "_Wave", mine: Sequence[int]) -> None:
        resources = self._read(wave, mine)
        known = self._reader.known_of([resource.account.id for resource in resources.values()])
        steps: dict[int, Step] = {}
        for n, resource in resources.items():
            with wave.noting(n):
                step = self._step(wave, n, resource, known[resource.account.id])
                if step is not None:
                    steps[n] = step
        begun = self._begin(wave, steps)
        with ExitStack() as running:
            for one in begun:
                running.enter_context(self._ledger.running(one.intended.id))
            self._call(wave, begun)
            crash_point("wave.called")
            self._end(wave, begun)

    def _read(self, wave: "_Wave", mine: Sequence[int]) -> dict[int, Resource]:
        """By the wish's number; all but those that can't be read."""
        found: dict[int, Resource] = {}
        if self._caller.patches:
            read = self._reader.batch.for_writing([wave.wishes[n].user_id for n in mine])
            found = {n: read[wave.wishes[n].user_id] for n in mine if wave.wishes[n].user_id in read}

        def read_one(n: int) -> None:
            wish = wave.wishes[n]
            resource = self._reader.resource(wish.user_id, patience=patience_of(wish.context))
            if resource is None:
                raise NotFound("There is no such user.")
            found[n] = resource

        wave.each([n for n in mine if n not in found], read_one)
        return found

    def _step(self, wave: "_Wave", n: int, resource: Resource, known: Known) -> Step | None:
        """None where it is to be done by itself, or nothing is left to do."""
        wish = wave.wishes[n]
        lags = known.link is not None and not resource.whole and self._reader.recently_written(known.link)
        if known.waiting or lags:
            return None
        case = self._writer.case(
            resource, known, wish.wanted, wish.context, wave.clock(), expected_version=wish.expected_version
        )
        step = step_of(case, resource, known)
        if step.before == step.after:
            self._ledger.unchanged(step.before, case.context)
            wave.results[n] = Written(user=step.before, changed=False)
            return None
        whole = resource.whole or not change.replaces_lists(step.old, step.new)
        return step if whole and _ordinary(step) else None

    def _begin(self, wave: "_Wave", steps: dict[int, Step]) -> list[_Begun]:
        """Stores what only the store keeps, and the intents of the others."""
        at = wave.clock()
        kept = {n: self._writer.kept(step, at) for n, step in steps.items() if not step.calls}
        intents = {
            n: self._ledger.begin(step.case, at, external_id=step.external_id)
            for n, step in steps.items()
            if step.calls
        }
        for n, user in kept.items():
            with wave.noting(n):
                wave.results[n] = Written(user=user.result(), changed=True)
        begun: list[_Begun] = []
        for n, intended in intents.items():
            with wave.noting(n):
                begun.append(_Begun(n=n, step=steps[n], intended=intended.result()))
        return begun

    def _call(self, wave: "_Wave", begun: Sequence[_Begun]) -> None:
        """Each at the remote, and read back; what failed is in the results, what lost a race in neither."""
        at = {one.n: one for one in begun}
        wave.each(list(at), lambda n: self._send(wave, at[n]))
        sent = {one.n: one for one in begun if wave.goes_on(one.n)}
        unseen = [one for one in sent.values() if one.found is None]
        shown = self._reader.batch([one.step.resource.account.id for one in unseen])
        for one in unseen:
            found = shown.get(one.step.resource.account.id)
            if found is not None and self._caller.is_done(one.step.old, one.step.new, found):
                one.found = found
        wave.each([one.n for one in unseen if one.found is None], lambda n: self._confirm(wave, sent[n]))
        for one in begun:
            if one.found is not None:
                crash_point("call.read")

    def _send(self, wave: "_Wave", one: _Begun) -> None:
        step, context = one.step, one.step.case.context

        def send() -> Resource | None:
            return self._caller.send(
                step.resource, step.old, step.new, patience=patience_of(context),
                last_look=lambda: self._ledger.last_look(one.intended.id, context.fence),
            )  # fmt: skip

        try:
            one.found = self._writer.outcome(one.intended, send, step.case, wave.clock())
        except Moved:
            wave.lost_races[one.n] = step.case
            if not step.resource.whole and self._caller.patches:
                # A race, or its searches show versions that its writes don't know.
                self._reader.batch.rest("a version that a search showed was refused")

    def _confirm(self, wave: "_Wave", one: _Begun) -> None:
        def confirm() -> Resource:
            user_id = one.step.resource.account.id
            return self._caller.confirm(user_id, one.step.old, one.step.new, essential=False)

        one.found = self._writer.outcome(one.intended, confirm, one.step.case, wave.clock())

    def _end(self, wave: "_Wave", begun: Sequence[_Begun]) -> None:
        at = wave.clock()
        endings: dict[int, Future[DirectoryUser]] = {}
        for one in begun:
            user = one.found
            if isinstance(user, Resource):
                user = self._reader.join_as(user.account, one.step.after, one.step.known.owner_keys)
            if user is not None:
                endings[one.n] = self._ledger.done(one.intended, user, at)
        for n, ending in endings.items():
            with wave.noting(n):
                wave.results[n] = Written(user=ending.result(), changed=True)


class _Wave:
    """One wave as it goes on. ``results`` holds what has ended, by the wish's number."""

    def __init__(self, wishes: Sequence[Wish], now: datetime, side_by_side: SideBySide) -> None:
        self.wishes = wishes
        self.clock = ticking(now)
        self.results: dict[int, Written | Exception] = {}
        self.lost_races: dict[int, Case] = {}
        self._side_by_side = side_by_side

    def goes_on(self, n: int) -> bool:
        return n not in self.results and n not in self.lost_races

    def ends_for_all(self, error: Exception) -> None:
        """For all that have no end yet."""
        for n in range(len(self.wishes)):
            self.results.setdefault(n, error)

    def noting(self, n: int) -> "_Noting":
        """What is raised inside is the end of this wish, and of no other one."""
        return _Noting(self.results, n)

    def each(self, numbers: Sequence[int], task: Callable[[int], Any]) -> None:
        """The task for each of these wishes, side by side."""

        def run(n: int) -> None:
            with self.noting(n):
                task(n)

        self._side_by_side([partial(run, n) for n in numbers])


class _Noting:
    def __init__(self, results: dict[int, Written | Exception], n: int) -> None:
        self._results = results
        self._n = n

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, Exception):
            self._results[self._n] = error
            return True
        return False


def _ordinary(step: Step) -> bool:
    """Neither the limits nor the owners follow it, and nobody else may want its name."""
    names = ("user_name_key", "active", "protected", "suspended", "hidden", "role")
    return all(getattr(step.before, name) == getattr(step.after, name) for name in names)
