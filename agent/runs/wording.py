"""How plans, actions and counts are put into words and into JSON: for the command line and the dashboard alike. Pure; prints nothing."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from agent.model.codes import UNDECIDED, ActionKind, HeldCode
from agent.model.guard import GuardLimits, run_limit
from agent.model.plan import Action, Finding, Plan

if TYPE_CHECKING:
    from agent.store.plans import StoredPlan

#: Of every JSON document; a minor step adds, a major one changes.
FORMAT_VERSION = "1.0"
#: Of a row that commands and pages ask for: PostgreSQL's INTEGER takes none above it, and refuses the whole statement.
LARGEST_ID = 2**31 - 1

#: How each kind is shown. Deactivations first: they are what an operator must not overlook.
KINDS = {
    ActionKind.DEACTIVATE: ("-", "deactivate"),
    ActionKind.CREATE: ("+", "create"),
    ActionKind.REACTIVATE: ("+", "reactivate"),
    ActionKind.LINK: ("=", "link"),
    ActionKind.ROLE: ("~", "role"),
    ActionKind.UPDATE: ("~", "update"),
    ActionKind.RENAME_CYCLE: ("~", "rename in a circle"),
    ActionKind.OKTA_CREATE: ("+", "create in Okta"),
    ActionKind.OKTA_ASSIGN: ("+", "assign in Okta"),
    ActionKind.OKTA_UNASSIGN: ("-", "unassign in Okta"),
}
_ORDER = list(KINDS)


def ordered(actions: Iterable[Action]) -> list[Action]:
    return sorted(actions, key=lambda a: (a.held is not None, _ORDER.index(a.kind), a.n))


#: Longer values are cut on a screen; --output json has them whole.
_LONGEST = 200


def shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = clean(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def clean(text: str) -> str:
    """Control and format characters from outside must not reach a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def summary(plan: Plan, limits: GuardLimits, *, waits: bool = True) -> str:
    """``3 create, 12 update, 4 deactivate of 1,204 (0.3 %; limit 10 %) – passes``; ``waits``: nobody has decided yet."""
    kinds = Counter(action.kind for action in plan.actions)
    held = Counter(action.held for action in plan.actions if action.held and action.state in UNDECIDED)
    verdict = _verdict(plan.held, held, waits=waits)
    return f"{sentence(kinds, plan.population, limits)} – {verdict}"


def sentence(kinds: Mapping[ActionKind, int], population: int, limits: GuardLimits) -> str:
    """The guard's, with numerator, denominator and limit."""
    leavers = kinds.get(ActionKind.DEACTIVATE, 0)
    parts = [
        f"{kinds[kind]:,} {KINDS[kind][1]}"
        for kind in ActionKind
        if kind is not ActionKind.DEACTIVATE and kinds.get(kind)
    ]
    share = 100 * leavers / population if population else 0.0
    percent, people = limits.deactivations_percent, run_limit(population, limits)
    plain_percent = population * percent / 100
    in_people = f"{people:,} {'person' if people == 1 else 'people'}"
    limit = f"{percent:g} %" if plain_percent <= people < plain_percent + 1 else in_people
    parts.append(f"{leavers:,} deactivate of {population:,} ({share:.1f} %; limit {limit})")
    return ", ".join(parts)


def _verdict(whole: HeldCode | None, held: Mapping[HeldCode, int], *, waits: bool) -> str:
    if whole:
        return f"held: {whole.value}" if waits else f"was held: {whole.value}"
    if held:
        return f"{sum(held.values()):,} held ({', '.join(sorted(held))}), the rest passes"
    return "passes"


def plan_json(stored: "StoredPlan") -> dict[str, Any]:
    plan = stored.plan
    return {
        **fields(stored, "id", "status", "checksum"),
        **fields(plan, "population", "held", "held_detail"),
        "actions": [action_json(action) for action in plan.actions],
    }


def action_json(action: Action) -> dict[str, Any]:
    return {
        **fields(action, *ACTION_FIELDS),
        "changes": {path: fields(change, "before", "after") for path, change in action.changes.items()},
    }


#: What is told of a run.
RUN_FIELDS = (
    *("id", "kind", "trigger", "actor", "dry", "scope", "started", "ended"),
    *("outcome", "exit_code", "counts", "detail"),
)
_OF_ACTION = "n kind state held held_detail login directory_id okta_id rule proof error"
ACTION_FIELDS = tuple(_OF_ACTION.split())
FINDING_FIELDS = ("code", "login", "detail", "directory_id", "okta_id")


def finding_json(finding: Finding) -> dict[str, Any]:
    return fields(finding, *FINDING_FIELDS)


def fields(value: object, *names: str) -> dict[str, Any]:
    """Some attributes of a value, under their own names."""
    return {name: getattr(value, name) for name in names}


def bounded(plan: Plan) -> int:
    """What --count, --first-run and --allow-empty bound: everything but updates and roles."""
    return sum(is_bounded(action.kind) for action in plan.actions)


def is_bounded(kind: ActionKind) -> bool:
    return kind not in (ActionKind.UPDATE, ActionKind.RENAME_CYCLE, ActionKind.ROLE)


def counted(counts: Mapping[str, int] | None) -> str:
    """``3 people, 1 update``."""
    return ", ".join(f"{n:,} {what}" for what, n in (counts or {}).items() if n)
