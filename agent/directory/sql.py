"""The embedded directory: OpsHelm's user table in the agent's own database. Rules are in guarded.py; filters in filter_sql.py."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime

from sqlalchemy import Connection, select

from agent.directory import rows, writes
from agent.directory.actions import SqlBatches
from agent.directory.backend import Backend
from agent.directory.operator import OperatorActs
from agent.directory.port import Draft, Identity, Step, WriteContext, Written
from agent.directory.rows import Policy, WriteScope
from agent.directory.rules import AccountChange
from agent.model.codes import Source
from agent.model.errors import UsageError
from agent.model.mapping import EVERYTHING, Mapping
from agent.model.plan import Finding
from agent.model.users import DirectoryUser, ShownUser
from agent.settings import Settings
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.tables import mirror


class SqlDirectory(Backend):
    """Fulfils agent.directory.port.Directory. Thread-safe, as the store is."""

    owners_known = True
    sets_roles = True
    kept = EVERYTHING
    gives_ids = True

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.reads_block = store.reads_block
        with store.read() as conn:
            if conn.execute(select(mirror.c.user_seq).limit(1)).first() is not None:
                raise UsageError(
                    "This database holds what was seen of a remote OpsHelm (directory.backend = scim), which is no directory of its "
                    "own. Set database.url to another one. Nothing was changed."
                )
        rows.require_mapping(store, self.take_on(settings).mapping)

    def renew(self, settings: Settings, by: Signature, taken: Callable[[], None] = lambda: None) -> None:
        """Take changed settings on; they hold from the next write on. Their mapping becomes the database's."""
        rows.change_mapping(self.store, Mapping(settings.mapping), by)
        policy = self.take_on(settings)
        taken()
        rows.rebuild(self.store, policy.mapping)

    def take_on(self, settings: Settings) -> Policy:
        """What holds from the next write on; nothing is written. Where the database has another mapping, writes are refused."""
        self.policy = Policy.of(settings)
        self._batch = settings.reconcile.batch
        self.search_time = settings.receiver.search_time
        return self.policy

    def close(self) -> None:
        """Nothing of its own is open; the store is its caller's."""

    # Reads

    def get(self, user_id: str) -> DirectoryUser | None:
        return self._one("id", user_id)

    def find(self, *, user_name_key: str | None = None, okta_id: str | None = None) -> DirectoryUser | None:
        """By one identity, never by a fallback of one for another; hidden accounts too."""
        if (user_name_key is None) == (okta_id is None):
            raise TypeError("find takes exactly one of user_name_key and okta_id")
        return self._one("user_name_key", user_name_key or "") if okta_id is None else self._one("okta_id", okta_id)

    def _one(self, by: Identity, value: str) -> DirectoryUser | None:
        return self.store.ask(lambda conn: rows.find(conn, by, value))

    def show(self, by: Identity, value: str) -> ShownUser | None:
        return self.store.ask(lambda conn: rows.show(conn, by, value))

    def refresh(self, step: Step) -> tuple[Finding, ...]:  # noqa: ARG002 - the port has it
        """Everybody is here."""
        rows.rebuild(self.store, self.policy.mapping)
        return ()

    def unreadable(self, user_name: str, okta_id: str, directory_id: str | None) -> None:
        """Every account of it can be read."""

    # Writes

    def create(self, draft: Draft, context: WriteContext, now: datetime) -> "Future[Written]":
        return self.store.submit(lambda conn: writes.create(self._scope(conn, context, now), draft))

    def add(self, user: DirectoryUser, context: WriteContext, now: datetime) -> DirectoryUser:
        return self.store.write(lambda conn: writes.add(self._scope(conn, context, now), user))

    def change(self, change: AccountChange, now: datetime) -> "Future[Written]":
        return self.store.submit(lambda conn: writes.change(self._scope(conn, change.context, now), change))

    def change_together(self, changes: Sequence[AccountChange], now: datetime) -> list[Written]:
        context = changes[0].context
        return self.store.write(lambda conn: writes.change_together(self._scope(conn, context, now), changes))

    def release(self, user_id: str, context: WriteContext, now: datetime) -> DirectoryUser:
        from agent.directory import succession

        change = AccountChange(user_id, lambda before: before, context)
        return self.store.write(lambda conn: succession.release(self._scope(conn, context, now), change))

    def batches(self) -> SqlBatches:
        return SqlBatches(self.store, self.policy, self._batch)

    def operator(self, *, actor: str, reason: str, now: datetime, source: Source = Source.CLI) -> OperatorActs:
        return OperatorActs(self, actor=actor, reason=reason, now=now, source=source)

    def read_back(self, now: datetime) -> int:  # noqa: ARG002 - the port has it
        """No answer of it gets lost: the store finds out what became of a COMMIT."""
        return 0

    def facts(self, patience: float) -> None:
        """Nothing that the checks of the database don't say."""

    def _scope(self, conn: Connection, context: WriteContext, now: datetime) -> WriteScope:
        return WriteScope.locked(conn, context, now, self.policy)
