"""Progress of long work on stderr: one moving line on a terminal, else a line every 10 s. Knows nothing of the work."""

import sys
import threading
import time
from typing import Self

_EVERY_SECONDS = 10.0


class TerminalProgress:
    """``1,200/8,400 people · 37/s · waiting 14 s for Okta's limit on apps``. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._started = self._printed = time.monotonic()
        self._width = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._clear()

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """``done`` of ``total`` of what is being done now."""
        elapsed = max(time.monotonic() - self._started, 0.001)
        of = f"/{total:,}" if total else ""
        speed = f" · {done / elapsed:,.0f}/s" if done else ""
        self._show(f"{what}{f' {done:,}{of}' if done or total else ''}{speed}")

    def wait(self, seconds: float, what: str) -> None:
        """Nothing moves for so long, and why."""
        self._show(f"waiting {seconds:,.0f} s for {what}")

    def _show(self, line: str) -> None:
        with self._lock:
            if self._terminal:
                self._clear()
                sys.stderr.write(line)
                sys.stderr.flush()
                self._width = len(line)
            elif time.monotonic() - self._printed >= _EVERY_SECONDS:
                self._printed = time.monotonic()
                sys.stderr.write(f"{line}\n")
                sys.stderr.flush()

    def _clear(self) -> None:
        if self._width:
            sys.stderr.write(f"\r{' ' * self._width}\r")
            self._width = 0
