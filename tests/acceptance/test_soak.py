"""The soak, as long as CI has time for it; longer by hand: python -m tests.soak --minutes 120 --seed 7."""

import os
import shutil
from pathlib import Path

import pytest

from soak.play import soak
from soak.stage import DATABASES

#: For each of the two databases.
MINUTES = 5.0
#: The same choices each time, so that what fails is there to be looked at; their times are the machine's.
SEEDS = {"sqlite": 11, "postgresql": 12}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(os.geteuid() != 0, reason="a small disk is a file system of its own, which only root may mount"),
]


@pytest.mark.parametrize("database", list(DATABASES))
def test_everything_at_once_loses_nothing_and_stands_still_nowhere(database: str, tmp_path: Path) -> None:
    """What doesn't hold names its seed; the same choices again: python -m tests.soak --seed N --database …"""
    assert shutil.which("faketime") or "OPSHELM_TEST_FORBID_SKIPS" not in os.environ, "apt-get install faketime"
    soak(tmp_path, database, int(os.environ.get("OPSHELM_SOAK_SEED", SEEDS[database])), MINUTES, pause=0.4, say=print)
