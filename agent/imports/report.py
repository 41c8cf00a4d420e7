"""How an import ended: its outcome, the exit code, and what it counted. No IO.

Of several things that happened the first in this table names the outcome and the exit code:

==========  =========  ===================================================================
outcome     exit code  when
==========  =========  ===================================================================
incomplete  1          Okta could not be asked, or answered nothing usable, again and again
paused      1          an operator paused applies
held        4          the plan, or some of its actions, wait for a person
partial     5          some actions failed
applied     0          everything that was still wanted is done
planned     0          a plan is stored, nothing was done
nothing     0          nobody to import
==========  =========  ===================================================================

What freezes an import (pins, app, pause, a stale or used plan, the lease) is raised, and no run is kept of it.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from agent.model.codes import ActionState
from agent.model.plan import Action

if TYPE_CHECKING:
    from agent.store.plans import StoredPlan


class Outcome(StrEnum):
    INCOMPLETE = "incomplete"
    PAUSED = "paused"
    HELD = "held"
    PARTIAL = "partial"
    APPLIED = "applied"
    PLANNED = "planned"
    NOTHING = "nothing"


EXIT_CODES = {Outcome.INCOMPLETE: 1, Outcome.PAUSED: 1, Outcome.HELD: 4, Outcome.PARTIAL: 5}


class ImportReport(Struct, frozen=True, kw_only=True):
    run_id: int
    outcome: Outcome
    #: As stored at the end.
    plan: "StoredPlan | None" = None
    counts: dict[str, int] = {}
    #: For people: why, with numbers and the next command.
    detail: str = ""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES.get(self.outcome, 0)


def outcome_of(actions: Iterable[Action], stopped: Outcome | None) -> Outcome:
    if stopped is not None:
        return stopped
    states = {ActionState.HELD if action.held else action.state for action in actions}
    if ActionState.HELD in states:
        return Outcome.HELD
    return Outcome.PARTIAL if ActionState.FAILED in states else Outcome.APPLIED


def counts_of(actions: Iterable[Action]) -> dict[str, int]:
    """Actions by kind, and by the state that they are in."""
    found: dict[str, int] = {}
    for action in actions:
        state = ActionState.HELD if action.held else action.state
        for what in (action.kind.value, state.value):
            found[what] = found.get(what, 0) + 1
    return found
