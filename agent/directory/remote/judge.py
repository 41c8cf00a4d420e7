"""The checks of every write to a remote, over what the agent's store knows. Writes nothing; the same rules as for sql.

Order: fence → rules of one account → what people decided → the externalId's uniqueness → owners → the guard's windows.
The userName and e-mail of others are the remote's to defend: only it sees all of them at once.
"""

from msgspec import Struct
from sqlalchemy import Connection

from agent.directory import burst, decisions, guarded, rules
from agent.directory.port import WriteContext
from agent.directory.remote.owners import Others
from agent.directory.rows import WriteScope
from agent.model.codes import RefusalCode, Source
from agent.model.errors import Refused, UsageError
from agent.model.users import DirectoryUser
from agent.store import intents, lease, links


class JudgedWrite(Struct, frozen=True, kw_only=True):
    """One write to be judged. ``others``: None where no owner is taken away."""

    before: DirectoryUser | None
    after: DirectoryUser
    context: WriteContext
    revives: bool = False
    owners_known: bool = True
    others: Others | None = None
    #: A link that holds this person's Okta id for an account that is there no more; the write drops it.
    dead: str | None = None


def ends(case: JudgedWrite) -> bool:
    return case.before is not None and case.before.active and not case.after.active


def check(scope: WriteScope, case: JudgedWrite) -> burst.Verdict | None:
    """Refused, FenceLost, or how a deactivation is to be counted (None: it is none)."""
    before, after = case.before, case.after
    conn, _, context, _, policy = scope
    if context.fence is not None:
        lease.check(conn, context.fence)
    if before is not None and before.active and after.active and before.role is not after.role:
        raise UsageError(
            "Roles are given in OpsHelm itself; SCIM can't change them. An owner does it in OpsHelm's dashboard."
        )
    rules.check(before, after, context, policy, revives=case.revives)
    approved = decisions.check(scope, before, after).approved
    _unique(conn, after, case.dead)
    rules.primary_email(before, after, policy)
    if not ends(case) or before is None:
        return None
    _owners(conn, case, before)
    return burst.check(scope, before, approved=approved)


def _unique(conn: Connection, after: DirectoryUser, dead: str | None) -> None:
    if after.okta_id is None:
        return
    bound = links.by_okta_id(conn, after.okta_id)
    if bound is not None and bound.directory_id not in (after.id, dead):
        raise Refused(
            RefusalCode.UNIQUENESS,
            f"The externalId {after.okta_id} belongs to another OpsHelm account. Nothing was changed.",
        )


def _owners(conn: Connection, case: JudgedWrite, before: DirectoryUser) -> None:
    if not case.owners_known:
        raise Refused(
            RefusalCode.OWNERS_UNKNOWN,
            f"{before.user_name} stays active for now: OpsHelm shows no roles over SCIM, so nobody can tell whether this is "
            "its last owner. An OpsHelm operator sets directory.owners to the owners' userNames.",
            retry_after=burst.RETRY_AFTER,
        )
    if case.others is None:
        return
    left = case.others.ids - intents.owners_ending(conn, case.others.mark)
    if not left:
        then = (
            "Make another person owner in OpsHelm, then retry the task."
            if case.context.source is Source.PUSH
            else "Make somebody else owner in OpsHelm's dashboard first."
        )
        raise guarded.last_owner(before, then)
