"""What an account becomes by a request, and the rules that one account and one request decide alone. Pure. Rules that need the
database: guarded.py.

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

The rules raise Refused, in this order. ``detail`` is shown as it is in Okta's task list: what, effect, next step.

==============================================  =================================================================
rule                                            who is refused
==============================================  =================================================================
hidden accounts don't exist for SCIM            push
a protected account is not changed              push, reconcile, import
a local account is changed by linking it alone  reconcile, import
a push that links keeps names and active        push
a local account is not removed                  push (DELETE)
a bound externalId stays                        push; reconcile unless a person approved it
an owner's userName and e-mail stay             push (unless policy), reconcile unless a person approved it
roles are given by people                       push, import; reconcile unless a group gives them
userName and e-mail follow OpsHelm's rules      all, where they change or the account becomes active
externalId and profile stay within bounds       all, where they change
==============================================  =================================================================
"""

from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

from msgspec import Struct
from msgspec.structs import replace

from agent.directory.port import Draft, WriteContext
from agent.directory.rows import Policy
from agent.model import usernames, users
from agent.model.codes import RefusalCode, Source
from agent.model.errors import NotFound, Refused, VersionConflict
from agent.model.usernames import MAX_LENGTH
from agent.model.users import DirectoryUser, Origin, Role

#: Sources that speak for Okta.
OKTA = (Source.PUSH, Source.SWEEP, Source.SINGLE, Source.IMPORT)


#: From the account as it is to what it becomes. Pure; may raise Refused or UsageError, and may be asked again.
Becomes = Callable[[DirectoryUser], DirectoryUser]


class AccountChange(Struct, frozen=True):
    """One change of one account that is there."""

    user_id: str
    wanted: Becomes
    context: WriteContext
    #: None: whatever version it has.
    expected_version: int | None = None
    #: A POST that found this inactive account.
    revives: bool = False

    def of(self, user: DirectoryUser | None) -> DirectoryUser:
        """``user`` as it is now; NotFound, or VersionConflict where that is another one than was meant."""
        if user is None or (user.hidden and self.context.source is Source.PUSH and not self.revives):
            raise NotFound("There is no such user.")
        require_version(user, self.expected_version)
        return user


def require_version(user: DirectoryUser, expected: int | None) -> None:
    if expected is not None and user.version != expected:
        raise VersionConflict(f"The account has changed since version {expected}; it is at {user.version}.")


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


def wanted_by(change: Callable[[DirectoryUser], Draft], context: WriteContext, now: datetime) -> Becomes:
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


# What is refused


def check(
    before: DirectoryUser | None, after: DirectoryUser, context: WriteContext, policy: Policy, *, revives: bool = False
) -> bool:
    """All rules of the table; the database is not asked. ``revives``: a POST that found this inactive account.

    Answers details_only: then the rules about what people are known by have nothing to say.
    """
    details = details_only(before, after)
    if before is not None and context.source in OKTA:
        if before.hidden and context.source is Source.PUSH and not revives:
            raise Refused(RefusalCode.HIDDEN, "There is no such user.")
        _protected(before)
        _ownership(before, after, context)
        if not details:
            _binding(before, after, context)
            _owner_identity(before, after, context, policy)
    if not details:
        _role(before, after, context)
        if not _same_names(before, after):
            user_name(after.user_name, policy, active=after.active)
    _bounds(before, after, policy)
    return details


def identity_changes(before: DirectoryUser, after: DirectoryUser) -> bool:
    """UserName or primary e-mail differs by more than case."""
    return not (before.same_name(after) and before.same_email(after))


def details_only(before: DirectoryUser | None, after: DirectoryUser) -> bool:
    """Nothing differs but values of the profile that nobody is known by: no name, no e-mail, no access, no role, no link."""
    if before is None or before.profile.emails != after.profile.emails:
        return False
    return replace(before, profile=after.profile) == after


def _protected(before: DirectoryUser) -> None:
    if before.protected:
        raise Refused(
            RefusalCode.PROTECTED,
            f"{before.user_name} is protected in OpsHelm. Nothing was changed. To let Okta manage this account, "
            f"an OpsHelm operator runs: opshelm-agent users unprotect {before.user_name}",
        )


def _ownership(before: DirectoryUser, after: DirectoryUser, context: WriteContext) -> None:
    if context.source is Source.PUSH:
        if before.origin is Origin.LOCAL:
            _push_on_local(before, after)
        return
    if before.managed:
        return
    compared = [(user.user_name, user.profile, user.active) for user in (before, after)]
    if not after.managed or compared[0] != compared[1]:
        raise Refused(
            RefusalCode.LOCAL_ACCOUNT,
            f"{before.user_name} is a local OpsHelm account; the agent doesn't change it. "
            f"To link it to Okta: opshelm-agent users link {before.user_name} --okta-id ID",
        )


def _push_on_local(before: DirectoryUser, after: DirectoryUser) -> None:
    name = before.user_name
    if after.hidden:
        raise Refused(
            RefusalCode.LOCAL_ACCOUNT,
            f"{name} is a local OpsHelm account that Okta did not create; it can't be deleted over SCIM. Nothing was changed.",
        )
    if not after.active:
        raise Refused(
            RefusalCode.LOCAL_ACCOUNT,
            f"{name} is a local OpsHelm account that was never linked to Okta, so this first push may not deactivate it. "
            f"Nothing was changed. If the person has left, an OpsHelm operator runs: opshelm-agent users deactivate {name} --reason …",
        )
    if identity_changes(before, after):
        raise Refused(
            RefusalCode.LOCAL_ACCOUNT,
            f"{name} is a local OpsHelm account. The push that links it must keep its userName and primary e-mail "
            f"({before.profile.primary_email or 'none'}). Nothing was changed. Check that Okta matched the right account; "
            "if so, make both sides equal, then retry the task.",
        )


def _binding(before: DirectoryUser, after: DirectoryUser, context: WriteContext) -> None:
    if (
        before.okta_id is not None
        and after.okta_id != before.okta_id
        and not (context.exempt and context.source is not Source.PUSH)
    ):
        raise Refused(
            RefusalCode.NAME_REUSE,
            f"{before.user_name} in OpsHelm belongs to another Okta user ({before.okta_id}). Nothing was changed. "
            f"If a new person got this name, an OpsHelm operator runs: opshelm-agent users release-name {before.user_name}. "
            f"If it is the same person with a new Okta user: opshelm-agent users link {before.user_name} "
            f"--okta-id {after.okta_id}. Then retry the task.",
        )


def _owner_identity(before: DirectoryUser, after: DirectoryUser, context: WriteContext, policy: Policy) -> None:
    if before.role is not Role.OWNER or not identity_changes(before, after) or context.exempt:
        return
    if context.source is Source.PUSH and policy.policy.owner_identity == "allow":
        return
    raise Refused(
        RefusalCode.OWNER_IDENTITY,
        f"{before.user_name} owns this OpsHelm account, so its userName and primary e-mail are not changed from Okta. "
        "Nothing was changed. An owner changes them in OpsHelm, or takes the owner role away first; then retry the task.",
    )


def _role(before: DirectoryUser | None, after: DirectoryUser, context: WriteContext) -> None:
    gained = after.role is Role.OWNER and (before is None or before.role is not Role.OWNER)
    if gained and context.source in OKTA and context.by_group is None:
        raise Refused(RefusalCode.INVALID_VALUE, "Only an owner gives the owner role, in OpsHelm; Okta can't.")


def _bounds(before: DirectoryUser | None, after: DirectoryUser, policy: Policy) -> None:
    found = None
    if after.okta_id is not None and (before is None or before.okta_id != after.okta_id):
        found = users.external_id_problem(after.okta_id)
    if found is None and (before is None or before.profile != after.profile):
        found = users.profile_problem(after.profile, policy.receiver.bounds)
    if found is not None:
        raise Refused(RefusalCode.INVALID_VALUE, f"{found} Nothing was changed.")


def user_name(name: str, policy: Policy, *, active: bool) -> None:
    """The rules that the name alone can break; asked before anybody is looked for who has it."""
    found = usernames.form_problem(name, policy.receiver.names, active=active)
    if found is not None:
        raise Refused(*found)


def primary_email(before: DirectoryUser | None, after: DirectoryUser, policy: Policy) -> None:
    """The primary e-mail equals the userName; asked last, for a name that is somebody else's is the better answer."""
    if not policy.has_emails or _same_names(before, after):
        return
    email = after.profile.primary_email
    found = usernames.email_problem(after.user_name, email, policy.receiver.names, active=after.active)
    if found is not None:
        raise Refused(*found)


def _same_names(before: DirectoryUser | None, after: DirectoryUser) -> bool:
    return (
        before is not None
        and before.user_name == after.user_name
        and (before.active or not after.active)
        and before.same_email(after)
    )
