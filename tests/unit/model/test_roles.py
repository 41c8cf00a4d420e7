"""One test for each row of the table in agent.model.roles, and what the guard makes of roles."""

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.model.codes import ActionKind
from agent.model.guard import Facts, Grant, judge
from agent.model.plan import Action, Change, Plan, fulfilled
from agent.model.roles import RoleAccount, RoleRow, Standing, role_action, wanted
from agent.model.users import DirectoryUser, Profile, Role
from agent.settings import GuardSettings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GROUP = ("00g1", "Owners")
IN, OUT = Standing(group=GROUP, whole=True, assigned=True), Standing(group=None, whole=True, assigned=True)


def account(role: Role = Role.MEMBER, **more: Any) -> RoleAccount:
    given = {
        "id": "a",
        "user_name": "ann@example.com",
        "okta_id": "00u1",
        "active": True,
        "touched": True,
        "version": 3,
    }
    return RoleAccount(**{**given, "role": role, **more})


OWNER = account(Role.OWNER)
GRANTED = account(Role.OWNER, granted="00g1")


@pytest.mark.parametrize(
    ("who", "okta", "manage", "role", "row"),
    [
        (account(touched=False), IN, "all", Role.MEMBER, RoleRow.UNTOUCHED),
        (account(Role.OWNER, touched=False), OUT, "all", Role.OWNER, RoleRow.UNTOUCHED),
        (account(), IN, "mapped", Role.OWNER, RoleRow.IN_GROUP),
        (OWNER, IN, "all", Role.OWNER, RoleRow.IN_GROUP),
        (account(active=False), IN, "all", Role.MEMBER, RoleRow.NOT_NOW),
        (account(), Standing(group=GROUP, whole=True, assigned=False), "all", Role.MEMBER, RoleRow.NOT_NOW),
        (GRANTED, Standing(group=GROUP, whole=True, assigned=False), "all", Role.OWNER, RoleRow.NOT_NOW),
        (GRANTED, Standing(group=None, whole=False, assigned=True), "all", Role.OWNER, RoleRow.UNKNOWN),
        (GRANTED, OUT, "mapped", Role.MEMBER, RoleRow.LEFT_GROUP),
        (OWNER, OUT, "mapped", Role.OWNER, RoleRow.BY_HAND),
        (OWNER, OUT, "all", Role.MEMBER, RoleRow.NOT_MAPPED),
        (account(), OUT, "all", Role.MEMBER, RoleRow.MEMBER),
    ],
)
def test_each_row(who: RoleAccount, okta: Standing, manage: Any, role: Role, row: RoleRow) -> None:
    assert wanted(who, okta, manage) == (role, row)
    action = role_action(who, okta, manage, {})
    assert (action is None) is (role is who.role)


def test_the_action_says_by_which_group() -> None:
    given, taken = role_action(account(), IN, "mapped", {}), role_action(GRANTED, OUT, "mapped", {"00g1": "Owners"})
    assert given is not None
    assert taken is not None
    assert (given.promotes, given.group, given.proof) == (True, "00g1", "in the Okta group Owners (00g1)")
    assert (taken.demotes, taken.group) == (True, "00g1")
    assert (taken.proof or "").startswith("no longer in the Okta group Owners (00g1)")


def test_a_role_is_read_back_by_the_role() -> None:
    action = role_action(account(), IN, "mapped", {})
    user = DirectoryUser(id="a", user_name="ann@example.com", profile=Profile(), active=True, created=NOW, updated=NOW)
    assert action is not None
    assert not fulfilled(action, user)
    owner = DirectoryUser(
        id="a", user_name="ann@example.com", profile=Profile(), active=True, role=Role.OWNER, created=NOW, updated=NOW
    )
    assert fulfilled(action, owner)


# The guard


def roles(after: Role, *names: int) -> list[Action]:
    before = Role.MEMBER if after is Role.OWNER else Role.OWNER
    change = {"role": Change(before=before.value, after=after.value)}
    return [
        Action(
            n=n, kind=ActionKind.ROLE, login=f"p{n}", directory_id=f"id{n}", changes=change, proof="a group", group=""
        )
        for n in names
    ]


def held(actions: list[Action], grant: Grant | None = None, **facts: Any) -> list[str | None]:
    plan = Plan(actions=tuple(actions), population=100, source_size=100, created=NOW)
    given = {"sweep": True, "pinned": True, "managed_active": 100, "active_owners": 50, "now": NOW}
    found = judge(plan, GuardSettings(), Facts(**{**given, **facts}), grant or Grant())
    return [None if a.held is None else a.held.value for a in found.actions]


@pytest.mark.parametrize("sweep", [True, False])
@pytest.mark.parametrize(
    ("after", "code", "fact"),
    [(Role.OWNER, "promotions_per_run", "promoted"), (Role.MEMBER, "demotions_per_run", "demoted")],
)
def test_more_than_the_cap_is_held_with_what_was_done_lately(after: Role, code: str, fact: str, sweep: bool) -> None:
    assert held(roles(after, 1, 2, 3, 4, 5), sweep=sweep) == [None] * 5
    assert held(roles(after, 1, 2, 3, 4, 5, 6), sweep=sweep) == [code] * 6
    assert held(roles(after, 1), sweep=sweep, **{fact: 5}) == [code]


def test_the_first_use_is_held_and_an_approval_lets_it_go() -> None:
    actions = roles(Role.OWNER, 1, 2)
    assert held(actions, roles_seen=False) == ["first_roles"] * 2
    assert held(actions, Grant(approved=frozenset({actions[0].identity})), roles_seen=False) == [None, "first_roles"]


def test_the_last_active_owner_stays_it_unless_somebody_else_becomes_one_first() -> None:
    last = roles(Role.MEMBER, 1)
    assert held(last, active_owners=1, owners=frozenset({"id1"})) == ["last_owner"]
    both = [*roles(Role.OWNER, 2), *last]
    assert held(both, active_owners=1, owners=frozenset({"id1"})) == [None, None]
    assert held(both, active_owners=1, owners=frozenset({"id1"}), promoted=5) == ["promotions_per_run", "last_owner"]
