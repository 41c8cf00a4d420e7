"""A report as a document: facts, then tables. HTML to read and print without JavaScript, or CSV (pdf.py: PDF).
Asks nobody.

Every value from outside is escaped for where it stands: HTML text, or a spreadsheet's cell.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import overload

from msgspec import Struct

from agent.model import csv_text

#: Print keeps a table's head on each page, and no row in two.
_STYLE = """
:root { color-scheme: light dark; font: 14px/1.45 system-ui, sans-serif; }
body { max-width: 100rem; margin: 2rem auto; padding: 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #8886; }
td { overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
@media print { body { margin: 0; max-width: none; font-size: 9px; } thead { display: table-header-group; }
  tr { break-inside: avoid; } .wide { overflow: visible; } }
"""


class Rows(Sequence[Sequence[str]]):
    """Attributes of some values as a table's rows, made one by one."""

    def __init__(self, values: Sequence[object], names: Sequence[str]) -> None:
        self._values = values
        self._names = names

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, n: int) -> Sequence[str]: ...
    @overload
    def __getitem__(self, n: slice) -> Sequence[Sequence[str]]: ...
    def __getitem__(self, n: int | slice) -> Sequence[str] | Sequence[Sequence[str]]:
        if isinstance(n, slice):
            return Rows(self._values[n], self._names)
        return [str(getattr(self._values[n], name)) for name in self._names]


class ReportTable(Struct, frozen=True, kw_only=True):
    """``rows``: one list of cells for each column. ``empty`` is said where there are none."""

    title: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    empty: str
    #: How many of the last columns only programs read: pages for print leave them out.
    keys: int = 0


class Document(Struct, frozen=True, kw_only=True):
    """``tables``: the last one is what CSV holds."""

    title: str
    facts: Sequence[tuple[str, str]]
    tables: Sequence[ReportTable]


def html(document: Document) -> Iterator[str]:
    title = escape(document.title)
    yield f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<style>{_STYLE}</style></head>\n<body><main>\n<h1>{title}</h1>\n<dl>\n"
    for name, value in document.facts:
        yield f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>\n"
    yield "</dl>\n"
    for table in document.tables:
        yield f"<h2>{escape(table.title)}</h2>\n"
        if not table.rows:
            yield f"<p>{escape(table.empty)}</p>\n"
            continue
        # A region that scrolls must be reachable with the keyboard.
        yield f'<div class="wide" role="region" aria-label="{escape(table.title)}" tabindex="0"><table>'
        yield f"<caption>{escape(table.caption)}</caption>\n<thead><tr>"
        yield "".join(f'<th scope="col">{escape(name)}</th>' for name in table.columns) + "</tr></thead>\n<tbody>\n"
        for row in table.rows:
            yield f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n"
        yield "</tbody></table></div>\n"
    yield "</main></body></html>\n"


def csv(document: Document) -> Iterator[str]:
    table = document.tables[-1]
    return csv_text.lines(table.columns, (dict(zip(table.columns, row, strict=True)) for row in table.rows))
