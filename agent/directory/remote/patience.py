"""Trying a call again: with growing pauses or as long as the remote asks for, and for how long in all. Makes no call itself.

A pause that would outlast the caller's patience is not begun, and none outlasts ``stop``. Each pause that somebody would
notice is one line in the log.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

import stamina
import structlog
from msgspec import Struct
from stamina.instrumentation import set_on_retry_hooks

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

_T = TypeVar("_T")

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


class Unusable(DirectoryUnavailable):
    """It answers, and with nothing that can be used: 5xx, or no JSON object. ``problem``: in a few words; ``lasting``: it has never
    answered such a question otherwise.
    """

    def __init__(self, detail: str, problem: str, *, lasting: bool) -> None:
        super().__init__(detail)
        self.problem = problem
        self.lasting = lasting


class Again(Exception):
    """Worth another try, for ``most`` seconds. ``error`` is what the caller gets in the end; ``strange``: perhaps nobody is there."""

    def __init__(
        self,
        error: DirectoryUnavailable,
        problem: str,
        *,
        after: float | None = None,
        strange: bool = False,
        most: float = PATIENT,
    ) -> None:
        super().__init__(error.detail)
        self.error = error
        self.problem = problem
        self.after = after
        self.strange = strange
        self.most = most


def patiently(
    once: Callable[[], _T],
    patience: float,
    *,
    first_wait: float,
    is_known: Callable[[], bool],
    with_nonsense: float = PATIENT,
    stop: threading.Event,
) -> _T:
    """``is_known``: whether the remote has answered as a SCIM service yet. ``with_nonsense``: the patience with Unusable."""
    began = time.monotonic()
    try:
        return once()
    except Again as exc:
        first: Again | None = exc

    def tried() -> _T:
        # Most calls need no second try, and are spared what counts them.
        nonlocal first
        if first is not None:
            failed, first = first, None
            raise failed
        return once()

    def again(exc: Exception) -> bool | float:
        if not isinstance(exc, Again) or attempt.num == _ATTEMPTS:
            return False
        limit = min(patience, exc.most, STRANGER if exc.strange and not is_known() else math.inf)
        if isinstance(exc.error, Unusable):
            limit = min(limit, with_nonsense)
        wait = attempt.next_wait if exc.after is None else exc.after
        if time.monotonic() - began + wait >= limit or wait >= left():
            return False
        if exc.after is None:
            wait += random.uniform(0.0, first_wait)  # noqa: S311 - so that not all come again at once
        say = log.warning if wait >= _NOTICED else log.debug
        say("remote OpsHelm: trying again", problem=exc.problem, attempt=attempt.num + 1, wait_s=round(wait, 1))
        # Waited here, for the library's own pause has no end: the next try comes at once.
        return False if pause(stop, wait) else 0.0

    attempts = stamina.retry_context(
        on=again, attempts=_ATTEMPTS, timeout=None, wait_initial=first_wait, wait_max=_LONGEST_PAUSE
    )
    try:
        for attempt in attempts:
            with attempt:
                return tried()
    except Again as last:
        raise last.error from last
    raise AssertionError("unreachable")


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


class Resending:
    """When a write that a read has shown not to be done is sent again: once more; to one that is busy, while patience lasts."""

    def __init__(self, patience: float, *, first_wait: float, stop: threading.Event) -> None:
        self._stop = stop
        self._until = time.monotonic() + min(patience, left())
        self._wait = first_wait
        self._others = 0
        self.sent = 1

    @property
    def patience(self) -> float:
        """What is left of it for the next sending; it always gets a try."""
        return max(0.0, self._until - time.monotonic())

    def again(self, lost: Lost) -> bool:
        """Waits as long as it takes. False: it isn't sent again, also because the process is to end."""
        wait = lost.after or (self._wait if lost.busy else 0.0)
        self._others += not lost.busy
        if self._others > 1 or self.sent == _ATTEMPTS or (wait and time.monotonic() + wait >= self._until):
            return False
        say = log.warning if wait >= _NOTICED else log.debug
        self.sent += 1
        say("remote OpsHelm: sending a write again", problem=lost.detail, attempt=self.sent, wait_s=round(wait, 1))
        self._wait = min(_LONGEST_PAUSE, 2 * self._wait)
        return not pause(self._stop, wait)


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


# The library's own would log the whole exception at each try.
set_on_retry_hooks([])
