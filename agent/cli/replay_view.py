"""``guard replay`` as text, JSON and a picture. Reads nothing itself."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from html import escape
from statistics import median
from typing import Any, NamedTuple

from agent.cli.render import table
from agent.model.codes import HeldCode
from agent.model.replay import Held, Replayed, Wait
from agent.model.times import lasts, when
from agent.runs.wording import fields

_BAR = 24
_RUNS_SHOWN = 30


class Asked(NamedTuple):
    """``since`` is when what is shown begins: the moment that was asked for, or the first judgement that is kept."""

    since: datetime
    until: datetime
    #: name → value by which it was judged again, as it was given.
    settings: Mapping[str, str]


def as_json(asked: Asked, found: Replayed) -> dict[str, Any]:
    then, now = _both(asked, found)
    return {
        "since": asked.since,
        "until": asked.until,
        "set": dict(asked.settings),
        "then": then,
        "now": now,
        "judgements": [
            {"at": one.at, "run": one.run_id, "then": _codes(one.then), "now": _codes(one.now)}
            for one in found.judgements
            if one.then or one.now
        ],
        "people": [
            {"now": side, **fields(wait, "login", "kind", "code", "since", "until", "done")}
            for side, waits in ((False, found.then), (True, found.now))
            for wait in waits
        ],
        "days": [{"day": day, "then": then, "now": now} for day, then, now in _days(asked, found)],
    }


def _both(asked: Asked, found: Replayed) -> tuple[dict[str, Any], dict[str, Any]]:
    return (
        _sums(asked, [(one, one.then) for one in found.judgements], found.then),
        _sums(asked, [(one, one.now) for one in found.judgements], found.now),
    )


def _sums(asked: Asked, judged: Iterable[tuple[Held, Counter[HeldCode]]], waits: Sequence[Wait]) -> dict[str, Any]:
    held = [(one.run_id, codes) for one, codes in judged if codes]
    lengths = [((wait.until or asked.until) - wait.since).total_seconds() for wait in waits]
    return {
        "runs_held": sum(1 for run_id, _ in held if run_id is not None),
        "pushes_refused": sum(1 for run_id, _ in held if run_id is None),
        "people_who_waited": len(waits),
        "median_seconds": round(median(lengths)) if lengths else 0,
        "longest_seconds": round(max(lengths)) if lengths else 0,
        "still_wait": sum(1 for wait in waits if wait.until is None),
    }


def _codes(held: Counter[HeldCode]) -> dict[str, int]:
    return {code.value: count for code, count in sorted(held.items())}


def _days(asked: Asked, found: Replayed) -> list[tuple[date, int, int]]:
    """People who began to wait, day by day in UTC."""
    then, now = (Counter(wait.since.date() for wait in waits) for waits in (found.then, found.now))
    count = (asked.until.date() - asked.since.date()).days + 1
    days = [asked.since.date() + timedelta(days=n) for n in range(count)]
    return [(day, then[day], now[day]) for day in days]


def as_text(asked: Asked, found: Replayed, width: int | None) -> str:
    runs = sum(one.run_id is not None for one in found.judgements)
    changed = ", ".join(f"{name} = {value}" for name, value in asked.settings.items())
    lines = [
        f"{runs:,} judged runs and {len(found.judgements) - runs:,} pushed deactivations, {when(asked.since)} to {when(asked.until)}",
        f"judged again with {changed or 'the limits of the settings'}",
        "",
        table(["", "as it was", "judged again"], _rows(asked, found), "", width=width),
    ]
    differ = [one for one in found.judgements if one.then != one.now]
    if not differ:
        lines += ["", "Every run and every push was held just as it was."]
    else:
        shown = [
            [when(one.at), "push" if one.run_id is None else f"run {one.run_id}", _said(one.then), _said(one.now)]
            for one in differ[:_RUNS_SHOWN]
        ]
        lines += ["", table(["when", "what", "held then", "held now"], shown, "", width=width)]
        if len(differ) > _RUNS_SHOWN:
            lines.append(f"and {len(differ) - _RUNS_SHOWN:,} more: --output json has all of them")
    days = [day for day in _days(asked, found) if day[1] or day[2]]
    if days:
        most = max(max(then, now) for _, then, now in days)
        lines += ["", "People who began to wait, by day (= as it was, # judged again):"]
        for day, then, now in days:
            lines += [f"{day}  {_bar('=', then, most)} {then:,}", f"{'':10}  {_bar('#', now, most)} {now:,}"]
    return "\n".join(lines)


def _rows(asked: Asked, found: Replayed) -> list[list[str]]:
    then, now = _both(asked, found)
    names = {
        "runs_held": "runs that held something",
        "pushes_refused": "pushes refused",
        "people_who_waited": "people who waited",
        "still_wait": "of them still",
    }
    rows = [[text, f"{then[name]:,}", f"{now[name]:,}"] for name, text in names.items()]
    for name, text in (("median_seconds", "typical wait"), ("longest_seconds", "longest wait")):
        rows.append([text, lasts(timedelta(seconds=then[name])), lasts(timedelta(seconds=now[name]))])
    return rows


def _said(held: Counter[HeldCode]) -> str:
    return ", ".join(f"{count} {code}" for code, count in _codes(held).items()) or "nothing"


def _bar(mark: str, count: int, most: int) -> str:
    return mark * (0 if not count else max(1, round(count / most * _BAR)))


def as_svg(asked: Asked, found: Replayed) -> str:
    """The days as pairs of bars, for a page or a report; text only, nothing that runs."""
    days = _days(asked, found)
    most = max((max(then, now) for _, then, now in days), default=0) or 1
    step, height, left = 18, 160, 40
    parts: list[str] = []
    for n, (day, then, now) in enumerate(days):
        for offset, count, colour in ((0, then, "#8a8f98"), (8, now, "#c2410c")):
            tall = count / most * height
            title = f"<title>{day}: {count}</title>"
            parts.append(
                f'<rect x="{left + n * step + offset}" y="{20 + height - tall:.1f}" width="7" height="{tall:.1f}" '
                f'fill="{colour}">{title}</rect>'
            )
    changed = escape(", ".join(f"{name} = {value}" for name, value in asked.settings.items()) or "the same limits")
    width = left + max(len(days) * step, 420) + 10
    text = (
        f'<text x="4" y="14">People who began to wait, by day: grey as it was, orange with {changed}</text>'
        f'<text x="4" y="30">{most}</text><text x="4" y="{20 + height}">0</text>'
        f'<text x="{left}" y="{height + 38}">{asked.since.date()} to {asked.until.date()}</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height + 48}" font-family="sans-serif" '
        f'font-size="11">{text}{"".join(parts)}</svg>\n'
    )
