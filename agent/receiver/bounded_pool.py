"""Work that may take long, off the event loop: some at a time, a few more that wait, and 429 for the rest.

A pool of its own each, so that searches never stand in the way of pushes, nor of the look at a key.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from agent.receiver.refusals import ScimError

T = TypeVar("T")

#: At once; the interpreter's lock would let more of them get on no faster.
_AT_ONCE = 4
#: With those that are under way; each waits for a few seconds at most.
_MOST = 32
_BUSY_SECONDS = 30


class BoundedPool:
    """Used on one event loop."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=f"scim-{name}")
        self._count = 0

    async def run(self, work: Callable[[], T]) -> T:
        if self._count >= _MOST:
            raise ScimError(
                429, f"{self._count} {self._name} are under way. Nothing was changed.", retry_after=_BUSY_SECONDS
            )
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        self._count += 1
        # Not when the client goes away: the work goes on.
        future.add_done_callback(self._ended)
        return await asyncio.shield(future)

    def _ended(self, _: "asyncio.Future[T]") -> None:
        self._count -= 1
