"""Holds: what waits for a person's decision, one open row for each person and kind of change. Pure; the register is store/holds.py.

A hold names one kind of change of one person, so that it never stops another kind or another person. It keeps its age while
it is found again, and remembers what Okta wanted (``wish``): a decision holds for that wish, not for another one.

==========  ===============================================================================================
decision    meaning
==========  ===============================================================================================
waiting     nobody has decided; a push within the push limits does it, an event or a later look does not
approved    it may be done, until the approval lapses; then it waits again
rejected    it is not done, on no path, until Okta wants something else or an operator lifts it
blocked     an operator's own word: not done on any path, pushes included, until lifted or its time is over
==========  ===============================================================================================
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from shlex import quote

import msgspec
from msgspec import Struct

from agent.model.codes import ActionKind, HeldCode
from agent.model.paths import EMAIL_PATH, parse
from agent.model.plan import Action
from agent.model.structs import decoder
from agent.model.users import DirectoryUser, identity_key


class ChangeKind(StrEnum):
    """What is done to a person's account. An action, or a push, may be several at once; an action's hold names the first."""

    #: Access ends.
    DEACTIVATE = "deactivate"
    #: Access begins: a create or a reactivation.
    ACTIVATE = "activate"
    #: The account becomes that Okta user's.
    LINK = "link"
    #: userName or primary e-mail.
    IDENTITY = "identity"
    #: Owner or member.
    ROLE = "role"
    #: Anything else.
    UPDATE = "update"


class Decision(StrEnum):
    WAITING = "waiting"
    APPROVED = "approved"
    REJECTED = "rejected"
    BLOCKED = "blocked"


class HoldEnd(StrEnum):
    #: The change was made.
    DONE = "done"
    #: Nobody wants it any more.
    MOOT = "moot"
    #: An operator took the hold away.
    LIFTED = "lifted"
    #: A block's time is over.
    EXPIRED = "expired"


#: Holds of a class of actions, which has a limit.
_OF_A_CLASS = frozenset(
    {
        HeldCode.DEACTIVATIONS_PER_RUN,
        HeldCode.DEACTIVATIONS_24H,
        HeldCode.PUSH_BURST,
        HeldCode.IDENTITY_CHANGES,
        HeldCode.CREATES_PER_RUN,
        HeldCode.FIRST_ROLES,
        HeldCode.PROMOTIONS_PER_RUN,
        HeldCode.DEMOTIONS_PER_RUN,
    }
)
#: Holds of a class or of a listing: only a person, a push or a sweep that fits its limits lets them go, never a single look.
WAITS_FOR_A_PERSON = _OF_A_CLASS | {HeldCode.EMPTY_SOURCE, HeldCode.SOURCE_DROP}
#: Holds of a class or a moment: approving the action lifts them.
APPROVABLE = _OF_A_CLASS | {HeldCode.COUNT_EXCEEDED, HeldCode.FAILING, HeldCode.FAILED_ACTIONS}
#: Lifted only for an action that was named one by one.
ONE_BY_ONE = frozenset({HeldCode.OWNER_IDENTITY})


class Reason(Struct, frozen=True, kw_only=True):
    """A change that may not be made now, as a run, a push or an operator found it."""

    #: None: there is no account yet.
    directory_id: str | None
    okta_id: str | None
    login: str
    kind: ChangeKind
    code: HeldCode
    #: For people: why, with numbers.
    detail: str
    #: What Okta wants, canonical JSON of path → value; "" for a block.
    wish: str
    #: The plan that held it last.
    plan_id: int | None = None
    action_n: int | None = None
    #: Somebody else's login: their change is held, and this one needs it first.
    waits_for: str = ""

    @property
    def subject(self) -> str:
        return subject_of(self.directory_id, self.okta_id, self.login)

    @classmethod
    def of(cls, person: DirectoryUser, kind: ChangeKind, code: HeldCode, detail: str, wish: str = "") -> "Reason":
        own = (person.id, person.okta_id, person.user_name)
        return Reason(directory_id=own[0], okta_id=own[1], login=own[2], kind=kind, code=code, detail=detail, wish=wish)


class Hold(Reason, frozen=True, kw_only=True):
    """One row of the register."""

    id: int
    since: datetime
    #: "run 81", "push", "import 12", "operator root".
    opened_by: str
    last_found: datetime
    #: How often a push has asked for it.
    tries: int = 0
    decision: Decision = Decision.WAITING
    decided_at: datetime | None = None
    decided_by: str | None = None
    reason: str = ""
    #: When an approval lapses or a block ends.
    until: datetime | None = None
    ended_at: datetime | None = None
    ended: HoldEnd | None = None

    @property
    def person(self) -> str:
        return self.directory_id or self.okta_id or self.login

    def stops(self, wish: str, now: datetime) -> bool:
        """Whether a person has said no to this: a rejection of this very wish ("": of any), or a block that lasts."""
        if self.decision is Decision.REJECTED:
            return not (self.wish and wish) or within(wish, self.wish)
        return self.decision is Decision.BLOCKED and self._lasts(now)

    def lets(self, wish: str, now: datetime) -> bool:
        """Whether a person has said yes to this very wish, and not too long ago."""
        return self.decision is Decision.APPROVED and within(wish, self.wish) and self._lasts(now)

    def waits(self, now: datetime) -> bool:
        """Nobody has decided, or the approval has lapsed."""
        return self.decision is Decision.WAITING or (self.decision is Decision.APPROVED and not self._lasts(now))

    def _lasts(self, now: datetime) -> bool:
        return self.until is None or now < self.until


def asked_again(hold: Hold, after: DirectoryUser) -> bool:
    """For changes of values: whether the account would become what the hold remembers; a change of other values is another."""
    if hold.kind is not ChangeKind.UPDATE or not hold.wish:
        return True
    values = _decode(hold.wish)
    return all((parse(path).get(after.profile) or None) == (value or None) for path, value in values.items())


def subject_of(directory_id: str | None, okta_id: str | None, login: str) -> str:
    """The person as the register knows them: the account; for somebody who has none yet the Okta user, or the name."""
    return directory_id or (f"okta {okta_id}" if okta_id else f"login {identity_key(login)}")


def key_of(action: Action) -> tuple[str, "ChangeKind"]:
    return subject_of(action.directory_id, action.okta_id, action.login), kind_of(action)


_BROAD = {
    ActionKind.DEACTIVATE: ChangeKind.DEACTIVATE,
    ActionKind.LINK: ChangeKind.LINK,
    ActionKind.ROLE: ChangeKind.ROLE,
    **dict.fromkeys((ActionKind.CREATE, ActionKind.REACTIVATE), ChangeKind.ACTIVATE),
}


def broad_kind(kind: ActionKind) -> ChangeKind:
    """What failures are counted by: a failed update says nothing of the same person's deactivation."""
    return _BROAD.get(kind, ChangeKind.UPDATE)


def kind_of(action: Action) -> ChangeKind:
    if action.succeeds:
        return ChangeKind.LINK  # of a leaver's account the question is whose it is
    kind = broad_kind(action.kind)
    names = action.kind is ActionKind.RENAME_CYCLE or "userName" in action.changes or EMAIL_PATH in action.changes
    return ChangeKind.IDENTITY if kind is ChangeKind.UPDATE and names else kind


def wish_of(action: Action) -> str:
    """What the action would make of the account. A wish to end access is one wish, whatever else goes with it."""
    kind = kind_of(action)
    if kind is ChangeKind.LINK:
        return wish({"externalId": action.okta_id})
    if kind is ChangeKind.DEACTIVATE:
        return ENDS_ACCESS
    if kind is ChangeKind.ACTIVATE:
        return GIVES_ACCESS
    if action.kind is ActionKind.RENAME_CYCLE:
        # As the same rename would ask for it by itself: the circle may open, and the decision holds on.
        name = action.cycle[0][2] if action.cycle else action.login
        return identity_wish(name, name if EMAIL_PATH in action.changes else None)
    after = {path: change.after for path, change in action.changes.items()}
    if kind is ChangeKind.IDENTITY:
        return identity_wish(after.get("userName"), after.get(EMAIL_PATH))
    return wish(after)


def identity_wish(user_name: str | None, email: str | None) -> str:
    """Names are compared as the directory compares them; None: that one stays. What else goes with them is no part of it."""
    names = {"userName": user_name, EMAIL_PATH: email}
    return wish({path: identity_key(str(name)) for path, name in names.items() if name is not None})


def within(part: str, whole: str) -> bool:
    """Whether all that one wish asks for is in another; a push may say less of it than a sweep finds."""
    return part == whole or bool(part and whole and _decode(part).items() <= _decode(whole).items())


_decode = decoder(dict[str, str | bool | None])


def wish(values: dict[str, object]) -> str:
    return msgspec.json.encode(values, order="deterministic").decode()


ENDS_ACCESS = wish({"active": False})
GIVES_ACCESS = wish({"active": True})


def wishes_between(before: DirectoryUser | None, after: DirectoryUser) -> dict[ChangeKind, str]:
    """What a write that turns ``before`` into ``after`` does, by kind, each with its wish ("" for an update: not told)."""
    found: dict[ChangeKind, str] = {}
    if before is None:
        return {ChangeKind.ACTIVATE: GIVES_ACCESS} if after.active else {ChangeKind.UPDATE: ""}
    if before.active and not after.active:
        found[ChangeKind.DEACTIVATE] = ENDS_ACCESS
    if after.active and not before.active:
        found[ChangeKind.ACTIVATE] = GIVES_ACCESS
    if before.managed != after.managed or before.okta_id != after.okta_id:
        found[ChangeKind.LINK] = wish({"externalId": after.okta_id})
    renamed, readdressed = not before.same_name(after), not before.same_email(after)
    if renamed or readdressed:
        email = (after.profile.primary_email or "") if readdressed else None
        found[ChangeKind.IDENTITY] = identity_wish(after.user_name if renamed else None, email)
    if before.role is not after.role and before.active is after.active:
        # What a deactivation ends goes with it.
        found[ChangeKind.ROLE] = wish({"role": after.role.value})
    if not found and before != after:
        found[ChangeKind.UPDATE] = ""
    return found


def without_a_no(chosen: Sequence[Hold]) -> list[Hold]:
    """Who is approved when all that fit a code or filter are: whoever was rejected or blocked stays so.

    All of them where nobody else is left, so that approving can say why it does nothing.
    """
    return [hold for hold in chosen if hold.decision not in (Decision.REJECTED, Decision.BLOCKED)] or list(chosen)


def releasable(code: HeldCode) -> bool:
    """What a person's approval lets go; all else is put right elsewhere."""
    return code in WAITS_FOR_A_PERSON | APPROVABLE | ONE_BY_ONE


_AGENT = "opshelm-agent"
_REUSE = f"users release-name LOGIN (another person), or {_AGENT} users link LOGIN --okta-id OKTA_ID (the same one, who came back)"
_WAYS = {
    HeldCode.LINK_NEEDS_DECISION: "users link LOGIN --okta-id OKTA_ID (the same person), or opshelm-agent users rename LOGIN "
    "NEW (another one)",
    HeldCode.NAME_REUSE: _REUSE,
    HeldCode.LAST_OWNER: "owner handover --to OTHER --deactivate LOGIN",
    HeldCode.EXTERNAL_ID_CHANGED: _REUSE,
    HeldCode.ABSENCE_NOT_PROVABLE: "users deactivate LOGIN --reason …",
    HeldCode.OKTA_STATUS: "import plan --user LOGIN, once the Okta user is active",
    HeldCode.PARTIAL_MATCH: "import plan --csv, with the Okta user that it is",
    HeldCode.PROTECTED: "users unprotect LOGIN",
}
_ELSEWHERE = {
    HeldCode.IDENTITY_CONFLICT: "correct in Okta which of the two people has this userName",
    HeldCode.NAME_TAKEN: "free the name in Okta or in OpsHelm; the next run goes on by itself",
    HeldCode.NAME_INVALID: "correct the userName or e-mail in Okta; the next run goes on by itself",
    HeldCode.OWNERS_UNKNOWN: "set directory.owners to the owners' userNames",
    HeldCode.FAILING: "it is tried again by itself; at once: opshelm-agent reconcile --apply --user LOGIN",
    HeldCode.FAILED_ACTIONS: "it is tried again within an hour; the errors: opshelm-agent failures list",
}


def way_out(hold: Hold, brake: str = "") -> str:
    """The one command that ends this hold, or what a person has to put right elsewhere; where it waits for another, theirs.

    ``brake``: why nothing can be approved now, and what ends that.
    """
    if hold.decision is Decision.BLOCKED:
        command = "users link LOGIN --okta-id OKTA_ID" if hold.kind is ChangeKind.LINK else "users reactivate LOGIN"
        if hold.directory_id is not None:
            return _filled(f"{_AGENT} {command}", hold)
    if hold.decision in (Decision.REJECTED, Decision.BLOCKED):
        return _filled(f"{_AGENT} holds lift LOGIN", hold)
    if hold.waits_for:
        return f"{_AGENT} holds show {hold.waits_for}"
    if hold.code in _ELSEWHERE:
        return _filled(_ELSEWHERE[hold.code], hold)
    if hold.code in _WAYS:
        return _filled(f"{_AGENT} {_WAYS[hold.code]}", hold)
    return f"{f'{brake}, then ' if brake else ''}{_filled(f'{_AGENT} holds approve LOGIN', hold)}"


def _filled(text: str, hold: Hold) -> str:
    # As a shell takes it: a login may hold an apostrophe or an ampersand.
    return text.replace("LOGIN", quote(hold.login)).replace("OKTA_ID", hold.okta_id or "ID")
