"""Who owns the account at the remote: its own roles, else the setting directory.owners. Reads; decides nothing.

A remote's roles are known from its last whole listing. Before there was one, an account that shows roles speaks for
itself. Where neither roles nor the setting exist, nobody can say that a deactivation doesn't take the last owner away.
"""

from collections.abc import Callable

from msgspec import Struct

from agent.model.users import DirectoryUser, Role, identity_key
from agent.store import intents, links
from agent.store.engine import Store


class Others(Struct, frozen=True, kw_only=True):
    """The active owners besides one account, as just read; ``mark``: from before they were read."""

    ids: frozenset[str]
    mark: intents.Mark


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
        self.keys = frozenset(map(identity_key, names))
        self._get = get
        self._find = find

    @property
    def known(self) -> bool:
        return bool(self.keys) or bool(self._listed())

    def besides(self, user: DirectoryUser) -> Others:
        """Read each of the others now: a role or a switch may have changed since the listing."""
        with self._store.read() as conn:
            mark = intents.mark(conn)
        listed = self._listed()
        if listed:
            found = [self._get(owner.directory_id) for owner in listed if owner.directory_id != user.id]
        else:
            found = [self._find(name) for name in self.names if identity_key(name) != user.user_name_key]
        active = {other.id for other in found if other is not None and other.active and other.role is Role.OWNER}
        return Others(ids=frozenset(active - {user.id}), mark=mark)

    def _listed(self) -> list[links.Owner]:
        with self._store.read() as conn:
            return links.owners(conn)
