"""Turn plans, runs and lists into text or JSON documents. Pure: takes values, gives text; prints nothing, decides nothing."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agent.model.codes import ActionKind, ActionState
from agent.model.csv_text import lines as csv_lines
from agent.model.limits import Limits
from agent.model.plan import Action, Finding, Plan
from agent.runs.wording import (
    FINDING_FIELDS,
    KINDS,
    OPEN,
    UNDECIDED,
    action_json,
    bounded,
    clean,
    counted,
    fields,
    finding_json,
    ordered,
    plan_json,
    shown,
    summary,
    when,
)

if TYPE_CHECKING:
    from agent.store.plans import StoredPlan

_TRAIL = {
    ActionState.SENT: "sent, outcome unknown",
    ActionState.STALE: "stale, skipped",
    ActionState.FAILED: "FAILED",
    ActionState.REJECTED: "rejected",
}
#: What the rest of the command line finds here too.
__all__ = [
    "FINDING_FIELDS",
    "action_json",
    "bounded",
    "clean",
    "counted",
    "fields",
    "finding_json",
    "ordered",
    "plan_json",
    "shown",
    "summary",
    "when",
]
#: Kinds that make something: there is no before to show.
_NEW = (ActionKind.CREATE, ActionKind.OKTA_CREATE, ActionKind.OKTA_ASSIGN)
NO_CHANGES = "No changes. OpsHelm is as Okta wants it."


def action_lines(action: Action) -> Iterator[str]:
    """``- deactivate ann@example.com``, then each attribute before → after."""
    waits = action.held is not None and action.state in UNDECIDED
    symbol, word = KINDS[action.kind]
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


_COLOURS = {"-": "31", "+": "32", "~": "33", "=": "36", "!": "35"}


def painted(text: str) -> str:
    """The same with colour for the lines of actions; for a terminal. The symbols say it without."""

    def line(text: str) -> str:
        colour = _COLOURS.get(text[:1]) if text[1:2] == " " else None
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text

    return "\n".join(map(line, text.split("\n")))


def plan_text(stored: "StoredPlan", limits: Limits, *, shown: int | None = None) -> str:
    """The whole plan for a person; ``shown`` cuts a long one and says so."""
    plan, waits = stored.plan, stored.status in OPEN
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
