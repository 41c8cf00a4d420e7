"""Who owns the account at the remote: its own roles, else the setting directory.owners. Reads; decides nothing.

Where neither roles nor the setting exist, nobody can say that a deactivation doesn't take the last owner away.
"""

from collections.abc import Callable

from sqlalchemy import select

from agent.directory.remote import mirror
from agent.model.users import DirectoryUser, Role, identity_key
from agent.store.engine import Store
from agent.store.tables import users


class Owners:
    def __init__(
        self,
        store: Store,
        names: tuple[str, ...],
        get: Callable[[str], DirectoryUser | None],
        find: Callable[[str], DirectoryUser | None],
    ) -> None:
        self._store = store
        self.names = names
        self._get = get
        self._find = find

    @property
    def known(self) -> bool:
        with self._store.read() as conn:
            return bool(self.names) or mirror.shows_owners(conn)

    def besides(self, user: DirectoryUser) -> frozenset[str]:
        """The other active ones. Each is read now: a role or a switch may have changed since the listing."""
        with self._store.read() as conn:
            by_role = mirror.shows_owners(conn)
            seen = conn.execute(select(users.c.id).where(users.c.role == Role.OWNER.value)).scalars().all()
        if by_role or not self.names:
            found = [self._get(user_id) for user_id in seen if user_id != user.id]
        else:
            found = [self._find(name) for name in self.names if identity_key(name) != user.user_name_key]
        owners = {other.id for other in found if other is not None and other.active and other.role is Role.OWNER}
        return frozenset(owners - {user.id})
