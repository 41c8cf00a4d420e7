"""F-03, F-04, F-05: the agent is killed at every named crash point, and the next run puts everything right.

Real processes, killed by a real SIGKILL that the crash point sends. Each test asserts that its point was hit; one at the
end of this page, that no registered point was left out.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.directory.sql import SqlDirectory
from agent.settings import DatabaseSettings, Settings
from agent.store import plans
from agent.store.engine import CRASH_POINTS, VARIABLE, Store
from support.company import Case, Company, company
from support.databases import sqlite_in
from support.forks import Warm
from support.invariants import check, no_op, settled
from support.pusher import Pusher, login, new_key
from support.world import account, okta_user, open_world

#: A process for each kill: minutes in all.
pytestmark = pytest.mark.slow

KILLED = -9

#: Point → at which times, in one ``reconcile --apply`` of four batches and four pages.
IN_A_RUN = {
    "sweep.page": (1, 2, 4),
    "plan.stored": (1,),
    "apply.planned": (1, 3),
    "apply.sent": (1, 4),
    "apply.written": (1, 3),
    "apply.done": (1, 4),
    "plan.closed": (1,),
}
#: In whatever transaction comes: every one of a run's is tried, marked slow; some of them always.
IN_ANY_TRANSACTION = ("store.written", "store.committed")
IN_AN_APPROVAL = ("plan.decided",)
IN_AN_IMPORT = tuple(point for point in CRASH_POINTS if point.startswith("import."))
#: Calls to a remote directory have a page of their own, test_remote_crash_points.
IN_A_CALL = tuple(point for point in CRASH_POINTS if point.startswith(("call.", "wave.")))
#: An undo's are tried in test_undo and test_import_undo.
IN_AN_UNDO = tuple(point for point in CRASH_POINTS if point.startswith("undo."))
#: The start of a daemon has transactions of its own.
NTH = {"store.written": 14, "store.committed": 14, "push.committed": 5}
IN_A_PUSH = ("store.written", "store.committed", "push.committed")


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Company]:
    with company(tmp_path_factory.mktemp("company"), warm) as made:
        yield made


@pytest.fixture
def case(drifted: Company, tmp_path: Path) -> Case:
    return drifted.case(tmp_path)


@pytest.mark.parametrize("where", [f"{point}:{n}" for point, times in IN_A_RUN.items() for n in times])
def test_f04_a_run_that_is_killed_anywhere_is_put_right_by_the_next_one(case: Case, where: str) -> None:
    done = case.run("reconcile", "--apply", **{VARIABLE: where})
    assert done.code == KILLED, f"{where} was not hit: {done.out}{done.err}"
    case.heals()


@pytest.mark.parametrize("nth", [3, 9])
@pytest.mark.parametrize("point", IN_ANY_TRANSACTION)
def test_f04_a_run_that_is_killed_around_a_commit_is_put_right_by_the_next_one(
    case: Case, point: str, nth: int
) -> None:
    assert case.run("reconcile", "--apply", **{VARIABLE: f"{point}:{nth}"}).code == KILLED
    case.heals()


@pytest.mark.parametrize("point", IN_ANY_TRANSACTION)
def test_f04_a_run_that_is_killed_around_each_of_its_commits_is_put_right(
    drifted: Company, tmp_path: Path, point: str
) -> None:
    for nth in range(1, 200):
        (tmp_path / str(nth)).mkdir()
        case = drifted.case(tmp_path / str(nth))
        if case.run("reconcile", "--apply", **{VARIABLE: f"{point}:{nth}"}).code != KILLED:
            break
        case.heals()
    assert 10 < nth < 199, "the loop has to come to the run's last commit"


@pytest.mark.parametrize("point", IN_AN_APPROVAL)
def test_f04_a_killed_apply_of_a_plan_may_be_repeated_and_does_nothing_twice(case: Case, point: str) -> None:
    plan = case.run("reconcile", "--output", "json").json()["plan"]
    apply = ("plans", "apply", str(plan["id"]), "--checksum", plan["checksum"])
    assert case.run(*apply, **{VARIABLE: point}).code == KILLED
    case.heals()
    with case.store() as store:
        assert no_op(store, lambda: case.run(*apply)).code == 0
    assert case.run(*apply).code == 2


def test_f03_a_sweep_that_was_killed_left_no_plan_and_no_write(case: Case) -> None:
    with case.store() as store:
        before = [stored.id for stored in kept(store)]
    assert case.run("reconcile", "--apply", **{VARIABLE: "sweep.page:3"}).code == KILLED
    with case.store() as store:
        assert [stored.id for stored in kept(store)] == before
    case.heals()


def kept(store: Store) -> list[plans.StoredPlan]:
    with store.read() as conn:
        return plans.recent(conn, 100)


# Imports


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Company]:
    """A small company; the accounts that Okta doesn't know are each case's own."""
    folder = tmp_path_factory.mktemp("imports")
    with open_world(folder, 3, window=1) as w:
        w.pin()
        made = Company(w.org, folder / "before.db", warm)
        w.store.close()
        (folder / "agent.db").rename(made.database)
        yield made


@pytest.mark.parametrize("point", IN_AN_IMPORT)
def test_f05_a_killed_import_makes_no_second_okta_user(unknown: Company, tmp_path: Path, point: str) -> None:
    case = unknown.case(tmp_path)
    place = point.replace(".", "-").replace("_", "-")
    names = {f"{place}-{kind}@example.com": kind for kind in ("known", "new")}
    with case.store() as store:
        for name in names:
            account(SqlDirectory(store, Settings()), name)
    okta_user(unknown.org, f"{place}-known@example.com")
    chosen = [part for name in names for part in ("--user", name)]
    at_once = {VARIABLE: point}
    planning = point == "import.planned"
    planned = case.run("import", "plan", *chosen, "--output", "json", **(at_once if planning else {}))
    assert planned.code == (KILLED if planning else 0), planned.err
    with case.store() as store:
        plan_id = str(kept(store)[0].id)
    if not planning:
        assert case.run("import", "apply", plan_id, **at_once).code == KILLED
        with case.store() as store:
            check(store)
    again = case.run("import", "apply", plan_id, "--output", "json")
    assert again.code == 0, again.out + again.err
    for name, kind in names.items():
        (person,) = [p for p in unknown.org.state() if p["login"] == name]
        assert person["app_user"] is not None
        assert person["user_status"] == ("ACTIVE" if kind == "known" else "STAGED")
    with case.store() as store:
        check(store)
        settled(store)


# Pushes


@pytest.mark.parametrize("point", IN_A_PUSH)
def test_f01_f02_a_receiver_that_is_killed_in_a_push_loses_nothing_it_acknowledged(
    warm: Warm, tmp_path: Path, point: str
) -> None:
    url = sqlite_in(tmp_path, "opshelm-agent.db")
    key = new_key(url)
    daemon = warm.serve(tmp_path, {VARIABLE: f"{point}:{NTH[point]}"})
    pusher = Pusher(daemon.url, key)
    number = next(n for n in range(100) if pusher.create(n) is None)
    assert daemon.wait() == KILLED
    store = Store.open(DatabaseSettings(url=url))
    check(store, pusher.said())
    there = SqlDirectory(store, Settings()).find(user_name_key=login(number))
    store.close()
    assert number >= 2
    assert (there is not None) == (point != "store.written")
    daemon = warm.serve(tmp_path, {})
    again = Pusher(daemon.url, key)
    retried = again.create(number)
    assert retried is not None
    assert retried.status == (201 if there is None else 409)
    assert len(again.find(number)) == 1
    assert daemon.stop() == 0


def test_no_registered_crash_point_is_left_out() -> None:
    hit = {*IN_A_RUN, *IN_ANY_TRANSACTION, *IN_AN_APPROVAL, *IN_AN_IMPORT, *IN_A_CALL, *IN_AN_UNDO, *IN_A_PUSH}
    assert hit == set(CRASH_POINTS)
