"""What templates say of times, states and values: each state as a word with a symbol, so that no colour has to be seen. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from markupsafe import Markup, escape

from agent.model.times import lasts, when
from agent.runs.wording import KINDS, counted, shown
from agent.settings.describe import text

#: Kinds of states; the style sheet has a colour for each.
GOOD, BAD, WAITS, NEUTRAL = "good", "bad", "waits", "neutral"

#: Kind and symbol → the states that are shown so: of runs, actions, plans, decisions, accounts, keys, journal rows, checks and
#: the steps of an explanation.
_SYMBOLS = {
    (GOOD, "✓"): ("applied", "in_step", "nothing", "done", "approved", "active", "alive", "ok", "success"),
    (BAD, "✗"): ("error", "frozen", "incomplete", "disproved", "partial", "failed", "fail", "failure"),
    (BAD, "⊘"): ("blocked", "refused"),
    (WAITS, "!"): ("held", "waiting", "warn", "warning"),
    (WAITS, "…"): ("sent", "intent", "in its grace"),
    (WAITS, "‖"): ("paused", "suspended"),
    (WAITS, "≠"): ("drift",),
    (NEUTRAL, "○"): ("planned", "pending", "ready", "inactive"),
    (NEUTRAL, "↷"): ("lease_held", "stale", "expired", "skipped"),
    (NEUTRAL, "⊘"): ("rejected", "removed", "revoked"),
    (NEUTRAL, "■"): ("stopped",),
    (NEUTRAL, "◆"): ("protected",),
    (NEUTRAL, "★"): ("owner",),
}
#: Where a state's own name doesn't say it to people.
_WORDS = {
    "lease_held": "missed: another agent was at work",
    "frozen": "frozen: may change nothing",
    "incomplete": "incomplete: nothing concluded",
    "disproved": "disproved: the listing left people out",
    "partial": "partial: some actions failed",
    "drift": "differs",
    "in_step": "in step",
    "nothing": "nothing to do",
    "sent": "sent, outcome unknown",
    "waiting": "waits",
    "intent": "intended",
}
_CHIPS = {state: (*shown, _WORDS.get(state, state)) for shown, states in _SYMBOLS.items() for state in states}


def chip(state: Any) -> Markup:
    """A state of whatever has one; what is no such state is said as it is. None: a run without an end."""
    kind, symbol, word = (WAITS, "…", "running") if state is None else _CHIPS.get(state, (NEUTRAL, "·", str(state)))
    return mark(kind, symbol, word)


def mark(kind: str, symbol: str, word: str) -> Markup:
    return Markup('<span class="chip {}"><span aria-hidden="true">{}</span> {}</span>').format(kind, symbol, word)


def ago(moment: datetime, now: datetime) -> str:
    """``4 min ago``, ``in 2 h``."""
    gone = now - moment
    text = lasts(abs(gone))
    return f"{text} ago" if gone >= timedelta(0) else f"in {text}"


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
