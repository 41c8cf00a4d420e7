"""Group rules: they put people into groups by their profile, and take them out again.

An expression is ``user.ATTRIBUTE == "value"`` (or ``!=``), several joined by ``and`` or by ``or``; Okta's language knows more.
An active rule puts whoever it fits into its groups, at once and after every change of a profile, and takes out whoever it has put
in and doesn't fit any more. Who is in a group by hand stays.
"""

import re

from agent.simulator import ids
from agent.simulator.assignments import Assignments
from agent.simulator.entities import GroupRule, User
from agent.simulator.errors import found, invalid
from agent.simulator.state import OrgState

_TERM = re.compile(r'\s*user\.(\w+)\s*(==|!=)\s*"([^"]*)"\s*')
_OR, _AND = re.compile(r"\s+(?:or|OR)\s+|\|\|"), re.compile(r"\s+(?:and|AND)\s+|&&")


class GroupRules:
    def __init__(self, org: OrgState, assignments: Assignments) -> None:
        self._org = org
        self._assignments = assignments
        self.rules: dict[str, GroupRule] = {}

    def find(self, rule_id: str) -> GroupRule:
        return found(self.rules, rule_id, "GroupRule")

    def make(self, name: str, expression: str, group_ids: list[str]) -> GroupRule:
        """Inactive, as Okta makes it."""
        if not name or not group_ids:
            raise invalid("name" if not name else "actions", "The field cannot be left blank")
        _terms(expression)
        for group_id in group_ids:
            self._assignments.group(group_id)
        rule = GroupRule(id=self._org.ids.new("0pr"), name=name, expression=expression, group_ids=group_ids)
        self.rules[rule.id] = rule
        return rule

    def set_active(self, rule: GroupRule, *, active: bool) -> None:
        """Okta leaves whom a rule has placed where they are when it ends: from then on they are in by hand."""
        rule.status, rule.last_updated = "ACTIVE" if active else "INACTIVE", ids.now()
        if active:
            for user in list(self._org.users.values()):
                self._place(rule, user)
        else:
            rule.placed.clear()

    def follow(self, user: User) -> None:
        """After a change of this person."""
        for rule in self.rules.values():
            if rule.status == "ACTIVE":
                self._place(rule, user)

    def _place(self, rule: GroupRule, user: User) -> None:
        fits = any(all(_holds(term, user) for term in terms) for terms in _terms(rule.expression))
        for group_id in rule.group_ids:
            group = self._assignments.groups.get(group_id)
            if group is None:
                continue
            placed = rule.placed.setdefault(group_id, set())
            if fits and user.id not in group.members:
                placed.add(user.id)
                self._assignments.set_member(group, user, member=True)
            elif not fits and user.id in placed:
                placed.discard(user.id)
                self._assignments.set_member(group, user, member=False)


Term = tuple[str, str, str]


def _terms(expression: str) -> list[list[Term]]:
    """One list for each alternative."""
    return [[_term(part) for part in _AND.split(either)] for either in _OR.split(expression)]


def _term(text: str) -> Term:
    match = _TERM.fullmatch(text)
    if match is None:
        raise invalid("conditions.expression.value", f"Invalid property expression: {text}")
    name, operator, value = match.groups()
    return name, operator, value


def _holds(term: Term, user: User) -> bool:
    name, operator, value = term
    return (str(user.profile.get(name) or "") == value) is (operator == "==")
