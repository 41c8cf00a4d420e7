"""Accounts that the remote shows no more: whether one is really gone, and what is then known of it. Writes nothing.

A 404 for one account alone proves little: an address that leads elsewhere answers so too. Only a remote that answers a
search, and doesn't find the account by it either, has no such account. Some hide those that are inactive.
"""

from msgspec.structs import replace

from agent.directory.remote import merge
from agent.directory.remote.caller import READ_BACK
from agent.directory.remote.reader import Reader
from agent.model.errors import DirectoryUnavailable
from agent.model.users import DirectoryUser


def check(reader: Reader, user: DirectoryUser) -> None:
    """After a read by id found nothing: DirectoryUnavailable where that can't be believed."""
    account = reader.finder.by_user_name(user.user_name, patience=READ_BACK)
    if account is not None and account.id == user.id:
        raise DirectoryUnavailable(
            f"The remote OpsHelm finds {user.user_name} by name and says that there is no such account. Whether it is "
            "active can't be told; try again later."
        )


def ended(before: DirectoryUser, after: DirectoryUser) -> DirectoryUser:
    """Nobody can sign in with it: it counts as deactivated. Its name, profile and role are as they were read last."""
    known = replace(after, user_name=before.user_name, profile=before.profile, role=before.role)
    return replace(known, version=merge.version(known))
