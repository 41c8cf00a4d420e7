"""One guarded write to the remote: read → judge → intent → call → read back → outcome. In the thread of its caller.

Two writes to one account take turns in this process; across processes an open intent of another one makes the second wait
(DirectoryUnavailable), and If-Match decides where the remote has versions. No lock of the database is held over a call.
What is left: a process that stands still between its last look and the socket, at a remote without versions.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from msgspec.structs import replace

from agent.directory import guarded, transition
from agent.directory.backend import AccountChange
from agent.directory.port import Draft, WriteContext, Written
from agent.directory.remote import change as bodies
from agent.directory.remote import judge, merge
from agent.directory.remote.account_locks import AccountLocks
from agent.directory.remote.call_clock import ticking
from agent.directory.remote.caller import Moved, RemoteCaller
from agent.directory.remote.judge import JudgedWrite
from agent.directory.remote.ledger import Intended, Ledger
from agent.directory.remote.lookup import Resource
from agent.directory.remote.owners import Owners
from agent.directory.remote.reader import Known, Reader
from agent.directory.remote.step import PlannedCall, joined, step_of
from agent.directory.remote.transport import HURRIED, PATIENT
from agent.directory.remote.unfinished import Unfinished
from agent.model.codes import Source
from agent.model.errors import (
    AgentError,
    AnswerLost,
    DirectoryUnavailable,
    NotDone,
    NotFound,
    Refused,
    StoreError,
    Unreadable,
    VersionConflict,
)
from agent.model.users import DirectoryUser, identity_key
from agent.store.engine import crash_point
from agent.store.links import Link

_Found = TypeVar("_Found")

#: Who waits for an answer: Okta gives a push 60 s.
_HURRIED = (Source.PUSH, Source.CLI, Source.DASHBOARD)
_RACES = 3
#: When a person whose push met a remote that was down is looked at.
_LOOK_LATER = timedelta(seconds=60)


class Writer:
    """One change or create at a time, each in the thread of its caller. Thread-safe."""

    def __init__(
        self,
        reader: Reader,
        caller: RemoteCaller,
        ledger: Ledger,
        owners: Owners,
        unfinished: Unfinished,
        locks: AccountLocks,
    ) -> None:
        self.reader = reader
        self.caller = caller
        self.ledger = ledger
        self._owners = owners
        self._unfinished = unfinished
        self.locks = locks

    def change(self, change: AccountChange, now: datetime, *, lost_race: JudgedWrite | None = None) -> Written:
        """``lost_race``: an attempt at it that met somebody else's change."""
        user_id, context, clock = change.user_id, change.context, ticking(now)
        with self.locks.of(user_id), self._looked_at_later(context, now, directory_id=user_id):
            for _ in range(_RACES):
                resource = self.reader.resource(user_id, patience=patience_of(context))
                if resource is None:
                    raise NotFound("There is no such user.")
                known = self.reader.known(user_id)
                # An intent is as old as itself, not as the run that it belongs to.
                at = clock()
                if self._unfinished.settle(known.waiting, resource, at):
                    known = self.reader.known(user_id)
                if lost_race is not None and _still_planned(lost_race, joined(resource, known)):
                    change = replace(change, expected_version=None)
                case = self.case(change, resource, known, at)
                try:
                    return self._write(case, resource, known, at)
                except Moved:
                    lost_race = case
            raise VersionConflict(
                "The account keeps changing at the remote OpsHelm. Nothing was changed; try again later."
            )

    def create(self, draft: Draft, context: WriteContext, now: datetime) -> Written:
        clock = ticking(now)
        key = identity_key(draft.user_name)
        with self.locks.of(f"name {key}"), self._looked_at_later(context, now, okta_id=draft.okta_id):
            self._unfinished.settle_creates(draft, now)
            wish = transition.created(draft, context, now)
            try:
                known = self._revivable(draft, patience_of(context))
            except Refused as refused:
                self.ledger.refused_before(refused, JudgedWrite(before=None, after=wish, context=context), now)
                raise
            if known is not None:

                def revived(before: DirectoryUser) -> DirectoryUser:
                    return transition.revived(before, draft, context, now)

                written = self.change(AccountChange(known.id, revived, context, revives=True), now)
                return replace(written, changed=True, created=True)
            self._not_unread(draft, patience_of(context))
            dead = self._dead_link(wish, None, patience_of(context))
            case = JudgedWrite(before=None, after=wish, context=context, dead=dead)
            return self._create(case, clock())

    # One change

    def case(self, change: AccountChange, resource: Resource, known: Known, now: datetime) -> JudgedWrite:
        """What is to be judged. VersionConflict, NotFound, or a Refused that is journalled."""
        before, context, expected = joined(resource, known), change.context, change.expected_version
        case = JudgedWrite(before=before, after=before, context=context, revives=change.revives)
        if before.hidden and context.source is Source.PUSH and not change.revives:
            raise NotFound("There is no such user.")
        if expected is not None and before.version != expected:
            raise VersionConflict(f"The account has changed since version {expected}; it is at {before.version}.")
        try:
            after = change.wanted(before)
        except Refused as refused:
            self.ledger.refused_before(refused, case, now)
            raise
        case = replace(case, after=after, dead=self._dead_link(after, known.link, patience_of(context)))
        if not judge.ends(case):
            return case
        owners_known = self._owners.known or resource.account.owner is not None
        if not (owners_known and guarded.active_owner(before)):
            return replace(case, owners_known=owners_known)
        self.reader.know_owners()
        return replace(case, others=self._owners.besides(before))

    def _write(self, case: JudgedWrite, resource: Resource, known: Known, now: datetime) -> Written:
        step = step_of(case, resource, known)
        if step.before == step.after:
            self.ledger.unchanged(step.before, case.context, now)
            return Written(user=step.before, changed=False)
        if not step.calls:
            return Written(user=self.without_call(step, now).result(), changed=True)
        intended = self.ledger.begin(case, now, external_id=step.external_id).result()
        with self.ledger.running(intended.id):
            clock = ticking(now)

            def call() -> Resource:
                return self.caller.update(
                    resource,
                    step.old,
                    step.new,
                    patience=patience_of(case.context),
                    essential=case.context.source is Source.PUSH,
                    last_look=lambda: self.ledger.last_look(intended.id, case.context.fence),
                )

            found = self.outcome(intended, call, case, now)
            crash_point("call.read")
            if isinstance(found, Resource):
                found = self.reader.join_as(found.account, step.after, known.owner_keys)
            return Written(user=self.ledger.done(intended, found, clock()).result(), changed=True)

    def without_call(self, step: PlannedCall, now: datetime) -> "Future[DirectoryUser]":
        """What the store alone keeps of an account."""
        return self.ledger.without_call(replace(step.case, after=_versioned(step.after)), now)

    def _create(self, case: JudgedWrite, now: datetime) -> Written:
        wish = case.after
        intended = self.ledger.begin(case, now, external_id=wish.okta_id is not None).result()
        with self.ledger.running(intended.id):
            clock = ticking(now)

            def call() -> Resource:
                return self.caller.create(
                    wish,
                    patience=patience_of(case.context),
                    last_look=lambda: self.ledger.last_look(intended.id, case.context.fence),
                )

            found = self.outcome(intended, call, case, now)
            crash_point("call.read")
            assert isinstance(found, Resource)
            made = replace(wish, id=found.account.id)
            user = self.reader.join_as(found.account, made, self.reader.owner_keys())
            self.ledger.done(intended, user, clock()).result()
        if user.active is not wish.active:
            raise NotDone(f"The remote OpsHelm made the account, but active is {str(user.active).lower()} there.")
        return Written(user=user, changed=True, created=True)

    def outcome(
        self, intended: Intended, call: Callable[[], _Found], case: JudgedWrite, now: datetime
    ) -> _Found | Resource | DirectoryUser:
        """What ``call`` answers: the account as read after it; a user where it is there no more, as a deactivation may make it.

        Where it raises, what is known of the outcome is stored.
        """
        found: _Found | Resource | DirectoryUser | None
        try:
            found = call()
        except (AnswerLost, StoreError):
            # Not known, or this process may say nothing more: the intent counts until it is read back.
            raise
        except Unreadable as exc:
            raise _in_doubt(case, exc) from exc
        except AgentError as exc:
            found = self._ended(case, exc)
            if found is None:
                refused = isinstance(exc, Refused)
                self.ledger.undone(intended, exc.detail, now, refused=refused)
                raise
        return found

    def _ended(self, case: JudgedWrite, said: AgentError) -> Resource | DirectoryUser | None:
        """A deactivation that went wrong as far as the remote says: the account, where it is inactive all the same.

        None: nothing was changed. It raises where that isn't known, and the intent then stays open and counts.
        """
        unsent = isinstance(said, DirectoryUnavailable) and not isinstance(said, NotDone)
        if not judge.ends(case) or case.before is None or unsent or isinstance(said, Moved):
            return None
        if isinstance(said, NotDone):
            # It said yes. The reads may lag behind, so only a later one proves that it did nothing.
            raise NotDone(
                f"{said.detail} For the limits and the owners it counts as made until a later read shows this again."
            ) from said
        try:
            return self._unfinished.inactive(case.before, case.after)
        except (DirectoryUnavailable, Unreadable) as exc:
            raise _in_doubt(case, exc) from exc

    def _dead_link(self, after: DirectoryUser, own: Link | None, patience: float) -> str | None:
        """Another account that the store still links to this person, if the remote has it no more.

        ``own``: what links this account; an Okta id links but one.
        It answered a search or gave another account just before, so a 404 for that one can be believed.
        """
        if after.okta_id is None or (own is not None and own.okta_id == after.okta_id):
            return None
        link = self.ledger.link_of(after.okta_id)
        if link is None or link.directory_id == after.id:
            return None
        found = self.reader.resource(link.directory_id, patience=patience)
        return link.directory_id if found is None else None

    # A POST

    def _revivable(self, draft: Draft, patience: float) -> DirectoryUser | None:
        same_id = None if draft.okta_id is None else self.reader.by_okta_id(draft.okta_id, patience=patience)
        same_name = self.reader.by_user_name(draft.user_name, patience=patience)
        return guarded.revivable(draft, same_id, same_name)

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
                self.ledger.look_later(
                    okta_id=okta_id, directory_id=directory_id, not_before=now + _LOOK_LATER, now=now
                )
            raise


def _in_doubt(case: JudgedWrite, why: AgentError) -> AnswerLost:
    if case.before is None:
        return AnswerLost(
            f"An account for {case.after.user_name} was made at the remote OpsHelm, or may have been, but it can't be read "
            f"there, so nothing can be done for this person and no second account is made. {why.detail} Once it can be read, "
            "the agent goes on by itself."
        )
    return AnswerLost(
        f"The change of {case.before.user_name} was sent, but reading it back failed, so whether it was made isn't known; "
        f"it counts as made until it can be read. {why.detail}"
    )


def _still_planned(case: JudgedWrite, fresh: DirectoryUser) -> bool:
    """A sweep compared these very attributes, and they are as they were. Whoever pushed named a version, and means it."""
    if case.before is None or case.context.source in _HURRIED:
        return False
    old, new, now = (bodies.plain(u, external_id=True) for u in (case.before, case.after, fresh))
    compared = {key for key in (*old, *new) if old.get(key) != new.get(key)} | {"userName", "active", "externalId"}
    standing = ("role", "origin", "protected", "hidden", "suspended")
    return all(old.get(key) == now.get(key) for key in compared) and all(
        getattr(case.before, name) == getattr(fresh, name) for name in standing
    )


def patience_of(context: WriteContext) -> float:
    return HURRIED if context.source in _HURRIED else PATIENT


def _versioned(user: DirectoryUser) -> DirectoryUser:
    return replace(user, version=merge.version(user))
