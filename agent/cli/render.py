"""Turn plans, runs and lists into text or JSON documents. Pure: takes values, gives text; prints nothing, decides nothing."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from agent.model.codes import ActionKind, ActionState, PlanStatus
from agent.model.plan import Action, Finding, Plan

_SYMBOLS = {
    ActionKind.DEACTIVATE: "-",
    ActionKind.CREATE: "+",
    ActionKind.REACTIVATE: "+",
    ActionKind.LINK: "=",
    ActionKind.UPDATE: "~",
    ActionKind.RENAME_CYCLE: "~",
    ActionKind.OKTA_CREATE: "+",
    ActionKind.OKTA_ASSIGN: "+",
}
#: Deactivations first: they are what an operator must not overlook.
_ORDER = [
    ActionKind.DEACTIVATE,
    ActionKind.CREATE,
    ActionKind.REACTIVATE,
    ActionKind.LINK,
    ActionKind.UPDATE,
    ActionKind.RENAME_CYCLE,
    ActionKind.OKTA_CREATE,
    ActionKind.OKTA_ASSIGN,
]
_WORDS = {
    ActionKind.RENAME_CYCLE: "rename in a circle",
    ActionKind.OKTA_CREATE: "create in Okta",
    ActionKind.OKTA_ASSIGN: "assign in Okta",
}
_TRAIL = {
    ActionState.SENT: "sent, outcome unknown",
    ActionState.STALE: "stale, skipped",
    ActionState.FAILED: "FAILED",
    ActionState.REJECTED: "rejected",
}
#: Kinds that make something: there is no before to show.
_NEW = (ActionKind.CREATE, ActionKind.OKTA_CREATE, ActionKind.OKTA_ASSIGN)
NO_CHANGES = "No changes. OpsHelm is as Okta wants it."


def word(kind: ActionKind) -> str:
    return _WORDS.get(kind, kind.value)


def ordered(actions: Iterable[Action]) -> list[Action]:
    return sorted(actions, key=lambda a: (a.held is not None, _ORDER.index(a.kind), a.n))


#: Plans on which nobody has decided yet, and the states of actions which nobody has let go or refused.
_OPEN = (PlanStatus.READY, PlanStatus.HELD)
_UNDECIDED = (ActionState.PENDING, ActionState.HELD)


def action_lines(action: Action) -> Iterator[str]:
    """``- deactivate ann@example.com``, then each attribute before → after."""
    waits = action.held is not None and action.state in _UNDECIDED
    symbol = "!" if waits else _SYMBOLS[action.kind]
    trail = _TRAIL.get(action.state, "")
    yield f"{symbol} {word(action.kind):<11} {clean(action.login)}{f'  ({trail})' if trail else ''}"
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


def summary(plan: Plan, percent_limit: float, people_limit: int, *, waits: bool = True) -> str:
    """``3 create, 12 update, 4 deactivate of 1,204 (0.3 %; limit 10 %) – passes``; ``waits``: nobody has decided yet."""
    counts = Counter(action.kind for action in plan.actions)
    parts = [
        f"{counts[kind]:,} {word(kind)}" for kind in ActionKind if counts[kind] and kind is not ActionKind.DEACTIVATE
    ]
    leavers = counts[ActionKind.DEACTIVATE]
    share = 100 * leavers / plan.population if plan.population else 0.0
    plain_percent = plan.population * percent_limit / 100
    limit = (
        f"{percent_limit:g} %"
        if plain_percent <= people_limit < plain_percent + 1
        else f"{people_limit:,} {'person' if people_limit == 1 else 'people'}"
    )
    parts.append(f"{leavers:,} deactivate of {plan.population:,} ({share:.1f} %; limit {limit})")
    held = [action.held for action in plan.actions if action.held and action.state in _UNDECIDED]
    if plan.held:
        verdict = f"held: {plan.held.value}" if waits else f"was held: {plan.held.value}"
    elif held:
        verdict = f"{len(held):,} held ({', '.join(sorted(set(held)))}), the rest passes"
    else:
        verdict = "passes"
    return f"{', '.join(parts)} – {verdict}"


def plan_text(
    plan: Plan,
    *,
    plan_id: int | None,
    status: str,
    percent_limit: float,
    people_limit: int,
    shown_actions: int | None = None,
) -> str:
    """The whole plan for a person; ``shown_actions`` cuts a long one and says so."""
    if not plan.actions:
        return f"{NO_CHANGES}\n{_held_plan(plan)}" if plan.held else NO_CHANGES
    lines = [f"Plan {plan_id if plan_id is not None else '(not stored)'} – {status}", ""]
    todo = ordered(plan.actions)
    for action in todo[:shown_actions]:
        lines += action_lines(action)
    if shown_actions is not None and len(todo) > shown_actions:
        lines.append(f"… and {len(todo) - shown_actions:,} more: opshelm-agent plans show {plan_id}")
    waits = status in _OPEN
    lines += ["", summary(plan, percent_limit, people_limit, waits=waits)]
    lines += [_held_plan(plan)] if waits and plan.held else []
    if plan_id is not None and waits:
        lines.append(f"checksum {plan.checksum}")
    return "\n".join(lines)


def _held_plan(plan: Plan) -> str:
    return f"Held ({plan.held}): {clean(plan.held_detail)}"


def findings_text(findings: Sequence[Finding], shown: int | None = None) -> str:
    lines = [
        f"? {finding.code.value:<18} {clean(finding.login)}: {clean(finding.detail)}" for finding in findings[:shown]
    ]
    if shown is not None and len(findings) > shown:
        lines.append(f"… and {len(findings) - shown:,} more: opshelm-agent findings")
    return "\n".join(lines)


def plan_json(plan: Plan, *, plan_id: int | None, status: str, population: int | None = None) -> dict[str, Any]:
    return {
        "id": plan_id,
        "status": status,
        "checksum": plan.checksum,
        "population": plan.population if population is None else population,
        "held": plan.held,
        "held_detail": plan.held_detail,
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
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([spreadsheet_safe(str(row[name] or "")) for name in columns] for row in rows)
    return out.getvalue().rstrip("\n")


def spreadsheet_safe(cell: str) -> str:
    """A cell that a spreadsheet would run as a formula gets a quote in front."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


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


def when(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")
