"""How things stand, as one value: for the status page, the metrics and ``guard show``. Reads the store; judges nothing."""

from collections import Counter
from datetime import datetime
from typing import Any

from msgspec import Struct

from agent.model.codes import ActionKind, ActionState, HeldCode
from agent.model.limits import push_limit, run_limit, window_limit
from agent.model.plan import Action
from agent.settings import GuardSettings
from agent.store import account, alarms, attention, keys, plans, windows
from agent.store import runs as store_runs

_OPEN = (ActionState.PENDING, ActionState.HELD, ActionState.SENT, ActionState.FAILED)
#: Outcomes of a sweep that has seen everybody and made a plan.
_WHOLE = ("held", "partial", "applied", "drift", "in_step", "paused", "stopped")
#: Runs that the page lists.
_RECENT = 20


class Status(Struct, frozen=True, kw_only=True):
    at: datetime
    account: account.Account
    counts: windows.Counts
    #: Deactivations per run, in 24 h and pushed in 60 min that pass.
    run_limit: int
    day_limit: int
    hour_limit: int
    allowances: list[windows.Allowance]
    refused: list[windows.RefusedPush]
    held_plans: list[plans.StoredPlan]
    runs: list[store_runs.Run]
    alarms: list[alarms.Alarm]
    #: What the last sweep left undone, by kind; None where no sweep has ended well yet.
    drift: dict[ActionKind, int] | None
    held: dict[HeldCode, int]
    waiting_people: int
    scim_keys: int

    @property
    def leavers_active(self) -> int:
        """People whose access should have ended: planned deactivations that are not done, and refused pushes."""
        return (self.drift or {}).get(ActionKind.DEACTIVATE, 0) + len(self.refused)

    @property
    def last_run(self) -> store_runs.Run | None:
        return next((run for run in self.runs if run.ended is not None), None)


def read(conn: Any, guard: GuardSettings, now: datetime) -> Status:
    row = account.get(conn)
    counts = windows.counts(conn, now, managed_active=row.managed_active)
    recent = store_runs.recent(conn, _RECENT)
    held_plans = plans.open_held(conn)
    open_actions = _open_actions(conn, recent, held_plans)
    held = Counter(action.held for action in open_actions if action.held)
    for stored in held_plans:
        if stored.plan.held:
            held[stored.plan.held] += 1
    return Status(
        at=now,
        account=row,
        counts=counts,
        run_limit=run_limit(counts.population, guard),
        day_limit=window_limit(counts.population, guard),
        hour_limit=push_limit(counts.population, guard),
        allowances=windows.open_allowances(conn, now),
        refused=windows.refused(conn),
        held_plans=held_plans,
        runs=recent,
        alarms=alarms.open_alarms(conn),
        drift=dict(Counter(action.kind for action in open_actions)) if row.last_good_sweep else None,
        held=dict(held),
        waiting_people=attention.waiting(conn),
        scim_keys=sum(key.scope is keys.Scope.SCIM and key.valid(now) for key in keys.list_all(conn)),
    )


def _open_actions(
    conn: Any, recent: list[store_runs.Run], held_plans: list[plans.StoredPlan]
) -> list[Action]:
    """What the last whole sweep left undone, and whatever else is held. A run with nothing to do stores no plan."""
    swept = next((run for run in recent if run.kind == "sweep" and run.outcome in _WHOLE), None)
    mine = [stored for stored in plans.recent(conn, 1) if swept is not None and stored.run_id == swept.id]
    known = {stored.id: stored for stored in (*mine, *held_plans)}
    return [action for stored in known.values() for action in stored.plan.actions if action.state in _OPEN]
