"""The embedded directory: OpsHelm's user table in the agent's own database. Rules are in guarded.py; filters in filter_sql.py."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, false, func, select

from agent.directory import remap, rows, writes
from agent.directory.actions import SqlBatches
from agent.directory.backend import AccountChange, Backend
from agent.directory.operator import OperatorActs
from agent.directory.port import CursorPage, Draft, Page, Step, WriteContext, Written
from agent.directory.rows import Policy, WriteScope
from agent.model.codes import Source
from agent.model.mapping import Mapping
from agent.model.plan import Finding
from agent.model.users import DirectoryUser
from agent.settings import Settings
from agent.store import account
from agent.store.compare import Relation
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.staging import Staging
from agent.store.tables import users

#: Accounts per page of ``everyone``.
_PAGE = 500


class SqlDirectory(Backend):
    """Fulfils agent.directory.port.Directory. Thread-safe, as the store is."""

    relation = Relation.USERS
    owners_known = True
    sets_roles = True

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.reads_block = store.reads_block
        remap.require(store, self._take_on(settings).mapping)

    def renew(self, settings: Settings, by: Signature) -> None:
        """Take changed settings on; they hold from the next write on. Their mapping becomes the database's."""
        remap.change(self.store, Mapping(settings.mapping), by)
        remap.finish(self.store, self._take_on(settings).mapping)

    def _take_on(self, settings: Settings) -> Policy:
        self.policy = Policy.of(settings)
        self._batch = settings.reconcile.batch
        self._search_time = settings.receiver.search_time
        return self.policy

    def close(self) -> None:
        """Nothing of its own is open; the store is its caller's."""

    # Reads

    def get(self, user_id: str) -> DirectoryUser | None:
        with self.store.read() as conn:
            return rows.one(rows.by_id(conn, id=user_id))

    def find(self, *, user_name_key: str | None = None, okta_id: str | None = None) -> DirectoryUser | None:
        """By one identity, never by a fallback of one for another; hidden accounts too."""
        if (user_name_key is None) == (okta_id is None):
            raise TypeError("find takes exactly one of user_name_key and okta_id")
        with self.store.read() as conn:
            if okta_id is not None:
                return rows.one(rows.by_okta_id(conn, okta_id=okta_id))
            return rows.one(rows.by_key(conn, key=user_name_key))

    def search(self, where: Any | None, start_index: int, count: int, *, include_hidden: bool = False) -> Page:
        """``start_index`` counts from 1; what is below it, or a negative count, is taken as 1 and 0."""
        offset, limit = max(start_index, 1) - 1, max(count, 0)
        with self.store.read(None if where is None else self._search_time) as conn:
            if where is None and not include_hidden:
                found = rows.page(conn, offset, limit) if limit else []
                return Page(total=account.visible(conn), users=found)
            return _search(conn, self._conditions(where, include_hidden=include_hidden), offset, limit)

    def search_after(self, where: Any | None, after: int, count: int) -> CursorPage:
        """The page behind ``after`` (0: the first) in the same order; however far in, it costs the same."""
        limit = max(count, 0)
        shown = self._conditions(where)
        with self.store.read(None if where is None else self._search_time) as conn:
            if where is None:
                total = account.visible(conn)
            else:
                total = conn.execute(select(func.count()).select_from(users).where(*shown)).scalar_one()
            found, following = _after(conn, shown, after, limit)
        return CursorPage(total=total, users=found, next=following)

    def _conditions(self, where: Any | None, *, include_hidden: bool = False) -> list[ColumnElement[bool]]:
        if where is None:
            return [] if include_hidden else [users.c.hidden == false()]
        from agent.directory import filter_sql

        named = filter_sql.where(where, self.store.dialect)
        return [named] if include_hidden else [filter_sql.visible(where, self.store.dialect), named]

    def everyone(self) -> Iterator[Sequence[DirectoryUser]]:
        seq = 0
        while True:
            with self.store.read() as conn:
                seq, found = rows.after(conn, seq, _PAGE)
            if not found:
                return
            yield found

    def stage(self, rows: Staging, mapping: Mapping, step: Step) -> tuple[Finding, ...]:  # noqa: ARG002 - the port has them
        """It is compared where it is."""
        remap.finish(self.store, mapping)
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


def _after(
    conn: Connection, conditions: list[ColumnElement[bool]], after: int, limit: int
) -> tuple[list[DirectoryUser], int | None]:
    """The accounts behind ``after``, and where the next page goes on; None at the end."""
    statement = select(*rows.RAW).where(*conditions, users.c.seq > after).order_by(users.c.seq).limit(limit + 1)
    found = conn.execute(statement).fetchall()
    more = len(found) > limit > 0
    return [rows.decode(row) for row in found[:limit]], found[limit - 1][0] if more else None


def _search(conn: Connection, conditions: list[ColumnElement[bool]], offset: int, limit: int) -> Page:
    total = conn.execute(select(func.count()).select_from(users).where(*conditions)).scalar_one()
    if not limit or offset >= total:
        return Page(total=total, users=[])
    statement = select(*rows.RAW).where(*conditions).order_by(users.c.seq).limit(limit).offset(offset)
    return Page(total=total, users=[rows.decode(row) for row in conn.execute(statement)])
