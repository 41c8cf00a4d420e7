"""Fault tests: one warm process for the session, from which commands and daemons are forked."""

from collections.abc import Iterator

import pytest

from support.forks import Warm


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with Warm() as process:
        yield process
