"""The kinds of values that settings have beyond plain text and numbers: durations, lists, the mapping. No defaults, no sources."""

import json
import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms]){1,4}")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
_HINT = 'must be a duration such as "90s", "15m", "1h" or "2d", or a number of seconds'
_CENTURY = timedelta(days=36525)


def parse_duration(value: Any) -> timedelta:
    """``"1h30m"``, ``"90"``, ``90`` → timedelta. Raises ValueError with a text that doesn't hold the value."""
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, str) and _DURATION.fullmatch(value.strip()):
        seconds = sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(value))
        duration = timedelta(seconds=min(seconds, 2 * _CENTURY.total_seconds()))
    elif isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            duration = timedelta(seconds=float(value))
        except (ValueError, OverflowError):
            raise ValueError(_HINT) from None
    else:
        raise ValueError(_HINT)
    if not timedelta(0) <= duration <= _CENTURY:
        raise ValueError("must be between 0 and 100 years")
    return duration


def format_duration(value: timedelta | None) -> str:
    """The shortest form that ``parse_duration`` reads back; ``"off"`` for None."""
    if value is None:
        return "off"
    seconds = value.total_seconds()
    if seconds == 0:
        return "0s"
    for unit, size in _UNITS.items():
        if seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    return f"{seconds:g}s"


def _positive(value: Any) -> timedelta:
    duration = parse_duration(value)
    if not duration:
        raise ValueError("must be more than 0")
    return duration


def _interval(value: Any) -> timedelta | None:
    return (
        None if value is None or (isinstance(value, str) and value.strip().lower() in ("off", "")) else _positive(value)
    )


def _names(value: Any) -> Any:
    """A TOML list, or in the environment a JSON list or names with commas between."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('must be a list: a, b or ["a", "b"]') from None
    return [part.strip() for part in value.split(",") if part.strip()]


def _table(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('must be a JSON object such as {"department": "title"}') from None


_AS_TEXT = PlainSerializer(format_duration, return_type=str, when_used="json")

#: Seconds, "90s", "15m", "1h", "2d" or "1h30m".
Duration = Annotated[timedelta, BeforeValidator(parse_duration), _AS_TEXT]
#: The same, but never 0: time-outs and periods.
Period = Annotated[timedelta, BeforeValidator(_positive), _AS_TEXT]
#: A period, or "off".
Interval = Annotated[timedelta | None, BeforeValidator(_interval), _AS_TEXT]
TextList = Annotated[tuple[str, ...], BeforeValidator(_names)]
Table = Annotated[dict[str, str], BeforeValidator(_table)]
