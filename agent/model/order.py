"""Renames that wait for each other, and the order of a plan. Pure; knows nothing of why a name is wanted.

A rename is free when nobody has the name, or when who has it gives it up in the same plan. Chains are done from their
free end. A cycle (A↔B) can't start anywhere: it becomes one action through temporary names, in one transaction.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import ActionKind
from agent.model.plan import Action


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


#: Who leaves comes first; a name is free before somebody gets it.
_RANK = {
    ActionKind.DEACTIVATE: 0,
    ActionKind.LINK: 1,
    ActionKind.RENAME_CYCLE: 2,
    ActionKind.UPDATE: 4,
    ActionKind.REACTIVATE: 5,
    ActionKind.CREATE: 6,
}
_RENAME_RANK = 3


def ordered(actions: Iterable[Action], names: Names, holders: Mapping[str, str]) -> tuple[Action, ...]:
    """Numbered from 1, with what each needs. ``holders``: wanted name of a create or rename → the account that has it."""
    actions = tuple(actions)
    # An adopted leaver is linked first. Somebody else who is to get the account waits until the leaver is out.
    leaving = {(a.directory_id, a.okta_id) for a in actions if a.kind is ActionKind.DEACTIVATE}

    def key(action: Action) -> tuple[int, int, str, int, str]:
        renames = "userName" in action.changes and action.kind in (ActionKind.UPDATE, ActionKind.REACTIVATE)
        rank = _RENAME_RANK if renames else _RANK[action.kind]
        if action.kind is ActionKind.LINK and (action.directory_id, action.okta_id) in leaving:
            rank = -1
        depth = names.depth.get(action.directory_id or "", 0) if renames else 0
        return rank, depth, action.login, _RANK[action.kind], action.okta_id or ""

    numbered = [replace(action, n=n) for n, action in enumerate(sorted(actions, key=key), 1)]
    return _with_needs(numbered, holders)


def _with_needs(actions: Sequence[Action], holders: Mapping[str, str]) -> tuple[Action, ...]:
    frees = {a.directory_id: a.n for a in actions if "userName" in a.changes and a.kind is not ActionKind.CREATE}
    last: dict[str, int] = {}
    done = []
    for action in actions:
        needs = set()
        wanted = action.changes.get("userName")
        if wanted is not None and action.kind is not ActionKind.RENAME_CYCLE:
            holder = holders.get(action.okta_id or "")
            needs.add(frees.get(holder, 0) if holder != action.directory_id else 0)
        for account in [action.directory_id, *(member[0] for member in action.cycle)]:
            if account is not None:
                needs.add(last.get(account, 0))
                last[account] = action.n
        done.append(replace(action, needs=tuple(sorted(needs - {0, action.n}))))
    return tuple(done)
