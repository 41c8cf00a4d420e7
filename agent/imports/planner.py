"""From matches to a plan: the actions towards Okta, what Okta is told, who is chosen, and the guard. Pure.

=========  =================================================================================================
match      actions
=========  =================================================================================================
exact      okta_assign
none       okta_create (STAGED unless ``imports.activate``; in ``imports.groups``), then okta_assign
made       okta_assign: an import that didn't end has made the Okta user already
held       one held action, which nothing applies; a person settles it, then a new plan is made
=========  =================================================================================================

The guard: more accounts than ``imports.max_per_run`` hold the whole plan.

A new Okta user gets login, e-mail and the two names that Okta requires, and the free texts that its app profile maps, so that
Okta's first push doesn't clear them in OpsHelm. Left out: what Okta checks for a form of its own (locale, preferredLanguage,
timezone, profileUrl, country) and what doesn't belong to a person alone (manager).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import ActionKind, ActionState, HeldCode
from agent.model.mapping import DEFAULT
from agent.model.matching import NEW, Apart, Match, MatchClass
from agent.model.paths import parse
from agent.model.plan import Action, Change, Plan
from agent.model.users import DirectoryUser, Name
from agent.settings import Settings

#: Where a person said which Okta user it is (an applied plan asks again with the same answer).
DECIDED = "decided"

#: Attributes that the app profile and the Okta user call the same.
_SAME = (
    *("middleName", "honorificPrefix", "honorificSuffix", "displayName", "nickName", "title", "userType"),
    *("primaryPhone", "employeeNumber", "costCenter", "organization", "division", "department", "streetAddress"),
)
#: App profile attribute → attribute of the Okta user, as Okta's own mapping has it.
OKTA_NAMES = {**dict(zip(_SAME, _SAME, strict=True)), "locality": "city", "region": "state", "postalCode": "zipCode"}


class Choice(Struct, frozen=True, kw_only=True):
    """Whom to import. By class: apart and held ones are left out. By name: they are in, and held ones say why."""

    classes: frozenset[MatchClass] = frozenset()
    #: Directory id → a decision, or "".
    named: Mapping[str, str] = {}
    limit: int | None = None

    def picks(self, match: Match) -> bool:
        if self.named:
            return match.account.id in self.named
        return match.kind in self.classes and match.apart is None and match.held is None


def choose(matches: Iterable[Match], choice: Choice) -> list[Match]:
    return [match for match in matches if choice.picks(match)][: choice.limit]


def plan_of(chosen: Sequence[Match], choice: Choice, settings: Settings, *, people: int, now: datetime) -> Plan:
    actions: list[Action] = []
    for match in chosen:
        actions += drafts(match, settings, len(actions) + 1)
    limit, wanted = settings.imports.max_per_run, sum(match.held is None for match in chosen)
    plan = Plan(
        actions=tuple(actions),
        population=len(chosen),
        source_size=people,
        created=now,
        scope=tuple(match.account.user_name for match in chosen) if choice.named else (),
    )
    if wanted <= limit:
        return plan
    return replace(plan, held=HeldCode.COUNT_EXCEEDED, held_detail=too_many(wanted, limit))


def too_many(wanted: int, limit: int) -> str:
    return (
        f"{wanted:,} accounts would be brought into Okta; imports.max_per_run is {limit:,}. Nothing was done. "
        f"Take fewer (opshelm-agent import plan … --limit {limit}), or raise imports.max_per_run."
    )


def drafts(match: Match, settings: Settings, first: int = 1) -> list[Action]:
    """What this match asks for, numbered from ``first``."""
    account = match.account
    rule = f"import {DECIDED if match.decided else Apart.EMAIL_ONLY if match.apart is Apart.EMAIL_ONLY else match.kind}"
    base = Action(
        n=first,
        kind=ActionKind.OKTA_ASSIGN,
        login=account.user_name,
        directory_id=account.id,
        version=account.version,
        okta_id=match.okta.id if match.okta else None,
        rule=rule,
        changes={"credentials.userName": Change(before=None, after=account.user_name)},
    )
    create = replace(base, kind=ActionKind.OKTA_CREATE, changes=_creation(match, settings))
    if match.held is not None:
        kind = create if match.kind is MatchClass.NONE else base
        return [replace(kind, held=match.held, held_detail=match.held_detail, state=ActionState.HELD)]
    if match.kind is MatchClass.EXACT:
        return [base]
    return [create, replace(base, n=first + 1, needs=(first,))]


def _creation(match: Match, settings: Settings) -> dict[str, Change]:
    profile = okta_profile(match.account, settings.mapping)
    changes = {f"profile.{name}": Change(before=None, after=value) for name, value in profile.items()}
    changes["status"] = Change(before=None, after="active" if settings.imports.activate else "STAGED")
    if settings.imports.groups:
        changes["groups"] = Change(before=None, after=list(settings.imports.groups))
    return changes


class AccountActions(Struct, frozen=True, kw_only=True):
    """The actions of one account, as stored."""

    assign: Action
    create: Action | None = None

    @property
    def directory_id(self) -> str:
        return self.assign.directory_id or ""

    @property
    def actions(self) -> tuple[Action, ...]:
        return (self.assign,) if self.create is None else (self.create, self.assign)

    @property
    def open(self) -> list[Action]:
        return [action for action in self.actions if action.state is not ActionState.DONE]

    @property
    def pending(self) -> bool:
        return any(action.state in (ActionState.PENDING, ActionState.SENT) for action in self.actions)


def groups(plan: Plan) -> list[AccountActions]:
    """Account by account; held actions are in none of them."""
    creates = {a.directory_id: a for a in plan.actions if a.kind is ActionKind.OKTA_CREATE}
    return [
        AccountActions(assign=action, create=creates.get(action.directory_id))
        for action in plan.actions
        if action.kind is ActionKind.OKTA_ASSIGN and action.held is None
    ]


def decisions_of(plan: Plan) -> dict[str, str]:
    """What to ask again when the plan is applied: directory id → the decision that its plan was made with."""
    return {
        group.directory_id: (group.assign.okta_id or NEW) if group.assign.rule == f"import {DECIDED}" else ""
        for group in groups(plan)
    }


def moved(group: AccountActions, match: Match, settings: Settings, *, named: bool) -> str:
    """Why what was planned is no longer what a new plan would say; "" where it still is."""
    if match.held is not None:
        return match.held_detail
    if match.apart is not None and not named:
        return f"It is {match.apart.value} by now; name it: opshelm-agent import plan --user {match.account.user_name}"
    fresh = drafts(match, settings)
    if group.create is None:
        if match.okta is not None and match.okta.id == group.assign.okta_id:
            return "" if fresh[-1].changes == group.assign.changes else "its userName has changed"
        return f"It matches another way by now: {match.reason}"
    if match.made:
        return ""
    if len(fresh) == 1:
        return f"It matches another way by now: {match.reason}"
    same = [a.changes for a in fresh] == [a.changes for a in group.actions]
    return "" if same else "its profile, or a setting of imports, has changed"


def okta_profile(account: DirectoryUser, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """``overrides`` is the setting ``mapping``: what isn't mapped isn't sent."""
    first, last = names(account)
    found = {
        "login": account.user_name,
        "email": account.profile.primary_email or account.user_name,
        "firstName": first,
        "lastName": last,
    }
    mapping = {**DEFAULT, **(overrides or {})}
    for attribute, okta_name in OKTA_NAMES.items():
        path = mapping.get(attribute)
        value = parse(path).get(account.profile) if path else None
        if value:
            found[okta_name] = value
    return found


def names(account: DirectoryUser) -> tuple[str, str]:
    """First and last name; Okta requires both. What is missing is made of the display name, else of the userName."""
    name = account.profile.name or Name()
    given, family = (name.given_name or "").strip(), (name.family_name or "").strip()
    if given and family:
        return given, family
    words = (account.profile.display_name or "").split()
    if len(words) < 2:
        words = account.user_name.partition("@")[0].replace("_", ".").split(".")
    words = [word for word in words if word] or [account.user_name]
    return given or words[0], family or " ".join(words[1:]) or words[0]
