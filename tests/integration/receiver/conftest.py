"""One receiver for each kind of database and module, emptied before each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.databases import sqlite_in
from support.receiver import Served, served


@pytest.fixture(scope="module")
def sqlite_served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(sqlite_in(Path(tmp_path_factory.mktemp("db")))) as running:
        yield running


@pytest.fixture(scope="module")
def postgresql_served(request: pytest.FixtureRequest) -> Iterator[Served]:
    with served(request.getfixturevalue("new_postgres")()) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def receiver(request: pytest.FixtureRequest) -> Served:
    """With the defaults, once for each kind of database."""
    running: Served = request.getfixturevalue(f"{request.param}_served")
    running.empty()
    return running


@pytest.fixture
def sqlite_receiver(sqlite_served: Served) -> Served:
    """For what does not depend on the database."""
    sqlite_served.empty()
    return sqlite_served
