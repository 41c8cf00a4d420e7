"""A command on a terminal of its own: what it shows is read, and answered as a person would; Ctrl-C comes by the keyboard."""

import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

from support.processes import environment

_SECONDS = 90.0
#: How long somebody waits before they press it again.
_AGAIN = 5.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """``shown`` is all that came so far, without colours. Leaving it ends the command."""

    def __init__(self, *args: str, cwd: Path, env: Mapping[str, str] | None = None) -> None:
        self.shown, self._seen, self._code = "", 0, None
        variables = {**environment(env), "TERM": "xterm", "COLUMNS": "80"}
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(cwd)
            os.execve(sys.executable, [sys.executable, "-m", "agent", *args], variables)

    _code: int | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._code is None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._fd)

    def expect(self, text: str) -> str:
        """Wait until it shows ``text``, behind what was expected before; what came up to its end."""
        deadline = time.monotonic() + _SECONDS
        while (found := self.shown.find(text, self._seen)) < 0:
            assert self._more(deadline), f"no {text!r} in {self.shown[self._seen :]!r}"
        before, self._seen = self._seen, found + len(text)
        return self.shown[before : self._seen]

    def type(self, text: str, *, enter: bool = True) -> None:
        os.write(self._fd, f"{text}{chr(13) if enter else ''}".encode())

    def end(self) -> int:
        """Its exit code, when it has ended."""
        return self._ended(_SECONDS)

    def interrupt(self) -> int:
        """Ctrl-C, and again while nothing happens, as a person does; the exit code.

        Python 3.11 keeps one that comes between the writing of a prompt and the reading behind it until something is typed.
        """
        for seconds in (_AGAIN, _AGAIN, _SECONDS):
            self.type("\x03", enter=False)
            with suppress(TimeoutError):
                return self._ended(seconds)
        raise TimeoutError("Ctrl-C ends nothing")

    def _ended(self, seconds: float) -> int:
        deadline = time.monotonic() + seconds
        while self._more(deadline):
            pass
        while (ended := os.waitpid(self._pid, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                raise TimeoutError(f"it goes on: {self.shown[-400:]!r}")
            time.sleep(0.01)
        self._code = os.waitstatus_to_exitcode(ended[1])
        return self._code

    def _more(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
        try:
            came = os.read(self._fd, 65_536) if ready else b""
        except OSError:  # the other end is closed
            return False
        self.shown += _ESCAPES.sub("", came.decode(errors="replace"))
        return bool(came)
