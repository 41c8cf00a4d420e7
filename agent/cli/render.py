"""Turn plans, runs and lists into text or JSON documents. Pure: takes values, gives text; prints nothing, decides nothing."""

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from agent.model.codes import ActionKind, ActionState, PlanStatus
from agent.model.csv_text import lines as csv_lines
from agent.model.limits import Limits, run_limit
from agent.model.plan import Action, Finding, Plan

if TYPE_CHECKING:
    from agent.store.plans import StoredPlan

#: How each kind is shown. Deactivations first: they are what an operator must not overlook.
_KINDS = {
    ActionKind.DEACTIVATE: ("-", "deactivate"),
    ActionKind.CREATE: ("+", "create"),
    ActionKind.REACTIVATE: ("+", "reactivate"),
    ActionKind.LINK: ("=", "link"),
    ActionKind.UPDATE: ("~", "update"),
    ActionKind.RENAME_CYCLE: ("~", "rename in a circle"),
    ActionKind.OKTA_CREATE: ("+", "create in Okta"),
    ActionKind.OKTA_ASSIGN: ("+", "assign in Okta"),
}
_ORDER = list(_KINDS)
_TRAIL = {
    ActionState.SENT: "sent, outcome unknown",
    ActionState.STALE: "stale, skipped",
    ActionState.FAILED: "FAILED",
    ActionState.REJECTED: "rejected",
}
#: Kinds that make something: there is no before to show.
_NEW = (ActionKind.CREATE, ActionKind.OKTA_CREATE, ActionKind.OKTA_ASSIGN)
NO_CHANGES = "No changes. OpsHelm is as Okta wants it."


def ordered(actions: Iterable[Action]) -> list[Action]:
    return sorted(actions, key=lambda a: (a.held is not None, _ORDER.index(a.kind), a.n))


#: Plans on which nobody has decided yet, and the states of actions which nobody has let go or refused.
_OPEN = (PlanStatus.READY, PlanStatus.HELD)
_UNDECIDED = (ActionState.PENDING, ActionState.HELD)


def action_lines(action: Action) -> Iterator[str]:
    """``- deactivate ann@example.com``, then each attribute before → after."""
    waits = action.held is not None and action.state in _UNDECIDED
    symbol, word = _KINDS[action.kind]
    trail = _TRAIL.get(action.state, "")
    yield f"{'!' if waits else symbol} {word:<11} {clean(action.login)}{f'  ({trail})' if trail else ''}"
    if action.held is not None and waits:
        detail = f": {clean(action.held_detail)}" if action.held_detail else ""
        yield f"    held {action.held.value}{detail}   [action {action.n}]"
    if action.error:
        yield f"    {clean(action.error)}"
    if action.proof and action.kind is ActionKind.DEACTIVATE:
        yield f"    because: {clean(action.proof)}"
    width = max((len(path) for path in action.changes), default=0)
    for path, change in action.changes.items():
        before = "" if change.before is None and action.kind in _NEW else f"{shown(change.before)} → "
        yield f"    {path:<{width}}  {before}{shown(change.after)}"


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


_COLOURS = {"-": "31", "+": "32", "~": "33", "=": "36", "!": "35"}


def painted(text: str) -> str:
    """The same with colour for the lines of actions; for a terminal. The symbols say it without."""

    def line(text: str) -> str:
        colour = _COLOURS.get(text[:1]) if text[1:2] == " " else None
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text

    return "\n".join(map(line, text.split("\n")))


def summary(plan: Plan, limits: Limits, *, waits: bool = True) -> str:
    """``3 create, 12 update, 4 deactivate of 1,204 (0.3 %; limit 10 %) – passes``; ``waits``: nobody has decided yet."""
    counts = Counter(action.kind for action in plan.actions)
    leavers = counts.pop(ActionKind.DEACTIVATE, 0)
    parts = [f"{counts[kind]:,} {_KINDS[kind][1]}" for kind in ActionKind if counts[kind]]
    share = 100 * leavers / plan.population if plan.population else 0.0
    percent, people = limits.deactivations_percent, run_limit(plan.population, limits)
    plain_percent = plan.population * percent / 100
    in_people = f"{people:,} {'person' if people == 1 else 'people'}"
    limit = f"{percent:g} %" if plain_percent <= people < plain_percent + 1 else in_people
    parts.append(f"{leavers:,} deactivate of {plan.population:,} ({share:.1f} %; limit {limit})")
    held = [action.held for action in plan.actions if action.held and action.state in _UNDECIDED]
    if plan.held:
        verdict = f"held: {plan.held.value}" if waits else f"was held: {plan.held.value}"
    elif held:
        verdict = f"{len(held):,} held ({', '.join(sorted(set(held)))}), the rest passes"
    else:
        verdict = "passes"
    return f"{', '.join(parts)} – {verdict}"


def plan_text(stored: "StoredPlan", limits: Limits, *, shown: int | None = None) -> str:
    """The whole plan for a person; ``shown`` cuts a long one and says so."""
    plan, waits = stored.plan, stored.status in _OPEN
    if not plan.actions:
        return f"{NO_CHANGES}\n{_held_plan(plan)}" if plan.held else NO_CHANGES
    lines = [f"Plan {stored.id} – {stored.status.value}", "", *actions_text(stored, ordered(plan.actions), shown)]
    lines += ["", summary(plan, limits, waits=waits)]
    lines += [_held_plan(plan)] if waits and plan.held else []
    lines += [f"checksum {plan.checksum}"] if waits else []
    return "\n".join(lines)


def actions_text(stored: "StoredPlan", actions: Sequence[Action], shown: int | None) -> Iterator[str]:
    """The first of them, and how many more there are."""
    for action in actions[:shown]:
        yield from action_lines(action)
    if shown is not None and len(actions) > shown:
        yield f"… and {len(actions) - shown:,} more: opshelm-agent plans show {stored.id}"


def _held_plan(plan: Plan) -> str:
    return f"Held ({plan.held}): {clean(plan.held_detail)}"


def findings_text(findings: Sequence[Finding], shown: int | None = None) -> str:
    lines = [
        f"? {finding.code.value:<18} {clean(finding.login)}: {clean(finding.detail)}" for finding in findings[:shown]
    ]
    if shown is not None and len(findings) > shown:
        lines.append(f"… and {len(findings) - shown:,} more: opshelm-agent findings")
    return "\n".join(lines)


def plan_json(stored: "StoredPlan") -> dict[str, Any]:
    plan = stored.plan
    return {
        **fields(stored, "id", "status"),
        **fields(plan, "checksum", "population", "held", "held_detail"),
        "actions": [action_json(action) for action in plan.actions],
    }


def action_json(action: Action) -> dict[str, Any]:
    names = ("n", "kind", "state", "held", "held_detail", "login", "directory_id", "okta_id", "rule", "proof", "error")
    return {
        **fields(action, *names),
        "changes": {path: fields(change, "before", "after") for path, change in action.changes.items()},
    }


FINDING_FIELDS = ("code", "login", "detail", "directory_id", "okta_id")


def finding_json(finding: Finding) -> dict[str, Any]:
    return fields(finding, *FINDING_FIELDS)


def fields(value: object, *names: str) -> dict[str, Any]:
    """Some attributes of a value, under their own names."""
    return {name: getattr(value, name) for name in names}


def bounded(plan: Plan) -> int:
    """What --count, --first-run and --allow-empty bound: everything but updates."""
    return sum(action.kind not in (ActionKind.UPDATE, ActionKind.RENAME_CYCLE) for action in plan.actions)


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """With a header, safe to open in a spreadsheet, without the last line's end."""
    return "".join(csv_lines(columns, rows)).rstrip("\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str, *, rich: bool = False) -> str:
    """Aligned columns; framed where a person looks at a terminal. ``empty`` says why nothing is there."""
    if not rows:
        return empty
    cells = [[clean(str("" if cell is None else cell)) for cell in row] for row in rows]
    if rich:
        return _rich_table(columns, cells)
    widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [columns, *cells]
    ]
    return "\n".join(lines)


def _rich_table(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    import shutil

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    framed = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        framed.add_column(column, overflow="fold")
    for row in cells:
        framed.add_row(*(Text(cell) for cell in row))
    out = io.StringIO()

    Console(file=out, width=shutil.get_terminal_size((120, 40)).columns).print(framed)
    return out.getvalue().rstrip("\n")


def counted(counts: Mapping[str, int] | None) -> str:
    """``3 people, 1 update``."""
    return ", ".join(f"{n:,} {what}" for what, n in (counts or {}).items() if n)


def when(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")
