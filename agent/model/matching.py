"""Which Okta user is an OpsHelm account's? Pure: takes the account and the Okta users who might fit, gives a match.

========================================================  =======  ==============================================
Okta has                                                  class    brought into Okta
========================================================  =======  ==============================================
one user whose login is the account's userName            exact    assigned
no such login; one user with its primary e-mail           exact    assigned, named by --user only
several users with that login or e-mail                   partial  not before a person says which
no such address; users with the same first and last name  partial  not before a person says which, or a new one
nobody of these                                           none     created and assigned
========================================================  =======  ==============================================

An owner's account and an e-mail match are ``apart``: --all and classes leave them out. ``held`` says what a person has to
settle first, in this order:

=================================================  =====================================================
held                                               why
=================================================  =====================================================
protected                                          the push that links it would be refused
name_invalid                                       OpsHelm or Okta would refuse the userName
identity_conflict                                  its externalId names another Okta user, or nobody in this org
partial_match                                      see above
identity_conflict                                  two accounts match one Okta user, or it has the app already
okta_status                                        DEPROVISIONED, SUSPENDED, STAGED, in transition, unknown
link_needs_decision                                the primary e-mails differ: Okta's first push would be refused
=================================================  =====================================================
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from agent.model import usernames
from agent.model.codes import HeldCode
from agent.model.desired import LIVE, user_status
from agent.model.okta import AppUser, OktaUser
from agent.model.usernames import NameRules
from agent.model.users import DirectoryUser, Role, identity_key


class MatchKeys:
    """What the accounts could be matched by. An Okta user who has none of it need not be kept."""

    def __init__(self, accounts: Iterable[DirectoryUser]) -> None:
        self.addresses: set[str] = set()
        self.names: set[tuple[str, str]] = set()
        self.ids: set[str] = set()
        for account in accounts:
            self.addresses |= addresses(account)
            self.names |= {name for name in (full_name(account),) if name}
            self.ids |= {account.okta_id} if account.okta_id else set()

    def fit(self, user: OktaUser) -> bool:
        return (
            user.id in self.ids
            or login_key(user) in self.addresses
            or email_key(user) in self.addresses
            or okta_name(user) in self.names
        )


class People:
    """Okta users by what they are matched by."""

    def __init__(self, users: Iterable[OktaUser]) -> None:
        self.by_id = {user.id: user for user in users}
        self.by_login: dict[str, list[OktaUser]] = {}
        self.by_email: dict[str, list[OktaUser]] = {}
        self.by_name: dict[tuple[str, str], list[OktaUser]] = {}
        for user in self.by_id.values():
            self.by_login.setdefault(login_key(user), []).append(user)
            self.by_email.setdefault(email_key(user), []).append(user)
            name = okta_name(user)
            if name is not None:
                self.by_name.setdefault(name, []).append(user)


def login_key(user: OktaUser) -> str:
    return identity_key(str(user.profile.get("login") or ""))


def email_key(user: OktaUser) -> str:
    return identity_key(str(user.profile.get("email") or ""))


def okta_name(user: OktaUser) -> tuple[str, str] | None:
    return _names(user.profile.get("firstName"), user.profile.get("lastName"))


def full_name(account: DirectoryUser) -> tuple[str, str] | None:
    name = account.profile.name
    return None if name is None else _names(name.given_name, name.family_name)


def addresses(account: DirectoryUser) -> set[str]:
    return {key for key in (account.user_name_key, account.email_key) if key}


def _names(first: object, last: object) -> tuple[str, str] | None:
    key = identity_key(str(first or "")), identity_key(str(last or ""))
    return key if all(key) else None


#: A decision that says: a new Okta user, although others have that name.
NEW = "new"
#: What a person who names the Okta user may settle; DEPROVISIONED is none of them: Okta refuses to assign those.
_DECIDABLE = ("STAGED", "SUSPENDED")


class ImportState(StrEnum):
    """How far an account is on its way into Okta."""

    #: The wish is stored; Okta may or may not have been asked.
    INTENDED = "intended"
    #: The Okta user exists, made by the agent; it is not assigned yet.
    CREATED = "created"
    #: Assigned; Okta has not linked it yet.
    LINKING = "linking"
    LINKED = "linked"
    ENDED = "ended"


class MatchClass(StrEnum):
    EXACT = "exact"
    PARTIAL = "partial"
    NONE = "none"


class Apart(StrEnum):
    """Why --all and classes leave an account out."""

    EMAIL_ONLY = "email_only"
    OWNER = "owner"
    PROTECTED = "protected"


class Match(Struct, frozen=True, kw_only=True):
    account: DirectoryUser
    kind: MatchClass
    #: For people: what agrees, and with whom.
    reason: str
    okta: OktaUser | None = None
    #: All Okta users that might be the same person.
    candidates: tuple[OktaUser, ...] = ()
    apart: Apart | None = None
    held: HeldCode | None = None
    held_detail: str = ""
    #: The agent itself has made this Okta user, in an import that did not end.
    made: bool = False
    #: A person has said which Okta user it is, or that it is none of them.
    decided: bool = False


class Knowledge(Struct, frozen=True, kw_only=True):
    """What is known beside the accounts and the Okta users."""

    rules: NameRules = NameRules()
    #: App users by Okta id, of those who matter.
    app_users: Mapping[str, AppUser] = field(default_factory=dict)
    #: Directory id → the Okta user's id that an unfinished import has made.
    made: Mapping[str, str] = field(default_factory=dict)
    #: Directory id → an Okta user's id, or NEW.
    decisions: Mapping[str, str] = field(default_factory=dict)


def importable(account: DirectoryUser) -> bool:
    """Not an inactive one: an assignment would reactivate it. Not a managed one: Okta has it, or took it away on purpose."""
    return account.active and not account.hidden and not account.managed


def match_all(accounts: Sequence[DirectoryUser], people: People, known: Knowledge) -> list[Match]:
    """One match for each account, in their order."""
    found = [_judge(_find(account, people, known), people, known) for account in accounts]
    return _claims(found)


def _find(account: DirectoryUser, people: People, known: Knowledge) -> Match:
    decision = known.decisions.get(account.id)
    if decision == NEW:
        logins = people.by_login.get(account.user_name_key, [])
        if not logins:
            return _match(account, MatchClass.NONE, "a person decided: a new Okta user", (), decided=True)
    elif decision is not None:
        return _named(account, decision, people)
    nobody = _match(account, MatchClass.NONE, "no Okta user has this login, e-mail or name", ())
    return _by_address(account, people) or _by_name(account, people) or nobody


def _named(account: DirectoryUser, okta_id: str, people: People) -> Match:
    user = people.by_id.get(okta_id)
    if user is None:
        return replace(
            _match(account, MatchClass.PARTIAL, f"a person decided for {okta_id}", (), decided=True),
            held=HeldCode.PARTIAL_MATCH,
            held_detail=f"Okta has no user {okta_id}.",
        )
    return _match(account, MatchClass.EXACT, f"a person decided: Okta user {_who(user)}", (user,), decided=True)


def _by_address(account: DirectoryUser, people: People) -> Match | None:
    logins = people.by_login.get(account.user_name_key, []) if account.user_name_key else []
    if len(logins) == 1:
        return _match(account, MatchClass.EXACT, f"login equals the userName: {_who(logins[0])}", logins)
    if logins:
        return _match(account, MatchClass.PARTIAL, f"{len(logins)} Okta users have this login", logins)
    found: dict[str, OktaUser] = {}
    for key in sorted(addresses(account)):
        found |= {user.id: user for user in people.by_email.get(key, ())}
        found |= {user.id: user for user in people.by_login.get(key, ())}
    users = list(found.values())
    if len(users) == 1:
        reason = f"only the primary e-mail agrees: {_who(users[0])}"
        return replace(_match(account, MatchClass.EXACT, reason, users), apart=Apart.EMAIL_ONLY)
    if users:
        return _match(account, MatchClass.PARTIAL, f"{len(users)} Okta users have this e-mail: {_list(users)}", users)
    return None


def _by_name(account: DirectoryUser, people: People) -> Match | None:
    name = full_name(account)
    users = people.by_name.get(name, []) if name else []
    if not users:
        return None
    return _match(account, MatchClass.PARTIAL, f"the name agrees, the address doesn't: {_list(users)}", users)


def _match(
    account: DirectoryUser, kind: MatchClass, reason: str, users: Sequence[OktaUser], *, decided: bool = False
) -> Match:
    apart = Apart.PROTECTED if account.protected else Apart.OWNER if account.role is Role.OWNER else None
    single = users[0] if kind is MatchClass.EXACT else None
    return Match(
        account=account, kind=kind, reason=reason, okta=single, candidates=tuple(users), apart=apart, decided=decided
    )


def _judge(match: Match, people: People, known: Knowledge) -> Match:
    """Say what a person has to settle first; the first row of the table that fits."""
    account = match.account
    made = match.okta is not None and known.made.get(account.id) == match.okta.id
    # What the agent has made itself is whom it meant, whatever else agrees by now.
    match = replace(match, made=made, apart=None if made and match.apart is Apart.EMAIL_ONLY else match.apart)
    if match.held is not None:
        return match
    for problem in (_protected, _name_problem, _external_id, _partial, _has_app, _status, _email):
        found = problem(match, people, known)
        if found is not None:
            return replace(match, held=found[0], held_detail=found[1])
    return match


_Problem = tuple[HeldCode, str] | None


def _protected(match: Match, _people: People, _known: Knowledge) -> _Problem:
    if not match.account.protected:
        return None
    login = match.account.user_name
    return HeldCode.PROTECTED, (
        f"The account is protected: the push by which Okta links it would be refused. First: opshelm-agent users unprotect {login}"
    )


def _name_problem(match: Match, _people: People, known: Knowledge) -> _Problem:
    account, rules = match.account, known.rules
    email = account.profile.primary_email
    if match.kind is MatchClass.NONE and not rules.is_email:
        # OpsHelm takes any userName then; Okta still wants an e-mail address as a login.
        rules, email = replace(rules, is_email=True), account.user_name
    found = usernames.problem(account.user_name, email, rules)
    return None if found is None else (HeldCode.NAME_INVALID, found[1])


def _external_id(match: Match, people: People, _known: Knowledge) -> _Problem:
    okta_id = match.account.okta_id
    if okta_id is None or (match.okta is not None and match.okta.id == okta_id):
        return None
    user = people.by_id.get(okta_id)
    said = f"is the Okta user {_who(user)}" if user else "is no user of this Okta org"
    return HeldCode.IDENTITY_CONFLICT, (
        f"Its externalId {okta_id} {said}. If it is wrong: opshelm-agent users unlink {match.account.user_name}"
    )


def _partial(match: Match, _people: People, _known: Knowledge) -> _Problem:
    if match.kind is not MatchClass.PARTIAL:
        return None
    login, user = match.account.user_name, match.candidates[0]
    return HeldCode.PARTIAL_MATCH, (
        f"{match.reason[:1].upper()}{match.reason[1:]}. The same person: opshelm-agent import plan --user {login} --okta-id {user.id}. "
        f"Somebody else: opshelm-agent import plan --user {login} --create"
    )


def _has_app(match: Match, _people: People, known: Knowledge) -> _Problem:
    app_user = known.app_users.get(match.okta.id) if match.okta else None
    if app_user is None or match.okta is None or identity_key(app_user.user_name) == match.account.user_name_key:
        return None
    return HeldCode.IDENTITY_CONFLICT, (
        f"The Okta user {_who(match.okta)} has the app already, as {app_user.user_name}. One person, two OpsHelm accounts: "
        "deactivate one of them."
    )


def _status(match: Match, _people: People, _known: Knowledge) -> _Problem:
    if match.okta is None:
        return None
    status = user_status(match.okta)
    if status in LIVE or (status == "STAGED" and match.made) or (status in _DECIDABLE and match.decided):
        return None
    return (
        HeldCode.OKTA_STATUS,
        f"The Okta user {_who(match.okta)} is {status or 'in no readable state'}. {_advice(match, status)}",
    )


def _advice(match: Match, status: str) -> str:
    if status == "DEPROVISIONED":
        return "Reactivate it in Okta if the person is back, or deactivate the account in OpsHelm."
    if status in _DECIDABLE and match.okta is not None:
        return (
            "Activate it in Okta first; or assign it as it is: "
            f"opshelm-agent import plan --user {match.account.user_name} --okta-id {match.okta.id}"
        )
    return "Wait until Okta has settled it."


def _email(match: Match, _people: People, _known: Knowledge) -> _Problem:
    if match.okta is None:
        if match.account.email_key:
            return None
        return HeldCode.LINK_NEEDS_DECISION, (
            "The account has no primary e-mail in OpsHelm, so Okta's first push would change it and be refused. Give it one."
        )
    theirs = email_key(match.okta)
    if theirs == match.account.email_key:
        return None
    return HeldCode.LINK_NEEDS_DECISION, (
        f"Okta's e-mail is {match.okta.profile.get('email')}, OpsHelm's {match.account.profile.primary_email or 'none'}: "
        "Okta's first push would be refused. Make both sides equal first."
    )


def _claims(found: list[Match]) -> list[Match]:
    """Of several accounts that match one Okta user only one by its login goes on."""
    counts = Counter(match.okta.id for match in found if match.okta)
    by_login = {m.okta.id for m in found if m.okta and login_key(m.okta) == m.account.user_name_key}
    result = []
    for match in found:
        okta = match.okta
        alone = okta is None or counts[okta.id] == 1
        if not alone and okta is not None and match.held is None:
            mine = login_key(okta) == match.account.user_name_key
            if not mine or okta.id not in by_login:
                detail = f"{counts[okta.id]} OpsHelm accounts match the Okta user {_who(okta)}. Deactivate all but one of them."
                match = replace(match, held=HeldCode.IDENTITY_CONFLICT, held_detail=detail)  # noqa: PLW2901 - the match, judged
        result.append(match)
    return result


def _who(user: OktaUser) -> str:
    return f"{user.id} ({user.profile.get('login') or 'no login'}, {user_status(user) or 'no status'})"


def _list(users: Sequence[OktaUser]) -> str:
    shown = ", ".join(_who(user) for user in users[:3])
    return f"{shown} and {len(users) - 3} more" if len(users) > 3 else shown
