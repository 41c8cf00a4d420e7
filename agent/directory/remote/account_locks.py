"""Writes to one account, one after the other within this process. Says nothing of other processes (intents do)."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from weakref import WeakValueDictionary

from agent.directory.remote import deadline
from agent.model.errors import DirectoryUnavailable


def under_way() -> DirectoryUnavailable:
    return DirectoryUnavailable("Another change of this account is under way. Nothing was changed; try again later.")


class AccountLocks:
    """One lock for each account that is being written; they vanish when nobody waits."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: WeakValueDictionary[str, threading.RLock] = WeakValueDictionary()

    @contextmanager
    def of(self, key: str) -> Iterator[None]:
        lock = self._lock(key)
        if not deadline.acquired(lock):
            raise under_way()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def of_idle(self, keys: Sequence[str]) -> Iterator[frozenset[str]]:
        """Of those that nobody is at; answers which. Waits for none, so that two can't wait for each other."""
        with ExitStack() as held:
            mine = set[str]()
            for key in keys:
                lock = self._lock(key)
                if lock.acquire(blocking=False):
                    held.callback(lock.release)
                    mine.add(key)
            yield frozenset(mine)

    def _lock(self, key: str) -> threading.RLock:
        with self._guard:
            return self._locks.setdefault(key, threading.RLock())
