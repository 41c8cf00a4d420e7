"""Turn plans, runs and lists into text or JSON documents. Pure: takes values, gives text; prints nothing, decides nothing."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from agent.model.codes import OPEN_PLANS, UNDECIDED, ActionKind, ActionState
from agent.model.csv_text import lines as csv_lines
from agent.model.guard import GuardLimits
from agent.model.plan import Action, Finding, Plan
from agent.model.times import when
from agent.runs.wording import KINDS, clean, ordered, shown, summary

if TYPE_CHECKING:
    from agent.store.plans import StoredPlan

_TRAIL = {
    ActionState.SENT: "sent, outcome unknown",
    ActionState.STALE: "stale, skipped",
    ActionState.FAILED: "FAILED",
    ActionState.REJECTED: "rejected",
}
#: Kinds that make something: there is no before to show.
_NEW = (ActionKind.CREATE, ActionKind.OKTA_CREATE, ActionKind.OKTA_ASSIGN)
NO_CHANGES = "No changes. OpsHelm is as Okta wants it."


class PlanView(Struct, frozen=True, kw_only=True):
    """Which part of a plan is shown; a long one is read bit by bit."""

    #: Of these kinds alone; () for all.
    kinds: tuple[ActionKind, ...] = ()
    #: Only actions that change this path, and of them only that.
    attribute: str = ""
    #: Values of creates too.
    verbose: bool = False
    #: Counts alone.
    summary: bool = False
    #: So many actions at most.
    first: int | None = None

    def of(self, actions: Iterable[Action]) -> list[Action]:
        return [action for action in actions if self._shows(action)]

    def _shows(self, action: Action) -> bool:
        if self.kinds and action.kind not in self.kinds:
            return False
        return not self.attribute or any(self.names(path) for path in action.changes)

    def names(self, path: str) -> bool:
        """``title`` is title; ``emails`` is each part of it."""
        wanted, path = self.attribute.casefold(), path.casefold()
        return not wanted or path == wanted or (path.startswith(wanted) and path[len(wanted)] in ".[")


WHOLE = PlanView()


def action_lines(action: Action, view: PlanView = WHOLE) -> Iterator[str]:
    """``- deactivate ann@example.com``, then each attribute before → after; what is created has one line."""
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
    new = action.kind is ActionKind.CREATE and not view.verbose and not view.attribute
    changes = {} if new else {path: change for path, change in action.changes.items() if view.names(path)}
    width = max(map(len, changes), default=0)
    for path, change in changes.items():
        before = "" if change.before is None and action.kind in _NEW else f"{shown(change.before)} → "
        yield f"    {path:<{width}}  {before}{shown(change.after)}"


_COLOURS = {"-": "31", "+": "32", "~": "33", "=": "36", "!": "35"}


def painted(text: str) -> str:
    """The same with colour for the lines of actions; for a terminal. The symbols say it without."""

    def line(text: str) -> str:
        colour = _COLOURS.get(text[:1]) if text[1:2] == " " else None
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text

    return "\n".join(map(line, text.split("\n")))


def plan_text(stored: "StoredPlan", limits: GuardLimits, view: PlanView = WHOLE) -> str:
    """A plan for a person: what ``view`` shows of it, and always its verdict."""
    plan, waits = stored.plan, stored.status in OPEN_PLANS
    if not plan.actions:
        return f"{NO_CHANGES}\n{_held_plan(plan)}" if plan.held else NO_CHANGES
    lines = [f"Plan {stored.id} – {stored.status.value}", ""]
    if view.summary:
        lines += [*_counted_text(plan.actions), ""]
    else:
        mine = view.of(ordered(plan.actions))
        told = len(plan.actions) - len(mine)
        lines += [*actions_text(stored, mine, view.first, view)]
        lines += [f"({told:,} other actions are not shown)"] if told else []
        lines += [""] if mine or told else []
    lines += [summary(plan, limits, waits=waits)]
    lines += [_held_plan(plan)] if waits and plan.held else []
    lines += [f"checksum {stored.checksum}"] if waits else []
    return "\n".join(lines)


def _counted_text(actions: Iterable[Action]) -> Iterator[str]:
    """How many of each kind, of each reason to hold, and of each attribute."""
    actions = list(actions)
    kinds = Counter(action.kind for action in actions)
    yield from (f"{KINDS[kind][0]} {KINDS[kind][1]:<16} {kinds[kind]:>9,}" for kind in KINDS if kinds[kind])
    held = Counter(action.held.value for action in actions if action.held and action.state in UNDECIDED)
    yield from (f"! held {code:<11} {count:>9,}" for code, count in held.most_common())
    paths = Counter(path for action in actions if action.kind not in _NEW for path in action.changes)
    yield from (f"  {clean(path)}: {count:,}" for path, count in paths.most_common())


def actions_text(
    stored: "StoredPlan", actions: Sequence[Action], shown: int | None, view: PlanView = WHOLE
) -> Iterator[str]:
    """The first of them, and how many more there are."""
    for action in actions[:shown]:
        yield from action_lines(action, view)
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


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], empty: str, *, width: int | None = None) -> str:
    """Aligned columns, or a card for each row where they don't fit ``width``: what may be copied is never broken.

    ``width`` None: as wide as it is. ``empty`` says why nothing is there.
    """
    if not rows:
        return empty
    cells = [[clean(_cell(cell)) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    if width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        return "\n\n".join(_card(columns, row, width) for row in cells)
    lines = [
        "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in [columns, *cells]
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return when(value)
    return "" if value is None else str(value)


def _card(columns: Sequence[str], row: Sequence[str], width: int) -> str:
    """``login  ann@example.com`` and so on; sentences wrap between words, nothing else does."""
    label = max(map(len, columns)) + 2
    lines = []
    for column, cell in zip(columns, row, strict=True):
        if cell:
            first, rest = f"{column:<{label}}", " " * label
            lines += wrap(
                cell,
                max(width, label + 20),
                initial_indent=first,
                subsequent_indent=rest,
                break_long_words=False,
                break_on_hyphens=False,
            )
    return "\n".join(lines)
