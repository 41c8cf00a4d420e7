"""What is over is forgotten, so that nothing grows for ever (docs/settings.md). On both databases."""

import socket
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from agent.daemon.housekeeping import Housekeeping
from agent.model.codes import ActionKind
from agent.model.replay import JudgedAction, JudgedRun
from agent.settings import RetentionSettings, Settings
from agent.store import alarms, judgements, retention, runs, windows
from agent.store.engine import Connection, Store
from agent.store.journal import Signature
from agent.store.tables import alarms as alarms_table
from agent.store.tables import allowances, identity_changes
from agent.store.tables import runs as runs_table

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def rows(store: Store, *tables: object) -> list[int]:
    with store.read() as conn:
        return [conn.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]  # type: ignore[arg-type]


def test_windows_and_announcements_are_forgotten_after_a_week(store: Store) -> None:
    def work(conn: Connection) -> None:
        for day in range(20):
            at = NOW + day * DAY
            windows.identity_change(conn, "a", at)
            windows.allow(conn, Signature(actor="x", source="cli", at=at), count=1, until=at)
            windows.forget(conn, at - 7 * DAY)

    store.write(work)
    assert rows(store, identity_changes, allowances) == [8, 8]


def test_alarms_that_are_over_go_with_the_runs_of_their_time(store: Store) -> None:
    def work(conn: Connection) -> None:
        for day in range(100):
            alarms.raise_alarm(conn, "push_burst", "guard", "", NOW + day * DAY)
            if day < 99:
                alarms.clear(conn, "push_burst", "guard", NOW + day * DAY)

    store.write(work)
    retention.keep_within(store, RetentionSettings(runs=10 * DAY), NOW + 99 * DAY)
    assert rows(store, alarms_table) == [11]
    with store.read() as conn:
        assert len(alarms.open_alarms(conn)) == 1


def test_a_plan_of_many_that_is_another_one_each_hour_is_remembered_to_a_bound(store: Store) -> None:
    def judged(first: int) -> JudgedRun:
        actions = tuple(
            JudgedAction(n=n, kind=ActionKind.DEACTIVATE, login=f"person{first + n}@example.com") for n in range(50)
        )
        numbers = dict.fromkeys(("population", "source_size", "managed_active", "active_owners", "day", "hour"), 100)
        return JudgedRun(sweep=True, pinned=True, actions=actions, **numbers)

    def note(conn: Connection, hour: int) -> None:
        at = NOW + timedelta(hours=hour)
        request = runs.RunRequest(kind="sweep", trigger="cli", actor="test", dry=False)
        # Each is judged twice: the second one is the same as the first.
        judgements.note_run(conn, runs.start(conn, request, at), judged(hour // 2), at)

    def forget(conn: Connection) -> None:
        judgements.forget(conn, judgements.kept_since(conn, NOW - DAY, most=20_000))

    for hour in range(40):
        store.write(lambda conn, hour=hour: note(conn, hour))
    store.write(forget)
    with store.read() as conn:
        kept = list(judgements.history(conn, NOW - DAY))
    assert 10 <= len(kept) <= 16
    assert all(one.what.actions for one in kept if isinstance(one.what, JudgedRun))
    assert kept[-1].at == NOW + timedelta(hours=39)


def test_nothing_is_forgotten_by_a_clock_that_was_set_just_now(store: Store) -> None:
    passed = 0.0
    wrong = NOW + 400 * DAY
    keeper = Housekeeping(store, Settings, lambda: wrong, lambda: passed)
    request = runs.RunRequest(kind="sweep", trigger="cli", actor="test", dry=False)

    def work(conn: Connection) -> None:
        run = runs.start(conn, request, NOW)
        runs.finish(conn, run, runs.RunEnd(outcome="in_step", exit_code=0, detail=""), NOW)
        alarms.raise_alarm(conn, "clock_step", socket.gethostname(), "", wrong)

    store.write(work)
    passed += 3601
    keeper.tick()
    assert rows(store, runs_table) == [1]
    store.write(lambda conn: alarms.clear(conn, "clock_step", socket.gethostname(), wrong))
    passed += 3599
    keeper.tick()
    assert rows(store, runs_table) == [1]
    passed += 1
    keeper.tick()
    assert rows(store, runs_table) == [0]
