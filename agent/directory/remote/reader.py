"""Accounts of the remote as directory users: single ones, and everybody. Writes only what a whole listing has shown."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple, TypeVar

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from agent.directory import guarded
from agent.directory.remote import lookup, merge
from agent.directory.remote.batch_read import BatchRead
from agent.directory.remote.ledger import intended
from agent.directory.remote.listing import Listing, Problem
from agent.directory.remote.lookup import Finder, Resource
from agent.directory.remote.provider import Discovery
from agent.directory.remote.transport import HURRIED, PATIENT, Transport
from agent.directory.remote.unread import Unread
from agent.directory.remote.wire import RemoteAccount
from agent.model.errors import DirectoryUnavailable, Unreadable
from agent.model.mapping import Mapping
from agent.model.users import DirectoryUser, identity_key
from agent.settings import DirectorySettings
from agent.store import alarms, intents, links
from agent.store.engine import Store
from agent.store.intents import Intent
from agent.store.links import Link, Owner
from agent.store.staging import AccountRow

#: How long the agent's own last write outweighs a listing that shows something older.
LAG = timedelta(minutes=10)
#: Time to renew a certificate without haste.
CERTIFICATE_NOTICE = timedelta(days=14)

log = structlog.get_logger("agent.directory.remote")


_One = TypeVar("_One", DirectoryUser, merge.Row)


class Known(NamedTuple):
    """What the store keeps of one account, as of one moment."""

    link: Link | None
    owner_keys: frozenset[str]
    #: Calls on it whose outcome isn't known.
    waiting: list[Intent]


class Reader:
    """Thread-safe but for ``everyone``, which one thread iterates. ``clock`` gives aware UTC times."""

    def __init__(
        self,
        store: Store,
        transport: Transport,
        settings: DirectorySettings,
        pages: ThreadPoolExecutor,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._transport = transport
        self._settings = settings
        self._pages = pages
        self._clock = clock
        self._keys = frozenset(map(identity_key, settings.owners))
        self.provider = Discovery(transport)
        self.batch = BatchRead(transport, self.provider)
        self.finder = Finder(transport, self._scan)
        self.unread = Unread()
        self._listed = False

    # One

    def resource(self, user_id: str, *, patience: float = PATIENT) -> Resource | None:
        return lookup.by_id(self._transport, user_id, patience=patience)

    def known(self, user_id: str) -> Known:
        return self.known_of([user_id])[user_id]

    def known_of(self, user_ids: Sequence[str]) -> dict[str, Known]:
        """Of one moment."""
        with self._store.read() as conn:
            owners = self._owner_keys(conn)
            return {
                user_id: Known(links.get_link(conn, user_id), owners, intents.open_on(conn, user_id))
                for user_id in user_ids
            }

    def owner_keys(self) -> frozenset[str]:
        """Who counts as an owner where an account shows no roles."""
        with self._store.read() as conn:
            return self._owner_keys(conn)

    def join(self, account: RemoteAccount) -> DirectoryUser:
        with self._store.read() as conn:
            return merge.join(account, links.get_link(conn, account.id), self._owner_keys(conn))

    def join_as(self, account: RemoteAccount, intended: DirectoryUser, owner_keys: frozenset[str]) -> DirectoryUser:
        """``account`` as read after a write, with what the store is about to keep of it."""
        detached = intended.okta_id is None and account.okta_id is not None
        return merge.join(account, merge.link_of(intended, detached=detached), owner_keys)

    def by_id(self, user_id: str, *, patience: float = PATIENT) -> DirectoryUser | None:
        found = self.resource(user_id, patience=patience)
        return None if found is None else self.join(found.account)

    def by_okta_id(self, okta_id: str, *, patience: float = PATIENT) -> DirectoryUser | None:
        """The link first; an account whose link says another Okta id isn't this one, whatever the remote keeps."""
        with self._store.read() as conn:
            link = links.by_okta_id(conn, okta_id)
        linked = None if link is None else self.by_id(link.directory_id, patience=patience)
        if linked is not None:
            return linked
        # Never linked, or the account is there no more: another one may hold that externalId.
        account = self.finder.by_okta_id(okta_id, patience=patience)
        user = None if account is None else self.join(account)
        return user if user is not None and user.okta_id == okta_id else None

    def by_user_name(self, user_name: str, *, patience: float = PATIENT) -> DirectoryUser | None:
        account = self.finder.by_user_name(user_name, patience=patience)
        if account is not None:
            return self.join(account)
        # A search may lag behind the agent's own writes; a read by id doesn't.
        key = identity_key(user_name)
        with self._store.read() as conn:
            recent = [link for link in links.by_written_name(conn, key) if self.recently_written(link)]
        for link in recent:
            user = self.by_id(link.directory_id, patience=patience)
            if user is not None and user.user_name_key == key:
                return user
        return None

    # All

    def listing(self) -> Listing:
        settings = self._settings
        return Listing(
            self._transport, self.provider(), self._pages, page_size=settings.page_size, ahead=settings.concurrency
        )

    def everyone(self, report: Callable[[list[Problem]], None]) -> Iterator[list[DirectoryUser]]:
        """All accounts; ListingUnreliable or DirectoryUnavailable where they can't all be told. ``report`` comes last."""
        return self._everybody(merge.join, lambda user: user, merge.counted, report)

    def listed(self, mapping: Mapping, report: Callable[[list[Problem]], None]) -> Iterator[list[AccountRow]]:
        """``everyone`` as far as a sweep compares it."""

        def read(account: RemoteAccount, link: Link | None, owners: frozenset[str]) -> merge.Row:
            return merge.row(account, link, owners, mapping)

        for some in self._everybody(read, lambda user: merge.row_of(user, mapping), lambda row: row.counted, report):
            yield [row.columns for row in some]

    def _everybody(
        self,
        read: Callable[[RemoteAccount, Link | None, frozenset[str]], _One],
        shaped: Callable[[DirectoryUser], _One],
        counted: Callable[[_One], merge.Counted],
        report: Callable[[list[Problem]], None],
    ) -> Iterator[list[_One]]:
        """The end writes down what a whole listing shows."""
        listing = self.listing()
        recent, mark = self._recently()
        count = _Count()
        for page in listing:
            known, owners = self._known(page)
            found: list[_One] = []
            for account in page:
                link = known.get(account.id)
                if account.id in recent:
                    one = shaped(self._newer(merge.join(account, link, owners), recent))
                else:
                    one = read(account, link, owners)
                count.add(counted(one), account)
                found.append(one)
            yield found
        if late := [shaped(user) for user in self._late(listing, recent)]:
            for one in late:
                count.add(counted(one), None)
            yield late
        self._store_counts(count, listing, mark)
        self._note_unread(listing.problems)
        report(listing.problems)

    def _scan(self) -> Iterator[list[RemoteAccount]]:
        listing = self.listing()
        yield from listing
        self._note_unread(listing.problems)

    def _note_unread(self, problems: list[Problem]) -> None:
        with self._store.read() as conn:
            known = links.of(conn, [problem.id for problem in problems if problem.id])
        self.unread.note(problems, {link.directory_id: link.okta_id for link in known.values() if link.okta_id})

    def know_owners(self) -> None:
        """List everybody once where roles are shown and no listing has told who the owners are."""
        with self._store.read() as conn:
            known = bool(links.owners(conn))
        if not known and not self._listed:
            for _ in self.everyone(lambda _: None):
                pass

    def _known(self, page: list[RemoteAccount]) -> tuple[dict[str, Link], frozenset[str]]:
        """What the store keeps of a page, and who counts as an owner where an account shows no roles."""
        with self._store.read() as conn:
            return links.of(conn, [account.id for account in page]), self._owner_keys(conn)

    def _owner_keys(self, conn: Connection) -> frozenset[str]:
        """Of directory.owners; nobody where the remote has shown roles, for then those count."""
        return frozenset() if self._keys and links.owners(conn) else self._keys

    def _late(self, listing: Listing, recent: dict[str, Link]) -> list[DirectoryUser]:
        """What the agent wrote itself, and the listing doesn't show yet. Who was deleted meanwhile isn't late."""
        unseen = [
            user
            for link in recent.values()
            if not listing.saw(link.directory_id) and (user := merge.written_state(link))
        ]
        return unseen if len(unseen) > self._transport.pace.one_by_one else self._still_there(unseen)

    def _still_there(self, unseen: list[DirectoryUser]) -> list[DirectoryUser]:
        """Without those that a read says are gone. Who can't be read may well be there."""
        there: list[DirectoryUser] = []
        for done, user in enumerate(unseen):
            try:
                # A remote may hide whoever is inactive; that no read finds them says nothing.
                if not user.active or self.resource(user.id, patience=HURRIED) is not None:
                    there.append(user)
            except Unreadable:
                there.append(user)
            except DirectoryUnavailable:
                return [*there, *unseen[done:]]
        return there

    def _recently(self) -> tuple[dict[str, Link], intents.Mark]:
        """What the agent wrote last, by account, and the mark of this moment."""
        with self._store.read() as conn:
            links_of = {
                link.directory_id: link for link in links.written_since(conn, self._clock() - LAG) if link.state
            }
            return links_of, intents.mark(conn)

    def recently_written(self, link: Link) -> bool:
        """By the agent: a list or a search may still show what was there before."""
        return link.written is not None and link.written >= self._clock() - LAG

    def _newer(self, listed: DirectoryUser, recent: dict[str, Link]) -> DirectoryUser:
        """The agent's own write, where the list doesn't show it yet; the list, where somebody wrote after that."""
        link = recent.get(listed.id)
        if link is None:
            return listed
        own = merge.written_state(link)
        if own is None or own.version == listed.version or listed.updated > own.updated:
            return listed
        # What the store keeps, and roles, change without a call of the agent.
        marks = {name: getattr(listed, name) for name in ("okta_id", "origin", "protected", "role")}
        mixed = replace(own, **marks)
        return replace(mixed, version=merge.version(mixed))

    def _store_counts(self, count: "_Count", listing: Listing, mark: intents.Mark) -> None:
        """``mark``: from before the listing began."""
        owners = [Owner(user_id, name) for user_id, name in count.shown_owners.items()]

        def work(conn: Connection) -> None:
            if owners:
                links.set_owners(conn, owners)
            # A call that is under way, or ended while the list was read, counts as made: the list may not show it.
            ends = [
                user
                for intent in intents.counted(conn, mark)
                if (user := intended(intent).body.before) is not None
                and listing.saw(user.id)
                and user.id not in count.inactive
            ]
            links.set_counters(
                conn,
                managed_active=count.managed_active - sum(map(guarded.managed_active, ends)),
                active_owners=count.active_owners() - sum(map(guarded.active_owner, ends)),
                visible=count.visible,
            )

        self._store.write(work)
        self._watch_certificate()
        self._listed = True
        log.info("remote listed", accounts=count.visible, managed=count.managed_active, roles=bool(owners))

    def _watch_certificate(self) -> None:
        ends, now = self._transport.certificate_ends, self._clock()
        if ends is None:
            return
        if ends - now < CERTIFICATE_NOTICE:
            detail = (
                f"The certificate of the remote OpsHelm at {self._transport.host} ends {ends:%Y-%m-%d}. Renew it there."
            )
            self._store.write(lambda conn: alarms.raise_alarm(conn, "remote_certificate", "directory", detail, now))
        else:
            self._store.write(lambda conn: alarms.clear(conn, "remote_certificate", "directory", now))


class _Count:
    """What a whole listing shows of the account."""

    def __init__(self) -> None:
        self.managed_active = self.visible = 0
        self.inactive: set[str] = set()
        #: By id, of accounts that show the role of an owner.
        self.shown_owners: dict[str, str] = {}
        self._active: dict[str, bool] = {}

    def add(self, one: merge.Counted, account: RemoteAccount | None) -> None:
        """``account``: as listed; None for one that the listing doesn't show yet."""
        user_id, active, managed, owner, hidden = one
        self.managed_active += managed and active
        if not active:
            self.inactive.add(user_id)
        self.visible += not hidden
        if owner:
            self._active[user_id] = active
            # A role that the account itself shows, not one of the setting.
            if account is not None and account.owner:
                self.shown_owners[user_id] = account.user_name

    def active_owners(self) -> int:
        """Where roles are shown, those count, and not the setting."""
        return sum(
            active for user_id, active in self._active.items() if not self.shown_owners or user_id in self.shown_owners
        )
