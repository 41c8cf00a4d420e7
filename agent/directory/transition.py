"""From what a request asks for to what the account becomes. Pure: no database, no refusal.

=====================  ==============================================================================================
change                 what else it does
=====================  ==============================================================================================
active → inactive      ends ownership, unless policy.suspended is the only reason
suspended → inactive   another reason joined: ownership ends now
inactive → active      no longer suspended or hidden; the role is what was left of it
push on a local one    links it
externalId is said     binds an unbound account
removed                inactive and hidden from SCIM; ownership ends
steps aside            bound to nobody, hidden from SCIM, under another name and, where that can be, another id
=====================  ==============================================================================================
"""

from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

from msgspec.structs import replace

from agent.directory.port import Draft, WriteContext
from agent.model.codes import Source
from agent.model.usernames import MAX_LENGTH
from agent.model.users import DirectoryUser, Origin, Role

#: Sources that speak for Okta.
OKTA = (Source.PUSH, Source.SWEEP, Source.SINGLE, Source.IMPORT)


def created(draft: Draft, context: WriteContext, now: datetime) -> DirectoryUser:
    """An account that was not there before: never an owner."""
    return DirectoryUser(
        id=draft.id or str(uuid4()),
        user_name=draft.user_name,
        profile=draft.profile,
        active=draft.active,
        okta_id=draft.okta_id,
        origin=Origin.OKTA if context.source in OKTA else Origin.LOCAL,
        created=now,
        updated=now,
        deactivated=None if draft.active else now,
    )


def modified(before: DirectoryUser, draft: Draft, context: WriteContext, now: datetime) -> DirectoryUser:
    """The account as the request wants it; the same object's equal where nothing changes."""
    after = replace(
        before,
        user_name=draft.user_name,
        profile=draft.profile,
        okta_id=before.okta_id if draft.okta_id is None else draft.okta_id,
        origin=_origin(before, draft, context),
    )
    return switched(after, draft.active, context, now, said=draft.active_said)


def by(
    change: Callable[[DirectoryUser], Draft], context: WriteContext, now: datetime
) -> Callable[[DirectoryUser], DirectoryUser]:
    """What ``change`` asks for, as what the account becomes."""
    return lambda before: modified(before, change(before), context, now)


def _origin(before: DirectoryUser, draft: Draft, context: WriteContext) -> Origin:
    if before.origin is not Origin.LOCAL or context.source not in OKTA:
        return before.origin
    # Okta knows the id because its own check or an admin matched it; the others link by saying the Okta id.
    links = context.source is Source.PUSH or draft.okta_id is not None
    return Origin.LINKED if links else before.origin


def switched(
    user: DirectoryUser, active: bool, context: WriteContext, now: datetime, *, said: bool = True
) -> DirectoryUser:
    """``user`` with ``active`` as wanted, and what follows from that."""
    if active and not user.active:
        return replace(user, active=True, suspended=False, hidden=False, deactivated=None)
    if not active and user.active:
        role = user.role if context.suspended else Role.MEMBER
        return replace(user, active=False, suspended=context.suspended, role=role, deactivated=now)
    if not active and user.suspended and said and not context.suspended:
        return replace(user, suspended=False, role=Role.MEMBER)
    return user


def revived(before: DirectoryUser, draft: Draft, context: WriteContext, now: datetime) -> DirectoryUser:
    """A POST met an inactive account of the same person: provisioned anew, as a member."""
    after = modified(replace(before, hidden=False, role=Role.MEMBER, suspended=False), draft, context, now)
    return after if after.active else replace(after, deactivated=before.deactivated or now)


def aside(before: DirectoryUser, new_id: str, now: datetime) -> DirectoryUser:
    """The account under ``new_id`` and a name that nobody else has or finds, bound to nobody. What it held is kept."""
    mark = f"#released-{now:%Y%m%d}-{new_id[:8]}"
    return replace(
        before,
        id=new_id,
        user_name=before.user_name[: MAX_LENGTH - len(mark)] + mark,
        okta_id=None,
        origin=Origin.RELEASED,
        role=Role.MEMBER,
        suspended=False,
        hidden=True,
    )


def removed(before: DirectoryUser, context: WriteContext, now: datetime) -> DirectoryUser:
    """A SCIM DELETE."""
    return replace(
        switched(before, active=False, context=context, now=now), hidden=True, suspended=False, role=Role.MEMBER
    )
