"""One change of one account, judged and not yet carried out: what the call has to say. Pure."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from agent.directory.remote import change, merge
from agent.directory.remote.judge import JudgedWrite
from agent.directory.remote.lookup import Resource
from agent.directory.remote.reader import Known
from agent.model.users import DirectoryUser


class PlannedCall(Struct, frozen=True, kw_only=True):
    """``old`` and ``new``: what the remote has and is to have, as change.plain gives them."""

    case: JudgedWrite
    before: DirectoryUser
    after: DirectoryUser
    resource: Resource
    known: Known
    #: The externalId is to be written at the remote, not in the store alone.
    external_id: bool
    old: Mapping[str, Any]
    new: Mapping[str, Any]

    @property
    def calls(self) -> bool:
        """False: only the store has a part in it."""
        return self.old != self.new


def step_of(case: JudgedWrite, resource: Resource, known: Known) -> PlannedCall:
    before, after = case.before, case.after
    assert before is not None
    external_id = resource.account.okta_id is None and after.okta_id not in (None, before.okta_id)
    return PlannedCall(
        case=case,
        before=before,
        after=after,
        resource=resource,
        known=known,
        external_id=external_id,
        old=change.plain(before, external_id=False),
        new=change.plain(after, external_id=external_id),
    )


def joined(resource: Resource, known: Known) -> DirectoryUser:
    return merge.join(resource.account, known.link, known.owner_keys)
