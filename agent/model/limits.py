"""How many deactivations pass unseen. Pure arithmetic on the population; strictly more than the limit trips.

Population = managed active accounts + managed ones deactivated within 24 hours, so that the denominator doesn't shrink
with the fault. The numbers are settings; the defaults come from what directory tools ship (docs/guard.md).
"""

from math import ceil
from typing import Protocol

#: Below this population a percentage says little: one person is 10 % of ten.
SMALL = 20
_SMALL_RUN = 3


class Limits(Protocol):
    """The guard settings that are used here (agent.settings.GuardSettings fulfils it)."""

    @property
    def deactivations_percent(self) -> float: ...
    @property
    def deactivations_floor(self) -> int: ...
    @property
    def deactivations_cap(self) -> int: ...
    @property
    def window_percent(self) -> float: ...
    @property
    def window_floor(self) -> int: ...
    @property
    def window_cap(self) -> int: ...
    @property
    def push_percent(self) -> float: ...
    @property
    def push_floor(self) -> int: ...
    @property
    def push_cap(self) -> int: ...
    @property
    def identity_floor(self) -> int: ...
    @property
    def identity_percent(self) -> float: ...


def share(population: int, percent: float) -> int:
    """``percent`` of the population, rounded up; 10 % of 20 is 2 and not 3, whatever floats say."""
    return ceil(round(population * percent / 100, 6))


def run_limit(population: int, limits: Limits) -> int:
    """Deactivations in one run."""
    if population < SMALL:
        return max(1, min(_SMALL_RUN, limits.deactivations_floor, population // 2))
    percent = share(population, limits.deactivations_percent)
    return min(limits.deactivations_cap, max(limits.deactivations_floor, percent))


def window_limit(population: int, limits: Limits) -> int:
    """Deactivations in 24 hours, push and reconcile together."""
    return _rolling(population, limits.window_percent, limits.window_floor, limits.window_cap)


def push_limit(population: int, limits: Limits) -> int:
    """Deactivations in 60 minutes that a push may still add to."""
    return _rolling(population, limits.push_percent, limits.push_floor, limits.push_cap)


def identity_limit(population: int, limits: Limits) -> int:
    """Pushed changes of userName or e-mail in 24 hours; more are an alarm."""
    return max(limits.identity_floor, share(population, limits.identity_percent))


def _rolling(population: int, percent: float, floor: int, cap: int) -> int:
    low = max(1, min(floor, population // 2))
    return min(cap, max(low, share(population, percent)))
