"""What people decided about a change, asked in the change's own transaction; and what a push says to the register of holds.

The judge of plans (agent.model.guard) asks the same register when a plan is made; here it is asked again right before the
write, since somebody may have decided, or Okta pushed, in between. Opens no hold (refusals.py and the reconciler do).

=============  =========================================================================================
who writes     is refused where
=============  =========================================================================================
push           the change was rejected, or is blocked (409)
sweep, single  the same; Okta has pushed about the account since the run asked Okta
single         the same; the change waits for a person, who has neither approved nor announced it
an operator    never: who blocks may unblock
=============  =========================================================================================
"""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from agent.directory.rows import WriteScope
from agent.directory.rules import OKTA
from agent.model.codes import HeldCode, RefusalCode, Source
from agent.model.errors import Refused
from agent.model.holds import (
    ENDS_ACCESS,
    GIVES_ACCESS,
    WAITS_FOR_A_PERSON,
    ChangeKind,
    Decision,
    Hold,
    HoldEnd,
    Reason,
    asked_again,
    way_out,
    wish,
    wishes_between,
)
from agent.model.times import when
from agent.model.users import DirectoryUser
from agent.store import attention, brakes, holds
from agent.store.journal import Signature


class Decided(NamedTuple):
    """What the register says to a change that it lets pass."""

    #: A person has approved that this one's access ends.
    approved: bool
    #: The open holds of the account's person; None: not asked for.
    mine: list[Hold] | None


def check(scope: WriteScope, before: DirectoryUser | None, after: DirectoryUser) -> Decided:
    """Refused, or what the register says. Writes nothing."""
    conn, _, context, now, _ = scope
    if context.source not in OKTA:
        return Decided(approved=False, mine=None)
    account = before or after
    if context.push_mark is not None and holds.pushed_since(conn, account.id, context.push_mark):
        raise Refused(RefusalCode.MOVED, "Okta has pushed about this account since it was asked about it.")
    mine = holds.of_user(conn, account)
    if before is None and after.okta_id is None:
        mine += holds.of_name(conn, after.user_name)
    if not mine:
        return Decided(approved=False, mine=mine)
    known = {hold.kind: hold for hold in mine}
    wishes = wishes_between(before, after)
    _ask(known, wishes, after, scope)
    for hold in (known[kind] for kind in wishes if kind in known and asked_again(known[kind], after)):
        waits = hold.waits(now) and hold.code in WAITS_FOR_A_PERSON
        if waits and context.source is Source.SINGLE and not context.exempt:
            raise Refused(RefusalCode.WAITS, f"It waits for a person since {when(hold.since)}.")
    ends = known.get(ChangeKind.DEACTIVATE)
    return Decided(approved=ends is not None and ends.lets(ENDS_ACCESS, now), mine=mine)


def of_successor(scope: WriteScope, leaver: DirectoryUser, new: DirectoryUser) -> list[Hold]:
    """Refused, or the open holds of who gets ``leaver``'s id: what concerns the leaver is none of theirs."""
    link = wish({"externalId": new.okta_id})
    mine = [
        hold
        for hold in holds.of_user(scope.conn, new)
        if hold.directory_id != leaver.id or (hold.kind is ChangeKind.LINK and hold.okta_id == new.okta_id)
    ]
    wishes = {ChangeKind.ACTIVATE: GIVES_ACCESS, ChangeKind.LINK: link}
    _ask({hold.kind: hold for hold in mine}, wishes, new, scope)
    return mine


def _ask(known: dict[ChangeKind, Hold], wishes: dict[ChangeKind, str], after: DirectoryUser, scope: WriteScope) -> None:
    for kind, wanted in wishes.items():
        hold = known.get(kind)
        if hold is not None and asked_again(hold, after) and hold.stops(wanted, scope.now):
            raise Refused(*_no(hold, pushed=scope.context.source is Source.PUSH))


_WHAT = {
    ChangeKind.DEACTIVATE: "the deactivation of",
    ChangeKind.ACTIVATE: "access for",
    ChangeKind.LINK: "linking",
    ChangeKind.IDENTITY: "a new userName or e-mail for",
    ChangeKind.ROLE: "another role for",
    ChangeKind.UPDATE: "a change of",
}


def _no(hold: Hold, *, pushed: bool) -> tuple[RefusalCode, str]:
    """In words for Okta's task list, where a push asked."""
    what, why = f"{_WHAT[hold.kind]} {hold.login}", f" ({hold.reason})" if hold.reason else ""
    if hold.decision is Decision.BLOCKED:
        until = f" until {when(hold.until)}" if hold.until else ""
        said = f"An OpsHelm operator has blocked {what}{until}{why}. Nothing was changed."
        return RefusalCode.BLOCKED, f"{said} Ask an operator to run: {way_out(hold)}"
    no = "took back" if hold.code is HeldCode.UNDONE else "rejected"
    said = f"An OpsHelm operator {no} {what}{why}. Nothing was changed."
    ask = "Put the person right in Okta, or ask" if pushed else "Ask"
    return RefusalCode.REJECTED, f"{said} {ask} an operator to run: {way_out(hold)}"


def made(scope: WriteScope, before: DirectoryUser | None, after: DirectoryUser, mine: list[Hold] | None = None) -> None:
    """The change is made: its holds end, those of the opposite are moot, and a push leaves its mark.

    ``mine``: what ``check`` has found in this very transaction.
    """
    if mine is None:
        mine = holds.of_user(scope.conn, after)
    if before is not None and before.id != after.id:
        # Who gets the old id has a hold of their own there.
        mine = [hold for hold in mine if hold.kind is not ChangeKind.LINK or hold.okta_id in (None, before.okta_id)]
    if mine:
        # A change of other values than those that were rejected is no end of that.
        met = [hold for hold in mine if hold.decision is not Decision.REJECTED or asked_again(hold, after)]
        holds.done(scope.conn, met, wishes_between(before, after), scope.now)
        if before is not None and before.user_name != after.user_name:
            holds.renamed(scope.conn, mine, after.user_name)
        strangers = [hold for hold in mine if hold.directory_id is None]
        if strangers:
            holds.settled(scope.conn, strangers, after)
    links = after.okta_id is not None and (before is None or before.okta_id != after.okta_id)
    if scope.context.source is Source.CLI and links:
        # What Okta wants of them is seen to at once.
        why, now = attention.LINKED, scope.now
        attention.add(scope.conn, reason=why, okta_id=after.okta_id, not_before=now, now=now)
    if scope.context.source is Source.PUSH:
        holds.mark_push(scope.conn, after.id)
        if mine and after.active and scope.context.says_active:
            _over(scope, mine, ChangeKind.DEACTIVATE)
    _rule(scope, before or after, after.user_name)


def unchanged(scope: WriteScope, user: DirectoryUser) -> None:
    """A push that changed nothing still says something: the account is as Okta wants it, and nobody waits for the opposite."""
    _rule(scope, user, user.user_name)
    if scope.context.source is not Source.PUSH:
        return
    holds.mark_push(scope.conn, user.id)
    if not scope.context.says_active:
        return
    mine = holds.of_user(scope.conn, user)
    _over(scope, mine, ChangeKind.DEACTIVATE if user.active else ChangeKind.ACTIVATE)


def _over(scope: WriteScope, mine: Iterable[Hold], kind: ChangeKind) -> None:
    """Okta doesn't want this kind of change any more."""
    over = [hold.id for hold in mine if hold.kind is kind and hold.decision is not Decision.BLOCKED]
    holds.end(scope.conn, over, HoldEnd.MOOT, scope.now)


def _rule(scope: WriteScope, user: DirectoryUser, name: str) -> None:
    """What the operator who writes has said besides, of the account as it was before; ``name``: as it is called now."""
    ruling, context = scope.context.ruling, scope.context
    if ruling is None and context.undone is None:
        return
    by = Signature(actor=context.actor, source=context.source.value, at=scope.now, reason=context.reason)
    if context.undone is not None:
        brakes.undo(scope.conn, by, replace(user, user_name=name), context.undone.wishes, plan_id=context.plan_id)
    if ruling is None:
        return
    if ruling.blocks:
        brakes.block(scope.conn, by, user, ruling.kind, until=ruling.until)
    else:
        brakes.unblock(scope.conn, by, user, ruling.kind)


def over_limit(scope: WriteScope, user: DirectoryUser, held: HeldCode, detail: str) -> None:
    """A pushed deactivation that was one too many waits for a person."""
    reason = Reason.of(user, ChangeKind.DEACTIVATE, held, detail, ENDS_ACCESS)
    holds.find(scope.conn, [reason], scope.now, by="push", pushed=True)
