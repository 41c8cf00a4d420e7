"""The machine's clock is set: what waits, lapses or is counted lasts as long as it would have. On both databases."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from agent.model.codes import HeldCode
from agent.model.holds import ChangeKind, Decision, Reason
from agent.model.plan import Plan
from agent.store import (
    account,
    alarms,
    attention,
    first_approvals,
    holds,
    notices,
    plans,
    roles,
    runs,
    sessions,
    steps,
    windows,
)
from agent.store.engine import Connection, Store
from agent.store.first_approvals import FirstApproval
from agent.store.journal import Signature
from agent.store.sessions import DashboardRole, How, Session
from agent.store.steps import Machine, StoredClock
from agent.store.tables import UtcTime, clocks, metadata
from agent.store.tables import notices as notices_table

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOOT, OTHER = "boot-1", "boot-2"
AHEAD = timedelta(days=20_000)
HOUR = timedelta(hours=1)
BY = Signature(actor="test", source="cli", at=NOW)
STEPS = [timedelta(hours=5), timedelta(hours=-5), timedelta(days=400), timedelta(days=-400)]


def look(store: Store, step: timedelta = timedelta(), boot: str = BOOT) -> timedelta:
    """What whoever looks finds, after the clock was set by so much in all."""
    return steps.settle(store, Machine(boot, AHEAD + step), NOW + step)


def deactivated(conn: Connection, now: datetime) -> None:
    windows.record(conn, directory_id="a", source="push", exempt=False, managed=True, now=now)


@pytest.fixture(params=STEPS, ids=str)
def step(request: pytest.FixtureRequest) -> timedelta:
    found: timedelta = request.param
    return found


def seen_at(
    store: Store, read: Callable[[Connection, datetime], object], step: timedelta, *later: timedelta
) -> list[object]:
    """What is read so much later by a clock that was set meanwhile."""
    look(store)
    look(store, step)
    with store.read() as conn:
        return [read(conn, NOW + step + time) for time in later]


def test_the_guard_s_windows_are_neither_emptied_nor_filled_for_ever(store: Store, step: timedelta) -> None:
    store.write(lambda conn: deactivated(conn, NOW))
    store.write(lambda conn: windows.identity_change(conn, "a", NOW))

    def counts(conn: Connection, now: datetime) -> tuple[int, int, int]:
        found = windows.counts(conn, now)
        return found.last_hour, found.last_day, windows.identity_changes_in_day(conn, now, 10)

    times = timedelta(minutes=59), timedelta(minutes=61), timedelta(hours=23), timedelta(hours=25)
    assert seen_at(store, counts, step, *times) == [(1, 1, 1), (0, 1, 1), (0, 1, 1), (0, 0, 0)]


def test_an_announcement_ends_when_it_would_have(store: Store, step: timedelta) -> None:
    store.write(lambda conn: windows.allow(conn, BY, count=1, until=NOW + 2 * HOUR))
    times = timedelta(minutes=119), timedelta(minutes=121)
    assert seen_at(store, lambda conn, now: windows.allowed(conn, "a", now), step, *times) == [True, False]


def test_an_approval_and_its_hold_last_as_long(store: Store, step: timedelta) -> None:
    reason = Reason(
        directory_id="a",
        okta_id=None,
        login="a@example.com",
        kind=ChangeKind.DEACTIVATE,
        code=HeldCode.PUSH_BURST,
        detail="",
        wish="{}",
    )

    def approved(conn: Connection) -> None:
        holds.find(conn, [reason], NOW - HOUR, by="push")
        [hold] = holds.open_holds(conn)
        holds.decide(conn, [hold.id], Decision.APPROVED, BY, until=NOW + 24 * HOUR)

    def after(conn: Connection, now: datetime) -> tuple[bool, timedelta]:
        [hold] = holds.open_holds(conn)
        return hold.lets(hold.wish, now), now - hold.since

    store.write(approved)
    times = 23 * HOUR, 25 * HOUR
    assert seen_at(store, after, step, *times) == [(True, 24 * HOUR), (False, 26 * HOUR)]


def test_a_held_plan_expires_when_it_would_have(store: Store, step: timedelta) -> None:
    def made(conn: Connection) -> int:
        run = runs.start(conn, runs.RunRequest(kind="sweep", trigger="cli", actor="test", dry=False), NOW)
        plan = Plan(actions=(), population=0, source_size=0, created=NOW)
        return plans.save(conn, run_id=run, kind="reconcile", plan=plan, expires=NOW + 24 * HOUR).id

    plan_id = store.write(made)
    look(store)
    look(store, step)
    ends = []
    for later in (23 * HOUR, 25 * HOUR):
        store.write(lambda conn, later=later: plans.expire(conn, NOW + step + later))
        with store.read() as conn:
            stored = plans.get(conn, plan_id)
        assert stored is not None
        ends.append(stored.status.value)
    assert ends == ["ready", "expired"]


def test_who_is_to_be_looked_at_later_waits_as_long(store: Store, step: timedelta) -> None:
    later = NOW + timedelta(minutes=10)
    store.write(lambda conn: attention.add(conn, reason=attention.EVENT, okta_id="00u1", not_before=later, now=NOW))
    times = timedelta(minutes=9), timedelta(minutes=11)
    assert seen_at(store, lambda conn, now: len(attention.due(conn, now, 10)), step, *times) == [0, 1]


def test_who_is_told_of_an_alarm_is_told_in_time(store: Store, step: timedelta) -> None:
    due = NOW + timedelta(minutes=10)
    values = {"about": "alarm 1", "channel": "webhook", "body": "{}", "created": NOW, "due": due}
    store.write(lambda conn: conn.execute(insert(notices_table).values(**values)).rowcount)
    times = timedelta(minutes=9), timedelta(minutes=11)
    assert seen_at(store, lambda conn, now: len(notices.due(conn, ["webhook"], now)), step, *times) == [0, 1]


def test_a_step_moves_what_is_stored_once_whoever_sees_it(store: Store) -> None:
    assert [look(store), look(store)] == [timedelta(), timedelta()]
    store.write(lambda conn: deactivated(conn, NOW))
    assert [look(store, 5 * HOUR), look(store, 5 * HOUR)] == [5 * HOUR, timedelta()]
    assert look(store, timedelta()) == -5 * HOUR
    with store.read() as conn:
        assert windows.counts(conn, NOW + HOUR - timedelta(seconds=1)).last_hour == 1
        assert windows.counts(conn, NOW + HOUR).last_hour == 0


def test_a_clock_that_is_put_right_and_a_machine_that_was_off_are_no_step(store: Store) -> None:
    look(store)
    assert look(store, timedelta(seconds=4)) == timedelta()
    assert look(store, 5 * HOUR, boot=OTHER) == timedelta()
    assert look(store, 5 * HOUR, boot="") == timedelta()
    with store.read() as conn:
        assert len(conn.execute(clocks.select()).all()) == 2


def test_boots_of_long_ago_are_forgotten(store: Store) -> None:
    look(store)
    steps.settle(store, Machine(OTHER, AHEAD), NOW + timedelta(days=31))
    with store.read() as conn:
        assert [row.boot for row in conn.execute(clocks.select())] == [OTHER]


class Stepping:
    """A machine whose clock the test sets."""

    def __init__(self) -> None:
        self.passed, self.ahead = 1000.0, AHEAD

    def machine(self) -> Machine:
        return Machine(BOOT, self.ahead)

    def seconds(self) -> float:
        return self.passed


@pytest.mark.parametrize("hours", [5, -5])
def test_a_process_goes_on_as_before_until_what_is_stored_has_moved(sqlite_store: Store, hours: int) -> None:
    machine = Stepping()
    clock = StoredClock(machine.machine, machine.seconds)
    clock.settle(sqlite_store)
    before = clock.now()
    machine.passed += 10
    machine.ahead += timedelta(hours=hours, seconds=1)
    assert clock.now() - before == timedelta(seconds=10)
    sqlite_store.write(lambda conn: windows.allow(conn, BY, count=1, until=clock.now() + HOUR))
    clock.settle(sqlite_store)
    assert clock.now() - before == timedelta(hours=hours, seconds=11)
    with sqlite_store.read() as conn:
        assert windows.allowed(conn, "a", clock.now() + timedelta(minutes=59))
        assert not windows.allowed(conn, "a", clock.now() + timedelta(minutes=61))


def test_a_write_that_is_late_by_a_step_joins_what_is_there(store: Store) -> None:
    """It was dated before what is stored moved along, and comes to the database after that."""
    for _ in range(3):
        store.write(lambda conn: deactivated(conn, NOW + 5 * HOUR))
    store.write(lambda conn: deactivated(conn, NOW))
    with store.read() as conn:
        assert windows.counts(conn, NOW + 5 * HOUR + timedelta(minutes=59)).last_hour == 4
        assert windows.counts(conn, NOW + 6 * HOUR).last_hour == 0


def test_the_last_good_sweep_is_as_old_as_it_was(store: Store, step: timedelta) -> None:
    store.write(lambda conn: account.good_sweep(conn, at=NOW, people=1))

    def age(conn: Connection, now: datetime) -> timedelta:
        last = account.get(conn).last_good_sweep
        assert last is not None
        return now - last

    assert seen_at(store, age, step, HOUR) == [HOUR]


def test_what_says_when_something_was_stays_as_it_was_written(store: Store) -> None:
    look(store)
    store.write(lambda conn: alarms.raise_alarm(conn, "held", "x", "", NOW))
    look(store, 5 * HOUR)
    with store.read() as conn:
        assert alarms.open_alarms(conn)[0].raised == NOW


def test_who_is_signed_in_is_so_as_long(store: Store, step: timedelta) -> None:
    made = Session(how=How.PASSWORD, name="x", role=DashboardRole.ADMIN, created=NOW, expires=NOW + 8 * HOUR)
    store.write(lambda conn: sessions.start(conn, "secret", made))
    times = timedelta(hours=7), timedelta(hours=9)
    assert seen_at(store, lambda conn, now: sessions.find(conn, "secret", now) is not None, step, *times) == [
        True,
        False,
    ]


def test_a_link_to_the_dashboard_is_good_as_long(store: Store, step: timedelta) -> None:
    store.write(lambda conn: sessions.make_link(conn, "good", BY))
    store.write(lambda conn: sessions.make_link(conn, "old", BY))
    look(store)
    look(store, step)
    later = NOW + step
    took = [
        store.write(lambda conn, secret=secret, at=at: sessions.take(conn, secret, How.LINK, later + at))
        for secret, at in (("good", timedelta(minutes=9)), ("old", timedelta(minutes=11)))
    ]
    assert [one is not None for one in took] == [True, False]


def test_a_first_approval_waits_as_long_for_the_second(store: Store, step: timedelta) -> None:
    mine = FirstApproval(subject="plan 1", numbers=(1,), identity="a", name="a", at=NOW, expires=NOW + 2 * HOUR)
    store.write(lambda conn: first_approvals.agree(conn, mine))
    times = HOUR, 3 * HOUR
    assert seen_at(store, lambda conn, now: len(first_approvals.waiting(conn, "plan 1", now)), step, *times) == [1, 0]


def test_the_caps_of_roles_count_what_they_counted(store: Store, step: timedelta) -> None:
    store.write(lambda conn: roles.give(conn, "a", "00g1", NOW))
    store.write(lambda conn: roles.take(conn, "b", "00g1", NOW))
    times = timedelta(minutes=59), timedelta(minutes=61)
    assert seen_at(store, roles.lately, step, *times) == [(1, 1), (0, 0)]


def test_every_other_time_says_when_something_was() -> None:
    moved = {column for column, _ in steps.MOVES}
    times = {column for table in metadata.tables.values() for column in table.c if isinstance(column.type, UtcTime)}
    assert {str(column) for column in times - moved} == {
        *("account.pinned_at", "account.paused_at", "runs.started", "runs.ended", "plans.created", "judgements.at"),
        *("users.created", "users.updated", "users.deactivated", "departed.deactivated", "unkept.since"),
        *("actions.sent_at", "actions.done_at", "findings.first_seen", "journal.at", "journal_blocks.sealed_at"),
        *("alarms.raised", "alarms.cleared", "alarms.delivered", "alarms.acked_at", "allowances.created"),
        *("holds.last_found", "holds.decided_at", "holds.ended_at", "first_approvals.at", "sessions.created"),
        *("imports.intended", "imports.asked", "imports.ended", "notices.sent", "notices.gave_up"),
        # Okta's own times, and what goes by them.
        *("cursors.updated", "events_seen.at", "push_failures.at", "push_failures.healed"),
        # Keys end by the calendar.
        *("api_keys.created", "api_keys.expires", "api_keys.revoked", "api_keys.grace_from", "api_keys.last_used"),
        "clocks.seen",
    }
