"""Forbids skips where CI asks for it. What several kinds of tests share is in tests/support."""

import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings

from support.authorities import trust_nobody

# Hundreds of processes are started here. Where no bytecode may be kept, as in many containers, each of them, and each worker,
# compiles all of the agent and of the tests anew: a third of a second of CPU each time.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# A shell starts what goes into its background with Ctrl-C ignored, and so would be every process that is started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
trust_nobody()
# How fast this machine is at the moment proves nothing.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

if TYPE_CHECKING:
    from support.forks import Warm

#: The one reason to skip that CI accepts: a case that names a need which no fixture here meets yet.
UNMET_NEED = "unmet need"


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A command sets the log up for its process, on a stderr that is gone once its test has ended."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def warm() -> "Iterator[Warm]":
    """Forks commands and daemons that need not start anew to be proof."""
    from support.forks import Warm

    with Warm() as process:
        yield process


def pytest_collection_finish() -> None:
    """What has been imported and collected stays: looking through it for garbage again and again takes a tenth of the time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """With OPSHELM_TEST_FORBID_SKIPS a skipped test fails: CI has everything that a test may ask for."""
    report = yield
    if report.skipped and os.environ.get("OPSHELM_TEST_FORBID_SKIPS") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if UNMET_NEED not in reason:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} was skipped, which CI forbids: {reason}"
    return report
