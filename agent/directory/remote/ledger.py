"""What the store writes around a call to the remote: before it, the checks and the intent; after it, the outcome. Makes no call.

======================  =============================================================================================
moment                  in one transaction
======================  =============================================================================================
before the call         the one guarded check over the mirrored account; the journal's row of intent; a deactivation counts
                        in the windows and as an owner less
it was done             the account as the answer or a read shows it, into its row; counters; the journal's row ``applied``
it was not done         the counts are given back; the journal's row ``refused`` (the remote said no) or ``failed``
not known               nothing: the intent stays open, counts as done, and is read back later
nothing to call         checks, row, journal: for what only the agent keeps (a link, a protection)
======================  =============================================================================================
"""

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from agent.directory import decisions, guarded, refusals, rows
from agent.directory.port import WriteContext, Written
from agent.directory.remote import change as bodies
from agent.directory.remote import mirror
from agent.directory.remote.account_locks import under_way
from agent.directory.remote.lookup import Resource
from agent.directory.remote.mirror import Beside, Marks, Mirror, Mirrored, Taken
from agent.directory.rows import WriteScope
from agent.directory.rules import AccountChange
from agent.model.codes import RefusalCode
from agent.model.errors import DirectoryError, DirectoryUnavailable, Refused, UsageError
from agent.model.holds import Hold
from agent.model.structs import decoder
from agent.model.users import DirectoryUser, Role
from agent.store import account, holds, intents, journal, lease, windows
from agent.store.engine import Raised


class Moved(DirectoryError):
    """Somebody else changed the account between the read and the write."""

    code = "moved"
    soft = True


class IntendedBody(Struct, frozen=True, kw_only=True):
    """What an intent keeps: enough to read it back and to write its outcome after a restart."""

    before: DirectoryUser | None
    after: DirectoryUser
    context: WriteContext
    exempt: bool = True
    confirm: bool = False
    #: The externalId is to be written at the remote, not in the store alone.
    external_id: bool = False
    #: The role is to be written at the remote.
    role: bool = False
    #: An account that is there no more and still holds this person's Okta id; the outcome drops it.
    dead: str | None = None
    #: What it counts as having taken away, as long as it is open.
    taken: Taken = Taken()

    @property
    def ends(self) -> bool:
        return _ended(self.before, self.after)


class Intended(NamedTuple):
    """An intent that is open."""

    id: int
    body: IntendedBody
    #: The version of the account that it was judged by, as the mirror has it.
    etag: str | None = None

    @property
    def plain(self) -> tuple[Mapping[str, Any] | None, Mapping[str, Any]]:
        """What the remote has, None of an account to be made, and what it is to have."""
        body = self.body
        before = None if body.before is None else bodies.plain(body.before, external_id=False, role=body.role)
        return before, bodies.plain(body.after, external_id=body.external_id, role=body.role)


class KnownBeside(Struct, frozen=True, kw_only=True):
    """What a change is judged by besides its account's row."""

    #: The account as its read showed it; None: the mirror has to do.
    seen: DirectoryUser | None = None
    #: The other owners who are active, as just read; None: no owner is taken away.
    owners: Collection[str] | None = None
    #: As in IntendedBody.
    dead: str | None = None
    #: The account that is to be changed shows roles.
    shows_roles: bool = False
    #: A call by the mirror's version alone is refused where somebody wrote since.
    versions: bool = False
    #: The remote keeps e-mails.
    emails: bool = True


_encode = msgspec.json.Encoder().encode
_decode = decoder(IntendedBody)


def intended(intent: intents.Intent) -> Intended:
    """As ``begin`` answered it, after a restart too."""
    return Intended(intent.id, _decode(intent.body))


class Ledger:
    def __init__(self, mirrored: Mirror, holder: str) -> None:
        self.mirror = mirrored
        self.store = mirrored.store
        self.holder = holder
        self._running: set[int] = set()

    @contextmanager
    def running(self, intent_id: int) -> Iterator[None]:
        """While this process is at it, nobody here reads it back."""
        self._running.add(intent_id)
        try:
            yield
        finally:
            self._running.discard(intent_id)

    def is_running(self, intent_id: int) -> bool:
        return intent_id in self._running

    # Before the call

    def begin(self, change: AccountChange, known: KnownBeside, now: datetime) -> "Future[Intended | Written | None]":
        """What is to be called; Written where there is nothing to call; None where the account has to be read first.

        Moved, NotFound, VersionConflict, Refused or FenceLost where the call must not be made. Several of them share a
        transaction, as all of these do.
        """

        def work(conn: Connection) -> Intended | Written | Raised | None:
            scope = self._scope(conn, change.context, now, known)
            row = self._row(conn, change, known)
            if row is None:
                return None
            before, after = row.user, None
            try:
                after = change.wanted(before)
                if before == after:
                    decisions.unchanged(scope, before)
                    return Written(user=before, changed=False)
                external_id = row.beside.external_id is None and after.okta_id not in (None, before.okta_id)
                role = before.role is not after.role and change.context.by_group is not None
                old, new = bodies.plain(before, external_id=False), bodies.plain(after, external_id=external_id)
                calls = role or old != new
                if known.seen is None and not (_sure(row, after, old, new) and (known.versions or not calls)):
                    return None
                _keeps_role(before, after, known, by_group=role)
                _pass_on(conn, known.dead, after, change.context)
                holders = self._holders(conn, after, known.dead)
                ready = guarded.check(scope, before, after, revives=change.revives, holders=holders)
            except Refused as refused:
                return refusals.record(scope, refused, before, after)
            body = IntendedBody(
                before=before,
                after=after,
                context=scope.context,
                confirm=ready.confirm,
                external_id=external_id,
                role=role,
                dead=known.dead,
            )
            if calls:
                return self._begin(scope, ready, body, row.beside.etag)
            after = replace(after, version=before.version + 1)
            beside = replace(row.beside, detached=_detached(row, after))
            return Written(user=self._settle(scope, body, row, after, beside, ready.mine), changed=True)

        return self.store.submit(work)

    def begin_create(self, wish: DirectoryUser, known: KnownBeside, context: WriteContext, now: datetime) -> Intended:
        """Of ``known``, what an account that isn't there yet can have."""

        def work(conn: Connection) -> Intended | Raised:
            scope = self._scope(conn, context, now, known)
            try:
                _pass_on(conn, known.dead, wish, context)
                ready = guarded.check(scope, None, wish, holders=self._holders(conn, wish, known.dead))
            except Refused as refused:
                return refusals.record(scope, refused, None, wish)
            said = wish.okta_id is not None
            body = IntendedBody(before=None, after=wish, context=context, external_id=said, dead=known.dead)
            return self._begin(scope, ready, body)

        return self.store.write(work)

    def _row(self, conn: Connection, change: AccountChange, known: KnownBeside) -> Mirrored | None:
        """The account that is to be changed, as it was read; None where it has to be read first."""
        row = mirror.get(conn, change.user_id)
        seen = known.seen
        if intents.open_on(conn, change.user_id):
            if seen is None:
                return None
            raise under_way()
        if seen is not None and (row is None or row.user != seen):
            raise Moved("The account changed at the remote OpsHelm since it was read.")
        if row is None:
            return None
        change.of(row.user)
        return row

    def _holders(self, conn: Connection, after: DirectoryUser, dead: str | None) -> list[DirectoryUser]:
        """Who has the externalId. The userName and e-mail of others are the remote's to defend: only it sees all of them at once."""
        holder = None if after.okta_id is None else rows.find(conn, "okta_id", after.okta_id)
        return [] if holder is None or holder.id == dead else [holder]

    def _begin(self, scope: WriteScope, ready: guarded.Ready, body: IntendedBody, etag: str | None = None) -> Intended:
        conn, before, after, verdict = scope.conn, body.before, body.after, ready.verdict
        window_id, ends = None, body.ends
        if verdict is not None and before is not None:
            guarded.count_deactivation(scope, before, verdict)
            window_id = windows.newest_id(conn)
        ends_owner = guarded.active_owner(before) and not guarded.active_owner(after)
        taken = Taken(managed_active=ends and guarded.managed_active(before), active_owners=ends_owner)
        account.count(conn, managed_active=-taken.managed_active, active_owners=-taken.active_owners)
        exempt = verdict is None or verdict.exempt
        body = replace(body, exempt=exempt, taken=taken)
        journal.append(conn, _entry(journal.Kind.INTENT, before, after, scope.context), scope.now)
        intent = intents.NewIntent(
            at=scope.now,
            holder=self.holder,
            directory_id=None if before is None else before.id,
            okta_id=after.okta_id,
            user_name_key=after.user_name_key,
            window_id=window_id,
            ends_owner=ends_owner,
            body=_encode(body).decode(),
        )
        return Intended(intents.begin(conn, intent), body, etag)

    def last_look(self, intent_id: int, fence: int | None) -> None:
        """Right before each sending: what another process has ended meanwhile, done or given up, isn't carried out any more."""
        with self.store.read() as conn:
            if not intents.is_open(conn, intent_id):
                # Its lease may be held all the same; a push has none.
                raise DirectoryUnavailable(
                    "Another process has read this change back and ended it meanwhile. Nothing more was sent; try again later."
                )
            if fence is not None:
                lease.look(conn, fence)

    # After it

    def done(self, intended: Intended, found: Resource | DirectoryUser, now: datetime) -> "Future[DirectoryUser]":
        """``found`` is the account as it is now, or what is known of one that is there no more; answers it."""
        intent_id, body = intended.id, intended.body
        user_id = found.account.id if isinstance(found, Resource) else found.id

        def work(conn: Connection) -> DirectoryUser:
            scope = self._scope(conn, body.context, now)
            intent, row = intents.get(conn, intent_id), mirror.get(conn, user_id)
            if intent is not None and intent.state == intents.DONE and row is not None:
                return row.user
            user, beside = self._outcome(conn, body, row, found)
            window_id = None if intent is None else intent.window_id
            if intent is not None and intent.state == intents.OPEN:
                body.taken.give_back(conn)
            elif intent is not None and intent.state == intents.UNDONE and body.before and _ended(body.before, user):
                # Somebody gave it back too early: it counts after all.
                source, managed = body.context.source.value, body.before.managed
                windows.record(conn, directory_id=user_id, source=source, exempt=body.exempt, managed=managed, now=now)
                window_id = windows.newest_id(conn)
            intents.end(conn, intent_id, intents.DONE, now, directory_id=user_id, window_id=window_id)
            return self._settle(scope, body, row, user, replace(beside, digest=None, written=now))

        return self.store.submit(work)

    def _settle(
        self,
        scope: WriteScope,
        body: IntendedBody,
        row: Mirrored | None,
        user: DirectoryUser,
        beside: Beside,
        mine: list[Hold] | None = None,
    ) -> DirectoryUser:
        """The change is made: what the store keeps of it. ``mine``: as for decisions.made."""
        before = body.before
        self._drop(scope, body.dead, user)
        user = self.mirror.put(scope.conn, row, user, beside)
        guarded.count(scope, row and row.user, user, ended=_ended(before, user))
        guarded.role_changed(scope, before, user)
        decisions.made(scope, before, user, mine)
        if body.confirm:
            guarded.ask_about_reuse(scope, user, before)
        journal.append(scope.conn, _entry(journal.Kind.APPLIED, before, user, scope.context), scope.now)
        return user

    def _outcome(
        self, conn: Connection, body: IntendedBody, row: Mirrored | None, found: Resource | DirectoryUser
    ) -> tuple[DirectoryUser, Beside]:
        if not isinstance(found, Resource):
            return (found, Beside()) if row is None else (replace(found, version=row.user.version + 1), row.beside)
        shown = found.account
        detached = _detached(row, body.after) or (
            body.after.okta_id is None and body.before is not None and body.before.okta_id is not None
        )
        marks = Marks.of(body.after, detached=detached)
        version = 1 if row is None else row.user.version + 1
        user = mirror.join(shown, marks, self.mirror.owner_keys(conn), version=version)
        return user, Beside.of(shown, etag=found.etag, detached=detached and user.okta_id is None)

    def undone(self, intended: Intended, reason: str, now: datetime, *, refused: bool) -> None:
        intent_id, body = intended.id, intended.body

        def work(conn: Connection) -> None:
            account.lock(conn)
            intent = intents.get(conn, intent_id)
            if intent is None or intent.state != intents.OPEN:
                return
            if intent.window_id is not None:
                windows.give_back(conn, intent.window_id)
            body.taken.give_back(conn)
            intents.end(conn, intent_id, intents.UNDONE, now)
            kind = journal.Kind.REFUSED if refused else journal.Kind.FAILED
            journal.append(conn, _entry(kind, body.before, body.after, body.context, reason), now)

        self.store.write(work)

    def refused_before(self, refused: Refused, wish: DirectoryUser, context: WriteContext, now: datetime) -> None:
        """A create that a rule refused before anything was judged: journalled, and raised, like the others."""
        self.store.write(lambda conn: refusals.record(self._scope(conn, context, now), refused, None, wish))

    def _drop(self, scope: WriteScope, dead: str | None, heir: DirectoryUser) -> None:
        """What still holds the person's Okta id for an account that is there no more, so that it can be ``heir``'s."""
        conn, context = scope.conn, scope.context
        if dead is None or dead == heir.id:
            return
        row, marks = mirror.before(conn, dead)
        okta_id = marks.okta_id
        if okta_id is None or okta_id != heir.okta_id:
            return
        if row is not None:
            mirror.drop(conn, row)
        mirror.forget(conn, id=dead)
        why = "the account is gone at the remote OpsHelm"
        entry = guarded.entry(journal.Kind.APPLIED, "unlink", row and row.user, None, context, why)
        journal.append(conn, replace(entry, directory_id=dead, okta_id=okta_id), scope.now)

    def _scope(
        self, conn: Connection, context: WriteContext, now: datetime, known: KnownBeside | None = None
    ) -> WriteScope:
        scope = WriteScope.locked(conn, context, now, self.mirror.policy)
        if known is None:
            return scope
        if not known.emails:
            scope = scope._replace(policy=replace(scope.policy, has_emails=False))
        if not (known.shows_roles or self.mirror.owners_known(conn)):
            scope = scope._replace(policy=replace(scope.policy, owners_known=False))
        if known.owners is not None:
            # Read just now, and whose end is under way counts no more.
            left = [one for one in known.owners if _owns(conn, one)]
            scope = scope._replace(row=replace(scope.row, active_owners=1 + len(left)))
        return scope


def _ended(before: DirectoryUser | None, after: DirectoryUser) -> bool:
    return before is not None and before.active and not after.active


def _owns(conn: Connection, user_id: str) -> bool:
    row = mirror.get(conn, user_id)
    return (
        row is not None
        and guarded.active_owner(row.user)
        and not any(intent.ends_owner for intent in intents.open_on(conn, user_id))
    )


def _sure(row: Mirrored, after: DirectoryUser, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the mirror alone is enough to carry this out, from ``old`` to ``new`` at the remote.

    A link is, where the remote itself shows whose account it is; so is an ordinary update of an account with a version: no list is
    replaced and no externalId written, and nobody's name, access or role follows.
    """
    before = row.user
    names = ("user_name_key", "active", "protected", "suspended", "hidden", "role")
    if any(getattr(before, name) != getattr(after, name) for name in names):
        return False
    if old == new:
        return after.okta_id is not None and row.beside.external_id == after.okta_id
    if row.beside.etag is None or before.okta_id != after.okta_id:
        return False
    return not bodies.replaces_lists(old, new)


def _pass_on(conn: Connection, dead: str | None, after: DirectoryUser, context: WriteContext) -> None:
    """What was decided about an account of theirs that is there no more is the person's from now on."""
    if dead is not None:
        if context.fence is not None:
            lease.check(conn, context.fence)  # behind a write nothing may be raised but Refused
        holds.pass_on(conn, dead, after.okta_id, after.user_name)


def _keeps_role(before: DirectoryUser, after: DirectoryUser, known: KnownBeside, *, by_group: bool) -> None:
    if by_group and before.role is Role.OWNER and not known.shows_roles:
        raise Refused(
            RefusalCode.INVALID_VALUE,
            f"{before.user_name} is an owner as directory.owners says; the account itself shows no role that could be taken away.",
        )
    if before.active and after.active and before.role is not after.role and not by_group:
        raise UsageError(
            "Roles are given in OpsHelm itself; SCIM can't change them. An owner does it in OpsHelm's dashboard."
        )


def _detached(row: Mirrored | None, after: DirectoryUser) -> bool:
    """An operator has unlinked it, now or before."""
    return after.okta_id is None and row is not None and (row.beside.detached or row.user.okta_id is not None)


def _entry(
    kind: journal.Kind, before: DirectoryUser | None, after: DirectoryUser, context: WriteContext, reason: str = ""
) -> journal.Entry:
    return guarded.entry(kind, guarded.verb(before, after), before, after, context, reason)
