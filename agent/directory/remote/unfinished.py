"""Calls whose outcome is not known: read back before anything else is sent for that account. Sends nothing itself.

========================================  ============================================================================
a read shows                              then
========================================  ============================================================================
that the change is there                  done, whoever made the call
an inactive account that was to become so  done, whatever came of the rest; so is one that the remote has no more
that it isn't, and the call is old        not done: its counts are given back
that it isn't, and it may still arrive    whoever wants to write that account waits; it goes on counting as done
nothing, for the remote is down           as before
an account that can't be read             as before, until somebody repairs it there; the others are not kept waiting
========================================  ============================================================================
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from agent.directory.port import Draft
from agent.directory.remote import change as bodies
from agent.directory.remote.account_locks import under_way
from agent.directory.remote.caller import READ_BACK, RemoteCaller
from agent.directory.remote.ledger import Intended, Ledger, intended
from agent.directory.remote.lookup import Resource
from agent.directory.remote.patience import PATIENT
from agent.directory.remote.reader import Reader
from agent.model.errors import DirectoryUnavailable, Unreadable
from agent.model.users import DirectoryUser, identity_key
from agent.store import intents
from agent.store.intents import Intent

#: Longer than any call of a living process may still be under way.
GRACE = timedelta(seconds=PATIENT + 2 * READ_BACK)
#: A call of this very process that got no answer: how long the remote may still be at it.
OWN_GRACE = timedelta(seconds=READ_BACK)
#: After so many reads in a row without an answer the remote is down, and nobody waits for the others.
_SILENT = 3
_NOT_THERE = "A later read showed that this call changed nothing."


class Unfinished:
    def __init__(self, reader: Reader, caller: RemoteCaller, ledger: Ledger) -> None:
        self._reader = reader
        self._caller = caller
        self._ledger = ledger

    def read_back(self, now: datetime) -> int:
        """Every open intent, as after a restart; answers how many stay open."""
        with self._ledger.store.read() as conn:
            waiting = intents.open_intents(conn)
        left = silent = 0
        for intent in waiting:
            if self._ledger.is_running(intent.id):
                continue
            known = False
            if silent < _SILENT:
                try:
                    known, silent = self._judge(intent, self._find(intent), now), 0
                except DirectoryUnavailable:
                    silent += 1
                except Unreadable:
                    pass
            left += not known
        self._ledger.store.write(lambda conn: intents.forget(conn, now))
        return left

    def settle(self, waiting: Sequence[Intent], resource: Resource, *, now: datetime) -> bool:
        """Open intents on an account that was read just now: whether any were ended.

        DirectoryUnavailable where one may still arrive.
        """
        others = [intent for intent in waiting if not self._ledger.is_running(intent.id)]
        for intent in others:
            if not self._judge(intent, resource, now):
                raise under_way()
        return bool(others)

    def settle_creates(self, draft: Draft, now: datetime) -> None:
        """Open creates of this person."""
        key = identity_key(draft.user_name)
        with self._ledger.store.read() as conn:
            waiting = intents.open_creates(conn, okta_id=draft.okta_id, user_name_key=key)
        for intent in waiting:
            if self._ledger.is_running(intent.id) or not self._judge(intent, self._find(intent), now):
                raise under_way()

    def inactive(self, before: DirectoryUser, after: DirectoryUser) -> Resource | DirectoryUser | None:
        """What became of an account that was to be deactivated; None: it is active."""
        found = self._reader.resource(before.id, patience=READ_BACK)
        if found is None:
            return self._vanished(before, after)
        return None if found.account.active else found

    def _find(self, intent: Intent) -> Resource | None:
        if intent.directory_id is not None:
            return self._reader.resource(intent.directory_id, patience=READ_BACK)
        return self._caller.find_created(intended(intent).body.after)

    def _judge(self, intent: Intent, found: Resource | None, now: datetime) -> bool:
        """Whether the outcome is known now."""
        call = intended(intent)
        body = call.body
        if found is not None and self._happened(call, found):
            self._ledger.done(call, found, now).result()
            return True
        if found is None and body.before is not None and body.ends:
            self._ledger.done(call, self._vanished(body.before, body.after), now).result()
            return True
        mine = intent.holder == self._ledger.holder and not self._ledger.is_running(intent.id)
        if now - intent.at < (OWN_GRACE if mine else GRACE):
            return False
        self._ledger.undone(call, _NOT_THERE, now, refused=False)
        return True

    def _vanished(self, before: DirectoryUser, after: DirectoryUser) -> DirectoryUser:
        """An account that a read by id doesn't find: nobody can sign in with it, so it counts as deactivated.

        A 404 for one account alone proves little: an address that leads elsewhere answers so too. Only a remote that answers
        a search, and doesn't find the account by it either, has no such account. Some hide those that are inactive. Its
        name, profile and role are as they were read last.
        """
        account = self._reader.finder.by_user_name(before.user_name, patience=READ_BACK)
        if account is not None and account.id == before.id:
            raise DirectoryUnavailable(
                f"The remote OpsHelm finds {before.user_name} by name and says that there is no such account. Whether it is "
                "active can't be told; try again later."
            )
        return replace(after, user_name=before.user_name, profile=before.profile, role=before.role)

    def _happened(self, call: Intended, found: Resource) -> bool:
        body = call.body
        if body.before is None or (body.ends and not found.account.active):
            return True
        old, new = call.plain
        # All of it, for nobody said that the remote kept less.
        return not bodies.missing(old, new, found.account)
