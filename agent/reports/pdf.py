"""A report's document as PDF pages: landscape A4, each table's head on each page. Needs reportlab (extra ``pdf``).

Latin text is in Helvetica, anything else in Adobe's STSong, which readers bring along: it has Chinese, Greek and Cyrillic letters.
"""

import io
from collections.abc import Sequence
from functools import cache, lru_cache

from reportlab import rl_config
from reportlab.lib.pagesizes import A4, landscape
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from agent.reports.document import Document, ReportTable

_WIDTH, _HEIGHT = landscape(A4)
_MARGIN, _SIZE, _LINE = 28.0, 6.5, 8.0
_LATIN, _BOLD, _OTHER = "Helvetica", "Helvetica-Bold", "STSong-Light"


def pdf(document: Document) -> bytes:
    out = io.BytesIO()
    pdfmetrics.registerFont(UnicodeCIDFont(_OTHER))
    # Its detour over ASCII costs time and a quarter of the size.
    rl_config.useA85 = 0
    pages = _Pages(Canvas(out, pagesize=(_WIDTH, _HEIGHT), pageCompression=1), document.title)
    pages.text(document.title, _BOLD, 14)
    for name, value in document.facts:
        pages.row([name, value], [110.0, _WIDTH - 2 * _MARGIN - 110.0])
    for table in document.tables:
        _table(pages, table)
    pages.end()
    return out.getvalue()


def _table(pages: "_Pages", table: ReportTable) -> None:
    pages.gap()
    pages.text(table.title, _BOLD, 10)
    if not table.rows:
        pages.text(table.empty, _LATIN, _SIZE)
        return
    pages.text(table.caption, _LATIN, _SIZE)
    shown = len(table.columns) - table.keys
    widths = _widths(table, shown)
    pages.header(table.columns[:shown], widths)
    for row in table.rows:
        pages.row(row[:shown], widths)
    pages.draw()
    pages.head = None


def _widths(table: ReportTable, shown: int) -> list[float]:
    """Of each column by what its first rows hold, so that all fit the page."""
    first = [row[:shown] for row in table.rows[:500]]
    longest = [min(40, max(map(len, column))) for column in zip(table.columns[:shown], *first, strict=True)]
    return [(_WIDTH - 2 * _MARGIN) * n / sum(longest) for n in longest]


class _Pages:
    """Lines from top to bottom, a new page where one is full. Rows wait and are drawn column by column, which takes a tenth."""

    def __init__(self, canvas: Canvas, title: str) -> None:
        self.head: tuple[Sequence[str], Sequence[float]] | None = None
        self._canvas = canvas
        self._title = title
        self._page = 1
        self._y = _HEIGHT - _MARGIN
        #: Where the waiting rows begin, their columns' lines, and how wide these are.
        self._top = self._y
        self._columns: list[list[str]] = []
        self._widths: Sequence[float] = ()
        canvas.setTitle(title)

    def text(self, text: str, font: str, size: float) -> None:
        self.draw()
        self._room(size * 1.5)
        self._canvas.setFont(font if _latin(text) else _OTHER, size)
        self._canvas.drawString(_MARGIN, self._y - size, text)
        self._y -= size * 1.5

    def gap(self) -> None:
        self.draw()
        self._y -= 2 * _LINE

    def row(self, cells: Sequence[str], widths: Sequence[float]) -> None:
        """One row; what is wider than its column goes on below."""
        folded = [_folded(cell, width - 4) for cell, width in zip(cells, widths, strict=True)]
        height = max(map(len, folded))
        self._room(height * _LINE)
        if not self._columns:
            self._top, self._widths, self._columns = self._y, widths, [[] for _ in widths]
        for column, lines in zip(self._columns, folded, strict=True):
            column.extend((*lines, *[""] * (height - len(lines))))
        self._y -= height * _LINE

    def draw(self, font: str = _LATIN) -> None:
        """What waits."""
        x = _MARGIN
        for lines, width in zip(self._columns, self._widths, strict=bool(self._columns)):
            text = self._canvas.beginText(x, self._top - _SIZE)
            text.setFont(font, _SIZE, _LINE)
            for line in lines:
                if _latin(line):
                    text.textLine(line)
                else:
                    text.setFont(_OTHER, _SIZE, _LINE)
                    text.textLine(line)
                    text.setFont(font, _SIZE, _LINE)
            self._canvas.drawText(text)
            x += width
        self._columns = []

    def end(self) -> None:
        self._foot()
        self._canvas.save()

    def _room(self, height: float) -> None:
        if self._y - height >= 2 * _MARGIN:
            return
        self._foot()
        self._canvas.showPage()
        self._page += 1
        self._y = _HEIGHT - _MARGIN
        if self.head is not None:
            self.header(*self.head)

    def header(self, names: Sequence[str], widths: Sequence[float]) -> None:
        self.head = None
        self.row(names, widths)
        self.draw(_BOLD)
        self.head = names, widths

    def _foot(self) -> None:
        self.draw()
        self._canvas.setFont(_LATIN, _SIZE)
        self._canvas.drawString(_MARGIN, _MARGIN, f"{self._title}, page {self._page}")


def _latin(text: str) -> bool:
    return text.isascii() or max(text) < "\u0100"


@lru_cache(maxsize=10_000)
def _folded(text: str, width: float) -> Sequence[str]:
    """Cut where the column ends, since what stands in it has no blanks to break at; control characters are shown."""
    if not text.isprintable():
        text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    lines: list[str] = []
    while text:
        fits = _fitting(text, width, _LATIN if _latin(text) else _OTHER)
        lines.append(text[:fits])
        text = text[fits:]
    return lines or ("",)


def _fitting(text: str, width: float, font: str) -> int:
    """How many characters fit, at least one."""
    room = width / _SIZE
    for n, char in enumerate(text):
        room -= _char_width(char, font)
        if room < 0:
            return max(1, n)
    return len(text)


@cache
def _char_width(char: str, font: str) -> float:
    """In units of the font's size."""
    return float(pdfmetrics.stringWidth(char, font, 1))
