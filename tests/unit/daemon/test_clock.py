"""What the daemon does by itself beside reconciling, and what its log says of a run."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from structlog.testing import capture_logs

from agent.daemon.clock import Clock, log_run
from agent.daemon.reload import Reload
from agent.runs.frame import Outcome, RunReport
from agent.settings import DatabaseSettings, Loaded, Settings
from agent.store.engine import Store


class RemoteReads:
    """A remote directory as far as the clock knows it."""

    def __init__(self) -> None:
        self.read = threading.Event()

    def read_back(self, now: object) -> int:
        self.read.set()
        return 0


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_calls_without_an_answer_are_read_back_at_the_start_without_okta_too(tmp_path: Path) -> None:
    directory, store = RemoteReads(), Store.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/agent.db"))
    agent = SimpleNamespace(
        store=store,
        settings=Settings(),
        directory=directory,
        reconciler=None,
        stopping=False,
        ask_to_stop=lambda: None,
        okta=None,
        system_log=lambda on_wait: None,
    )
    clock = Clock(agent, Reload(Loaded(settings=Settings(), file=None, origins={}), None))
    clock.start()
    try:
        assert directory.read.wait(30)
    finally:
        clock.stop()
        store.close()


@pytest.mark.parametrize(
    ("outcome", "said"), [(Outcome.INCOMPLETE, True), (Outcome.FROZEN, True), (Outcome.PARTIAL, False)]
)
def test_the_log_says_why_a_run_changed_nothing_and_names_nobody(outcome: Outcome, said: bool) -> None:
    report = RunReport(run_id=1, outcome=outcome, detail="The remote OpsHelm is down.")
    with capture_logs() as logs:
        log_run(report)
    assert [line.get("detail") for line in logs] == ["The remote OpsHelm is down." if said else None]
