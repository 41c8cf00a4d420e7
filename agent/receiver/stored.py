"""What the receiver keeps in the agent's store beside the directory: the use of keys, and what it refused by itself."""

from concurrent.futures import Future
from datetime import datetime

from agent.directory.port import WriteContext
from agent.store import journal, keys
from agent.store.engine import Store


class StoredKeys:
    """Fulfils agent.receiver.auth.Keys."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> list[keys.ApiKey]:
        with self._store.read() as conn:
            return keys.list_all(conn)

    def touch(self, key: keys.ApiKey, now: datetime) -> "Future[None]":
        return self._store.submit(lambda conn: keys.touch(conn, key, now))


class StoredRefusals:
    """A journal row for each write that was refused before the directory was asked."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def record(
        self, *, verb: str, directory_id: str | None, reason: str, context: WriteContext, now: datetime
    ) -> "Future[None]":
        entry = journal.Entry(
            kind=journal.Kind.REFUSED,
            verb=verb,
            actor=context.actor,
            source=context.source.value,
            directory_id=directory_id,
            request_id=context.request_id,
            reason=reason,
        )
        return self._store.submit(lambda conn: journal.append(conn, entry, now))
