"""What both backends have in common: whatever is done to an account that is there says what the account becomes."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime

from msgspec import Struct

from agent.directory import transition
from agent.directory.port import Draft, WriteContext, Written
from agent.model.users import DirectoryUser

#: From the account as it is to what it becomes. Pure; may raise Refused or UsageError, and may be asked again.
Wanted = Callable[[DirectoryUser], DirectoryUser]


class AccountChange(Struct, frozen=True):
    """One change of one account that is there."""

    user_id: str
    wanted: Wanted
    context: WriteContext
    #: None: whatever version it has.
    expected_version: int | None = None
    #: A POST that found this inactive account.
    revives: bool = False


class Backend(ABC):
    """The writes of agent.directory.port.Directory, on top of ``change``."""

    #: An operator may give and take the owner role.
    sets_roles: bool

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
        wanted = transition.by(change, context, now)
        return self.change(AccountChange(user_id, wanted, context, expected_version), now)

    def remove(
        self, user_id: str, context: WriteContext, now: datetime, *, expected_version: int | None = None
    ) -> "Future[Written]":
        def wanted(before: DirectoryUser) -> DirectoryUser:
            return transition.removed(before, context, now)

        return self.change(AccountChange(user_id, wanted, context, expected_version), now)
