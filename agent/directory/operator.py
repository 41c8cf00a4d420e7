"""What an operator may do with accounts: add, roles, deactivate, link and unlink, names, protection, handover.

Every act is a guarded write with its journal row; refused ones are journalled too. Its own rules are in the table; the
rules of every write (last owner, uniqueness, names) are the backend's. Where that can't change roles, as over SCIM, acts
that do are refused with exit code 2.

=============  =============================================  ==================================================
act            refused                                        afterwards
=============  =============================================  ==================================================
add            a name that is taken                           local, active; owner or member
set_values     a managed account                              its values
rename         a managed account, a name that is taken        the userName, and the e-mail that was equal to it
set_role       an inactive account as owner                   the role
deactivate     an inactive local account                      inactive, member; blocked: it stays so
reactivate                                                    active, member; not blocked any more
link           another account bound to that Okta id          bound to that Okta id, managed
unlink         a local account                                local, not bound; linking it is blocked: it stays so
release_name   an active account                              aside: name and id are free, nobody can push to it
protect                                                       protected or not
restore        an account that was changed since              as it was before a run, or before pushes; held undone
handover       a successor or a leaver who is inactive        successor owner, leaver as ``deactivate``, in one
                                                              transaction
=============  =============================================  ==================================================
"""

import re
import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from msgspec.structs import replace

from agent.directory import rules
from agent.directory.backend import Backend
from agent.directory.port import PlanStep, Ruling, Undone, WriteContext
from agent.directory.rules import AccountChange, Becomes
from agent.model.codes import Source
from agent.model.errors import UsageError, VersionConflict
from agent.model.holds import ChangeKind
from agent.model.mapping import apply
from agent.model.okta import NO_OKTA_ID
from agent.model.paths import EMAIL_PATH
from agent.model.undo import Past
from agent.model.users import DirectoryUser, MultiValue, Name, Origin, Profile, Role

_OKTA_ID = re.compile(r"00u[A-Za-z0-9_-]{1,61}")

_NO_ROLES = "This OpsHelm is reached over SCIM, which can't change roles. An owner does it in OpsHelm's dashboard. Nothing was changed."


class OperatorActs:
    """Fulfils agent.directory.port.Acts."""

    def __init__(
        self, directory: Backend, *, actor: str, reason: str, now: datetime, source: Source = Source.CLI
    ) -> None:
        self._directory = directory
        self._now = now
        self._context = WriteContext(actor=actor, source=source, reason=reason)

    def add(self, login: str, *, owner: bool = False, name: Name | None = None) -> DirectoryUser:
        if owner:
            self._need_roles()
        user = DirectoryUser(
            id=str(uuid.uuid4()),
            user_name=login,
            profile=Profile(
                name=name, emails=(MultiValue(value=login, type="work", primary=True),) if "@" in login else ()
            ),
            active=True,
            role=Role.OWNER if owner else Role.MEMBER,
            origin=Origin.LOCAL,
            created=self._now,
            updated=self._now,
        )
        return self._directory.add(user, self._context, self._now)

    def set_values(self, user_id: str, values: dict[str, str | None]) -> DirectoryUser:
        def wanted(before: DirectoryUser) -> DirectoryUser:
            _need_local(before)
            return replace(before, profile=apply(before.profile, values))

        return self._change(user_id, wanted)

    def rename(self, user_id: str, login: str) -> DirectoryUser:
        def wanted(before: DirectoryUser) -> DirectoryUser:
            _need_local(before)
            follows = before.email_key == before.user_name_key and "@" in login
            profile = apply(before.profile, {EMAIL_PATH: login}) if follows else before.profile
            return replace(before, user_name=login, profile=profile)

        return self._change(user_id, wanted)

    def set_role(self, user_id: str, role: Role) -> DirectoryUser:
        self._need_roles()
        return self._change(user_id, partial(_with_role, role))

    def deactivate(self, user_id: str, *, until: datetime | None = None) -> DirectoryUser:
        if until is not None and until <= self._now:
            raise UsageError(
                "The block would end before it begins: say how long it lasts, such as 8h. Nothing was changed."
            )
        ruling = Ruling(kind=ChangeKind.ACTIVATE, blocks=True, until=until)
        return self._change(user_id, self._ended, ruling)

    def reactivate(self, user_id: str) -> DirectoryUser:
        def wanted(before: DirectoryUser) -> DirectoryUser:
            return rules.switched(before, True, self._context, self._now)

        return self._change(user_id, wanted, Ruling(kind=ChangeKind.ACTIVATE, blocks=False))

    def link(self, user_id: str, okta_id: str) -> DirectoryUser:
        if not _OKTA_ID.fullmatch(okta_id):
            raise UsageError(NO_OKTA_ID)

        def wanted(before: DirectoryUser) -> DirectoryUser:
            return replace(before, okta_id=okta_id, origin=Origin.LINKED)

        return self._change(user_id, wanted, Ruling(kind=ChangeKind.LINK, blocks=False))

    def unlink(self, user_id: str) -> DirectoryUser:
        def wanted(before: DirectoryUser) -> DirectoryUser:
            if before.origin is Origin.LOCAL and before.okta_id is None:
                raise UsageError(f"{before.user_name} is a local account already.")
            return replace(before, okta_id=None, origin=Origin.LOCAL)

        return self._change(user_id, wanted, Ruling(kind=ChangeKind.LINK, blocks=True))

    def release_name(self, user_id: str) -> DirectoryUser:
        return self._directory.release(user_id, self._context, self._now)

    def protect(self, user_id: str, *, protected: bool) -> DirectoryUser:
        return self._change(user_id, lambda before: replace(before, protected=protected))

    def restore(self, past: Past, step: PlanStep, undone: Undone) -> bool:
        return not self._directory.change(self._back(past, step, undone), self._now).result().changed

    def restore_together(self, ring: Sequence[tuple[Past, PlanStep, Undone]]) -> None:
        self._directory.change_together([self._back(*one) for one in ring], self._now)

    def _back(self, past: Past, step: PlanStep, undone: Undone) -> AccountChange:
        part = {"run_id": step.run_id, "plan_id": step.plan_id, "action_n": step.n, "fence": step.fence}
        context = replace(self._context, **part, undone=undone)

        def wanted(now: DirectoryUser) -> DirectoryUser:
            if past.is_back(now):
                return now
            if not past.left_in(now):
                raise VersionConflict("It was changed since.")
            back = past.restored(now, self._now)
            if back.role is not now.role:
                self._need_roles()
            return back

        return AccountChange(past.directory_id, wanted, context)

    def handover(self, successor: str, leaver: str) -> tuple[DirectoryUser, DirectoryUser]:
        """Promote one, deactivate the other: both or neither, and at no moment is there no owner."""
        self._need_roles()
        if successor == leaver:
            raise UsageError("The successor and the leaver are the same account.")

        blocked = replace(self._context, ruling=Ruling(kind=ChangeKind.ACTIVATE, blocks=True))
        changes = [
            AccountChange(successor, partial(_with_role, Role.OWNER), self._context),
            AccountChange(leaver, self._ended, blocked),
        ]
        owner, gone = self._directory.change_together(changes, self._now)
        return owner.user, gone.user

    def _need_roles(self) -> None:
        if not self._directory.sets_roles:
            raise UsageError(_NO_ROLES)

    def _ended(self, before: DirectoryUser) -> DirectoryUser:
        if not before.active and not before.suspended:
            if before.managed:
                return before
            raise UsageError(f"{before.user_name} is inactive already.")
        return rules.switched(before, False, self._context, self._now)

    def _change(self, user_id: str, wanted: Becomes, ruling: Ruling | None = None) -> DirectoryUser:
        context = replace(self._context, ruling=ruling)
        return self._directory.change(AccountChange(user_id, wanted, context), self._now).result().user


def _need_local(user: DirectoryUser) -> None:
    if user.managed:
        raise UsageError(
            f"{user.user_name} is managed by Okta, which would change it back: change it in Okta, or first make it local with "
            "opshelm-agent users unlink. Nothing was changed."
        )


def _with_role(role: Role, before: DirectoryUser) -> DirectoryUser:
    if role is Role.OWNER and not before.active:
        raise UsageError(f"{before.user_name} is inactive and can't be an owner.")
    return replace(before, role=role)
