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
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple

from agent.directory.remote.wire import RemoteAccount
from agent.model.cases import CurrentAccount
from agent.model.mapping import Mapping
from agent.model.users import DirectoryUser, Origin, Role, identity_key, is_managed
from agent.store.links import Link
from agent.store.staging import AccountRow, account_row

_encode = msgspec.json.Encoder().encode
_ORIGINS = {origin.value: origin for origin in Origin}
# A name of its own each: the class looks a member up at every use.
_OWNER, _MEMBER, _LOCAL = Role.OWNER, Role.MEMBER, Origin.LOCAL


#: What decides about an account besides its names and its profile: okta_id, role, origin, protected, suspended, hidden.
_Standing = tuple[str | None, Role, Origin, bool, bool, bool]


def join(account: RemoteAccount, link: Link | None, owner_keys: Collection[str]) -> DirectoryUser:
    """``owner_keys``: directory.owners as identity keys; none where the remote shows roles."""
    standing = _standing(account, link, owner_keys)
    okta_id, role, origin, protected, suspended, hidden = standing
    return DirectoryUser(
        id=account.id,
        user_name=account.user_name,
        profile=account.profile,
        active=account.active,
        created=account.created,
        updated=account.updated,
        deactivated=None if account.active or link is None else link.deactivated,
        okta_id=okta_id,
        role=role,
        origin=origin,
        protected=protected,
        suspended=suspended,
        hidden=hidden,
        version=_version(account.user_name, account.active, standing, account.contents),
    )


class Counted(NamedTuple):
    """What is counted of one account."""

    id: str
    active: bool
    managed: bool
    owner: bool
    hidden: bool


class Row(NamedTuple):
    """One account as a sweep compares it, and what is counted of it."""

    columns: AccountRow
    counted: Counted


def row(account: RemoteAccount, link: Link | None, owner_keys: Collection[str], mapping: Mapping) -> Row:
    """``join`` as far as a sweep compares it: without a user in between, for there are many."""
    standing = _standing(account, link, owner_keys)
    okta_id, role, origin, protected, suspended, hidden = standing
    user_name, active = account.user_name, account.active
    # As staging.account_row makes it.
    columns = (
        account.id,
        user_name,
        identity_key(user_name),
        identity_key(account.primary_email or ""),
        okta_id,
        origin._value_,
        protected,
        active,
        suspended,
        role._value_,
        mapping.project(account),
        _version(user_name, active, standing, account.contents),
    )
    return Row(columns, Counted(account.id, active, is_managed(origin, okta_id), role is _OWNER, hidden))


def row_of(user: DirectoryUser, mapping: Mapping) -> Row:
    """The same of one that was read before."""
    return Row(account_row(CurrentAccount.of(user, mapping)), counted(user))


def counted(user: DirectoryUser) -> Counted:
    return Counted(user.id, user.active, user.managed, user.role is _OWNER, user.hidden)


def version(user: DirectoryUser) -> int:
    """Equal exactly where contents are: a remote's own versions are no numbers, if it has any."""
    standing = (user.okta_id, user.role, user.origin, user.protected, user.suspended, user.hidden)
    return _version(user.user_name, user.active, standing, astuple(user.profile))


def _standing(account: RemoteAccount, link: Link | None, owner_keys: Collection[str]) -> _Standing:
    owner = account.owner
    if owner is None:
        owner = bool(owner_keys) and identity_key(account.user_name) in owner_keys
    role = _OWNER if owner else _MEMBER
    if link is None:
        return account.okta_id, role, _LOCAL, False, False, False
    okta_id = link.okta_id if link.okta_id is not None or link.detached else account.okta_id
    suspended, hidden = link.suspended and not account.active, link.hidden and not account.active
    return okta_id, role, _ORIGINS[link.origin], link.protected, suspended, hidden


def _version(*contents: object) -> int:
    return 1 + zlib.crc32(_encode(contents)) % 0x7FFF_FFFE


def link_of(user: DirectoryUser, *, detached: bool = False, written: datetime | None = None) -> Link:
    """What the store is to keep of ``user``; with ``written`` also what a read showed after the agent's own write."""
    return Link(
        directory_id=user.id,
        okta_id=user.okta_id,
        detached=detached,
        origin=user.origin._value_,
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
