"""The OpsHelm side as everything above sees it. Two backends fulfil it: sql (embedded) and remote (SCIM over httpx).

Writes answer a Future, so that the receiver can await a group commit and the reconciler can wait for it; the Future
raises Refused, NotFound, VersionConflict, StoreUnavailable or DirectoryUnavailable.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct

from agent.model.codes import Source
from agent.model.users import DirectoryUser, Profile


class Draft(Struct, frozen=True, kw_only=True):
    """What a create or a change wants an account to be. ``okta_id`` None: not said."""

    user_name: str
    profile: Profile
    active: bool = True
    okta_id: str | None = None
    #: False: the request doesn't mention ``active`` (which then repeats what the account has).
    active_said: bool = True


class WriteContext(Struct, frozen=True, kw_only=True):
    """Who writes, why, and what that may do. Every write carries one; it ends in the journal."""

    #: "key:3 okta-prod", "run 81", "operator root@host"; never a secret.
    actor: str
    source: Source
    request_id: str = ""
    run_id: int | None = None
    plan_id: int | None = None
    action_n: int | None = None
    reason: str = ""
    #: Approved or announced: doesn't fill the guard's windows and isn't stopped by them.
    exempt: bool = False
    #: Fencing number of the lease that the run holds; checked in the write's own transaction.
    fence: int | None = None
    #: Deactivation because of policy.suspended alone: the role is kept.
    suspended: bool = False


class Written(Struct, frozen=True, kw_only=True):
    """``changed`` False: the account already was as wanted; nothing was written, not even the version."""

    user: DirectoryUser
    changed: bool
    created: bool = False


class Page(Struct, frozen=True, kw_only=True):
    total: int
    users: Sequence[DirectoryUser]


class CursorPage(Struct, frozen=True, kw_only=True):
    """``next``: where the next page begins; None: this is the last one."""

    total: int
    users: Sequence[DirectoryUser]
    next: int | None


class PagesByCursor(Protocol):
    """What a directory may offer besides: pages that cost the same however far in they are."""

    def search_after(self, where: Any | None, after: int, count: int) -> CursorPage: ...


class Directory(Protocol):
    """``reads_block``: reads may wait for a network; the receiver then uses its thread pool."""

    reads_block: bool

    def get(self, user_id: str) -> DirectoryUser | None: ...

    def find(self, *, user_name_key: str | None = None, okta_id: str | None = None) -> DirectoryUser | None: ...

    def search(self, where: Any | None, start_index: int, count: int, *, include_hidden: bool = False) -> Page:
        """One page in the stable order. ``where`` is an agent.scim.filter expression or None for all."""
        ...

    def everyone(self) -> Iterator[Sequence[DirectoryUser]]:
        """All accounts, page by page, hidden ones too."""
        ...

    def create(self, draft: Draft, context: WriteContext, now: datetime) -> "Future[Written]":
        """A POST: makes the account, or reactivates or revives one as design says; ``created`` tells."""
        ...

    def modify(
        self,
        user_id: str,
        change: Callable[[DirectoryUser], Draft],
        context: WriteContext,
        now: datetime,
        *,
        expected_version: int | None = None,
    ) -> "Future[Written]":
        """Read, let ``change`` say what it should be, check, write. ``change`` is pure; it may raise Refused.

        ``change`` runs again on fresh data where a race was lost; with ``expected_version`` that is VersionConflict.
        """
        ...

    def remove(
        self, user_id: str, context: WriteContext, now: datetime, *, expected_version: int | None = None
    ) -> "Future[Written]":
        """A SCIM DELETE: deactivate and hide."""
        ...
