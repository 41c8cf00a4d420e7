"""No page's number of statements grows with what is in the store; benchmarks.bench_dashboard says how long they take."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from agent.directory.sql import SqlDirectory
from agent.settings import DatabaseSettings, Settings
from agent.store.engine import Store
from benchmarks.bench_dashboard import PAGES, seed
from support.dashboard import Browser, app

#: Sessions and the account row included.
MOST = 30


def statements(folder: Path, *, people: int, runs: int) -> dict[str, int]:
    store = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/{people}.db"))
    seed(store, people=people, runs=runs)
    settings, counted = Settings(), [0]

    def count(*_: Any) -> None:
        counted[0] += 1

    event.listen(store.engine, "before_cursor_execute", count)
    browser = Browser(app(store, settings, directory=SqlDirectory(store, settings)), store).sign_in()
    found = {}
    for path in PAGES:
        before = counted[0]
        assert browser.get(path.replace("9999", str(runs)).replace("/plans/300", "/plans/1")).status_code == 200, path
        found[path] = counted[0] - before
    store.close()
    return found


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, int], dict[str, int]]:
    folder = tmp_path_factory.mktemp("cost")
    return statements(folder, people=60, runs=20), statements(folder, people=1_200, runs=200)


def test_more_people_runs_and_plans_cost_a_page_no_more_statements(
    counts: tuple[dict[str, int], dict[str, int]],
) -> None:
    few, many = counts
    assert {path: many[path] - few[path] for path in PAGES if many[path] > few[path]} == {}


def test_a_page_asks_the_store_few_times(counts: tuple[dict[str, int], dict[str, int]]) -> None:
    _, many = counts
    assert {path: count for path, count in many.items() if count > MOST} == {}
