"""One call, carried through: rate limits, retries, renewed credentials. Knows no SDK; ``Wire`` is what sends.

::

    what came                              reads                     writes
    429                                    wait as Okta says, again  the same: a 429 says that nothing was done
    5xx, no answer, unreadable answer      back off, again           raised; ``maybe_done`` unless it never left
    certificate not trusted                raised                    raised
    401                                    once with a new token, once with the secret read anew; then raised
    anything else                          raised                    raised
    the process is to end                  no wait and no other try; what is under way has ``LAST_SECONDS``
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agent.model.errors import UNDECODABLE, AgentError, OktaDenied, OktaError, OktaThrottled, OktaUnreachable
from agent.okta_org.calls import Call, Headers, OktaAnswer, Reply
from agent.okta_org.failures import failure, unreadable
from agent.okta_org.limits import CallAllowance, RateLimits

if TYPE_CHECKING:
    from agent.settings import OktaSettings

T = TypeVar("T")

#: Okta allows 35 calls at once on its free orgs; other clients need some of those.
CONCURRENT = 8

#: For each call that is under way, or needed to finish what was begun, when the process is asked to stop.
LAST_SECONDS = 10.0

#: Reads the settings anew; None when they can't be had.
FreshCredentials = Callable[[], "OktaSettings | None"]


class Untrusted(OktaUnreachable):
    """Whoever answered isn't known to be Okta; asking again doesn't help."""


class Wire(Protocol):
    #: Counts the renewals of its credentials, so that of many calls refused at once only one renews them.
    generation: int

    async def send(self, call: Call[Any]) -> OktaAnswer: ...

    def forget_token(self) -> bool:
        """Make the next call fetch a new OAuth token. False where there is none to forget."""

    async def adopt(self, settings: "OktaSettings") -> bool:
        """Sign with these credentials from now on. False if they are the ones already used."""


@dataclass(frozen=True)
class _Failed:
    error: OktaError
    headers: Headers


class OktaCaller:
    def __init__(
        self, wire: Wire, limits: RateLimits, *, max_retries: int, credentials: FreshCredentials | None = None
    ) -> None:
        self._wire, self._limits = wire, limits
        self._max_retries, self._credentials = max_retries, credentials
        self._slots = asyncio.Semaphore(CONCURRENT)
        self._renewing = asyncio.Lock()
        self._under_way: set[asyncio.Timeout] = set()

    @property
    def ended(self) -> bool:
        return self._limits.ended

    def end(self) -> None:
        """The process is to end. On the loop's thread."""
        self._limits.end()
        for limit in self._under_way:
            limit.reschedule(asyncio.get_running_loop().time() + LAST_SECONDS)

    async def fetch(self, call: Call[T], allowance: CallAllowance) -> Reply[T]:
        tries = 0
        renewals = iter((self._new_token, self._new_secret))
        while True:
            seen = self._wire.generation
            outcome = await self._once(call, allowance)
            if isinstance(outcome, Reply):
                return outcome
            error = outcome.error
            if isinstance(error, OktaDenied) and error.status == 401 and await _any(renewals, seen):
                continue
            tries += 1
            if tries > self._max_retries or not _again(call, error):
                raise _tried(error, tries)
            throttled = isinstance(error, OktaThrottled)
            if not await self._limits.back_off(
                call.bucket, tries, allowance, whole_bucket=throttled, headers=outcome.headers, why=error.detail
            ):
                raise _tried(error, tries)

    async def _once(self, call: Call[T], allowance: CallAllowance) -> Reply[T] | _Failed:
        await self._limits.enter(call.bucket, allowance)
        answer = None
        try:
            async with self._slots:
                answer = await self._send(call)
        except OktaError as error:
            return _Failed(error, {})
        finally:
            self._limits.leave(call.bucket, answer.headers if answer else None)
        if 200 <= answer.status < 300:
            try:
                return Reply(value=call.decode(answer.body), next=answer.next)
            except UNDECODABLE:
                return _Failed(unreadable(call, answer), {})
        if answer.status == 429:
            self._limits.refuse(call.bucket, answer.headers)
        return _Failed(failure(call, answer), answer.headers)

    async def _send(self, call: Call[Any]) -> OktaAnswer:
        try:
            async with asyncio.timeout(LAST_SECONDS if self.ended else None) as limit:
                self._under_way.add(limit)
                return await self._wire.send(call)
        except TimeoutError as exc:
            doing = f"The agent was asked to stop while Okta was asked to {call.what}."
            raise OktaUnreachable(doing, maybe_done=not call.reads) from exc
        finally:
            self._under_way.discard(limit)

    async def _new_token(self, seen: int) -> bool:
        return self._wire.generation != seen or self._wire.forget_token()

    async def _new_secret(self, seen: int) -> bool:
        """Take a secret that was rotated on disk. A half-written one is no reason to drop the old one."""
        async with self._renewing:
            if self._wire.generation != seen:
                return True
            if self._credentials is None:
                return False
            try:
                settings = await asyncio.to_thread(self._credentials)
                return settings is not None and await self._wire.adopt(settings)
            except AgentError:
                return False


async def _any(steps: Iterator[Callable[[int], Awaitable[bool]]], seen: int) -> bool:
    for step in steps:
        if await step(seen):
            return True
    return False


def _again(call: Call[Any], error: OktaError) -> bool:
    if isinstance(error, Untrusted):
        return False
    return isinstance(error, OktaThrottled) or (call.reads and isinstance(error, OktaUnreachable))


def _tried(error: OktaError, tries: int) -> OktaError:
    if tries > 1:
        error.detail = f"{error.detail} Tried {tries} times."
        error.args = (error.detail,)
    return error
