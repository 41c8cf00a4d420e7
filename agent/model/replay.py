"""What the guard judged, as it is kept, and the same history judged by other limits. No IO, no clock.

What is kept of a run's judgement is what limits look at: deactivations, new access, identities, roles and links. What no limit
decides – a person's no, a failure, somebody's decision that is missing – is kept as it was said, and stays so in a replay.

A replay goes through the history in order. Whom the other limits hold waits, and is in every later sweep's plan until they let
the change through or it is wanted no more; whom they let through earlier fills the windows then, and is not done again. With
the limits that held then, it holds exactly what was held. It doesn't know what people would have decided of what was never held.
"""

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import ActionKind, HeldCode
from agent.model.guard import Counted, Facts, Grant, GuardLimits, approved, exempt, is_of_limits, judge, rolling_hold
from agent.model.holds import WAITS_FOR_A_PERSON, ChangeKind, Hold, key_of, wish_of
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action, Change, Plan

_DAY, _HOUR = timedelta(hours=24), timedelta(minutes=60)
_LOOKED_AT = ("active", "userName", EMAIL_PATH, "role")
#: Said by people, or by what failed; no limit changes them.
_FIXED = frozenset({HeldCode.REJECTED, HeldCode.BLOCKED, HeldCode.UNDONE, HeldCode.FAILING, HeldCode.FAILED_ACTIONS})
#: What is kept of an action under its own name.
_OF_ACTION = ("n", "kind", "login", "directory_id", "okta_id", "cycle", "group", "needs")
Key = tuple[str, ChangeKind]


class JudgedAction(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One action as the guard saw it, and what it said."""

    n: int
    kind: ActionKind
    login: str
    directory_id: str | None = None
    okta_id: str | None = None
    changes: dict[str, Change] = {}
    cycle: tuple[tuple[str, int, str], ...] = ()
    group: str | None = None
    needs: tuple[int, ...] = ()
    proven: bool = False
    #: An active owner's.
    owner: bool = False
    #: Held already for something that no limit decides.
    fixed: HeldCode | None = None
    #: A person let it go.
    approved: bool = False
    #: It waited already for a person.
    waited: HeldCode | None = None
    held: HeldCode | None = None


class JudgedRun(Counted, frozen=True, kw_only=True, omit_defaults=True):
    """The facts of one judgement, and what was held of the whole. ``actions`` None: too many to keep, of a first run."""

    population: int
    source_size: int
    distrust: bool = False
    announced_for: tuple[str, ...] = ()
    lifted: tuple[HeldCode, ...] = ()
    count: int | None = None
    held: HeldCode | None = None
    actions: tuple[JudgedAction, ...] | None = None


class JudgedPush(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pushed deactivation that met the limits of 60 minutes and 24 hours. ``exempt``: approved or announced."""

    directory_id: str
    login: str
    population: int = 0
    hour: int = 0
    day: int = 0
    exempt: bool = False
    held: HeldCode | None = None


class Judgement(NamedTuple):
    """``what`` None: a good sweep in which there was nothing to limit."""

    at: datetime
    run_id: int | None
    what: JudgedRun | JudgedPush | None


class ChangeEnded(NamedTuple):
    """From then on nobody wants this change of this account any more, or somebody made it by hand."""

    at: datetime
    directory_id: str
    kind: ChangeKind


# What is kept


def judged_run(before: Plan, after: Plan, facts: Facts, grant: Grant) -> JudgedRun:
    """``before`` the judgement, and ``after``."""
    kept = _of_limits(before.actions)
    said = {action.n: action.held for action in after.actions}
    return JudgedRun(
        **_values(facts, Counted.__struct_fields__),
        population=before.population,
        source_size=before.source_size,
        distrust=bool(facts.distrust),
        announced_for=tuple(sorted({a.directory_id for a in kept if a.directory_id in facts.announced_for} - {None})),
        lifted=tuple(sorted(grant.lifted)),
        count=grant.count,
        held=after.held,
        # Of a first run no limit decides anything.
        actions=tuple(_kept(action, said[action.n], facts, grant) for action in kept) if facts.pinned else None,
    )


def _of_limits(actions: Iterable[Action]) -> list[Action]:
    """Those that a limit looks at, links, and what these need."""
    everything = {action.n: action for action in actions}
    wanted = [n for n, action in everything.items() if is_of_limits(action)]
    found = set(wanted)
    while wanted:
        more = [n for one in wanted for n in everything[one].needs if n in everything and n not in found]
        found.update(more)
        wanted = more
    return [action for n, action in everything.items() if n in found]


def _kept(action: Action, held: HeldCode | None, facts: Facts, grant: Grant) -> JudgedAction:
    hold = facts.hold_of(action)
    waited = hold is not None and hold.waits(facts.now) and hold.code in WAITS_FOR_A_PERSON
    let_go = approved(action, grant, facts)
    own = None if action.identity in grant.named else action.held
    return JudgedAction(
        **_values(action, _OF_ACTION),
        changes={path: change for path, change in action.changes.items() if path in _LOOKED_AT},
        proven=action.proof is not None,
        owner=action.directory_id in facts.owners,
        fixed=held if held in _FIXED else own,
        approved=let_go,
        waited=hold.code if waited and hold is not None else None,
        held=held,
    )


# The replay


class Wait(Struct, kw_only=True):
    """Somebody whose change was held: since when, until when (None: still), and whether it was done or wanted no more."""

    login: str
    kind: ChangeKind
    code: HeldCode
    since: datetime
    until: datetime | None = None
    done: bool = False


class Held(NamedTuple):
    """What a judgement held: code → how many people; a run that is held as a whole has its own code alone."""

    at: datetime
    run_id: int | None
    then: Counter[HeldCode]
    now: Counter[HeldCode]


class Replayed(NamedTuple):
    judgements: list[Held]
    #: Whoever waited, as it was and by the other limits.
    then: list[Wait]
    now: list[Wait]


class _Side:
    """One of the two histories: who waits in it, who was let through, and which deactivations fill its windows."""

    def __init__(self) -> None:
        self.waits: list[Wait] = []
        self.open: dict[Key, Wait] = {}
        self.actions: dict[Key, JudgedAction] = {}
        #: In order of time: deactivations that fill the windows, and all of them.
        self.counted: list[datetime] = []
        self.deactivated: list[datetime] = []

    def hold(self, key: Key, action: JudgedAction, code: HeldCode, at: datetime) -> None:
        found = self.open.get(key)
        if found is None:
            found = self.open[key] = Wait(login=action.login, kind=key[1], code=code, since=at)
            self.waits.append(found)
        found.code = code
        self.actions[key] = action

    def end(self, key: Key, at: datetime, *, done: bool) -> None:
        found = self.open.pop(key, None)
        if found is not None:
            found.until, found.done = at, done

    def fill(self, at: datetime, *, counted: bool) -> None:
        insort(self.deactivated, at)
        if counted:
            insort(self.counted, at)

    def within(self, at: datetime, window: timedelta) -> int:
        return bisect_right(self.counted, at) - bisect_right(self.counted, at - window)

    def gone_before(self, at: datetime) -> int:
        return bisect_right(self.deactivated, at - _DAY)


def replay(history: Iterable[Judgement | ChangeEnded], limits: GuardLimits) -> Replayed:
    """``history`` in order of time."""
    return _Replay(limits).through(history)


class _Replay:
    def __init__(self, limits: GuardLimits) -> None:
        self.limits = limits
        self.then, self.now = _Side(), _Side()
        #: Done by the other limits before it was in truth.
        self.ahead: set[Key] = set()
        #: Done in truth, and held by the other limits.
        self.behind: set[Key] = set()
        self.held: list[Held] = []
        self._last: JudgedRun | None = None

    def through(self, history: Iterable[Judgement | ChangeEnded]) -> Replayed:
        for one in history:
            if isinstance(one, ChangeEnded):
                self._ended(one)
            elif isinstance(one.what, JudgedPush):
                self._push(one.at, one.what)
            elif one.what is not None:
                self._last = one.what
                self._run(one.at, one.run_id, one.what)
            elif self._last is not None and self.behind:
                self._run(one.at, one.run_id, self._nothing_new(one.at, self._last))
        return Replayed(self.held, self.then.waits, self.now.waits)

    def _ended(self, one: ChangeEnded) -> None:
        key = one.directory_id, one.kind
        for side in (self.then, self.now):
            side.end(key, one.at, done=False)
        self.ahead.discard(key)
        self.behind.discard(key)

    def _push(self, at: datetime, push: JudgedPush) -> None:
        key = push.directory_id, ChangeKind.DEACTIVATE
        action = JudgedAction(
            n=0,
            kind=ActionKind.DEACTIVATE,
            login=push.login,
            directory_id=push.directory_id,
            changes={"active": Change(before=True, after=False)},
            proven=True,
        )
        held: HeldCode | None = None
        if key not in self.ahead and not push.exempt:
            day, hour, people = self._shifted(at, push.day, push.hour, push.population)
            held = rolling_hold(people, hour, day, self.limits, pushed=True)
        self._decided(at, key, action, push.held, held, counted=not push.exempt)
        self._note(at, None, [push.held], [held])

    def _run(self, at: datetime, run_id: int | None, run: JudgedRun) -> None:
        if run.actions is None:
            self._note(at, run_id, [run.held], [run.held])
            return
        keys = {action.n: key_of(_action(action)) for action in run.actions}
        asked = [action for action in run.actions if keys[action.n] not in self.ahead]
        carried = self._carried(run, keys)
        plan, facts, grant = self._as_judged(at, run, [*asked, *carried.values()])
        judged = judge(plan, self.limits, facts, grant)
        inside = {action.n: action for action in judged.actions}
        now = {n: judged.held or action.held for n, action in inside.items()}

        def counts(n: int) -> bool:
            return n not in inside or not exempt(inside[n], grant, facts)

        for one in run.actions:
            self._decided(at, keys[one.n], one, run.held or one.held, now.get(one.n), counted=counts(one.n))
        for key, one in carried.items():
            held = now[one.n]
            if held is None:
                self._caught_up(at, key, counted=counts(one.n))
            else:
                self.now.hold(key, one, held, at)
        self._note(
            at,
            run_id,
            [run.held] if run.held else [a.held for a in run.actions],
            [judged.held] if judged.held else [a.held for a in judged.actions],
        )

    def _nothing_new(self, at: datetime, last: JudgedRun) -> JudgedRun:
        """A sweep that only those are part of whom the other limits hold; its facts are the last ones that were kept."""
        return JudgedRun(
            sweep=True,
            pinned=True,
            population=last.population,
            source_size=last.source_size,
            managed_active=last.managed_active,
            active_owners=last.active_owners,
            day=self.then.within(at, _DAY),
            hour=self.then.within(at, _HOUR),
            actions=(),
        )

    def _carried(self, run: JudgedRun, known: Mapping[int, Key]) -> dict[Key, JudgedAction]:
        """Of whom the other limits hold what was long done in truth, in a sweep of which they are no part any more."""
        if not run.sweep:
            return {}
        left = sorted(self.behind.difference(known.values()))
        anew = {"needs": (), "fixed": None, "approved": False, "held": None}
        begin = max(known, default=0) + 1
        return {key: replace(self.now.actions[key], n=n, **anew) for n, key in enumerate(left, begin)}

    def _as_judged(self, at: datetime, run: JudgedRun, asked: list[JudgedAction]) -> tuple[Plan, Facts, Grant]:
        day, hour, people = self._shifted(at, run.day, run.hour, run.population)
        actions = tuple(_action(one) for one in asked)
        grant = Grant(
            lifted=frozenset(run.lifted),
            count=run.count,
            approved=frozenset(action.identity for action, one in zip(actions, asked, strict=True) if one.approved),
        )
        holds = {}
        for action, one in zip(actions, asked, strict=True):
            key = key_of(action)
            waits = self.now.open.get(key)
            # The register knows best of whom both histories say the same.
            code = waits.code if waits is not None and key not in self.then.open else one.waited
            if code in WAITS_FOR_A_PERSON and code is not None and not one.approved:
                holds[key] = _hold(action, code, waits.since if waits else at)
        facts = Facts(
            **_values(run, Counted.__struct_fields__) | {"day": day, "hour": hour},
            distrust="distrust" if run.distrust else "",
            holds=holds,
            now=at,
            owners=frozenset(one.directory_id for one in asked if one.owner and one.directory_id),
            announced_for=frozenset(run.announced_for),
        )
        plan = Plan(actions=actions, population=people, source_size=run.source_size, created=at)
        return plan, facts, grant

    def _shifted(self, at: datetime, day: int, hour: int, people: int) -> tuple[int, int, int]:
        """The windows and the population as the other limits have made them."""
        return (
            day + self.now.within(at, _DAY) - self.then.within(at, _DAY),
            hour + self.now.within(at, _HOUR) - self.then.within(at, _HOUR),
            people - self.now.gone_before(at) + self.then.gone_before(at),
        )

    def _decided(
        self,
        at: datetime,
        key: Key,
        action: JudgedAction,
        then: HeldCode | None,
        now: HeldCode | None,
        *,
        counted: bool,
    ) -> None:
        """One change of one person, in truth and by the other limits."""
        ends = key[1] is ChangeKind.DEACTIVATE
        if then is None:
            self.then.end(key, at, done=True)
            if ends:
                self.then.fill(at, counted=counted)
        else:
            self.then.hold(key, action, then, at)
        if key in self.ahead:
            if then is None:
                self.ahead.discard(key)
            return
        if now is None:
            self.now.end(key, at, done=True)
            if ends:
                self.now.fill(at, counted=counted)
            if then is not None:
                self.ahead.add(key)
            self.behind.discard(key)
        else:
            self.now.hold(key, action, now, at)
            if then is None:
                self.behind.add(key)

    def _caught_up(self, at: datetime, key: Key, *, counted: bool) -> None:
        """Long done in truth, and let through by the other limits now."""
        self.now.end(key, at, done=True)
        self.behind.discard(key)
        if key[1] is ChangeKind.DEACTIVATE:
            self.now.fill(at, counted=counted)

    def _note(
        self, at: datetime, run_id: int | None, then: Iterable[HeldCode | None], now: Iterable[HeldCode | None]
    ) -> None:
        self.held.append(Held(at, run_id, Counter(filter(None, then)), Counter(filter(None, now))))


def _action(one: JudgedAction) -> Action:
    proof = "proven then" if one.proven else None
    return Action(**_values(one, _OF_ACTION), changes=one.changes, proof=proof, held=one.fixed)


def _values(one: Facts | JudgedRun | Action | JudgedAction, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names}


def _hold(action: Action, code: HeldCode, since: datetime) -> Hold:
    return Hold(
        id=0,
        directory_id=action.directory_id,
        okta_id=action.okta_id,
        login=action.login,
        kind=key_of(action)[1],
        code=code,
        detail="",
        wish=wish_of(action),
        since=since,
        opened_by="replay",
        last_found=since,
    )
