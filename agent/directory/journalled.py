"""What the journal keeps of a change to an account: the verb, and the whole account before and after."""

import msgspec
from msgspec import Struct

from agent.directory.port import WriteContext
from agent.model.codes import Source
from agent.model.users import DirectoryUser, Origin
from agent.store.journal import Entry, Kind

_encode = msgspec.json.Encoder().encode


class _Head(Struct, frozen=True, kw_only=True, rename="camel"):
    user_name: str
    external_id: str | None
    active: bool
    role: str
    origin: str
    protected: bool
    suspended: bool
    hidden: bool
    version: int


def view(user: DirectoryUser) -> str:
    """Everything that a person may need to undo a change, as JSON; put together as text, for it is on the hot path."""
    head = _Head(
        user_name=user.user_name,
        external_id=user.okta_id,
        active=user.active,
        role=user.role.value,
        origin=user.origin.value,
        protected=user.protected,
        suspended=user.suspended,
        hidden=user.hidden,
        version=user.version,
    )
    profile = _encode(user.profile)
    joined = _encode(head) if profile == b"{}" else _encode(head)[:-1] + b"," + profile[1:]
    return joined.decode()


def verb(before: DirectoryUser | None, after: DirectoryUser) -> str:
    """The one word for a change; of several things that changed, the one that matters most."""
    if before is None:
        return "create"
    changes = (
        ("remove", after.hidden and not before.hidden),
        ("deactivate", before.active and not after.active),
        ("reactivate", after.active and not before.active),
        ("role", before.role is not after.role),
        (
            "link",
            (after.managed and not before.managed) or (before.origin is Origin.LOCAL) > (after.origin is Origin.LOCAL),
        ),
        ("unlink", before.managed and not after.managed),
        ("protect", after.protected and not before.protected),
        ("unprotect", before.protected and not after.protected),
    )
    return next((word for word, happened in changes if happened), "update")


def entry(
    kind: Kind,
    verb: str,
    before: DirectoryUser | None,
    after: DirectoryUser | None,
    context: WriteContext,
    reason: str = "",
) -> Entry:
    who = after or before
    return Entry(
        kind=kind,
        verb=verb,
        actor=context.actor,
        source=context.source.value,
        directory_id=None if who is None else who.id,
        okta_id=None if who is None else who.okta_id,
        request_id=context.request_id,
        run_id=context.run_id,
        plan_id=context.plan_id,
        action_n=context.action_n,
        reason=reason or context.reason or _linked_by_push(before, after, context),
        before=None if before is None else view(before),
        after=None if after is None else view(after),
    )


def _linked_by_push(before: DirectoryUser | None, after: DirectoryUser | None, context: WriteContext) -> str:
    links = before is not None and after is not None and before.origin is Origin.LOCAL and after.origin is Origin.LINKED
    return "linked by push" if links and context.source is Source.PUSH else ""
