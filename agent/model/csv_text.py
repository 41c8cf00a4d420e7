"""Rows as CSV that a spreadsheet opens without running anything. Pure; writes nowhere."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec


def lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """A header, then a line for each row, each with its end. None is an empty cell; lists and objects are JSON."""
    yield _line(columns)
    for row in rows:
        yield _line([cell(row[name]) for name in columns])


def cell(value: Any) -> str:
    """What a spreadsheet would run as a formula gets a quote in front; white space before it hides nothing."""
    if value is None:
        return ""
    text = msgspec.json.encode(value).decode() if isinstance(value, dict | list) else str(value)
    return f"'{text}" if text.lstrip(" \n")[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    # With the ends of RFC 4180 the writer quotes a lone CR too.
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"
