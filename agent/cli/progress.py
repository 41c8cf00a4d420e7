"""Progress of long work: one moving line on a terminal, else a line every 10 s, or JSON lines. Knows nothing of the work."""

import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

_EVERY_SECONDS = 10.0
#: Between two JSON lines of the same.
_EVERY_JSON = 1.0


class JsonProgress:
    """``{"kind": "progress", …}`` a line: each new thing at once, the same thing once a second."""

    def __init__(self, write: Callable[[dict[str, Any]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._what, self._next = "", 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        with self._lock:
            if what != self._what or time.monotonic() >= self._next:
                self._what, self._next = what, time.monotonic() + _EVERY_JSON
                self._write({"kind": "progress", "what": what, "done": done, "total": total})

    def wait(self, seconds: float, what: str) -> None:
        with self._lock:
            self._write({"kind": "waiting", "seconds": round(seconds, 1), "for": what})


class TerminalProgress:
    """``1,200/8,400 people · 37/s · waiting 14 s for Okta's limit on apps``. Its methods may be called from any thread.

    Work that says nothing for a while, such as a comparison in the database, is shown as going on all the same.
    """

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._lock = threading.Lock()
        self._started = self._printed = time.monotonic()
        self._width = 0
        #: What was said last, and when.
        self._last, self._said = "", self._started
        #: What is waited for, and until when: whatever was asked before still gets its answers meanwhile.
        self._waits, self._until = "", self._started
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with self._lock:
            self._clear()

    def still(self) -> None:
        """Nothing was said since the last time: say that it goes on, and for how long."""
        with self._lock:
            at = time.monotonic()
            seconds, left = at - self._said, self._until - at
            if left > 0 and seconds >= 1:
                self._put(f"{self._waits}: {left:,.0f} s more")
            elif self._last and seconds >= _EVERY_SECONDS:
                self._put(f"{self._last} · for {seconds:,.0f} s")

    def _go_on(self) -> None:
        while not self._over.wait(1.0 if self._terminal else _EVERY_SECONDS):
            self.still()

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """``done`` of ``total`` of what is being done now."""
        elapsed = max(time.monotonic() - self._started, 0.001)
        of = f"/{total:,}" if total else ""
        speed = f" · {done / elapsed:,.0f}/s" if done else ""
        self._show(f"{what}{f' {done:,}{of}' if done or total else ''}{speed}")

    def wait(self, seconds: float, what: str) -> None:
        """Nothing moves for so long, and why."""
        with self._lock:
            self._waits, self._until = f"waiting for {what}", time.monotonic() + seconds
        self._show(f"waiting {seconds:,.0f} s for {what}")

    def _show(self, line: str) -> None:
        with self._lock:
            self._last, self._said = line, time.monotonic()
            self._put(line)

    def _put(self, line: str) -> None:
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
