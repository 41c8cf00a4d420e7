"""A first run that is killed by a real SIGKILL, wherever it is, is finished by the next run without another approval."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store.engine import VARIABLE
from support.company import Company, directory
from support.forks import Warm
from support.invariants import check, no_op
from support.world import open_world

#: More than creates_per_run lets through.
PEOPLE = 40


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Company]:
    """Nothing is pinned, nobody has an account."""
    folder = tmp_path_factory.mktemp("first")
    with open_world(folder, PEOPLE, window=1) as w:
        made = Company(w.org, folder / "before.db", warm)
        w.store.close()
        (folder / "agent.db").rename(made.database)
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(("where", "batch"), [("apply.sent", 30), ("apply.written", 30), ("apply.done", 10)])
def test_a_killed_first_run_is_finished_by_the_next_run(
    unknown: Company, tmp_path: Path, where: str, batch: int
) -> None:
    case = unknown.case(tmp_path)
    at_once = {VARIABLE: where, "OPSHELM_RECONCILE__BATCH": str(batch)}
    first = case.run("reconcile", "--apply", "--first-run", str(PEOPLE), **at_once)
    assert first.code == -9, first.err
    # A look at one person reads back what was sent; what was not done is still approved after it.
    one = unknown.org.state()[0]["login"]
    assert case.run("reconcile", "--user", one, "--apply").code == 0
    done = case.apply()
    assert done.code == 0, done.out + done.err
    assert "This goes on with plan 1, whose apply was interrupted" in done.json()["run"]["detail"]
    with case.store() as store:
        check(store)
        assert len(directory(store)) == PEOPLE
        last = no_op(store, case.apply)
    assert last.json()["run"]["outcome"] == "in_step"
