"""From pairs to a plan's actions: renames resolved over all people, each pair classified, everything put in order. Pure.

Knows the whole set, where agent.model.cases knows one person. Does not judge (agent.model.guard).
"""

from collections import Counter
from collections.abc import Iterable
from collections.abc import Mapping as MappingOf
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from agent.model.absence import Proof, classify_absent
from agent.model.cases import CaseRow, Classifier, CurrentAccount, Left, Pair, of_account, wants_rename
from agent.model.codes import ActionKind, HeldCode
from agent.model.mapping import Mapping
from agent.model.paths import EMAIL_PATH
from agent.model.plan import Action, Change, Finding, ordered, resolve
from agent.model.usernames import NameRules


class Besides(Struct, frozen=True, kw_only=True):
    """What a plan follows from besides the pairs. ``left``, ``gives_ids``: as of agent.model.cases.Classifier."""

    left: MappingOf[str, Left] = {}
    gives_ids: bool = True
    #: What Okta's groups give and take.
    roles: tuple[Action, ...] = ()


class Outline(Struct, frozen=True, kw_only=True):
    """What a plan will hold, before the guard."""

    actions: tuple[Action, ...]
    findings: tuple[Finding, ...]


def outline(
    pairs: list[Pair],
    absences: Iterable[tuple[CurrentAccount, Proof]],
    mapping: Mapping,
    rules: NameRules,
    besides: Besides | None = None,
) -> Outline:
    """``pairs`` is used up: beside the actions, those of a first run take twice the memory."""
    known = besides or Besides()
    _claimed_once(pairs)
    renaming = {pair.linked.id: pair for pair in pairs if pair.linked is not None and wants_rename(pair, rules)}
    names = resolve({account: pair.holder.id if pair.holder else None for account, pair in renaming.items()})
    classifier = Classifier(mapping=mapping, rules=rules, names=names, left=known.left, gives_ids=known.gives_ids)
    holders = {pair.want.okta_id: pair.holder.id for pair in pairs if pair.holder is not None}
    actions: list[Action] = []
    findings: list[Finding] = []
    pairs.reverse()
    people = (classifier.classify(pairs.pop()) for _ in range(len(pairs)))
    for case in chain(people, (classify_absent(account, proof) for account, proof in absences)):
        actions += case.actions
        findings += case.findings
    ends = {action.directory_id for action in actions if action.kind is ActionKind.DEACTIVATE}
    # Who loses access loses the role with it.
    actions += [action for action in known.roles if action.directory_id not in ends]
    actions += [_cycle(cycle, renaming, rules) for cycle in names.cycles]
    return Outline(actions=ordered(_unambiguous(actions), names, holders), findings=tuple(findings))


def _claimed_once(pairs: list[Pair]) -> None:
    """Two app users that name the same account are twins as well."""
    claims = Counter(pair.linked.id for pair in pairs if pair.linked is not None and pair.want.names_somebody)
    if any(n > 1 for n in claims.values()):
        pairs[:] = [
            replace(pair, twin=True)
            if pair.linked is not None and pair.want.names_somebody and claims[pair.linked.id] > 1
            else pair
            for pair in pairs
        ]


def _cycle(cycle: tuple[str, ...], renaming: dict[str, Pair], rules: NameRules) -> Action:
    """Everybody in the cycle at once; ``changes`` name each member's userName."""
    members = [(renaming[account].linked, renaming[account].want) for account in cycle]
    changes: dict[str, Change] = {}
    first, first_want = members[0]
    assert first is not None
    for account, want in members:
        assert account is not None
        at = "userName" if account is first else f"{account.user_name}: userName"
        changes[at] = Change(before=account.user_name, after=want.user_name)
    if rules.is_email:
        changes[EMAIL_PATH] = Change(before=first.email_key or None, after=first_want.email)
    action = of_account(ActionKind.RENAME_CYCLE, first, first_want.okta_id, changes, CaseRow.CYCLE)
    inside = ((account.id, account.version, want.user_name) for account, want in members if account is not None)
    return replace(action, cycle=tuple(inside))


def _unambiguous(actions: list[Action]) -> list[Action]:
    """Two people who would end up with one account, or two accounts made under one name: nobody gets it."""
    claims: dict[str, str | None] = {}
    torn = {
        action.directory_id
        for action in actions
        if action.directory_id is not None
        and action.kind is not ActionKind.DEACTIVATE
        and claims.setdefault(action.directory_id, action.okta_id) != action.okta_id
    }
    if not torn:
        return actions
    detail = "two people in Okta claim this account"
    return [
        replace(a, held=HeldCode.IDENTITY_CONFLICT, held_detail=detail)
        if a.directory_id in torn and a.held is None
        else a
        for a in actions
    ]
