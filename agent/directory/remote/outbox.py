"""One guarded write to the remote: read → judge → intent → call → settle from the answer or a read. In the thread of its caller.

Two writes to one account take turns in this process; across processes an open intent of another one makes the second wait
(DirectoryUnavailable), and If-Match decides where the remote has versions. No lock of the database is held over a call.
What is left: a process that stands still between its last look and the socket, at a remote without versions.

Several changes of a run go ``together``: what the mirror is sure of needs no read before, and where the answer shows the new
version of the account as it was to become, none after; their intents share transactions, and so do links that need no call.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from functools import partial

from msgspec import to_builtins
from msgspec.structs import replace

from agent.directory import guarded, rules
from agent.directory.port import Draft, WriteContext, Written
from agent.directory.remote import change as bodies
from agent.directory.remote import wire
from agent.directory.remote.account_locks import AccountLocks
from agent.directory.remote.caller import Aim, RemoteCaller
from agent.directory.remote.keeps import without
from agent.directory.remote.ledger import Intended, KnownBeside, Ledger, Moved
from agent.directory.remote.lookup import Resource
from agent.directory.remote.patience import HURRIED, PATIENT, Lost, ticking
from agent.directory.remote.reader import Read, Reader
from agent.directory.remote.unfinished import Unfinished
from agent.directory.rules import AccountChange
from agent.model.codes import Source
from agent.model.errors import (
    AgentError,
    AnswerLost,
    DirectoryUnavailable,
    NotDone,
    NotFound,
    Refused,
    RemoteRefused,
    StoreError,
    Unreadable,
    UsageError,
    VersionConflict,
)
from agent.model.users import DirectoryUser, Profile, identity_key
from agent.store import attention
from agent.store.engine import crash_point
from agent.store.unkept import Loss

#: Who waits for an answer: Okta gives a push 60 s.
_HURRIED = (Source.PUSH, Source.CLI, Source.DASHBOARD)
_RACES = 3
#: When a person whose push met a remote that was down is looked at.
_LOOK_LATER = timedelta(seconds=60)

#: Runs tasks at the same time. They raise nothing.
SideBySide = Callable[[Sequence[Callable[[], None]]], None]


class Outbox:
    """Thread-safe."""

    def __init__(
        self, reader: Reader, caller: RemoteCaller, ledger: Ledger, unfinished: Unfinished, locks: AccountLocks
    ) -> None:
        self.reader = reader
        self.caller = caller
        self.ledger = ledger
        self._unfinished = unfinished
        self._locks = locks
        #: Until then no version that a list showed is taken for what it says.
        self._versions_rest = 0.0

    def change(self, change: AccountChange, now: datetime, *, lost_race: Intended | None = None) -> Written:
        """``lost_race``: an attempt at it that met somebody else's change."""
        change = self._fitting(change)
        user_id, context, clock = change.user_id, change.context, ticking(now)
        patience = patience_of(context)
        with self._locks.of(user_id), self._looked_at_later(context, now, directory_id=user_id):
            for _ in range(_RACES):
                # An intent is as old as itself, not as the run that it belongs to.
                at = clock()
                read = self.reader.read(user_id, partial(self._unfinished.settle, now=at), patience=patience)
                if read is None:
                    raise NotFound("There is no such user.")
                if lost_race is not None and _still_planned(lost_race, read.user):
                    change = replace(change, expected_version=None)
                try:
                    begun = self.ledger.begin(change, self._known(change, read), at).result()
                except Moved:
                    continue
                assert begun is not None
                if isinstance(begun, Written):
                    return begun
                try:
                    return self._carry_out(begun, read.resource, at, patience)
                except Moved:
                    lost_race = begun
            raise VersionConflict(
                "The account keeps changing at the remote OpsHelm. Nothing was changed; try again later."
            )

    def create(self, draft: Draft, context: WriteContext, now: datetime) -> Written:
        clock, patience = ticking(now), patience_of(context)
        key = identity_key(draft.user_name)
        with self._locks.of(f"name {key}"), self._looked_at_later(context, now, okta_id=draft.okta_id):
            self._unfinished.settle_creates(draft, now)
            draft = replace(draft, profile=self.caller.keeps.fit(None, draft.profile))
            wish = rules.created(draft, context, now)
            try:
                okta_id = draft.okta_id
                same_id = None if okta_id is None else self.reader.by_okta_id(okta_id, patience=patience)
                same_name = self.reader.by_user_name(draft.user_name, patience=patience)
                known = guarded.revivable(draft, same_id, same_name)
            except Refused as refused:
                self.ledger.refused_before(refused, wish, context, now)
                raise
            if known is not None:

                def revived(before: DirectoryUser) -> DirectoryUser:
                    # As it is read now: somebody may have been quicker.
                    guarded.revivable(draft, same_id and before, before)
                    return rules.revived(before, draft, context, now)

                written = self.change(AccountChange(known.id, revived, context, revives=True), now)
                return replace(written, changed=True, created=True)
            self._not_unread(draft, patience)
            beside = KnownBeside(dead=self._dead(wish, None, patience), emails=self.caller.keeps.has_emails)
            intended = self.ledger.begin_create(wish, beside, context, clock())
            user = self._carry_out(intended, None, clock(), patience).user
            if user.active is not wish.active:
                raise NotDone(f"The remote OpsHelm made the account, but active is {str(user.active).lower()} there.")
            return Written(user=user, changed=True, created=True)

    def together(
        self, changes: Sequence[AccountChange], now: datetime, side_by_side: SideBySide
    ) -> list[Written | Exception]:
        """Of different accounts; in their order, what was written or why not."""
        changes = [self._fitting(change) for change in changes]
        ends: dict[int, Written | Exception] = {}
        lost: dict[int, Intended] = {}
        clock, first_call = ticking(now), math.inf
        with self._locks.of_idle([one.user_id for one in changes]) as idle:
            mine = [n for n, one in enumerate(changes) if one.user_id in idle]
            # Who pushes one of these accounts waits; whoever is left goes on alone.
            # Whether the remote knows PATCH is tried with one.
            first = len(mine) if self.caller.has_patched else 1
            for some in (mine[:first], mine[first:]):
                if time.monotonic() - first_call < self.caller.pace.late:
                    since = time.monotonic()
                    begun = self._begun({n: changes[n] for n in some}, ends, clock)
                    first_call = min(first_call, since) if begun else first_call
                    lost |= self._called(begun, ends, clock, side_by_side)
        left = [n for n in range(len(changes)) if n not in ends]

        def alone(n: int) -> None:
            with _noting(ends, n):
                ends[n] = self.change(changes[n], clock(), lost_race=lost.get(n))

        side_by_side([partial(alone, n) for n in left])
        return [ends[n] for n in range(len(changes))]

    def _begun(
        self, changes: Mapping[int, AccountChange], ends: dict[int, Written | Exception], clock: Callable[[], datetime]
    ) -> dict[int, Intended]:
        """Those that are to be called; others have their end by it, or have to be read first."""
        known = KnownBeside(versions=self._trusts_versions, emails=self.caller.keeps.has_emails)
        at = clock()
        waiting = {n: self.ledger.begin(one, known, at) for n, one in changes.items()}
        begun: dict[int, Intended] = {}
        for n, future in waiting.items():
            with _noting(ends, n):
                found = future.result()
                if isinstance(found, Intended):
                    begun[n] = found
                elif found is not None:
                    ends[n] = found
        return begun

    def _called(
        self,
        begun: Mapping[int, Intended],
        ends: dict[int, Written | Exception],
        clock: Callable[[], datetime],
        side_by_side: SideBySide,
    ) -> dict[int, Intended]:
        """Answers those that met somebody else's change."""
        found: dict[int, Resource | DirectoryUser] = {}
        lost: dict[int, Intended] = {}
        since = time.monotonic()

        def call(n: int, one: Intended) -> None:
            if time.monotonic() - since > self.caller.pace.late:
                # Another process must not find this intent too old while its call still waits here.
                self.ledger.undone(one, "It was not sent yet.", clock(), refused=False)
                return
            with _noting(ends, n):
                try:
                    found[n] = self._call(one, mirrored(one), clock(), self.caller.pace.brief)
                except Moved:
                    lost[n] = one
                except DirectoryUnavailable as error:
                    # What was not done goes on alone, and may take its time.
                    if isinstance(error, AnswerLost) or (isinstance(error, NotDone) and not _busy(error)):
                        raise

        with ExitStack() as running:
            for one in begun.values():
                running.enter_context(self.ledger.running(one.id))
            side_by_side([partial(call, n, one) for n, one in begun.items()])
            crash_point("wave.called")
            at = clock()
            endings = {n: self.ledger.done(begun[n], one, at) for n, one in found.items()}
            for n, ending in endings.items():
                with _noting(ends, n):
                    ends[n] = Written(user=ending.result(), changed=True)
        if lost and len(lost) == len(begun) and not self.caller.no_patch:
            # Its lists show versions that its writes don't know.
            self._versions_rest = time.monotonic() + self.caller.pace.rest
        return lost

    @property
    def _trusts_versions(self) -> bool:
        """Whether a call by what a list showed is refused where somebody wrote since."""
        return self.caller.patches and self.caller.has_versions and time.monotonic() >= self._versions_rest

    # One call

    def _carry_out(self, intended: Intended, resource: Resource | None, now: datetime, patience: float) -> Written:
        with self.ledger.running(intended.id):
            clock = ticking(now)
            found = self._call(intended, resource, now, patience)
            return Written(user=self.ledger.done(intended, found, clock()).result(), changed=True)

    def _call(
        self, intended: Intended, resource: Resource | None, now: datetime, patience: float
    ) -> Resource | DirectoryUser:
        """What is known of the account after the call. ``resource`` None: it is to be made.

        Where it raises, what is known of the outcome is stored.
        """
        found: Resource | DirectoryUser | None
        try:
            found = self._sent(intended, resource, patience)
        except (AnswerLost, StoreError):
            # Not known, or this process may say nothing more: the intent counts until it is read back.
            raise
        except Unreadable as exc:
            raise _in_doubt(intended, exc) from exc
        except AgentError as exc:
            found = self._ended(intended, exc)
            if found is None:
                self.ledger.undone(intended, exc.detail, now, refused=isinstance(exc, Refused))
                raise
        crash_point("call.read")
        return found

    def _sent(self, intended: Intended, resource: Resource | None, patience: float) -> Resource:
        try:
            return self._tried(intended, intended.body.after, resource, patience)
        except RemoteRefused as refused:
            for less, names in self._less(intended, refused):
                try:
                    found = self._tried(intended, less, resource, patience)
                except RemoteRefused:
                    continue
                self.caller.keeps.note(names, Loss.REFUSES, refused.detail, directory_id=found.account.id)
                return found
            raise

    def _tried(self, intended: Intended, wanted: DirectoryUser, resource: Resource | None, patience: float) -> Resource:
        context = intended.body.context
        before, after = intended._replace(body=replace(intended.body, after=wanted)).plain
        aim = Aim(
            wanted=wanted,
            resource=resource,
            before=before,
            after=after,
            patience=patience,
            last_look=partial(self.ledger.last_look, intended.id, context.fence),
            pushed=context.source is Source.PUSH,
        )
        return self.caller.carry_out(aim)

    def _less(self, intended: Intended, refused: RemoteRefused) -> Iterator[tuple[DirectoryUser, list[str]]]:
        """What is wanted without the attributes that the remote says no to, and these. Of a leaver, at last their end alone: what else
        came with it, say another userName, keeps nobody's access.
        """
        before, after = intended.body.before, intended.body.after
        old = Profile() if before is None else before.profile
        said = bodies.unfulfilled(to_builtins(old), to_builtins(after.profile), to_builtins(old))
        # An account that is there and shows no e-mail tells as much as the refusal: there is no place for one.
        without_emails = before is not None and not before.profile.emails
        names = self.caller.keeps.blamed(refused, said, without_emails=without_emails)
        if names:
            yield replace(after, profile=without(old, after.profile, names)), names
        sent, wanted = intended.plain
        if before is not None and intended.body.ends and wanted != {**(sent or {}), "active": False}:
            yield replace(before, active=False), []

    def _ended(self, intended: Intended, said: AgentError) -> Resource | DirectoryUser | None:
        """A deactivation that went wrong as far as the remote says: the account, where it is inactive all the same.

        None: nothing was changed. It raises where that isn't known, and the intent then stays open and counts.
        """
        body = intended.body
        unsent = isinstance(said, DirectoryUnavailable) and not isinstance(said, NotDone)
        if not body.ends or body.before is None or unsent or isinstance(said, Moved):
            return None
        if isinstance(said, NotDone):
            # It said yes. The reads may lag behind, so only a later one proves that it did nothing.
            raise NotDone(
                f"{said.detail} For the limits and the owners it counts as made until a later read shows this again."
            ) from said
        try:
            return self._unfinished.inactive(body.before, body.after)
        except (DirectoryUnavailable, Unreadable) as exc:
            raise _in_doubt(intended, exc) from exc

    # Before a call

    def _fitting(self, change: AccountChange) -> AccountChange:
        """The same as far as the remote keeps it."""
        keeps = self.caller.keeps
        if not keeps.notes:
            return change

        def wanted(before: DirectoryUser) -> DirectoryUser:
            after = change.wanted(before)
            return replace(after, profile=keeps.fit(before.profile, after.profile))

        return replace(change, wanted=wanted)

    def _known(self, change: AccountChange, read: Read) -> KnownBeside:
        """What the remote has to be asked about besides the account, before the change is judged."""
        before = read.user
        known = KnownBeside(
            seen=before, shows_roles=read.resource.account.owner is not None, emails=self.caller.keeps.has_emails
        )
        try:
            after = change.wanted(before)
        except (Refused, UsageError):
            # Said again, and journalled, where it is judged.
            return known
        dead = self._dead(after, before, patience_of(change.context))
        ends_owner = guarded.active_owner(before) and not guarded.active_owner(after)
        owners = self.reader.other_owners(before) if ends_owner else None
        return replace(known, owners=owners, dead=dead)

    def _dead(self, after: DirectoryUser, before: DirectoryUser | None, patience: float) -> str | None:
        """Another account that is still linked to this person, if the remote has it no more.

        It answered a search or gave another account just before, so a 404 for that one can be believed.
        """
        if after.okta_id is None or (before is not None and before.managed and before.okta_id == after.okta_id):
            return None
        for user_id in self.reader.linked_to(after.okta_id):
            if user_id != after.id and self.reader.resource(user_id, patience=patience) is None:
                return user_id
        return None

    # A POST

    def _not_unread(self, draft: Draft, patience: float) -> None:
        """Nobody gets a second account because the first one can't be read."""
        problem = self.reader.unread.of(user_name=draft.user_name, okta_id=draft.okta_id)
        if problem is None:
            return
        if problem.id:
            # The listing may be an hour old: it is gone, or can be read and is somebody else's; else this raises.
            self.reader.resource(problem.id, patience=patience)
            return
        raise Unreadable(
            f"OpsHelm has an account for {draft.user_name} that the agent can't read: {problem.detail.rstrip('.')}. Nothing was "
            "changed, and no second account is made. Repair it at the remote OpsHelm."
        )

    @contextmanager
    def _looked_at_later(
        self, context: WriteContext, now: datetime, *, okta_id: str | None = None, directory_id: str | None = None
    ) -> Iterator[None]:
        """Whoever's push fails because the remote is down is reconciled when it answers again."""
        try:
            yield
        except DirectoryUnavailable:
            if context.source is Source.PUSH and (okta_id or directory_id):
                add = partial(attention.add, reason=attention.REMOTE_DOWN, not_before=now + _LOOK_LATER, now=now)
                self.ledger.store.write(partial(add, okta_id=okta_id, directory_id=directory_id))
            raise


@contextmanager
def _noting(ends: dict[int, Written | Exception], n: int) -> Iterator[None]:
    """What is raised inside is the end of this change, and of no other one."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - its caller's to judge
        ends[n] = error


def mirrored(intended: Intended) -> Resource:
    """The account as the mirror has it, in place of a read."""
    before, _ = intended.plain
    assert intended.body.before is not None
    account = wire.mirrored(intended.body.before)
    return Resource(account=account, raw=dict(before or {}), etag=intended.etag, whole=False)


def _busy(error: NotDone) -> bool:
    """Not done because the remote asked for time (503); anything else was sent once more already."""
    return isinstance(error.__cause__, Lost) and error.__cause__.busy


def _in_doubt(intended: Intended, why: AgentError) -> AnswerLost:
    body = intended.body
    if body.before is None:
        return AnswerLost(
            f"An account for {body.after.user_name} was made at the remote OpsHelm, or may have been, but it can't be read "
            f"there, so nothing can be done for this person and no second account is made. {why.detail} Once it can be read, "
            "the agent goes on by itself."
        )
    return AnswerLost(
        f"The change of {body.before.user_name} was sent, but reading it back failed, so whether it was made isn't known; "
        f"it counts as made until it can be read. {why.detail}"
    )


def _still_planned(lost: Intended, fresh: DirectoryUser) -> bool:
    """A sweep compared these very attributes, and they are as they were. Whoever pushed named a version, and means it."""
    before, after = lost.body.before, lost.body.after
    if before is None or lost.body.context.source in _HURRIED:
        return False
    old, new, now = (bodies.plain(u, external_id=True) for u in (before, after, fresh))
    compared = {key for key in (*old, *new) if old.get(key) != new.get(key)} | {"userName", "active", "externalId"}
    standing = ("role", "origin", "protected", "hidden", "suspended")
    return all(old.get(key) == now.get(key) for key in compared) and all(
        getattr(before, name) == getattr(fresh, name) for name in standing
    )


def patience_of(context: WriteContext) -> float:
    return HURRIED if context.source in _HURRIED else PATIENT
