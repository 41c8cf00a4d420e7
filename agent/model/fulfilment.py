"""Whether an account is as an action of a plan wanted it: read back when nobody knows what became of the write. Pure."""

from typing import Any

from agent.model.codes import ActionKind
from agent.model.paths import EMAIL_PATH, parse
from agent.model.plan import Action
from agent.model.users import DirectoryUser, identity_key

#: Changes that are not values of the profile.
_OWN = frozenset({"userName", "active", "externalId", "origin", "suspended"})


def fulfilled(action: Action, user: DirectoryUser | None) -> bool:
    """For every kind but a rename cycle. None: there is no such account."""
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
    return all(_same(path, parse(path).get(user.profile), value) for path, value in profile_values(action).items())


def profile_values(action: Action) -> dict[str, Any]:
    """SCIM path → wanted value, of what belongs to the profile."""
    return {
        path: change.after
        for path, change in action.changes.items()
        if path not in _OWN and not path.endswith(": userName")
    }


def _same(path: str, have: str | None, want: Any) -> bool:
    if path == EMAIL_PATH:
        return identity_key(have or "") == identity_key(str(want or ""))
    return (have or None) == (want or None)
