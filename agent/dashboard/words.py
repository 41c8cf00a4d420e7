"""What templates say of times, states and values: each state as a word with a symbol, so that no colour has to be seen. Pure."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from markupsafe import Markup, escape

from agent.model.codes import ActionState, PlanStatus
from agent.model.holds import Decision
from agent.model.times import when
from agent.runs.frame import Outcome
from agent.runs.wording import KINDS, counted, shown
from agent.settings.describe import text

#: Kinds of states; the style sheet has a colour for each.
GOOD, BAD, WAITS, NEUTRAL = "good", "bad", "waits", "neutral"

_OUTCOMES = {
    Outcome.ERROR: (BAD, "✗", "error"),
    Outcome.LEASE_HELD: (NEUTRAL, "↷", "missed: another agent was at work"),
    Outcome.FROZEN: (BAD, "✗", "frozen: may change nothing"),
    Outcome.INCOMPLETE: (BAD, "✗", "incomplete: nothing concluded"),
    Outcome.DISPROVED: (BAD, "✗", "disproved: the listing left people out"),
    Outcome.PAUSED: (WAITS, "‖", "paused"),
    Outcome.REJECTED: (NEUTRAL, "⊘", "rejected"),
    Outcome.STOPPED: (NEUTRAL, "■", "stopped"),
    Outcome.HELD: (WAITS, "!", "held: waits for a person"),
    Outcome.PARTIAL: (BAD, "✗", "partial: some actions failed"),
    Outcome.APPLIED: (GOOD, "✓", "applied"),
    Outcome.DRIFT: (WAITS, "≠", "differs"),
    Outcome.IN_STEP: (GOOD, "✓", "in step"),
    Outcome.PLANNED: (NEUTRAL, "○", "planned"),
    Outcome.NOTHING: (GOOD, "✓", "nothing to do"),
}
_STATES = {
    ActionState.PENDING: (NEUTRAL, "○", "pending"),
    ActionState.SENT: (WAITS, "…", "sent, outcome unknown"),
    ActionState.DONE: (GOOD, "✓", "done"),
    ActionState.STALE: (NEUTRAL, "↷", "stale, skipped"),
    ActionState.FAILED: (BAD, "✗", "failed"),
    ActionState.HELD: (WAITS, "!", "held"),
    ActionState.REJECTED: (NEUTRAL, "⊘", "rejected"),
}
_PLANS = {
    PlanStatus.READY: (NEUTRAL, "○", "ready"),
    PlanStatus.HELD: (WAITS, "!", "held"),
    PlanStatus.APPLIED: (GOOD, "✓", "applied"),
    PlanStatus.STALE: (NEUTRAL, "↷", "stale"),
    PlanStatus.EXPIRED: (NEUTRAL, "↷", "expired"),
    PlanStatus.REJECTED: (NEUTRAL, "⊘", "rejected"),
}
_DECISIONS = {
    Decision.WAITING: (WAITS, "!", "waits"),
    Decision.APPROVED: (GOOD, "✓", "approved"),
    Decision.REJECTED: (NEUTRAL, "⊘", "rejected"),
    Decision.BLOCKED: (BAD, "⊘", "blocked"),
}
#: Of accounts, keys, journal rows, checks and steps of an explanation.
_OTHERS = {
    "active": (GOOD, "✓", "active"),
    "inactive": (NEUTRAL, "○", "inactive"),
    "suspended": (WAITS, "‖", "suspended"),
    "removed": (NEUTRAL, "⊘", "removed"),
    "protected": (NEUTRAL, "◆", "protected"),
    "owner": (NEUTRAL, "★", "owner"),
    "alive": (GOOD, "✓", "alive"),
    "in its grace": (WAITS, "…", "in its grace"),
    "revoked": (NEUTRAL, "⊘", "revoked"),
    "refused": (BAD, "⊘", "refused"),
    "intent": (WAITS, "…", "intended"),
    "ok": (GOOD, "✓", "ok"),
    "warn": (WAITS, "!", "warn"),
    "fail": (BAD, "✗", "fail"),
    "success": (GOOD, "✓", "success"),
    "warning": (WAITS, "!", "warning"),
    "failure": (BAD, "✗", "failure"),
    "skipped": (NEUTRAL, "↷", "skipped"),
}
_CHIPS: Mapping[Any, tuple[str, str, str]] = {**_OTHERS, **_OUTCOMES, **_STATES, **_PLANS, **_DECISIONS}


def chip(state: Any) -> Markup:
    """A state of whatever has one; what is no such state is said as it is. None: a run without an end."""
    kind, symbol, word = (WAITS, "…", "running") if state is None else _CHIPS.get(state, (NEUTRAL, "·", str(state)))
    return mark(kind, symbol, word)


def outcome(text: str | None) -> Markup:
    """Of a run, as the store keeps it."""
    return chip(Outcome(text) if text in set(Outcome) else text)


def mark(kind: str, symbol: str, word: str) -> Markup:
    return Markup('<span class="chip {}"><span aria-hidden="true">{}</span> {}</span>').format(kind, symbol, word)


def ago(moment: datetime, now: datetime) -> str:
    """``4 min ago``, ``in 2 h``."""
    gone = now - moment
    text = lasts(abs(gone))
    return f"{text} ago" if gone >= timedelta(0) else f"in {text}"


def lasts(span: timedelta) -> str:
    """The two largest units: ``2 d 3 h``, ``45 s``."""
    seconds = int(span.total_seconds())
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days:,} d {hours} h" if hours and days < 10 else f"{days:,} d"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min" if minutes else f"{seconds} s"


def time(moment: datetime | None, now: datetime) -> Markup:
    """Relative, with UTC beside it; the script that switches reads the attribute. Nothing for None."""
    if moment is None:
        return Markup("")
    made = Markup('<time datetime="{}" title="{}"><span class="ago">{}</span><span class="utc">{}</span></time>')
    shown = when(moment)
    return made.format(shown.replace(" ", "T"), shown, ago(moment, now), shown)


def kind(action: Any) -> Markup:
    """An action's kind with its symbol."""
    symbol, word = KINDS[action.kind]
    return Markup('<span class="kind"><span aria-hidden="true">{}</span> {}</span>').format(symbol, word)


def document(value: Any) -> str:
    """JSON for people."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def number(value: int) -> str:
    return f"{value:,}"


FILTERS: dict[str, Callable[..., Any]] = {
    "chip": chip,
    "outcome": outcome,
    "time": time,
    "lasts": lasts,
    "utc": when,
    "kind": kind,
    "shown": shown,
    "setting": text,
    "counted": counted,
    "number": number,
    "document": document,
    "escaped": escape,
}
