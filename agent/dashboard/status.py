"""How things stand, as one value: for the status page, the metrics and ``guard show``. Reads the store; judges nothing."""

from collections import Counter
from datetime import datetime, timedelta

from msgspec import Struct

from agent.model.codes import ActionKind, HeldCode
from agent.model.guard import push_limit, run_limit, window_limit
from agent.model.holds import ChangeKind, Decision, Hold
from agent.settings import Settings
from agent.store import account, alarms, attention, holds, keys, lease, overview, windows
from agent.store import runs as store_runs
from agent.store.engine import Connection

_APPLIED = ("applied", "partial", "held")
#: Runs that the page lists.
_RECENT = 20


class StatusPage(Struct, frozen=True, kw_only=True):
    at: datetime
    account: account.Account
    counts: windows.Counts
    #: Deactivations per run, in 24 h and pushed in 60 min that pass.
    run_limit: int
    day_limit: int
    hour_limit: int
    allowances: list[windows.Allowance]
    #: Pushed deactivations that the guard has stopped.
    refused: list[Hold]
    held_plans: list[overview.Header]
    runs: list[store_runs.Run]
    alarms: list[alarms.Alarm]
    #: What the last sweep left undone, by kind; None where no sweep has ended well yet.
    drift: dict[ActionKind, int] | None
    held: dict[HeldCode, int]
    #: What waits for a person, or was decided, oldest first.
    holds: list[Hold]
    #: People whose access should have ended and hasn't; whom a person has let keep it don't count.
    leavers_active: int
    waiting_people: int
    scim_keys: int
    #: When the last of them ends; None where one doesn't.
    last_key_ends: datetime | None
    #: The process whose run is under way.
    lease_holder: str | None
    #: Of the last sweep that applied: from its plan to its last finished action.
    slowest_action: timedelta | None
    #: How often everybody is compared; None: only when somebody asks for it.
    every: timedelta | None = None

    @property
    def fresh(self) -> bool:
        """There is a good sweep of the pinned app, and the next one isn't overdue. A sweep may last half its interval."""
        last = self.account.last_good_sweep
        return last is not None and self.account.pinned and (self.every is None or self.at - last <= 1.5 * self.every)

    @property
    def in_step(self) -> bool:
        """Green. What an operator has blocked is as it should be."""
        held = self.held_plans or any(hold.decision is not Decision.BLOCKED for hold in self.holds)
        return self.fresh and self.drift is not None and not sum(self.drift.values()) and not held

    @property
    def last_run(self) -> store_runs.Run | None:
        return next((run for run in self.runs if run.ended is not None), None)


def read(conn: Connection, settings: Settings, now: datetime) -> StatusPage:
    guard = settings.guard
    row = account.get(conn)
    counts = windows.counts(conn, now, managed_active=row.managed_active)
    swept = overview.last_sweep(conn)
    applied = overview.last_run(conn, "sweep", _APPLIED)
    held_plans = overview.held_plans(conn)
    all_keys = keys.list_all(conn)
    left = overview.left_to_do(conn, swept.id if swept else None)
    register = holds.open_holds(conn)
    held = Counter(hold.code for hold in register if hold.decision is not Decision.REJECTED)
    # Where a whole run is held because of its leavers, each of them has a row.
    held.update({plan.held for plan in held_plans if plan.held} - held.keys())
    leaving = {hold.person for hold in register if hold.kind is ChangeKind.DEACTIVATE}
    rejected = {hold.person for hold in register if hold.decision is Decision.REJECTED}
    return StatusPage(
        at=now,
        account=row,
        counts=counts,
        run_limit=run_limit(counts.population, guard),
        day_limit=window_limit(counts.population, guard),
        hour_limit=push_limit(counts.population, guard),
        allowances=windows.open_allowances(conn, now),
        refused=[hold for hold in register if hold.kind is ChangeKind.DEACTIVATE and hold.tries],
        held_plans=held_plans,
        runs=store_runs.recent(conn, _RECENT),
        alarms=alarms.open_alarms(conn),
        drift={kind: len(people) for kind, people in left.items()} if swept else None,
        leavers_active=len((leaving | left.get(ActionKind.DEACTIVATE, set())) - rejected),
        holds=register,
        held=dict(held),
        waiting_people=attention.waiting(conn),
        scim_keys=sum(key.scope is keys.KeyScope.SCIM and key.valid(now) for key in all_keys),
        last_key_ends=keys.last_end(all_keys),
        lease_holder=lease.current_holder(conn, lease.RECONCILE),
        slowest_action=overview.slowest_action(conn, applied.id) if applied else None,
        every=settings.schedule.reconcile if settings.okta.configured else None,
    )
