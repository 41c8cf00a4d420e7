"""Can the groups of roles.owner give roles, and would they make the right people owner? A line each. Reads only.

=====================================================  =====
what is found                                          line
=====================================================  =====
no such group, or several; Everyone; it can't be read  fail
everybody with access would be owner                   fail
OpsHelm takes no roles (a remote)                      fail
renamed since it was named in roles.owner              warn
not assigned to the app; nobody in it                  warn
over half of all people with access would be owner     warn
=====================================================  =====
"""

from collections.abc import Iterator

from agent.model.check import Check, fail, ok, warn
from agent.model.codes import FindingCode
from agent.okta_org.org import OktaOrg
from agent.reconcile.roles import GroupsRead, RoleReader

#: Of fewer people with access a share says nothing.
_FEW = 4


def checks(reader: RoleReader, okta: OktaOrg) -> Iterator[Check]:
    read = reader.groups(listed=True, keep=False)
    assigned = {group.id for group in okta.app_groups()}
    for asked in dict.fromkeys(reader.settings.owner):
        yield _group(asked, read, assigned)
    if read.members:
        yield _share(reader, read)


def _group(asked: str, read: GroupsRead, assigned: set[str]) -> Check:
    name, problem = f"role group {asked}", read.problems.get(asked)
    group = next((one for one in read.groups if one.asked == asked), None)
    if group is None:
        return fail(
            name, problem.detail if problem else "could not be read", "correct roles.owner, or the group in Okta"
        )
    if problem is not None and problem.code is FindingCode.ROLE_GROUP_RENAMED:
        return warn(
            name,
            problem.detail,
            f'is it still the right one? Then roles.owner may have its new name, or "{group.group_id}"',
        )
    if problem is not None:
        return warn(name, problem.detail, "put the owners into it, or take it out of roles.owner")
    if group.group_id not in assigned:
        detail = f"{group.group_id} is not assigned to the app: only those of its members who have the app otherwise are owners"
        return warn(name, detail, "Okta: the app > Assignments > Assign to Groups, or leave it so on purpose")
    return ok(name, f"{group.group_id} makes its members owners")


def _share(reader: RoleReader, read: GroupsRead) -> Check:
    would, people = reader.would_own(read)
    said = f"{would} of {people} people with access would be owners"
    fix = "name a smaller group in roles.owner"
    if would == people and people >= _FEW:
        return fail("role owners", said, fix)
    if would * 2 > people >= _FEW:
        return warn("role owners", said, fix)
    return (
        ok("role owners", said) if would else warn("role owners", said, "is anybody of the group assigned to the app?")
    )
