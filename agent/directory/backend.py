"""What both backends have in common: whatever is done to an account says what it becomes, and ``users`` answers searches."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, false, func, select

from agent.directory import rows, rules
from agent.directory.port import Draft, Page, WriteContext, Written
from agent.directory.rules import AccountChange
from agent.model.errors import UsageError
from agent.model.users import DirectoryUser, Origin
from agent.store import account
from agent.store.engine import Store
from agent.store.tables import users

#: Accounts per page of ``everyone``.
_PAGE = 500


class Backend(ABC):
    """The writes of agent.directory.port.Directory, on top of ``change``, and what it reads of many at once."""

    store: Store
    #: An operator may give and take the owner role.
    sets_roles: bool
    gives_ids = False
    #: How long a search may take.
    search_time: timedelta

    # Reads

    @property
    def no_roles(self) -> str:
        """Why no role can be given or taken; "": it can be."""
        return ""

    def search(self, where: Any | None, start_index: int, count: int) -> Page:
        """``start_index`` counts from 1; what is below it, or a negative count, is taken as 1 and 0."""
        offset, limit = max(start_index, 1) - 1, max(count, 0)
        with self.store.read(None if where is None else self.search_time) as conn:
            if where is None:
                found = rows.page(conn, offset, limit) if limit else []
                return Page(total=account.visible(conn), users=found)
            shown = self._conditions(where)
            total = _number(conn, shown)
            if not limit or offset >= total:
                return Page(total=total, users=[])
            statement = select(*rows.SHOWN).where(*shown).order_by(users.c.seq).limit(limit).offset(offset)
            return Page(total=total, users=[rows.shown(row) for row in conn.execute(statement)])

    def search_after(self, where: Any | None, after: int, count: int) -> Page:
        """The page behind ``after`` (0: the first) in the same order; however far in, it costs the same."""
        limit = max(count, 0)
        shown = self._conditions(where)
        statement = select(users.c.seq, *rows.SHOWN).where(*shown, users.c.seq > after).order_by(users.c.seq)
        with self.store.read(None if where is None else self.search_time) as conn:
            total = account.visible(conn) if where is None else _number(conn, shown)
            found = conn.execute(statement.limit(limit + 1)).fetchall()
        following = found[limit - 1][0] if len(found) > limit > 0 else None
        return Page(total=total, users=[rows.shown(row[1:]) for row in found[:limit]], next=following)

    def _conditions(self, where: Any | None) -> list[ColumnElement[bool]]:
        if where is None:
            return [users.c.hidden == false()]
        from agent.directory import filter_sql

        return [filter_sql.visible(where, self.store.dialect), filter_sql.where(where, self.store.dialect)]

    def everyone(self) -> Iterator[Sequence[DirectoryUser]]:
        seq = 0
        while True:
            with self.store.read() as conn:
                seq, found = rows.after(conn, seq, _PAGE)
            if not found:
                return
            yield found

    def several(self, ids: Sequence[str]) -> list[DirectoryUser]:
        with self.store.read() as conn:
            found = conn.execute(select(*rows.RAW).where(users.c.id.in_(ids)))
            by_id = {user.id: user for user in map(rows.decode, found)}
        return [by_id[one] for one in ids if one in by_id]

    # Writes

    @abstractmethod
    def change(self, change: AccountChange, now: datetime) -> "Future[Written]":
        """Read, let ``wanted`` say what it should be, check, write."""

    @abstractmethod
    def change_together(self, changes: Sequence[AccountChange], now: datetime) -> list[Written]:
        """All of them or none, by one and the same writer. Only where ``sets_roles``: for a handover."""

    @abstractmethod
    def add(self, user: DirectoryUser, context: WriteContext, now: datetime) -> DirectoryUser:
        """An account that is an operator's to make."""

    def modify(
        self,
        user_id: str,
        change: Callable[[DirectoryUser], Draft],
        context: WriteContext,
        now: datetime,
        *,
        expected_version: int | None = None,
    ) -> "Future[Written]":
        wanted = rules.wanted_by(change, context, now)
        return self.change(AccountChange(user_id, wanted, context, expected_version), now)

    def release(self, user_id: str, context: WriteContext, now: datetime) -> DirectoryUser:
        """An inactive account steps aside. Here it keeps its id, so what Okta pushes to that finds nobody."""

        def wanted(before: DirectoryUser) -> DirectoryUser:
            require_releasable(before)
            return rules.aside(before, before.id, now)

        return self.change(AccountChange(user_id, wanted, context), now).result().user

    def remove(
        self, user_id: str, context: WriteContext, now: datetime, *, expected_version: int | None = None
    ) -> "Future[Written]":
        def wanted(before: DirectoryUser) -> DirectoryUser:
            return rules.removed(before, context, now)

        return self.change(AccountChange(user_id, wanted, context, expected_version), now)


def _number(conn: Connection, conditions: list[ColumnElement[bool]]) -> int:
    return conn.execute(select(func.count()).select_from(users).where(*conditions)).scalar_one()


def require_releasable(user: DirectoryUser) -> None:
    if user.active:
        raise UsageError(f"{user.user_name} is active. Only an inactive account's name can be released.")
    if user.origin is Origin.RELEASED:
        raise UsageError(f"{user.user_name} is released already.")
