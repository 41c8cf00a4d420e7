"""Counts the statements that a SQLite store runs; begin before the store has run any."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from agent.store.engine import Store


class Statements:
    def __init__(self, store: Store) -> None:
        self._seen: list[str] = []
        event.listen(store.engine, "connect", self._trace)

    def _trace(self, connection: Any, record: Any) -> None:
        connection.set_trace_callback(self._seen.append)

    @contextmanager
    def within(self) -> Iterator[list[str]]:
        """What ran meanwhile, but for the bounds of transactions."""
        begin, found = len(self._seen), []
        yield found
        found += [one for one in self._seen[begin:] if one.split()[0] not in ("BEGIN", "ROLLBACK", "COMMIT", "PRAGMA")]
