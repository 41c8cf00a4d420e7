"""What an operator may do with accounts: add, roles, deactivate, link and unlink, names, protection, handover.

Every act is a guarded write with its journal row; refused ones are journalled too. Its own rules are in the table; the
rules of every write (last owner, uniqueness, names) are guarded.py's. Only for the embedded directory.

=============  =============================================  ==================================================
act            refused                                        afterwards
=============  =============================================  ==================================================
add            a name that is taken                           local, active; owner or member
set_role       an inactive account as owner                   the role
deactivate     an inactive account                            inactive, member
link           another account bound to that Okta id          bound to that Okta id, managed
unlink         a local account                                local, not bound
release_name   an active account                              the name plus a mark; the old one is free
protect                                                       protected or not
handover       a successor or a leaver who is inactive        successor owner, leaver inactive, in one transaction
=============  =============================================  ==================================================
"""

import re
import uuid
from collections.abc import Callable
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import Connection

from agent.directory import guarded, refusals, rows, transition
from agent.directory.port import WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.model.errors import NotFound, Refused, UsageError
from agent.model.users import DirectoryUser, MultiValue, Origin, Profile, Role
from agent.store import account
from agent.store.engine import Raised

_OKTA_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LONGEST_NAME = 255

Pair = tuple[DirectoryUser, DirectoryUser]


class Acts:
    """Who acts, why and when; one object for one command or form."""

    def __init__(
        self, directory: SqlDirectory, *, actor: str, reason: str, now: datetime, source: Source = Source.CLI
    ) -> None:
        self._directory = directory
        self._now = now
        self._context = WriteContext(actor=actor, source=source, reason=reason)

    def add(self, login: str, *, owner: bool = False) -> DirectoryUser:
        user = DirectoryUser(
            id=str(uuid.uuid4()),
            user_name=login,
            profile=Profile(emails=(MultiValue(value=login, type="work", primary=True),) if "@" in login else ()),
            active=True,
            role=Role.OWNER if owner else Role.MEMBER,
            origin=Origin.LOCAL,
            created=self._now,
            updated=self._now,
        )

        def work(conn: Connection) -> DirectoryUser | Raised:
            try:
                return guarded.write(
                    conn, before=None, after=user, context=self._context, now=self._now, policy=self._directory.policy
                )
            except Refused as refused:
                return self._refused(conn, refused, None, user)

        return self._run(work)

    def set_role(self, user_id: str, role: Role) -> DirectoryUser:
        def wanted(before: DirectoryUser) -> DirectoryUser:
            if role is Role.OWNER and not before.active:
                raise UsageError(f"{before.user_name} is inactive and can't be an owner.")
            return replace(before, role=role)

        return self._change(user_id, wanted)

    def deactivate(self, user_id: str) -> DirectoryUser:
        return self._change(user_id, self._ended)

    def link(self, user_id: str, okta_id: str) -> DirectoryUser:
        if not _OKTA_ID.fullmatch(okta_id):
            raise UsageError("--okta-id must be an Okta user's id such as 00u1abcd2EFGH3ijk4x7")
        return self._change(user_id, lambda before: replace(before, okta_id=okta_id, origin=Origin.LINKED))

    def unlink(self, user_id: str) -> DirectoryUser:
        def wanted(before: DirectoryUser) -> DirectoryUser:
            if before.origin is Origin.LOCAL and before.okta_id is None:
                raise UsageError(f"{before.user_name} is a local account already.")
            return replace(before, okta_id=None, origin=Origin.LOCAL)

        return self._change(user_id, wanted)

    def release_name(self, user_id: str) -> DirectoryUser:
        def wanted(before: DirectoryUser) -> DirectoryUser:
            if before.active:
                raise UsageError(f"{before.user_name} is active. Only an inactive account's name can be released.")
            mark = f"#released-{self._now:%Y%m%d}-{before.id[:8]}"
            return replace(before, user_name=before.user_name[: _LONGEST_NAME - len(mark)] + mark)

        return self._change(user_id, wanted)

    def protect(self, user_id: str, *, protected: bool) -> DirectoryUser:
        return self._change(user_id, lambda before: replace(before, protected=protected))

    def handover(self, successor: str, leaver: str) -> Pair:
        """Promote one, deactivate the other: both or neither, and at no moment is there no owner."""
        if successor == leaver:
            raise UsageError("The successor and the leaver are the same account.")

        def work(conn: Connection) -> Pair | Raised:
            row = account.lock(conn)
            to, gone = _get(conn, successor), _get(conn, leaver)
            if not to.active:
                raise UsageError(f"{to.user_name} is inactive and can't be an owner.")
            promoted, ended = replace(to, role=Role.OWNER), self._ended(gone)
            gained = int(to.role is not Role.OWNER)
            try:
                first = self._check(conn, row, to, promoted) if gained else None
                second = self._check(conn, row, gone, ended, owners_gained=gained)
            except Refused as refused:
                return self._refused(conn, refused, gone, ended)
            policy = self._directory.policy
            owner = guarded.carry_out(conn, first, self._now, policy) if first else to
            return owner, guarded.carry_out(conn, second, self._now, policy)

        return self._directory.store.write(work)

    def _check(
        self,
        conn: Connection,
        row: account.Account,
        before: DirectoryUser,
        after: DirectoryUser,
        owners_gained: int = 0,
    ) -> guarded.Ready:
        return guarded.check(
            conn,
            row,
            before=before,
            after=after,
            context=self._context,
            now=self._now,
            policy=self._directory.policy,
            owners_gained=owners_gained,
        )

    def _ended(self, before: DirectoryUser) -> DirectoryUser:
        if not before.active and not before.suspended:
            raise UsageError(f"{before.user_name} is inactive already.")
        return transition.switched(before, False, self._context, self._now)

    def _change(self, user_id: str, wanted: Callable[[DirectoryUser], DirectoryUser]) -> DirectoryUser:
        return self._directory.change(user_id, wanted, self._context, self._now).result().user

    def _run(self, work: Callable[[Connection], DirectoryUser | Raised]) -> DirectoryUser:
        return self._directory.store.write(work)

    def _refused(
        self, conn: Connection, refused: Refused, before: DirectoryUser | None, after: DirectoryUser
    ) -> Raised:
        refusals.keep(conn, refused, before=before, after=after, context=self._context, now=self._now)
        return Raised(refused)


def _get(conn: Connection, user_id: str) -> DirectoryUser:
    found = rows.one(rows.by_id(conn, id=user_id))
    if found is None:
        raise NotFound(f"There is no account {user_id}.")
    return found
