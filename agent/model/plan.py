"""Plans: the ordered, counted list of actions, stored before anything happens. No IO; the guard judges, apply carries out."""

import hashlib
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from agent.model.codes import ActionKind, ActionState, FindingCode, HeldCode
from agent.model.paths import EMAIL_PATH, parse
from agent.model.users import DirectoryUser, identity_key

#: Plans of another major version are refused.
PLAN_FORMAT = "1.0"
#: Changes that are not values of the profile.
_OWN = frozenset({"userName", "active", "externalId", "origin", "suspended"})


class Change(Struct, frozen=True, kw_only=True):
    before: Any
    after: Any


class Action(Struct, frozen=True, kw_only=True):
    """One step. ``changes`` maps SCIM paths (userName, active, externalId, name.givenName, …) to before and after."""

    n: int
    kind: ActionKind
    #: The userName: the account's, or the wanted one of an account still to be made.
    login: str
    directory_id: str | None = None
    okta_id: str | None = None
    changes: dict[str, Change] = field(default_factory=dict)
    #: The row of the case table that asked for it, for explain.
    rule: str = ""
    #: The account's version that the plan saw; None for a create.
    version: int | None = None
    #: Deactivations only: absent and proven, or an explicit status.
    proof: str | None = None
    #: Inactive only because of policy.suspended: the role is kept.
    suspended: bool = False
    #: RENAME_CYCLE only: directory ids, versions and wanted userNames of all in the cycle, this one first.
    cycle: tuple[tuple[str, int, str], ...] = ()
    #: Numbers of the actions that must be done first: a link, a rename that frees the name.
    needs: tuple[int, ...] = ()
    held: HeldCode | None = None
    #: For people: why it is held, with numbers.
    held_detail: str = ""
    state: ActionState = ActionState.PENDING
    #: Why it failed or became stale.
    error: str = ""

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two actions of two plans the same: kind, person, before → after."""
        person = self.okta_id or self.directory_id or self.login
        changes = msgspec.json.encode(self.changes, order="deterministic").decode()
        return (self.kind.value, person, changes)


class Finding(Struct, frozen=True, kw_only=True):
    """Something that a run noticed and did not act on."""

    code: FindingCode
    login: str
    detail: str
    directory_id: str | None = None
    okta_id: str | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """``population``: managed active accounts plus those deactivated within the window (guard's denominator)."""

    actions: tuple[Action, ...]
    population: int
    #: People that the sweep saw; 0 for a single reconcile.
    source_size: int
    created: datetime
    #: Logins that a single reconcile was asked for; empty for a sweep.
    scope: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    #: The whole run is held (first run, empty source, …).
    held: HeldCode | None = None
    held_detail: str = ""
    format: str = PLAN_FORMAT

    @property
    def checksum(self) -> str:
        """SHA-256 over what would be done, in order; states and findings don't count."""
        parts = [[a.n, *a.identity, a.directory_id, a.version, a.held] for a in self.actions]
        text = msgspec.json.encode([self.format, list(self.scope), self.held, parts], order="deterministic")
        return hashlib.sha256(text).hexdigest()


def fulfilled(action: Action, user: DirectoryUser | None) -> bool:
    """The account is as the action wanted it: read back when nobody knows what became of the write.

    For every kind but a rename cycle. None: there is no such account.
    """
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
