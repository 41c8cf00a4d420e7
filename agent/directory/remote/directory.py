"""A remote OpsHelm as the directory: the port's verbs on top of mirror, reader and outbox. Thread-safe. Close it.

One account is read from the remote each time, by id or by an identity. Lists and other searches are answered from the mirror, as
of a whole listing that is minutes old at most. Writes run in a few threads of their own, and answer a Future;
``directory.concurrency`` bounds the calls.
"""

import math
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from msgspec.structs import replace

from agent.directory import rows
from agent.directory.backend import Backend
from agent.directory.operator import OperatorActs
from agent.directory.port import Draft, Identity, Page, RemoteFacts, Step, WriteContext, Written
from agent.directory.remote import deadline
from agent.directory.remote.account_locks import AccountLocks
from agent.directory.remote.batches import RemoteBatches
from agent.directory.remote.caller import RemoteCaller
from agent.directory.remote.keeps import DAY, Keeps
from agent.directory.remote.ledger import Ledger
from agent.directory.remote.lookup import FRESH
from agent.directory.remote.mirror import LAG, Mirror
from agent.directory.remote.outbox import Outbox
from agent.directory.remote.patience import HURRIED, Pace
from agent.directory.remote.reader import CERTIFICATE_NOTICE, Reader
from agent.directory.remote.transport import Transport
from agent.directory.remote.trial import Trial, unchangeable
from agent.directory.remote.unfinished import Unfinished
from agent.directory.rows import Policy
from agent.directory.rules import AccountChange
from agent.model.codes import FindingCode, Source
from agent.model.mapping import Kept, Mapping
from agent.model.plan import Finding
from agent.model.users import DirectoryUser, ShownUser
from agent.scim.terms import Compare
from agent.settings import Settings
from agent.store.engine import Store
from agent.store.journal import Signature

#: The most that directory.concurrency can be.
_MOST_HELPERS = 64
#: Attributes that name one account.
_IDENTITIES: dict[str, Identity] = {"id": "id", "userName": "user_name_key", "externalId": "okta_id"}


def _policy(settings: Settings) -> Policy:
    return replace(Policy.of(settings), sets_roles=False)


class RemoteDirectory(Backend):
    """Fulfils agent.directory.port.Directory. ``clock`` is for what has no ``now`` of its own: listings."""

    reads_block = True
    sets_roles = False

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pace: Pace | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """``stop``: the process is to end, and nothing waits for the remote any more."""
        self.store = store
        rows.require_mapping(store, Mapping(settings.mapping))
        self._clock = clock
        self._pace = pace or Pace()
        self._stop = stop or threading.Event()
        # These two know what is under way, with old settings too.
        self.mirror = Mirror(store, _policy(settings), settings.directory.owners)
        self._ledger = Ledger(self.mirror, holder=str(uuid4()))
        self._locks = AccountLocks()
        self._helpers = ThreadPoolExecutor(_MOST_HELPERS, thread_name_prefix="remote-waves")
        self._open(settings)

    def _open(self, settings: Settings) -> None:
        self.transport = Transport(settings.directory, self._pace, self._stop)
        self._no_roles = "not asked yet"
        #: Calls that may be under way at the same time.
        self.concurrency = threads = settings.directory.concurrency
        self._pages = ThreadPoolExecutor(threads, thread_name_prefix="remote-pages")
        # More than calls, for some wait for a turn; the transport bounds the calls.
        self._writes = ThreadPoolExecutor(4 * threads, thread_name_prefix="remote-writes")
        self.reader = Reader(self.transport, settings.directory, self._pages, self.mirror, self._clock)
        self._keeps = Keeps(self.store, self.transport.base_url, self._clock)
        self._shaped = -math.inf
        caller = RemoteCaller(self.transport, self.reader.finder, self.reader.provider, self._keeps)
        self._unfinished = Unfinished(self.reader, caller, self._ledger)
        self._outbox = Outbox(self.reader, caller, self._ledger, self._unfinished, self._locks)
        self.search_time = settings.receiver.search_time
        # Last: what failed above is tried again.
        self._settings = settings.directory

    def renew(self, settings: Settings, by: Signature, taken: Callable[[], None] = lambda: None) -> None:
        """Take changed settings on, such as a new key; what is under way ends with the old ones."""
        if settings.directory != self._settings and settings.directory.backend == "scim":
            pools = self._writes, self._pages
            self._open(settings)
            for pool in pools:
                pool.shutdown(wait=True)
        rows.change_mapping(self.store, Mapping(settings.mapping), by)
        self.mirror.renew(_policy(settings), settings.directory.owners)
        taken()
        rows.rebuild(self.store, self.mirror.policy.mapping)

    def close(self) -> None:
        self._writes.shutdown(wait=True)
        self._helpers.shutdown(wait=True)
        self._pages.shutdown(wait=True, cancel_futures=True)
        self.transport.close()

    # Reads

    @property
    def no_roles(self) -> str:
        """Asked of the remote's schema; a yes holds as long as these settings do."""
        if self._no_roles:
            self._no_roles = self.reader.provider.no_roles()
        return self._no_roles

    @property
    def owners_known(self) -> bool:
        """False: deactivations are held, for nobody can tell who the last owner is. Known at the earliest after a listing."""
        with self.store.read() as conn:
            return self.mirror.owners_known(conn)

    def unreadable(self, user_name: str, okta_id: str, directory_id: str | None) -> Finding | None:
        """The account of this person, where the last whole listing showed one that can't be read."""
        problem = self.reader.unread.of(user_name=user_name, okta_id=okta_id, directory_id=directory_id)
        if problem is None:
            return None
        return Finding(
            code=FindingCode.UNREADABLE,
            login=user_name,
            detail=f"{problem.detail.rstrip('.')}; left as it is, and no second account is made",
            okta_id=okta_id,
            directory_id=problem.id or None,
        )

    def get(self, user_id: str) -> DirectoryUser | None:
        return self._one("id", user_id)

    def find(self, *, user_name_key: str | None = None, okta_id: str | None = None) -> DirectoryUser | None:
        """By one identity, never by a fallback of one for another; hidden accounts too."""
        if (user_name_key is None) == (okta_id is None):
            raise TypeError("find takes exactly one of user_name_key and okta_id")
        return self._one("user_name_key", user_name_key or "") if okta_id is None else self._one("okta_id", okta_id)

    def _one(self, by: Identity, value: str) -> DirectoryUser | None:
        find = {"id": self.reader.by_id, "user_name_key": self.reader.by_user_name, "okta_id": self.reader.by_okta_id}
        with deadline.within(deadline.PUSH):
            return find[by](value, patience=HURRIED)

    def show(self, by: Identity, value: str) -> ShownUser | None:
        user = self._one(by, value)
        return None if user is None or user.hidden else ShownUser.of(user)

    def search(self, where: Any | None, start_index: int, count: int) -> Page:
        """An identity decides something, so the remote is asked; anything else is answered from the mirror."""
        if isinstance(where, Compare) and where.op == "eq" and isinstance(where.value, str):
            by = _IDENTITIES.get(str(where.target))
            if by is not None:
                user = self._one(by, where.value)
                found = [] if user is None or user.hidden else [ShownUser.of(user)]
                return Page(total=len(found), users=found[max(start_index, 1) - 1 :][: max(count, 0)])
        with deadline.within(deadline.PUSH):
            self.reader.refresh(at_most=FRESH)
        return super().search(where, start_index, count)

    def search_after(self, where: Any | None, after: int, count: int) -> Page:
        with deadline.within(deadline.PUSH):
            self.reader.refresh(at_most=FRESH)
        return super().search_after(where, after, count)

    def everyone(self) -> Iterator[Sequence[DirectoryUser]]:
        """All accounts; an error unless the listing is whole. Then ``findings`` says what it left out."""
        self.reader.refresh()
        yield from super().everyone()

    @property
    def kept(self) -> Kept:
        if time.monotonic() - self._shaped > DAY.total_seconds():
            self._keeps.shaped(self.reader.provider.shape())
            self._shaped = time.monotonic()
        return self._keeps.kept

    @property
    def findings(self) -> tuple[Finding, ...]:
        return (*self.reader.findings, *self._keeps.findings(self.mirror.policy.mapping))

    def refresh(self, step: Step) -> tuple[Finding, ...]:
        rows.rebuild(self.store, self.mirror.policy.mapping)
        self.reader.refresh(step)
        return self.findings

    # Writes

    def create(self, draft: Draft, context: WriteContext, now: datetime) -> "Future[Written]":
        return self._submit(context, partial(self._outbox.create, draft, context, now))

    def add(self, user: DirectoryUser, context: WriteContext, now: datetime) -> DirectoryUser:
        """The remote gives it its id and its role."""
        return self.create(Draft(user_name=user.user_name, profile=user.profile), context, now).result().user

    def change(self, change: AccountChange, now: datetime) -> "Future[Written]":
        return self._submit(change.context, partial(self._outbox.change, change, now))

    def change_together(self, changes: Sequence[AccountChange], now: datetime) -> list[Written]:
        """It has no transactions."""
        raise NotImplementedError

    def batches(self) -> RemoteBatches:
        is_email = self.mirror.policy.receiver.username_is_email
        return RemoteBatches(self._outbox, self._helpers, self.concurrency, username_is_email=is_email)

    def operator(self, *, actor: str, reason: str, now: datetime, source: Source = Source.CLI) -> OperatorActs:
        return OperatorActs(self, actor=actor, reason=reason, now=now, source=source)

    def read_back(self, now: datetime) -> int:
        """What was under way when an agent stopped; answers how many calls are still in doubt. First thing of a run."""
        return self._unfinished.read_back(now)

    def facts(self, patience: float) -> RemoteFacts:
        self.transport.most_patience = patience
        provider = self.reader.provider()
        trial = Trial(self.transport, provider, self._settings.page_size, self._in_use)
        shortfalls = (*trial.shortfalls(), *unchangeable(self.reader.provider.shape()))
        ends = self.transport.certificate_ends
        names = self._settings.owners
        return RemoteFacts(
            host=self.transport.host,
            accounts=trial.accounts,
            shortfalls=shortfalls,
            announced=provider.announced,
            problem=provider.problem,
            patch=provider.patch,
            etag=provider.etag,
            cursor=provider.cursor,
            certificate_ends=ends,
            certificate_due=None if ends is None else ends - CERTIFICATE_NOTICE,
            owners=names,
            not_kept=tuple(self._keeps.told(self.mirror.policy.mapping)),
            # A search that fails is told already.
            owners_missing=None
            if any(one.fails and one.line == "search" for one in shortfalls)
            else sum(self.reader.by_user_name(name) is None for name in names),
        )

    # Inside

    def _in_use(self, seen: Collection[str]) -> list[str]:
        unseen = self.mirror.unseen(seen)
        # A list may lag behind these.
        late = {user.id for user in self.mirror.written_since(self._clock() - LAG, unseen)}
        return self.mirror.in_use(unseen - late)

    def _submit(self, context: WriteContext, write: Callable[[], Written]) -> "Future[Written]":
        """What a push waits for, its turn included, ends before Okta gives it up."""
        with deadline.within(deadline.PUSH if context.source is Source.PUSH else math.inf):
            return self._writes.submit(copy_context().run, write)
