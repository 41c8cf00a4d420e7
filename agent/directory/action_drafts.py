"""An action as a write, and whether a write has happened. Pure: takes the action and the account as it is."""

from collections.abc import Mapping as MappingOf
from typing import Any

from agent.directory.port import Draft
from agent.model.codes import ActionKind
from agent.model.mapping import apply
from agent.model.paths import EMAIL_PATH, parse
from agent.model.plan import Action
from agent.model.users import DirectoryUser, Profile, identity_key

#: Changes that are not values of the profile.
_OWN = frozenset({"userName", "active", "externalId", "origin", "suspended"})


def draft(action: Action, before: DirectoryUser | None) -> Draft:
    """What the account shall be; only what the action names differs from ``before`` (None: a create)."""
    after = {path: change.after for path, change in action.changes.items()}
    profile = apply(before.profile if before else Profile(), _values(after))
    if before is None:
        return Draft(user_name=str(after["userName"]), profile=profile, active=True, okta_id=action.okta_id)
    return Draft(
        user_name=str(after.get("userName", before.user_name)),
        profile=profile,
        active=False if "suspended" in after else bool(after.get("active", before.active)),
        okta_id=action.okta_id if action.kind is ActionKind.LINK else None,
    )


def holds(action: Action, user: DirectoryUser | None) -> bool:
    """The account is as the action wanted it: read back after nobody knows what became of the write."""
    if user is None:
        return False
    after = {path: change.after for path, change in action.changes.items()}
    if "userName" in after and user.user_name_key != identity_key(str(after["userName"])):
        return False
    if "active" in after and user.active is not after["active"]:
        return False
    if action.kind in (ActionKind.LINK, ActionKind.CREATE) and (user.okta_id != action.okta_id or not user.managed):
        return False
    if "suspended" in after and user.suspended:
        return False
    return all(_same(path, parse(path).get(user.profile), value) for path, value in _values(after).items())


def _values(after: MappingOf[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in after.items() if path not in _OWN and not path.endswith(": userName")}


def _same(path: str, have: str | None, want: Any) -> bool:
    if path == EMAIL_PATH:
        return identity_key(have or "") == identity_key(str(want or ""))
    return (have or None) == (want or None)
