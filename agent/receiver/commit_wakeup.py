"""From the writer's thread back to the event loop: one wake-up for all writes that a commit finished, not one for each.

A wake-up is a system call that hands the interpreter over; 32 of them in a row cost more than the 32 answers.
"""

import asyncio
from collections import deque
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class CommitWakeups:
    """One for each loop. ``wait`` is called on the loop; futures may be finished by any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._done: deque[tuple[asyncio.Future[Any], Future[Any]]] = deque()
        self._woken = False

    async def wait(self, future: "Future[T]") -> T:
        """The future's result. Being cancelled does not cancel the write, which may have happened."""
        waiter: asyncio.Future[T] = self._loop.create_future()
        future.add_done_callback(lambda done: self._finished(waiter, done))
        return await waiter

    def _finished(self, waiter: "asyncio.Future[Any]", done: "Future[Any]") -> None:
        # In this order, and the reverse in _deliver: whoever is appended late is seen there or wakes the loop again.
        self._done.append((waiter, done))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False
        while self._done:
            waiter, done = self._done.popleft()
            if waiter.cancelled():
                continue
            try:
                waiter.set_result(done.result())
            except Exception as error:  # noqa: BLE001 - whatever it was, it is the waiter's
                waiter.set_exception(error)
