"""Trying a call again: with growing pauses or as long as the remote asks for, and for how long in all. Makes no call itself.

A pause that would outlast the caller's patience is not begun, and none outlasts ``stop``. Each pause that somebody would
notice is one line in the log.
"""

import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import structlog
from msgspec import Struct

from agent.directory.remote.deadline import left
from agent.model.errors import AnswerLost, DirectoryUnavailable

#: How long a sweep goes on trying one call, and how long somebody who waits for an answer does: Okta gives up after 60 s.
PATIENT = 180.0
HURRIED = 10.0
#: For what has not answered once in the life of this process: it may be the wrong address, or down for longer.
STRANGER = 30.0
_ATTEMPTS = 12
_LONGEST_PAUSE = 20.0
#: A pause that somebody who looks on would wonder about.
_NOTICED = 1.0

log = structlog.get_logger("agent.directory.remote")


class Pace(Struct, frozen=True, kw_only=True):
    """In seconds: how long calls to the remote wait, and how long they keep others waiting."""

    #: Before a call is tried for the second time; later pauses grow.
    first_wait: float = 0.2
    #: What a remote that stores first and answers later may need until its own reads show a write.
    lag: tuple[float, ...] = (0.0, 0.2, 0.8)
    #: How long 5xx or a web page in place of a ServiceProviderConfig is tried again, and how long one is then assumed.
    nonsense: float = 5.0
    assumed: float = 300.0
    #: How long the versions that a remote's lists show aren't believed, once its writes have refused them.
    rest: float = 300.0
    #: So long after its first call a wave begins no further one, and tries none for longer: who pushes one of its accounts waits.
    late: float = 3.0
    brief: float = 2.0
    #: More accounts that a list leaves out are not looked for one by one: it is a list that lags.
    one_by_one: int = 200


class NoAnswer(DirectoryUnavailable):
    """Worth another try, for ``most`` seconds; its caller's in the end. ``problem``: in a few words; ``after``: its Retry-After."""

    def __init__(self, detail: str, problem: str, *, after: float | None = None, most: float = PATIENT) -> None:
        super().__init__(detail)
        self.problem = problem
        self.after = after
        self.most = most


class Unusable(NoAnswer):
    """It answers, and with nothing that can be used: 5xx, or no JSON object. ``lasting``: it never answered such a question otherwise."""

    lasting = False


class Tries:
    """Those of one call so far, and the pauses between them: longer each time, or as long as the remote asks for."""

    def __init__(self, first_wait: float, stop: threading.Event) -> None:
        self._first_wait = self._wait = first_wait
        self._stop = stop
        self._began = time.monotonic()
        self.made = 1

    @property
    def seconds(self) -> float:
        """Since the first one."""
        return time.monotonic() - self._began

    def again(self, problem: str, wait: float | None, limit: float) -> bool:
        """Waits until the next one. False: the pause would outlast ``limit`` seconds of all tries, there were enough, or the
        process is to end. ``wait``: the pause that is asked for.
        """
        own, self._wait = self._wait, min(_LONGEST_PAUSE, 2 * self._wait)
        grows = wait is None
        wait = own if wait is None else wait
        if self.made == _ATTEMPTS or self.seconds + wait >= limit or wait >= left():
            return False
        if grows:
            wait += random.uniform(0.0, self._first_wait)  # noqa: S311 - so that not all come again at once
        self.made += 1
        say = log.warning if wait >= _NOTICED else log.debug
        say("remote OpsHelm: trying again", problem=problem, attempt=self.made, wait_s=round(wait, 1))
        return not pause(self._stop, wait)


class Silence:
    """How long nothing has been heard of the remote, whoever called it. Thread-safe: amid another's step it is shorter, never longer."""

    def __init__(self, timeout: float) -> None:
        #: After so long without a call nobody knows.
        self._most = timeout + 2 * _LONGEST_PAUSE
        self._began: float | None = None
        self._last = 0.0

    @property
    def seconds(self) -> float:
        began = self._began
        return 0.0 if began is None else self._last - began

    def goes_on(self) -> None:
        now = time.monotonic()
        if self._began is None or now - self._last > self._most:
            self._began = now
        self._last = now

    def end(self) -> None:
        self._began = None


def pause(stop: threading.Event, seconds: float) -> bool:
    """Between two tries. True: the process is to end, and the pause with it."""
    return stop.wait(seconds)


class Lost(AnswerLost):
    """A write without a good answer. ``failed``: a 500; ``busy``: a 503, which asks for time; ``after``: its Retry-After."""

    def __init__(self, detail: str, *, failed: bool = False, busy: bool = False, after: float | None = None) -> None:
        super().__init__(detail)
        self.failed = failed
        self.busy = busy
        self.after = after


def ticking(now: datetime) -> Callable[[], datetime]:
    """A clock that shows ``now`` at first and goes on, whatever happens to the machine's own: a long run must not date its last
    acts like its first.
    """
    began = time.monotonic()
    return lambda: now + timedelta(seconds=time.monotonic() - began)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """``headers`` by lower-case name. Seconds to wait; a date is taken against the remote's own Date, so that no two clocks are compared."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        sent = headers.get("date")
        now = parsedate_to_datetime(sent) if sent else datetime.now(UTC)
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None
