"""Accounts of the remote as directory users: single ones, and everybody into the mirror. Writes nothing else."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from msgspec import structs

from agent.directory.port import Step
from agent.directory.remote import deadline, lookup, mirror
from agent.directory.remote.listing import AT_ONCE, Listed, Listing, Unread
from agent.directory.remote.lookup import Finder, Resource
from agent.directory.remote.mirror import LAG, Mirror
from agent.directory.remote.patience import HURRIED, PATIENT
from agent.directory.remote.provider import Discovery
from agent.directory.remote.transport import LATER, Transport
from agent.directory.remote.wire import Problem, RemoteAccount
from agent.model.codes import FindingCode
from agent.model.errors import DirectoryUnavailable, Unreadable
from agent.model.plan import Finding
from agent.model.users import DirectoryUser, Role, identity_key
from agent.settings import DirectorySettings
from agent.store import account as account_row
from agent.store import alarms
from agent.store.intents import Intent

#: Time to renew a certificate without haste.
CERTIFICATE_NOTICE = timedelta(days=14)
_RACES = 3
#: Seconds that a page with few changes waits for the next ones, to be written together.
_SOON = 1.0
#: Of more accounts than are read one by one.
_SAMPLE = 3

log = structlog.get_logger("agent.directory.remote")

#: Ends open calls on an account that was read just now; whether there were any.
Settle = Callable[[Sequence[Intent], Resource], bool]


class Read(NamedTuple):
    """An account read by id: as its row has it, and as it came."""

    user: DirectoryUser
    resource: Resource


class Reader:
    """Thread-safe. ``clock`` gives aware UTC times."""

    def __init__(
        self,
        transport: Transport,
        settings: DirectorySettings,
        pages: ThreadPoolExecutor,
        mirrored: Mirror,
        clock: Callable[[], datetime],
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._pages = pages
        self._mirror = mirrored
        self._store = mirrored.store
        self._clock = clock
        self.provider = Discovery(transport)
        self.finder = Finder(transport, self._listed_as, self._linked_one)
        self.unread = Unread((), {})
        #: What the last whole listing could not use.
        self.findings: tuple[Finding, ...] = ()
        self._listing = threading.Lock()
        self._listed: float | None = None

    # One

    def resource(self, user_id: str, *, patience: float = PATIENT) -> Resource | None:
        return lookup.by_id(self._transport, user_id, patience=patience)

    def read(self, user_id: str, settle: Settle | None = None, *, patience: float = PATIENT) -> Read | None:
        """What somebody writes while it is read is read again; ``settle`` may raise that it isn't the time."""
        for _ in range(_RACES):
            known = self._mirror.known(user_id)
            resource = self.resource(user_id, patience=patience)
            if resource is None:
                return None
            if settle is not None and settle(known.waiting, resource):
                known = self._mirror.known(user_id)
            user = self._mirror.take(resource.account, resource.etag, known)
            if user is not None:
                return Read(user, resource)
        raise DirectoryUnavailable("The account keeps changing while it is read. Nothing was changed; try again later.")

    def by_id(self, user_id: str, *, patience: float = PATIENT) -> DirectoryUser | None:
        found = self.read(user_id, patience=patience)
        return None if found is None else found.user

    def by_okta_id(self, okta_id: str, *, patience: float = PATIENT) -> DirectoryUser | None:
        """The link first; an account whose link says another Okta id isn't this one, whatever the remote keeps."""
        gone = list[str]()
        for user_id in self.linked_to(okta_id):
            user = self.by_id(user_id, patience=patience)
            if user is not None and user.okta_id == okta_id:
                return user
            gone += [user_id] if user is None else []
        # Never linked, or the account is there no more: another one may hold that externalId.
        account = self.finder.by_okta_id(okta_id, patience=patience)
        if account is None:
            return None
        self._mirror.depart(gone)
        user = self.shown(account, patience)
        return user if user is not None and user.okta_id == okta_id else None

    def by_user_name(self, user_name: str, *, patience: float = PATIENT) -> DirectoryUser | None:
        key = identity_key(user_name)
        account = self.finder.by_user_name(user_name, patience=patience)
        user = None if account is None else self.shown(account, patience)
        if account is None:
            # A search may lag behind the agent's own writes; a read by id doesn't.
            written = self._mirror.written_as(key, self._clock() - LAG)
            user = None if written is None else self.by_id(written, patience=patience)
        if user is not None and user.okta_id is None and self.unread.is_shared(key):
            raise Unreadable(f"{_several(user.user_name)} Rename one of them at the remote OpsHelm.")
        return user if user is not None and user.user_name_key == key else None

    def linked_to(self, okta_id: str) -> list[str]:
        with self._store.read() as conn:
            return mirror.linked_to(conn, okta_id)

    def shown(self, account: RemoteAccount, patience: float) -> DirectoryUser | None:
        """One that a search has shown; where the agent knows better, it is read."""
        (user,) = self._mirror.listed([account], self._clock() - LAG)
        if (user.user_name, user.active, user.profile) == (account.user_name, account.active, account.profile):
            return user
        return self.by_id(user.id, patience=patience)

    # All

    def refresh(self, step: Step | None = None, *, at_most: float = 0.0) -> None:
        """Everybody into the mirror; ListingUnreliable or DirectoryUnavailable where they can't all be told.

        ``at_most``: a whole listing that isn't older will do.
        """
        if not deadline.acquired(self._listing):
            raise self._transport.unavailable("is being listed, which takes long", LATER)
        try:
            if self._listed is None or time.monotonic() - self._listed >= at_most:
                self._refresh(step)
        finally:
            self._listing.release()

    def _refresh(self, step: Step | None) -> None:
        began, since, settings = time.monotonic(), self._clock() - LAG, self._settings
        listing = Listing(
            self._transport,
            self.provider(),
            self._pages,
            page_size=settings.page_size,
            ahead=settings.concurrency,
            before=self._mirror.digests(),
        )
        waiting, taken = list[Listed](), began
        for some in listing:
            waiting += some
            if len(waiting) >= AT_ONCE or time.monotonic() - taken > _SOON:
                self._take(waiting, since)
                waiting, taken = [], time.monotonic()
            if step is not None:
                step("reading OpsHelm", listing.received)
        self._take(waiting, since)
        contested = self._mirror.close(self._gone(listing))
        self.unread = self._unread(listing, contested)
        self.findings = tuple(map(_finding, (*listing.problems, *contested)))
        self._listed = began
        self._watch_certificate()
        with self._store.read() as conn:
            row, roles = account_row.get(conn), mirror.shows_owners(conn)
        log.info("remote listed", accounts=row.visible, managed=row.managed_active, roles=roles)

    def _take(self, listed: Sequence[Listed], since: datetime) -> None:
        self._mirror.listed(
            [account for account, _ in listed], since, {account.id: digest for account, digest in listed}
        )

    def other_owners(self, user: DirectoryUser) -> frozenset[str]:
        """Who else is an active owner. Each is read now: a role or a switch may have changed since the listing."""
        if self._listed is None:
            # All who show the role have to be known.
            self.refresh()
        with self._store.read() as conn:
            by_role, seen = mirror.shows_owners(conn), mirror.owners(conn)
        if by_role or not self._settings.owners:
            found = [self.by_id(user_id) for user_id in seen if user_id != user.id]
        else:
            names = [name for name in self._settings.owners if identity_key(name) != user.user_name_key]
            found = [self.by_user_name(name) for name in names]
        active = {one.id for one in found if one is not None and one.active and one.role is Role.OWNER}
        return frozenset(active - {user.id})

    def _listed_as(self, attribute: str, value: str, at_most: float) -> str | None:
        self.refresh(at_most=at_most)
        return self._mirror.seen_as(attribute, value)

    def _gone(self, listing: Listing) -> list[str]:
        """Whom a whole listing doesn't show, or shows unreadable. What the agent wrote just now may only be late, and who is in use
        may be left out.
        """
        unread = {problem.id for problem in listing.problems if problem.id and not problem.duplicate}
        unseen = self._mirror.unseen(listing.seen - unread) - unread
        late = self._mirror.written_since(self._clock() - LAG, unseen)
        unsure, there = unseen - {user.id for user in late}, {user.id for user in late}
        if len(late) <= self._transport.pace.one_by_one:
            # A remote may hide whoever is inactive; that no read finds them says nothing.
            there -= {user.id for user in late if user.active}
            there.update(self._still_there([user.id for user in late if user.active]))
        there.update(self._left_out(self._mirror.in_use(unsure), listing))
        return [*(unseen - there), *unread]

    def _left_out(self, unseen: list[str], listing: Listing) -> list[str]:
        """Whom the list doesn't show, and a read does: it ends at some number, whatever it says, or hides them."""
        few = len(unseen) <= self._transport.pace.one_by_one
        there = self._still_there(unseen if few else sample(unseen))
        if there and not few:
            raise listing.unreliable(
                f"leaves out active accounts of Okta's people ({len(unseen)}), and reads by id don't say that they are gone"
            )
        if there:
            log.warning("remote OpsHelm: its list leaves out accounts that a read by id finds", accounts=len(there))
        return there

    def _still_there(self, unseen: Sequence[str]) -> list[str]:
        """Without those that a read says are gone. Who can't be read may well be there."""
        there: list[str] = []
        for done, user_id in enumerate(unseen):
            try:
                if self.by_id(user_id, patience=HURRIED) is not None:
                    there.append(user_id)
            except Unreadable:
                there.append(user_id)
            except DirectoryUnavailable:
                return [*there, *unseen[done:]]
        return there

    def _unread(self, listing: Listing, contested: Sequence[Problem]) -> Unread:
        unread = [problem for problem in listing.problems if not problem.duplicate]
        linked = self._mirror.linked([problem.id for problem in unread if problem.id])
        # Whoever has one of these names has an account, and nobody can tell which one: a read of one by its id settles nothing.
        unsure = [
            structs.replace(one, id="", detail=_several(one.login))
            for one in contested
            if one.shared and self._mirror.seen_as("userName", identity_key(one.login)) is None
        ]
        return Unread([*unread, *unsure], linked)

    def _linked_one(self, accounts: Sequence[RemoteAccount]) -> RemoteAccount:
        """Of several with one userName, the only one that is linked to somebody; nobody guesses."""
        linked = self._mirror.linked([account.id for account in accounts])
        mine = [account for account in accounts if account.id in linked]
        if len(mine) != 1:
            raise Unreadable(f"{_several(accounts[0].user_name)} Rename one of them at the remote OpsHelm.")
        return mine[0]

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


def _finding(problem: Problem) -> Finding:
    return Finding(
        code=FindingCode.DUPLICATE_LISTED if problem.duplicate else FindingCode.UNREADABLE,
        login=problem.login or "?",
        detail=problem.detail,
        directory_id=problem.id or None,
        okta_id=(problem.duplicate and problem.okta_id) or None,
    )


def sample(unseen: Sequence[str]) -> Sequence[str]:
    """A few from all over, which tell whether a list leaves out who is there."""
    return unseen[:: len(unseen) // _SAMPLE + 1]


def _several(user_name: str) -> str:
    return f"Several accounts of OpsHelm have the userName {user_name}, but for its case, so nobody can tell which one is meant."
