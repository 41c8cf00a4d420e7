"""Plans: the ordered, counted list of actions, stored before anything happens. No IO; the guard judges, apply carries out.

A rename is free when nobody has the name, or when who has it gives it up in the same plan. Chains are done from their
free end. A cycle (A↔B) can't start anywhere: it becomes one action through temporary names, in one transaction.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from agent.model.codes import ActionKind, ActionState, FindingCode, HeldCode
from agent.model.paths import EMAIL_PATH, parse
from agent.model.users import DirectoryUser, Role, identity_key

_ordered = msgspec.json.Encoder(order="deterministic").encode
#: Plans of another major version are refused.
PLAN_FORMAT = "1.0"
#: Changes that are not values of the profile.
_OWN = frozenset({"id", "userName", "active", "externalId", "origin", "suspended", "role"})


# A first run makes hundreds of thousands of these two. They hold texts and numbers, so they can't be part of a cycle.
class Change(Struct, frozen=True, kw_only=True, gc=False):
    before: Any
    after: Any


# What is stored of one leaves its defaults out, which therefore never change: a third of a row.
class Action(Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """One step. ``changes`` maps SCIM paths (userName, active, externalId, name.givenName, …) to before and after."""

    n: int
    kind: ActionKind
    #: The userName: the account's, or the wanted one of an account still to be made.
    login: str
    #: Of a create: the account of somebody who has left, whose id and userName the new one gets.
    directory_id: str | None = None
    okta_id: str | None = None
    changes: dict[str, Change] = field(default_factory=dict)
    #: The row of the case table that asked for it, for explain.
    rule: str = ""
    #: The account's version that the plan saw; None for a create.
    version: int | None = None
    #: Of a deactivation, and of a create in a leaver's place: why that person's access ends, or has ended. Of a role: by which group.
    proof: str | None = None
    #: Of a create in a leaver's place: since when Okta has the new person assigned.
    assigned: datetime | None = None
    #: Inactive only because of policy.suspended: the role is kept.
    suspended: bool = False
    #: RENAME_CYCLE only: directory ids, versions and wanted userNames of all in the cycle, this one first.
    cycle: tuple[tuple[str, int, str], ...] = ()
    #: Of a role: id of the Okta group that gives it, or gave it; "" where none ever did.
    group: str | None = None
    #: An undo's: the first and the last row of the journal that it takes back.
    undoes: tuple[int, int] | None = None
    #: Numbers of the actions that must be done first: a link, a rename that frees the name.
    needs: tuple[int, ...] = ()
    held: HeldCode | None = None
    #: For people: why it is held, with numbers.
    held_detail: str = ""
    state: ActionState = ActionState.PENDING
    #: Why it failed or became stale.
    error: str = ""

    @property
    def succeeds(self) -> bool:
        """A create in the place of somebody who has left."""
        return self.kind is ActionKind.CREATE and self.proof is not None

    @property
    def promotes(self) -> bool:
        """A group makes somebody owner."""
        return self.kind is ActionKind.ROLE and self.changes["role"].after == Role.OWNER

    @property
    def demotes(self) -> bool:
        """By groups somebody is owner no more."""
        return self.kind is ActionKind.ROLE and not self.promotes

    @property
    def person(self) -> str:
        return self.okta_id or self.directory_id or self.login

    @property
    def identity(self) -> bytes:
        """What makes two actions of two plans the same: kind, person, before → after; as 16 bytes, for a plan may name everybody."""
        return hashlib.blake2b(_ordered([self.kind, self.person, self.changes]), digest_size=16).digest()


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
    def holds_back(self) -> bool:
        """The guard held it, or something of it."""
        return self.held is not None or any(action.held is not None for action in self.actions)

    @property
    def checksum(self) -> str:
        """SHA-256 over what would be done, in order; states and findings don't count."""
        return self.checksum_of(self.actions)

    def checksum_of(self, actions: Iterable[Action]) -> str:
        """The same, were these its actions."""
        # One JSON document, action by action: whole it would be as large as the plan.
        found = hashlib.sha256(_ordered([self.format, list(self.scope), self.held])[:-1] + b",[")
        for at, a in enumerate(actions):
            said = _ordered(a.changes).decode()
            part = _ordered([a.n, a.kind, a.person, said, a.directory_id, a.version, a.held])
            found.update(b"," + part if at else part)
        found.update(b"]]")
        return found.hexdigest()


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
    if "role" in after and user.role != after["role"]:
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


class Names(Struct, frozen=True, kw_only=True):
    """Which renames can happen, and after which others."""

    #: Account id → how many others go before it.
    depth: dict[str, int] = {}
    cycles: tuple[tuple[str, ...], ...] = ()
    in_cycles: frozenset[str] = frozenset()

    def frees(self, account_id: str) -> bool:
        """It will give its name up. A cycle frees none: every name in it is taken again."""
        return account_id in self.depth

    def in_cycle(self, account_id: str) -> bool:
        return account_id in self.in_cycles

    def blocked(self, account_id: str) -> bool:
        return account_id not in self.depth and not self.in_cycle(account_id)


def resolve(waits_for: Mapping[str, str | None]) -> Names:
    """``waits_for``: account id → who has the wanted name (None: nobody). Each name is wanted by one account at most."""
    depth: dict[str, int] = {}
    cycles: list[tuple[str, ...]] = []
    settled: set[str] = set()
    for start in waits_for:
        path: list[str] = []
        at: str | None = start
        while at is not None and at in waits_for and at not in settled and at not in path:
            path.append(at)
            at = waits_for[at]
        settled.update(path)
        if at is not None and at in path:
            cycle = path[path.index(at) :]
            first = cycle.index(min(cycle))
            cycles.append(tuple(cycle[first:] + cycle[:first]))
            continue
        if at is None or at in depth:
            base = depth[at] + 1 if at is not None else 0
            depth.update({account: base + i for i, account in enumerate(reversed(path))})
    return Names(depth=depth, cycles=tuple(sorted(cycles)), in_cycles=frozenset(a for cycle in cycles for a in cycle))


#: Somebody is owner before another one is it no more. Who leaves comes before who comes; a name is free before somebody gets it.
_RANK = {
    ActionKind.ROLE: -2,
    ActionKind.DEACTIVATE: 0,
    ActionKind.LINK: 1,
    ActionKind.RENAME_CYCLE: 2,
    ActionKind.UPDATE: 4,
    ActionKind.REACTIVATE: 5,
    ActionKind.CREATE: 6,
}
_RENAME_RANK = 3
_DEMOTION_RANK = 7


def ordered(actions: list[Action], names: Names, holders: Mapping[str, str]) -> tuple[Action, ...]:
    """Numbered from 1, with what each needs. ``holders``: wanted name of a create or rename → the account that has it.

    The list is used up, since two of a first run's take twice the memory.
    """
    # An adopted leaver is linked first. Somebody else who is to get the account waits until the leaver is out.
    leaving = {(a.directory_id, a.okta_id) for a in actions if a.kind is ActionKind.DEACTIVATE}

    def key(action: Action) -> tuple[int, int, str, int, str]:
        renames = "userName" in action.changes and action.kind in (ActionKind.UPDATE, ActionKind.REACTIVATE)
        rank = _RENAME_RANK if renames else _RANK[action.kind]
        if action.demotes:
            rank = _DEMOTION_RANK
        if action.kind is ActionKind.LINK and (action.directory_id, action.okta_id) in leaving:
            rank = -1
        depth = names.depth.get(action.directory_id or "", 0) if renames else 0
        return rank, depth, action.login, _RANK[action.kind], action.okta_id or ""

    actions.sort(key=key)
    return tuple(_numbered(actions, holders))


def _numbered(actions: list[Action], holders: Mapping[str, str]) -> Iterator[Action]:
    # Everybody may be in a plan, so each action is copied once.
    frees = {
        a.directory_id: n
        for n, a in enumerate(actions, 1)
        if "userName" in a.changes and a.kind is not ActionKind.CREATE
    }
    last: dict[str, int] = {}
    for n, action in enumerate(actions, 1):
        needs = set()
        wanted = action.changes.get("userName")
        if wanted is not None and action.kind is not ActionKind.RENAME_CYCLE:
            holder = holders.get(action.okta_id or "")
            needs.add(frees.get(holder, 0) if holder != action.directory_id else 0)
        for account in [action.directory_id, *(member[0] for member in action.cycle)]:
            # A role has to do with nothing else of the person, and is held by itself.
            if account is not None and action.kind is not ActionKind.ROLE:
                needs.add(last.get(account, 0))
                last[account] = n
        actions[n - 1] = replace(action, n=n, needs=tuple(sorted(needs - {0, n})))
        yield actions[n - 1]
