"""What the store writes around a call to the remote: before it, the intent; after it, the outcome. Makes no call.

======================  =============================================================================================
moment                  in one transaction
======================  =============================================================================================
before the call         the checks; the journal's row of intent; a deactivation counts in the windows and as an owner less
it was done             the account as read back: link, marks, counters; the journal's row ``applied``
it was not done         the counts are given back; the journal's row ``refused`` (the remote said no) or ``failed``
not known               nothing: the intent stays open, counts as done, and is read back later
nothing to call         checks, link, journal: for what only the store keeps (a link, a protection)
======================  =============================================================================================
"""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import Connection

from agent.directory import decisions, guarded, refusals
from agent.directory.burst import Verdict
from agent.directory.port import WriteContext
from agent.directory.remote import judge, merge
from agent.directory.remote.judge import JudgedWrite
from agent.directory.rows import Policy, WriteScope
from agent.model.codes import Source
from agent.model.errors import FenceLost, Refused
from agent.model.users import DirectoryUser
from agent.store import account, attention, intents, journal, lease, links, windows
from agent.store.engine import Raised, Store


class IntendedBody(Struct, frozen=True, kw_only=True):
    """What an intent keeps: enough to read it back and to write its outcome after a restart."""

    before: DirectoryUser | None
    after: DirectoryUser
    context: WriteContext
    exempt: bool = True
    confirm: bool = False
    #: The externalId is to be written at the remote, not in the store alone.
    external_id: bool = False
    #: As in JudgedWrite.
    dead: str | None = None


class Intended(NamedTuple):
    """An intent that is open."""

    id: int
    body: IntendedBody


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(IntendedBody).decode


def intended(intent: intents.Intent) -> Intended:
    """As ``begin`` answered it, after a restart too."""
    return Intended(intent.id, _decode(intent.body))


class Ledger:
    def __init__(self, store: Store, policy: Policy, holder: str) -> None:
        self.store = store
        self.policy = policy
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

    def begin(self, case: JudgedWrite, now: datetime, *, external_id: bool) -> "Future[Intended]":
        """Refused or FenceLost where the call must not be made. Several of them share a transaction, as all of these do."""

        def work(conn: Connection) -> Intended | Raised:
            scope = self._scope(conn, case.context, now)
            try:
                verdict = judge.check(scope, case)
            except Refused as refused:
                return refusals.record(scope, refused, case.before, case.after)
            return self._begin(scope, case, verdict, external_id=external_id)

        return self.store.submit(work)

    def _begin(self, scope: WriteScope, case: JudgedWrite, verdict: Verdict | None, *, external_id: bool) -> Intended:
        conn, before, after, context = scope.conn, case.before, case.after, case.context
        window_id = None
        if verdict is not None and before is not None:
            guarded.count_deactivation(scope, before, verdict)
            window_id = windows.newest_id(conn)
            _count_end(conn, before, -1)
        body = IntendedBody(
            before=before,
            after=after,
            context=context,
            exempt=verdict is None or verdict.exempt,
            confirm=guarded.needs_confirmation(before, context, revives=case.revives),
            external_id=external_id,
            dead=case.dead,
        )
        journal.append(conn, _entry(journal.Kind.INTENT, before, after, context), scope.now)
        intent = intents.NewIntent(
            at=scope.now,
            holder=self.holder,
            directory_id=None if before is None else before.id,
            okta_id=after.okta_id,
            user_name_key=after.user_name_key,
            window_id=window_id,
            ends_owner=judge.ends(case) and guarded.active_owner(before),
            body=_encode(body).decode(),
        )
        return Intended(intents.begin(conn, intent), body)

    def last_look(self, intent_id: int, fence: int | None) -> None:
        """Right before sending: a process that stood still must not carry out what was given up meanwhile."""
        with self.store.read() as conn:
            if not intents.is_open(conn, intent_id):
                raise FenceLost(
                    "This change was read back and given up while the agent stood still. Nothing more was sent."
                )
            if fence is not None:
                lease.look(conn, fence)

    # After it

    def done(self, intended: Intended, found: DirectoryUser, now: datetime) -> "Future[DirectoryUser]":
        """``found`` is the account as it is now; answers it."""
        intent_id, body = intended

        def work(conn: Connection) -> DirectoryUser:
            scope = self._scope(conn, body.context, now)
            intent = intents.get(conn, intent_id)
            window_id = None if intent is None else intent.window_id
            if intent is not None and intent.state == intents.DONE:
                return found
            ended = body.before is not None and body.before.active and not found.active
            if body.before is not None and ended and intent is not None and intent.state == intents.UNDONE:
                # Somebody gave it back too early: it counts after all.
                source = body.context.source.value
                windows.record(
                    conn, directory_id=found.id, source=source, exempt=body.exempt, managed=body.before.managed, now=now
                )
                window_id = windows.newest_id(conn)
                _count_end(conn, body.before, -1)
            intents.end(conn, intent_id, intents.DONE, now, directory_id=found.id, window_id=window_id)
            _drop(scope, body.dead, found)
            _settle(scope, body.before, found, ended=ended, confirm=body.confirm)
            return found

        return self.store.submit(work)

    def undone(self, intended: Intended, reason: str, now: datetime, *, refused: bool) -> None:
        intent_id, body = intended

        def work(conn: Connection) -> None:
            account.lock(conn)
            intent = intents.get(conn, intent_id)
            if intent is None or intent.state != intents.OPEN:
                return
            if intent.window_id is not None and body.before is not None:
                windows.give_back(conn, intent.window_id)
                _count_end(conn, body.before, 1)
            intents.end(conn, intent_id, intents.UNDONE, now)
            kind = journal.Kind.REFUSED if refused else journal.Kind.FAILED
            journal.append(conn, _entry(kind, body.before, body.after, body.context, reason), now)

        self.store.write(work)

    def without_call(self, case: JudgedWrite, now: datetime) -> "Future[DirectoryUser]":
        """A change that the remote has no part in."""

        def work(conn: Connection) -> DirectoryUser | Raised:
            scope = self._scope(conn, case.context, now)
            try:
                judge.check(scope, case)
            except Refused as refused:
                return refusals.record(scope, refused, case.before, case.after)
            assert case.before is not None
            confirm = guarded.needs_confirmation(case.before, case.context, revives=case.revives)
            _drop(scope, case.dead, case.after)
            _settle(scope, case.before, case.after, ended=False, confirm=confirm, called=False)
            return case.after

        return self.store.submit(work)

    def link_of(self, okta_id: str) -> links.Link | None:
        with self.store.read() as conn:
            return links.by_okta_id(conn, okta_id)

    def unchanged(self, user: DirectoryUser, context: WriteContext, now: datetime) -> None:
        """A push that changed nothing says so to the register, and an operator what they have ruled."""
        if context.source is Source.PUSH or context.ruling is not None:
            self.store.write(lambda conn: decisions.unchanged(self._scope(conn, context, now), user))

    def refused_before(self, refused: Refused, case: JudgedWrite, now: datetime) -> None:
        """An attempt that a pure rule refused before anything was judged: journalled like the others."""

        def work(conn: Connection) -> None:
            refusals.record(self._scope(conn, case.context, now), refused, case.before, case.after)

        self.store.write(work)

    def look_later(self, *, okta_id: str | None, directory_id: str | None, not_before: datetime, now: datetime) -> None:
        """The remote is down: whoever's push failed is reconciled once it answers again."""
        self.store.write(
            lambda conn: attention.add(
                conn,
                reason=attention.REMOTE_DOWN,
                okta_id=okta_id,
                directory_id=directory_id,
                not_before=not_before,
                now=now,
            )
        )

    def _scope(self, conn: Connection, context: WriteContext, now: datetime) -> WriteScope:
        return WriteScope.locked(conn, context, now, self.policy)


def _settle(
    scope: WriteScope,
    before: DirectoryUser | None,
    after: DirectoryUser,
    *,
    ended: bool,
    confirm: bool,
    called: bool = True,
) -> None:
    """``ended``: its end was counted with the intent. ``called``: the remote has it from this very write."""
    conn, now = scope.conn, scope.now
    old = links.get_link(conn, after.id)
    detached = after.okta_id is None and (
        (old is not None and old.detached) or (before is not None and before.okta_id is not None)
    )
    link = merge.link_of(after, detached=detached, written=now if called else None)
    if not called and old is not None:
        link = msgspec.structs.replace(link, written=old.written, state=old.state)
    links.put(conn, link)
    counted = msgspec.structs.replace(before, active=False) if before is not None and ended else before
    guarded.count(scope, counted, after, ended=ended)
    decisions.made(scope, before, after)
    if confirm:
        guarded.ask_about_reuse(scope, after)
    journal.append(conn, _entry(journal.Kind.APPLIED, before, after, scope.context), now)


def _drop(scope: WriteScope, dead: str | None, heir: DirectoryUser) -> None:
    """The link of an account that is there no more, so that the person's Okta id can belong to ``heir``."""
    conn, context, now = scope.conn, scope.context, scope.now
    link = None if dead is None or dead == heir.id else links.get_link(conn, dead)
    if link is None or link.okta_id != heir.okta_id:
        return
    links.drop(conn, link.directory_id)
    user = merge.written_state(link)
    why = "the account is gone at the remote OpsHelm"
    entry = guarded.entry(journal.Kind.APPLIED, "unlink", user, None, context, why)
    entry = msgspec.structs.replace(entry, directory_id=link.directory_id, okta_id=link.okta_id)
    journal.append(conn, entry, now)


def _count_end(conn: Connection, user: DirectoryUser, sign: int) -> None:
    account.count(
        conn, managed_active=sign * guarded.managed_active(user), active_owners=sign * guarded.active_owner(user)
    )


def _entry(
    kind: journal.Kind, before: DirectoryUser | None, after: DirectoryUser, context: WriteContext, reason: str = ""
) -> journal.Entry:
    return guarded.entry(kind, guarded.verb(before, after), before, after, context, reason)
