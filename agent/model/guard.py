"""Hold a plan that would change too much. No IO, no clock: a plan, the limits and the facts in; the plan with its holds out.

Strictly more than a limit trips. In this order; a run that is held does nothing at all, a class that is held lets the
others go on:

=====================  ===========================================================  =====================
held                   when                                                         what
=====================  ===========================================================  =====================
distrust               the database is a restored copy                              the run
absence_disproved      over 10 % and at least 5 of the absences asked were wrong    the run; no override
first_run              nothing is pinned yet and there is something to do           the run
empty_source           Okta listed nobody while somebody is managed                 the run
source_drop            over 20 % and over 5 fewer people than the last good sweep   the run
count_exceeded         more would be done than the typed count                      the run
rejected, blocked      a person said no (agent.model.holds)                         the action
failing                this kind of change failed lately for this person            the action
failed_actions         a run stopped because too many of this kind failed           that kind, for an hour
what waits already     a single look is no word of Okta's, nor a person's           the action
push_burst             its push got 429 and the window is still full                the action
last_owner             no active owner would be left                                the action
first_roles            no person has seen yet whom the groups make owner            the roles
deactivations_per_run  run_limit                                                    the deactivations
deactivations_24h      window_limit                                                 the deactivations
identity_changes       over max(3, 2 %)                                             those
creates_per_run        over max(20, 20 %)                                           those
promotions_per_run     over 5, with those of the last 60 min                        those
demotions_per_run      the same                                                     those
=====================  ===========================================================  =====================

Whatever needs a held action is held with it.

Population = managed active accounts + managed ones deactivated within 24 hours, so that the denominator doesn't shrink
with the fault. The numbers are settings; the defaults come from what directory tools ship (docs/guard.md).
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from math import ceil
from operator import attrgetter
from typing import Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import ActionKind, HeldCode
from agent.model.holds import (
    ONE_BY_ONE,
    WAITS_FOR_A_PERSON,
    ChangeKind,
    Decision,
    Hold,
    broad_kind,
    kind_of,
    subject_of,
    way_out,
    wish_of,
)
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action, Plan
from agent.model.times import when

ActionIdentity = bytes

#: Runs that an approval lifts; the first two need the typed count.
APPROVABLE_RUNS = frozenset({HeldCode.FIRST_RUN, HeldCode.EMPTY_SOURCE, HeldCode.SOURCE_DROP, HeldCode.COUNT_EXCEEDED})
NEED_COUNT = frozenset({HeldCode.FIRST_RUN, HeldCode.EMPTY_SOURCE})
#: What a typed count bounds.
BOUNDED = frozenset({ActionKind.LINK, ActionKind.CREATE, ActionKind.REACTIVATE, ActionKind.DEACTIVATE})
#: Below this population a percentage says little: one person is 10 % of ten.
_SMALL = 20
_SMALL_RUN = 3


class GuardLimits(Protocol):
    """The guard settings (agent.settings.GuardSettings fulfils it)."""

    identity_percent: float
    identity_floor: int
    creates_percent: float
    creates_floor: int
    promotions_cap: int
    demotions_cap: int
    source_drop_percent: float
    source_drop_floor: int
    disproved_percent: float
    disproved_floor: int
    push_mode: Literal["hold", "alarm"]
    deactivations_percent: float
    deactivations_floor: int
    deactivations_cap: int
    window_percent: float
    window_floor: int
    window_cap: int
    push_percent: float
    push_floor: int
    push_cap: int


class Counted(Struct, frozen=True, kw_only=True):
    """Facts that are kept with a judgement as they are."""

    #: False: a single reconcile.
    sweep: bool
    pinned: bool
    managed_active: int = 0
    active_owners: int = 0
    #: Deactivations that count, in 24 h and in 60 min.
    day: int = 0
    hour: int = 0
    last_good_people: int | None = None
    asked: int = 0
    disproved: int = 0
    #: What guard allow announced for anybody.
    announced: int = 0
    #: A person has let these groups give roles; and how many became owners and members by groups within 60 min.
    roles_seen: bool = True
    promoted: int = 0
    demoted: int = 0


class Facts(Counted, frozen=True, kw_only=True):
    """What the store knows when the plan is judged."""

    distrust: str = ""
    #: Kinds (agent.model.holds.broad_kind) of which too many failed, and why, while their hour lasts.
    quarantine: dict[ChangeKind, str] = {}
    #: The register's open holds, as agent.model.holds.key_of names them, and when they were read.
    holds: dict[tuple[str, ChangeKind], Hold] = {}
    now: datetime
    #: Active owners among the plan's accounts.
    owners: frozenset[str] = frozenset()
    #: What guard allow announced for single accounts.
    announced_for: frozenset[str] = frozenset()
    #: Whose last change of such a kind failed: agent.model.plan.Action.person and kind → until when and why it waits.
    failing: dict[tuple[str, ChangeKind], str] = {}

    def hold_of(self, action: Action) -> Hold | None:
        """What the register has of this person and this kind of change, from before they had an account too."""
        if not self.holds:
            return None
        subjects = [action.directory_id, subject_of(None, action.okta_id, ""), subject_of(None, None, action.login)]
        kind = kind_of(action)
        return next((found for who in subjects if who and (found := self.holds.get((who, kind)))), None)


class Grant(Struct, frozen=True, kw_only=True):
    """What a person has typed or approved for this one run."""

    lifted: frozenset[HeldCode] = frozenset()
    #: Bounds links, creates, reactivations and deactivations together.
    count: int | None = None
    approved: frozenset[ActionIdentity] = frozenset()
    #: Named one by one; lifts ONE_BY_ONE too.
    named: frozenset[ActionIdentity] = frozenset()
    #: Leavers' accounts whose userName is somebody else's now, as a person has said: that one gets an account of their own.
    new_accounts: frozenset[str] = frozenset()


NO_GRANT = Grant()
_DEACTIVATION_LIMITS = frozenset({HeldCode.DEACTIVATIONS_PER_RUN, HeldCode.DEACTIVATIONS_24H})


def typed(*, first_run: int | None = None, allow_empty: int | None = None) -> Grant:
    """What ``--first-run N`` and ``--allow-empty N`` lift."""
    counts = [n for n in (first_run, allow_empty) if n is not None]
    lifted: set[HeldCode] = set()
    if first_run is not None:
        lifted |= {HeldCode.FIRST_RUN, HeldCode.CREATES_PER_RUN, *_DEACTIVATION_LIMITS}
    if allow_empty is not None:
        lifted |= {HeldCode.EMPTY_SOURCE, HeldCode.SOURCE_DROP, *_DEACTIVATION_LIMITS}
    return Grant(lifted=frozenset(lifted), count=min(counts) if counts else None)


def judge(plan: Plan, limits: GuardLimits, facts: Facts, grant: Grant = NO_GRANT) -> Plan:
    """The same plan with everything marked that may not be done."""
    lifted = grant.lifted | _lifted_with_the_run(plan, limits, facts)
    actions = _singles(_unhold(plan.actions, grant), limits, facts, plan, grant)
    actions = _classes(actions, limits, facts, plan, replace(grant, lifted=lifted))
    judged = replace(plan, actions=_needs(actions))
    held = run_hold(judged, limits, facts, grant)
    if held:
        return replace(judged, held=held[0], held_detail=held[1])
    return replace(judged, actions=tuple(_proven(action) for action in judged.actions))


def _proven(action: Action) -> Action:
    """Nobody loses access unproven, whatever the limits say."""
    if action.held is not None or not ends_access(action) or action.proof is not None:
        return action
    detail = "Okta was not asked whether this person is gone"
    return replace(action, held=HeldCode.ABSENCE_NOT_PROVABLE, held_detail=detail)


def _lifted_with_the_run(plan: Plan, limits: GuardLimits, facts: Facts) -> frozenset[HeldCode]:
    """The run is held, and whoever lets it go lifts these limits too: show what would be done then."""
    if facts.sweep and not facts.pinned:
        return typed(first_run=0).lifted
    if source_hold(plan.source_size, limits, facts)[0] is HeldCode.EMPTY_SOURCE:
        return _DEACTIVATION_LIMITS
    return frozenset()


def exempt(action: Action, grant: Grant, facts: Facts) -> bool:
    """Approved or announced: it doesn't fill the windows and they don't stop it."""
    return bool(grant.lifted & _DEACTIVATION_LIMITS) or approved(action, grant, facts)


def approved(action: Action, grant: Grant, facts: Facts) -> bool:
    """A person let this very change go: in this call, or in the register."""
    if grant.approved and action.identity in grant.approved:
        return True
    hold = facts.hold_of(action)
    return hold is not None and hold.lets(wish_of(action), facts.now)


def run_hold(plan: Plan, limits: GuardLimits, facts: Facts, grant: Grant) -> tuple[HeldCode, str] | None:
    """The first reason to do nothing at all."""
    if facts.distrust:
        return (HeldCode.DISTRUST, f"{facts.distrust} Nothing is changed until: opshelm-agent db accept-restore")
    if facts.sweep and is_disproved(facts.asked, facts.disproved, limits):
        return HeldCode.ABSENCE_DISPROVED, (
            f"{facts.disproved} of {facts.asked} people missing from Okta's listing are assigned after all: the listing was "
            "wrong. Nothing was changed; the next run lists again"
        )
    for code, detail in (_first_run(plan, facts), source_hold(plan.source_size, limits, facts)):
        if code is not None and code not in grant.lifted:
            return code, detail
    todo = sum(1 for action in plan.actions if action.held is None and action.kind in BOUNDED)
    if grant.count is not None and todo > grant.count:
        return HeldCode.COUNT_EXCEEDED, (
            f"{todo} people would be linked, created, reactivated or deactivated; {grant.count} were allowed. "
            f"Nothing was changed."
        )
    return None


def is_disproved(asked: int, disproved: int, limits: GuardLimits) -> bool:
    return disproved >= limits.disproved_floor and disproved > asked * limits.disproved_percent / 100


def source_hold(people: int, limits: GuardLimits, facts: Facts) -> tuple[HeldCode | None, str]:
    """Empty source and source drop: known before anybody is asked."""
    if not facts.sweep:
        return None, ""
    if people == 0 and facts.managed_active:
        return HeldCode.EMPTY_SOURCE, (
            f"Okta listed nobody, while {facts.managed_active} accounts are managed. Nothing was changed. If it is meant: "
            f"opshelm-agent reconcile --apply --allow-empty {facts.managed_active}"
        )
    before = facts.last_good_people or 0
    missing = before - people
    if missing > limits.source_drop_floor and missing > before * limits.source_drop_percent / 100:
        return HeldCode.SOURCE_DROP, (
            f"Okta listed {people} people, {missing} ({missing / before:.1%}) fewer than the {before} of the last good sweep; "
            f"the limit is {limits.source_drop_percent:g} %. Nothing was changed."
        )
    return None, ""


def _first_run(plan: Plan, facts: Facts) -> tuple[HeldCode | None, str]:
    if facts.pinned or not plan.actions:
        return None, ""
    counts = {kind: sum(1 for a in plan.actions if a.kind is kind and a.held is None) for kind in BOUNDED}
    text = ", ".join(f"{counts[kind]} {kind.value}" for kind in sorted(BOUNDED) if counts[kind])
    if not facts.sweep:
        return HeldCode.FIRST_RUN, (
            "No org is pinned yet, so nothing is applied. Start with the whole: opshelm-agent reconcile --apply"
        )
    total = sum(counts.values())
    return HeldCode.FIRST_RUN, (
        f"The first run waits for a look ({text or 'updates only'}). Nothing was changed. If it is meant: "
        f"opshelm-agent reconcile --apply --first-run {total}, or plans approve with --count {total}"
    )


def _unhold(actions: Iterable[Action], grant: Grant) -> list[Action]:
    return [
        replace(a, held=None, held_detail="") if a.held in ONE_BY_ONE and a.identity in grant.named else a
        for a in actions
    ]


def _singles(actions: list[Action], limits: GuardLimits, facts: Facts, plan: Plan, grant: Grant) -> list[Action]:
    owners_left, promoted = facts.active_owners, 0
    full = limits.push_mode == "hold" and facts.hour >= push_limit(plan.population, limits)
    judged = []
    for action in actions:
        hold = None if action.held else _single(action, facts, grant, full=full)
        free = hold is None and action.held is None
        more_roles = facts.roles_seen and facts.promoted + promoted < limits.promotions_cap
        if free and action.promotes and (more_roles or approved(action, grant, facts)):
            # It comes before whoever is owner no more; what the limits hold yet is no owner.
            promoted += 1
            owners_left += 1
        elif free and (ends_access(action) or action.demotes) and action.directory_id in facts.owners:
            if owners_left <= 1:
                hold = HeldCode.LAST_OWNER, _last_owner(action)
            else:
                owners_left -= 1
        judged.append(replace(action, held=hold[0], held_detail=hold[1]) if hold else action)
    return judged


def _last_owner(action: Action) -> str:
    if action.demotes:
        return f"{action.login} is the last active owner and stays it; make somebody else owner first: opshelm-agent users role OTHER owner"
    return (
        f"{action.login} is the last active owner; promote another first: "
        f"opshelm-agent owner handover --to LOGIN --deactivate {action.login}"
    )


def _single(action: Action, facts: Facts, grant: Grant, *, full: bool) -> tuple[HeldCode, str] | None:
    known = facts.hold_of(action)
    if known is not None and known.stops(wish_of(action), facts.now):
        return stopped(known)
    if approved(action, grant, facts):
        return None
    broad = broad_kind(action.kind)
    failing = facts.failing.get((action.person, broad))
    if failing:
        return HeldCode.FAILING, failing
    failed = facts.quarantine.get(broad)
    if failed and facts.sweep:
        return HeldCode.FAILED_ACTIONS, failed
    if known is None or not known.waits(facts.now) or known.code not in WAITS_FOR_A_PERSON:
        return None
    if ends_access(action) and (facts.announced or action.directory_id in facts.announced_for):
        return None
    if not facts.sweep:
        return known.code, f"waits for a person since {when(known.since)}: {known.detail}"
    if known.code is HeldCode.PUSH_BURST and full:
        return (
            known.code,
            f"its push was stopped by the guard, and the window is still full (guard show): {known.detail}",
        )
    return None


def stopped(hold: Hold) -> tuple[HeldCode, str]:
    """The words of a person's no, and the command that takes it back."""
    said = f"{hold.decided_by} at {when(hold.decided_at)}{f' ({hold.reason})' if hold.reason else ''}"
    if hold.decision is Decision.REJECTED and hold.code is HeldCode.UNDONE:
        return HeldCode.UNDONE, f"taken back by {said}. To have it done again: opshelm-agent holds lift {hold.login}"
    if hold.decision is Decision.REJECTED:
        return HeldCode.REJECTED, f"rejected by {said}. To take that back: {way_out(hold)}"
    until = f", until {when(hold.until)}" if hold.until else ""
    what = "linking it" if hold.kind is ChangeKind.LINK else "access"
    return HeldCode.BLOCKED, f"{what} was blocked by {said}{until}. To end that: {way_out(hold)}"


def _classes(actions: list[Action], limits: GuardLimits, facts: Facts, plan: Plan, grant: Grant) -> list[Action]:
    people = plan.population
    if not facts.roles_seen:
        actions = [_first_role(action, facts, grant) for action in actions]
    for concerns, rules in (
        (ends_access, _deactivation_rules(limits, facts, people)),
        (changes_identity, [(HeldCode.IDENTITY_CHANGES, 0, identity_limit(people, limits))]),
        (gives_access, [(HeldCode.CREATES_PER_RUN, 0, creates_limit(people, limits))]),
        (_promotes, [(HeldCode.PROMOTIONS_PER_RUN, facts.promoted, limits.promotions_cap)]),
        (_demotes, [(HeldCode.DEMOTIONS_PER_RUN, facts.demoted, limits.demotions_cap)]),
    ):
        actions = _class(actions, concerns, rules, facts, plan, grant)
    return actions


def _first_role(action: Action, facts: Facts, grant: Grant) -> Action:
    if action.kind is not ActionKind.ROLE or action.held is not None or _lifted(action, facts, grant):
        return action
    return replace(action, held=HeldCode.FIRST_ROLES, held_detail=_FIRST_ROLES)


_promotes, _demotes = attrgetter("promotes"), attrgetter("demotes")
#: For people.
_FIRST_ROLES = (
    "the Okta groups of roles.owner give roles for the first time, or take what was given by hand: look who gets which, and "
    "approve the plan"
)


def _deactivation_rules(limits: GuardLimits, facts: Facts, people: int) -> list[tuple[HeldCode, int, int]]:
    day = (HeldCode.DEACTIVATIONS_24H, facts.day, window_limit(people, limits))
    if facts.sweep:
        return [(HeldCode.DEACTIVATIONS_PER_RUN, 0, run_limit(people, limits)), day]
    if limits.push_mode == "hold":
        return [(HeldCode.PUSH_BURST, facts.hour, push_limit(people, limits)), day]
    return [day]


def _class(
    actions: list[Action],
    concerns: Callable[[Action], bool],
    rules: list[tuple[HeldCode, int, int]],
    facts: Facts,
    plan: Plan,
    grant: Grant,
) -> list[Action]:
    """Hold all of one class where they and what was done before are more than a limit."""
    if not facts.sweep and concerns not in (ends_access, _promotes, _demotes):
        return actions  # a single reconcile has no limit per run
    counted = [a for a in actions if a.held is None and concerns(a) and not _lifted(a, facts, grant)]
    size = sum(weight(a) for a in counted)
    if concerns is ends_access:
        size = max(0, size - facts.announced)
    for code, before, limit in rules:
        if size and code not in grant.lifted and before + size > limit:
            detail = _numbers(code, size, before, limit, plan.population)
            held = {a.n for a in counted}
            return [replace(a, held=code, held_detail=detail) if a.n in held else a for a in actions]
    return actions


def _lifted(action: Action, facts: Facts, grant: Grant) -> bool:
    return approved(action, grant, facts) or (ends_access(action) and action.directory_id in facts.announced_for)


def _numbers(code: HeldCode, size: int, before: int, limit: int, people: int) -> str:
    what = {
        HeldCode.DEACTIVATIONS_PER_RUN: ("would be deactivated", "the limit of one run"),
        HeldCode.DEACTIVATIONS_24H: ("would be deactivated", "the limit of 24 hours"),
        HeldCode.PUSH_BURST: ("would be deactivated", "the limit of 60 minutes"),
        HeldCode.IDENTITY_CHANGES: ("would get another userName or e-mail", "the limit of one run"),
        HeldCode.CREATES_PER_RUN: ("would be created or reactivated", "the limit of one run"),
        HeldCode.PROMOTIONS_PER_RUN: ("would become owners by a group", "the limit of 60 minutes"),
        HeldCode.DEMOTIONS_PER_RUN: ("would be owners no more", "the limit of 60 minutes"),
    }[code]
    already = f", {before} were before" if before else ""
    share = f" ({size / people:.1%})" if people else ""
    return f"{size} of {people} people{share} {what[0]}{already}; {what[1]} is {limit}. None of them was changed."


def _needs(actions: Iterable[Action]) -> tuple[Action, ...]:
    held: dict[int, Action] = {}
    judged = []
    for action in actions:
        first = next((held[n] for n in action.needs if n in held), None)
        if action.held is None and first is not None:
            detail = f"waits for action {first.n} ({first.login}): {first.held_detail}"
            action = replace(action, held=first.held, held_detail=detail)  # noqa: PLW2901
        if action.held is not None:
            held[action.n] = action
        judged.append(action)
    return tuple(judged)


def ends_access(action: Action) -> bool:
    return action.kind is ActionKind.DEACTIVATE and "active" in action.changes


def gives_access(action: Action) -> bool:
    return action.kind in (ActionKind.CREATE, ActionKind.REACTIVATE)


def changes_identity(action: Action) -> bool:
    if action.kind is ActionKind.RENAME_CYCLE:
        return True
    return action.kind is not ActionKind.CREATE and ("userName" in action.changes or EMAIL_PATH in action.changes)


def is_of_limits(action: Action) -> bool:
    """Whether a limit looks at it, or a typed count."""
    of_class = ends_access(action) or gives_access(action) or changes_identity(action)
    return of_class or action.kind in (ActionKind.LINK, ActionKind.ROLE)


def weight(action: Action) -> int:
    return len(action.cycle) or 1


# How many pass unseen: arithmetic on the population


def share(population: int, percent: float) -> int:
    """``percent`` of the population, rounded up; 10 % of 20 is 2 and not 3, whatever floats say."""
    return ceil(round(population * percent / 100, 6))


def run_limit(population: int, limits: GuardLimits) -> int:
    if population < _SMALL:
        return max(1, min(_SMALL_RUN, limits.deactivations_floor, population // 2))
    percent = share(population, limits.deactivations_percent)
    return min(limits.deactivations_cap, max(limits.deactivations_floor, percent))


def window_limit(population: int, limits: GuardLimits) -> int:
    """Deactivations in 24 hours, push and reconcile together."""
    return _rolling(population, limits.window_percent, limits.window_floor, limits.window_cap)


def push_limit(population: int, limits: GuardLimits) -> int:
    """Deactivations in 60 minutes that a push may still add to."""
    return _rolling(population, limits.push_percent, limits.push_floor, limits.push_cap)


def rolling_hold(population: int, hour: int | None, day: int, limits: GuardLimits, *, pushed: bool) -> HeldCode | None:
    """Whether one more deactivation is one too many after so many in each window. ``hour`` None: a sweep's, which has a limit
    of its own.
    """
    if pushed and limits.push_mode != "hold":
        return None
    if hour is not None and hour + 1 > push_limit(population, limits):
        return HeldCode.PUSH_BURST
    return HeldCode.DEACTIVATIONS_24H if day + 1 > window_limit(population, limits) else None


def identity_limit(population: int, limits: GuardLimits) -> int:
    """Changes of userName or e-mail in one run; more pushed ones in 24 hours are an alarm."""
    return max(limits.identity_floor, share(population, limits.identity_percent))


def creates_limit(population: int, limits: GuardLimits) -> int:
    return max(limits.creates_floor, share(population, limits.creates_percent))


@lru_cache(16)
def _rolling(population: int, percent: float, floor: int, cap: int) -> int:
    low = max(1, min(floor, population // 2))
    return min(cap, max(low, share(population, percent)))
