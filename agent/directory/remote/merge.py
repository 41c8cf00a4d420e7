"""A directory user: what the remote has, joined with what the store keeps of it. Pure.

============  ===================================================================================================
of the user   comes from
============  ===================================================================================================
okta_id       the link; else the externalId at the remote, unless an operator has unlinked the account
origin        the link; else local: an externalId that no sweep or push of this agent confirmed binds nothing yet
role          the remote's roles, where it shows any; else directory.owners
version       all of it: equal exactly where the account is the same
marks         protected, suspended, hidden, deactivated: the link
all the rest  the remote
============  ===================================================================================================
"""

import zlib
from collections.abc import Collection
from datetime import datetime

import msgspec

from agent.directory.remote.wire import Account
from agent.model.users import DirectoryUser, Origin, Role, identity_key
from agent.store.links import Link

_encode = msgspec.json.Encoder().encode
_ORIGINS = {origin.value: origin for origin in Origin}


def join(account: Account, link: Link | None, owner_keys: Collection[str]) -> DirectoryUser:
    """``owner_keys``: directory.owners as identity keys."""
    owner = (
        account.owner
        if account.owner is not None
        else bool(owner_keys) and identity_key(account.user_name) in owner_keys
    )
    role = Role.OWNER if owner else Role.MEMBER
    if link is None:
        link = Link(directory_id=account.id, okta_id=account.okta_id, origin=Origin.LOCAL.value)
    okta_id = link.okta_id if link.okta_id is not None or link.detached else account.okta_id
    name, active, profile, origin = account.user_name, account.active, account.profile, _ORIGINS[link.origin]
    suspended, hidden = link.suspended and not active, link.hidden and not active
    return DirectoryUser(
        id=account.id, user_name=name, profile=profile, active=active, created=account.created, updated=account.updated,
        okta_id=okta_id, role=role, origin=origin, protected=link.protected, suspended=suspended, hidden=hidden,
        deactivated=None if active else link.deactivated,
        version=_version(name, active, okta_id, role, origin, link.protected, suspended, hidden, profile),
    )  # fmt: skip


def version(user: DirectoryUser) -> int:
    """Equal exactly where contents are: a remote's own versions are no numbers, if it has any."""
    return _version(
        user.user_name, user.active, user.okta_id, user.role, user.origin, user.protected, user.suspended, user.hidden,
        user.profile,
    )  # fmt: skip


def _version(*contents: object) -> int:
    return 1 + zlib.crc32(_encode(contents)) % 0x7FFF_FFFE


def link_of(user: DirectoryUser, *, detached: bool = False, written: datetime | None = None) -> Link:
    """What the store is to keep of ``user``; with ``written`` also what a read showed after the agent's own write."""
    return Link(
        directory_id=user.id,
        okta_id=user.okta_id,
        detached=detached,
        origin=user.origin.value,
        protected=user.protected,
        suspended=user.suspended,
        hidden=user.hidden,
        deactivated=user.deactivated,
        user_name_key=user.user_name_key,
        written=written,
        state=None if written is None else _encode(user).decode(),
    )


_state = msgspec.json.Decoder(DirectoryUser).decode


def written_state(link: Link) -> DirectoryUser | None:
    """The account as it was right after the agent's own last write."""
    return None if link.state is None else _state(link.state)
