"""Which role somebody has by Okta's groups. Pure: takes what both sides say of one person, gives the role or the action.

The first row that fits decides; ``RoleRow`` names them:

==========================================  ===================  =================================================
the account, and the groups of roles.owner  roles.manage         role
==========================================  ===================  =================================================
protected, local or bound to nobody         any                  as it is
in one of the groups, active, assigned      any                  owner
in one of the groups, otherwise             any                  as it is
a group could not be read whole             any                  as it is
a group made it owner, none has it now      any                  member
owner by hand                               mapped               as it is
owner by hand                               all                  member
==========================================  ===================  =================================================

A member is never less by this: nobody loses access. Whether the last active owner would go, how many may change in one run and
what a person has said is asked by the guard (agent.model.guard) and again by the write.
"""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from agent.model.codes import ActionKind
from agent.model.plan import Action, Change
from agent.model.users import Role

#: A row of the mapping where nobody is named by any group.
NO_GROUP = ""


class RoleRow(StrEnum):
    UNTOUCHED = "not_managed"
    IN_GROUP = "in_an_owner_group"
    NOT_NOW = "in_an_owner_group_without_access"
    UNKNOWN = "groups_not_read"
    LEFT_GROUP = "left_the_owner_groups"
    BY_HAND = "owner_by_hand"
    NOT_MAPPED = "owner_in_no_group"
    MEMBER = "in_no_owner_group"


class RoleAccount(Struct, frozen=True, kw_only=True):
    """One account, as far as its role goes."""

    id: str
    user_name: str
    okta_id: str | None
    role: Role
    active: bool
    #: Managed, bound to an Okta user, and not protected.
    touched: bool
    version: int
    #: Id of the group that made it owner; None: none did.
    granted: str | None = None


class Standing(Struct, frozen=True, kw_only=True):
    """What Okta says of one person."""

    #: Id and name of the first of the groups that has them; None: none has.
    group: tuple[str, str] | None
    #: Nobody missed: None above means that they are in none.
    whole: bool
    #: Okta wants them to have access.
    assigned: bool


def wanted(account: RoleAccount, okta: Standing, manage: Literal["mapped", "all"]) -> tuple[Role, RoleRow]:
    if not account.touched:
        return account.role, RoleRow.UNTOUCHED
    if okta.group is not None:
        gets = okta.assigned and account.active
        return (Role.OWNER, RoleRow.IN_GROUP) if gets else (account.role, RoleRow.NOT_NOW)
    if not okta.whole:
        return account.role, RoleRow.UNKNOWN
    if account.role is Role.MEMBER:
        return Role.MEMBER, RoleRow.MEMBER
    if account.granted is not None:
        return Role.MEMBER, RoleRow.LEFT_GROUP
    return (Role.MEMBER, RoleRow.NOT_MAPPED) if manage == "all" else (Role.OWNER, RoleRow.BY_HAND)


def role_action(
    account: RoleAccount, okta: Standing, manage: Literal["mapped", "all"], names: dict[str, str]
) -> Action | None:
    """None: the role is as it should be. ``names``: of the groups, by id."""
    role, row = wanted(account, okta, manage)
    if role is account.role:
        return None
    return Action(
        n=0,
        kind=ActionKind.ROLE,
        login=account.user_name,
        directory_id=account.id,
        okta_id=account.okta_id,
        changes={"role": Change(before=account.role.value, after=role.value)},
        rule=row.value,
        version=account.version,
        proof=why(row, okta.group, account.granted, names),
        group=okta.group[0] if okta.group else account.granted or NO_GROUP,
    )


def why(row: RoleRow, group: tuple[str, str] | None, granted: str | None, names: dict[str, str]) -> str:
    """For the plan and the journal: by which group."""
    if group is not None:
        return f"in the Okta group {group[1]} ({group[0]})"
    if row is RoleRow.LEFT_GROUP and granted:
        return f"no longer in the Okta group {names.get(granted, granted)} ({granted}), nor in another of roles.owner"
    return "in none of the Okta groups of roles.owner (roles.manage = all)"
