"""What an operator may do with accounts of a remote OpsHelm: the acts of agent.directory.operator, but for roles.

Links and protection are kept in the agent's store; a name, a deactivation and a new account are calls. Roles are OpsHelm's
own: SCIM can't give them, so ``add --owner``, ``users role`` and ``owner handover`` are refused with exit code 2.
"""

from datetime import datetime

from agent.directory.operator import Acts, Pair
from agent.directory.port import Draft
from agent.directory.remote.directory import RemoteDirectory
from agent.model.codes import Source
from agent.model.errors import UsageError
from agent.model.users import DirectoryUser, MultiValue, Profile, Role

_NO_ROLES = "This OpsHelm is reached over SCIM, which can't change roles. An owner does it in OpsHelm's dashboard. Nothing was changed."


class RemoteActs(Acts):
    def __init__(
        self, directory: RemoteDirectory, *, actor: str, reason: str, now: datetime, source: Source = Source.CLI
    ) -> None:
        # What the base class does beyond ``change`` is replaced below.
        super().__init__(directory, actor=actor, reason=reason, now=now, source=source)  # type: ignore[arg-type]

    def add(self, login: str, *, owner: bool = False) -> DirectoryUser:
        if owner:
            raise UsageError(_NO_ROLES)
        emails = (MultiValue(value=login, type="work", primary=True),) if "@" in login else ()
        draft = Draft(user_name=login, profile=Profile(emails=emails))
        return self._directory.create(draft, self._context, self._now).result().user

    def set_role(self, user_id: str, role: Role) -> DirectoryUser:  # noqa: ARG002 - the base class has them
        raise UsageError(_NO_ROLES)

    def handover(self, successor: str, leaver: str) -> Pair:  # noqa: ARG002
        raise UsageError(_NO_ROLES)
