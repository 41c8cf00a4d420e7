"""How a run ended: its outcome, the exit code, and what it counted. No IO.

Of several things that happened the first in this table names the outcome and the exit code:

================  =========  ===========================================================
outcome           exit code  when
================  =========  ===========================================================
error             1          something unexpected; the detail says what
lease_held        1          another agent was at work
frozen            1          this run may change nothing (app, org, pins, features)
incomplete        1          the listing was not complete, or Okta could not be asked
disproved         1          the listing left out people whom Okta still has
paused            1          an operator paused applies
rejected          1          an operator rejected the plan while it was applied
stopped           1          the process was asked to end; what was begun is done
held              4          the run, or some of its actions, wait for a person
partial           5          some actions failed
applied           0          everything that was planned is done
drift             0          a dry run found something to do (3 with --detailed-exitcode)
in_step           0          nothing to do
planned           0          an import's plan is stored (3 with --detailed-exitcode)
nothing           0          nobody to import
================  =========  ===========================================================
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from agent.model.codes import ActionState
from agent.model.plan import Action, Finding
from agent.store.plans import StoredPlan


class Outcome(StrEnum):
    ERROR = "error"
    LEASE_HELD = "lease_held"
    FROZEN = "frozen"
    INCOMPLETE = "incomplete"
    DISPROVED = "disproved"
    PAUSED = "paused"
    REJECTED = "rejected"
    STOPPED = "stopped"
    HELD = "held"
    PARTIAL = "partial"
    APPLIED = "applied"
    DRIFT = "drift"
    IN_STEP = "in_step"
    PLANNED = "planned"
    NOTHING = "nothing"


#: Missing here: 1.
EXIT_CODES = {
    Outcome.HELD: 4,
    Outcome.PARTIAL: 5,
    **dict.fromkeys((Outcome.APPLIED, Outcome.DRIFT, Outcome.IN_STEP, Outcome.PLANNED, Outcome.NOTHING), 0),
}


class RunReport(Struct, frozen=True, kw_only=True):
    run_id: int
    outcome: Outcome
    counts: dict[str, int] = {}
    #: For people: why, with numbers and the next command.
    detail: str = ""
    plan: StoredPlan | None = None
    #: The older plan that waits for a person with the same held actions; approve that one.
    waiting: StoredPlan | None = None
    findings: tuple[Finding, ...] = ()
    #: For --detailed-exitcode.
    drift: bool = False
    held: bool = False
    dry: bool = True

    @property
    def exit_code(self) -> int:
        """A dry run that holds something is no failure; --detailed-exitcode tells it by ``drift`` and ``held``."""
        return 0 if self.dry and self.outcome is Outcome.HELD else EXIT_CODES.get(self.outcome, 1)


#: How counts call the states; "pending" there are people whom Okta's own push gets time for.
_STATES = {state: "planned" if state is ActionState.PENDING else state.value for state in ActionState}
STATE_COUNTS = frozenset(_STATES.values())


def counts_of(actions: Iterable[Action]) -> dict[str, int]:
    """How many actions of each kind and of each state that they ended in."""
    found: dict[str, int] = {}
    for action in actions:
        waits = action.held is not None and action.state is ActionState.PENDING
        for what in (action.kind.value, "held" if waits else _STATES[action.state]):
            found[what] = found.get(what, 0) + 1
    return found
