"""The one guarded write: every change to the directory goes through it, whoever makes it.

``check`` asks everything and writes nothing; ``carry_out`` writes the account, its e-mails, the counters, the window's row
and the journal's row, in one transaction. The account row is locked before anything else on every write, so that lock
order is one, and two at once can't race past the last owner, a limit or a name.

Order of the checks: fence → rules of one account (rules.py: protected, ownership, binding, owner's identity, names) →
what people decided (decisions.py) → uniqueness → primary e-mail → last owner → windows. What raises Refused has written nothing; refusals.py then keeps the attempt.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agent.directory import burst, decisions, rows, rules
from agent.directory.port import Draft, WriteContext
from agent.directory.rows import WriteScope
from agent.model.codes import HeldCode, RefusalCode, Source
from agent.model.errors import CalledOff, Refused
from agent.model.guard import identity_limit
from agent.model.holds import Hold
from agent.model.users import DirectoryUser, Origin, Role
from agent.store import account, alarms, attention, journal, lease, plans, windows
from agent.store.journal import Entry, Kind

_encode = msgspec.json.Encoder().encode


def view(user: DirectoryUser, *, id_said: bool = False) -> str:
    """Everything that a person may need to undo a change, as JSON; put together as text, for it is on the hot path.

    ``id_said``: with the id too, which agent.store.former_ids follows.
    """
    head: dict[str, object] = {"id": user.id} if id_said else {}
    head |= {
        "userName": user.user_name,
        "externalId": user.okta_id,
        "active": user.active,
        "role": user.role,
        "origin": user.origin,
        "protected": user.protected,
        "suspended": user.suspended,
        "hidden": user.hidden,
        "version": user.version,
    }
    said, profile = _encode(head), _encode(user.profile)
    return (said if profile == b"{}" else said[:-1] + b"," + profile[1:]).decode()


def verb(before: DirectoryUser | None, after: DirectoryUser) -> str:
    """The one word for a change; of several things that changed, the one that matters most."""
    if before is None:
        return "create"
    if after.id != before.id:
        return journal.RELEASE
    if after.hidden and not before.hidden:
        return "remove"
    if before.active is not after.active:
        return "reactivate" if after.active else "deactivate"
    if before.role is not after.role:
        return "role"
    was, managed = before.managed, after.managed
    if was is not managed or (before.origin is Origin.LOCAL) > (after.origin is Origin.LOCAL):
        return "unlink" if was and not managed else "link"
    if before.protected is not after.protected:
        return "protect" if after.protected else "unprotect"
    return "update"


def entry(
    kind: Kind,
    verb: str,
    before: DirectoryUser | None,
    after: DirectoryUser | None,
    context: WriteContext,
    reason: str = "",
) -> Entry:
    who = after or before
    moved = before is not None and after is not None and before.id != after.id
    return Entry(
        kind=kind,
        verb=verb,
        actor=context.actor,
        source=str(context.source),
        directory_id=None if who is None else who.id,
        okta_id=None if who is None else who.okta_id,
        request_id=context.request_id,
        run_id=context.run_id,
        plan_id=context.plan_id,
        action_n=context.action_n,
        reason=reason or context.reason or _linked_by_push(before, after, context),
        before=None if before is None else view(before, id_said=moved),
        after=None if after is None else view(after, id_said=moved),
    )


def _linked_by_push(before: DirectoryUser | None, after: DirectoryUser | None, context: WriteContext) -> str:
    links = before is not None and after is not None and before.origin is Origin.LOCAL and after.origin is Origin.LINKED
    return "linked by push" if links and context.source is Source.PUSH else ""


#: An account before and after.
BeforeAfter = tuple[DirectoryUser, DirectoryUser]


class Ready(Struct, frozen=True, kw_only=True):
    """A change that passed every check, and how it is to be counted."""

    before: DirectoryUser | None
    after: DirectoryUser
    verb: str
    #: rules.details_only: no counter, limit or role follows it.
    details: bool
    #: None: this is no deactivation.
    verdict: burst.Verdict | None
    #: The open holds of the account's person; None: not asked for.
    mine: list[Hold] | None
    #: A push touched an inactive bound account, or may link somebody to it: Okta is asked whether it is still the same person.
    confirm: bool


def write(
    scope: WriteScope,
    before: DirectoryUser | None,
    after: DirectoryUser,
    *,
    revives: bool = False,
    holders: Collection[DirectoryUser] | None = None,
) -> DirectoryUser:
    """Check, then carry out; answers the account as it is now. ``before == after``: nothing is written."""
    if before == after:
        decisions.unchanged(scope, after)
        if scope.context.links and after.okta_id is not None:
            ask_about_reuse(scope, after)
        return after
    return carry_out(scope, check(scope, before, after, revives=revives, holders=holders))


def check(
    scope: WriteScope,
    before: DirectoryUser | None,
    after: DirectoryUser,
    *,
    revives: bool = False,
    beside: Collection[BeforeAfter] = (),
    holders: Collection[DirectoryUser] | None = None,
) -> Ready:
    """Refused, FenceLost or what may be done. ``beside``: all changes that are made together in this transaction.

    ``holders``: rows.holders of the account's identities, where the caller has read them in this very transaction.
    """
    context = scope.context
    if context.fence is not None:
        lease.check(scope.conn, context.fence)
    undoes = context.plan_id if context.undone is not None else None
    # The account row is locked: neither a rejection nor a pause can pass this write.
    if undoes is not None and (scope.row.paused or plans.is_rejected(scope.conn, undoes)):
        raise CalledOff
    details = rules.check(before, after, context, scope.policy, revives=revives)
    decided = decisions.check(scope, before, after)
    if not details:
        _unique(scope, before, after, beside, holders)
        rules.primary_email(before, after, scope.policy)
        _last_owner(scope, before, after, beside)
    ends = before is not None and before.active and not after.active
    # A POST with the account's own externalId is no question: Okta said who it means.
    asked = context.source is Source.PUSH and not revives and before is not None and before.okta_id is not None
    return Ready(
        before=before,
        after=_next(before, after, scope.now),
        verb="update" if details else verb(before, after),
        details=details,
        mine=decided.mine,
        verdict=burst.check(scope, before, approved=decided.approved) if ends and before is not None else None,
        confirm=asked and before is not None and (context.links or not before.active),
    )


def check_successor(scope: WriteScope, leaver: BeforeAfter, new: DirectoryUser, mine: list[Hold]) -> Ready:
    """The same for an account under the id and name that ``leaver``'s gives up in this transaction. ``mine``: its holds."""
    rules.check(None, new, scope.context, scope.policy)
    _unique(scope, None, new, (leaver,), None)
    rules.primary_email(None, new, scope.policy)
    return Ready(before=None, after=new, verb=verb(None, new), details=False, verdict=None, mine=mine, confirm=False)


def carry_out(scope: WriteScope, ready: Ready) -> DirectoryUser:
    """Write a change that was checked in this very transaction."""
    conn, _, context, now, policy = scope
    before, after = ready.before, ready.after
    if before is None:
        rows.insert_user(conn, after, policy.mapping)
    elif ready.details:
        rows.update_details(conn, after, policy.mapping)
    else:
        rows.update_user(conn, before, after, policy.mapping)
    if ready.verdict is not None and before is not None:
        count_deactivation(scope, before, ready.verdict)
    if not ready.details:
        count(scope, before, after, ended=ready.verdict is not None)
        role_changed(scope, before, after)
    decisions.made(scope, before, after, ready.mine)
    if before is not None and before.id != after.id:
        from agent.store import former_ids

        former_ids.moved(conn, before, after)
    if ready.confirm:
        ask_about_reuse(scope, after, ready.before)
    journal.append(conn, entry(Kind.APPLIED, ready.verb, before, after, context), now)
    return after


def count(scope: WriteScope, before: DirectoryUser | None, after: DirectoryUser, *, ended: bool) -> None:
    """The counters that follow a change, and what a push fills by it. ``ended``: it was a deactivation."""
    account.count(
        scope.conn,
        managed_active=managed_active(after) - managed_active(before),
        active_owners=active_owner(after) - active_owner(before),
        visible=visible(after) - visible(before),
    )
    pushed = scope.context.source is Source.PUSH and before is not None and not ended
    if pushed and before is not None and rules.identity_changes(before, after):
        _count_identity_change(scope, after)


def role_changed(scope: WriteScope, before: DirectoryUser | None, after: DirectoryUser) -> None:
    """The group that gives a role stands behind it from now on; behind any other role there is none."""
    if before is None or before.role is after.role:
        return
    from agent.store import roles

    group_id, now = scope.context.by_group, scope.now
    counted = None if scope.context.exempt else now
    if group_id is not None and after.role is Role.OWNER:
        roles.give(scope.conn, after.id, group_id, counted)
    elif group_id is not None and counted is not None:
        roles.take(scope.conn, after.id, group_id, counted)
    else:
        roles.drop(scope.conn, before.id)


def ask_about_reuse(scope: WriteScope, user: DirectoryUser, before: DirectoryUser | None = None) -> None:
    """Okta is to say whether an account is still its person's: a push touched it while it was inactive, or may link somebody.

    Whose account was active all the time has the limits and holds of anybody: Okta looks for a name before every assignment.
    """
    why, now = attention.NAME_REUSE if (before or user).active else attention.CONFIRM_REUSE, scope.now
    attention.add(scope.conn, reason=why, okta_id=user.okta_id, directory_id=user.id, not_before=now, now=now)


def _next(before: DirectoryUser | None, after: DirectoryUser, now: datetime) -> DirectoryUser:
    if before is None:
        return after
    # Never older than before, whatever the clock did: clients compare lastModified.
    return replace(after, version=before.version + 1, updated=max(now, before.updated + timedelta(microseconds=1)))


def _unique(
    scope: WriteScope,
    before: DirectoryUser | None,
    after: DirectoryUser,
    beside: Collection[BeforeAfter],
    holders: Collection[DirectoryUser] | None,
) -> None:
    """Nobody else has the userName, the externalId or, if active, the primary e-mail. One look for all that changed."""
    key = after.user_name_key if before is None or not before.same_name(after) else None
    okta_id = after.okta_id if before is None or before.okta_id != after.okta_id else None
    appears = after.active and (before is None or not before.active or not before.same_email(after))
    email_key = (after.email_key or None) if appears else None
    if key is None and okta_id is None and email_key is None:
        return
    if holders is None:
        holders = rows.holders(scope.conn, key, okta_id, email_key)
    # Who gives the name up in the same transaction doesn't hold it any more.
    moving = {old.id for old, new in beside if not old.same_name(new)}
    others = [user for user in holders if user.id != after.id and user.id not in moving]
    if not others:
        return
    if any(user.user_name_key == key for user in others):
        raise name_taken(after.user_name)
    if okta_id is not None and any(user.okta_id == okta_id for user in others):
        raise Refused(
            RefusalCode.UNIQUENESS, f"The externalId {okta_id} belongs to another OpsHelm account. Nothing was changed."
        )
    if email_key is not None and any(user.active and user.email_key == email_key for user in others):
        raise Refused(
            RefusalCode.EMAIL_TAKEN,
            f"The e-mail address {after.profile.primary_email} is the primary one of another active OpsHelm account. "
            "Nothing was changed. Give one of the two another address, then "
            + ("retry the task." if scope.context.source is Source.PUSH else "try again."),
        )


def revivable(draft: Draft, same_id: DirectoryUser | None, same_name: DirectoryUser | None) -> DirectoryUser | None:
    """The inactive account that a POST means; None where nothing is in its way; Refused where somebody else is.

    =====================================  ================================  =========================
    same externalId                        same userName                     then
    =====================================  ================================  =========================
    none                                   none                              create
    inactive                               the same account, or none         revive, and rename
    active, or inactive                    another account                   uniqueness
    active                                 any                               uniqueness
    none, neither side has one             removed over SCIM                 revive
    none                                   any other                         uniqueness
    =====================================  ================================  =========================
    """
    if same_id is not None:
        if same_id.active:
            raise Refused(
                RefusalCode.UNIQUENESS, f"The externalId {draft.okta_id} has an active OpsHelm account already."
            )
        if same_name is None or same_name.id == same_id.id:
            return same_id
    elif same_name is None:
        return None
    elif (
        same_name.hidden
        and same_name.okta_id is None
        and draft.okta_id is None
        and same_name.origin is not Origin.RELEASED
    ):
        return same_name
    raise name_taken(draft.user_name)


def id_free(scope: WriteScope, draft: Draft) -> None:
    if draft.id is not None and rows.find(scope.conn, "id", draft.id) is not None:
        raise Refused(RefusalCode.UNIQUENESS, "There is another account by now under the id that Okta pushes to.")


def name_taken(user_name: str) -> Refused:
    return Refused(
        RefusalCode.UNIQUENESS, f"The userName {user_name} is taken by another OpsHelm account. Nothing was changed."
    )


def _last_owner(
    scope: WriteScope, before: DirectoryUser | None, after: DirectoryUser, beside: Collection[BeforeAfter]
) -> None:
    if before is None:
        return
    policy, pushed = scope.policy, scope.context.source is Source.PUSH
    if not policy.owners_known and before.active and not after.active:
        raise Refused(
            RefusalCode.OWNERS_UNKNOWN,
            f"{before.user_name} stays active for now: OpsHelm shows no roles over SCIM, so nobody can tell whether this is "
            "its last owner. An OpsHelm operator sets directory.owners to the owners' userNames.",
            retry_after=burst.RETRY_AFTER,
        )
    loses = active_owner(before) and not active_owner(after)
    gained = sum(active_owner(new) and not active_owner(old) for old, new in beside)
    if not loses or scope.row.active_owners + gained > 1:
        return
    handover = f"opshelm-agent owner handover --to OTHER --deactivate {before.user_name}"
    if not policy.sets_roles:
        make = "Make another person owner in OpsHelm, then retry the task."
        what_to_do = make if pushed else "Make somebody else owner in OpsHelm's dashboard first."
    elif pushed:
        what_to_do = f"Make another person owner in OpsHelm, then retry the task; or an operator runs: {handover}"
    else:
        first = "Make somebody else owner first: opshelm-agent users role OTHER owner."
        what_to_do = f"{first} Or, if this person leaves: {handover}"
    raise Refused(
        RefusalCode.LAST_OWNER,
        f"{before.user_name} is the last active owner of this OpsHelm account, so nothing was changed. Without an owner "
        f"nobody could manage it. {what_to_do}",
    )


def count_deactivation(scope: WriteScope, user: DirectoryUser, verdict: burst.Verdict) -> None:
    conn, now = scope.conn, scope.now
    if verdict.announced:
        windows.use_allowance(conn, user.id, now)
    source = scope.context.source.value
    windows.record(conn, directory_id=user.id, source=source, exempt=verdict.exempt, managed=user.managed, now=now)
    if scope.context.source is Source.PUSH:
        judged_push(scope, user, verdict.counts)
    for code, detail in verdict.alarms:
        alarms.raise_alarm(conn, code, "guard", detail, now)


def judged_push(
    scope: WriteScope, user: DirectoryUser, counts: windows.Counts | None, held: HeldCode | None = None
) -> None:
    """What the limits said to a pushed deactivation, for ``guard replay``. ``counts`` None: they weren't asked."""
    from agent.model.replay import JudgedPush
    from agent.store import judgements

    known = (
        {} if counts is None else {"population": counts.population, "hour": counts.last_hour, "day": counts.last_day}
    )
    judged = JudgedPush(directory_id=user.id, login=user.user_name, exempt=counts is None, held=held, **known)
    judgements.note_push(scope.conn, judged, scope.now)


def _count_identity_change(scope: WriteScope, user: DirectoryUser) -> None:
    conn, now, guard = scope.conn, scope.now, scope.policy.guard
    windows.identity_change(conn, user.id, now)
    population = windows.counts(conn, now).population
    limit = identity_limit(population, guard)
    if windows.identity_changes_in_day(conn, now, limit + 1) > limit:
        detail = (
            f"Pushes changed the userName or e-mail of over {limit} of {population} people within 24 hours. They were "
            "applied. Check the app's username format and attribute mapping in Okta."
        )
        alarms.raise_alarm(conn, "identity_changes", "guard", detail, now)


def managed_active(user: DirectoryUser | None) -> bool:
    return user is not None and user.active and user.managed


def active_owner(user: DirectoryUser | None) -> bool:
    return user is not None and user.active and user.role is Role.OWNER


def visible(user: DirectoryUser | None) -> bool:
    return user is not None and not user.hidden
