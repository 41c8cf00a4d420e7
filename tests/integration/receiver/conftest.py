"""The receiver on both databases."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from databases import postgres_server
from receiving import Served, served, sqlite_url


@pytest.fixture(scope="session")
def new_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    with postgres_server(tmp_path_factory.mktemp("pg")) as create:
        yield create


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return sqlite_url(tmp_path)
    create: Callable[[], str] = request.getfixturevalue("new_postgres")
    return create()


@pytest.fixture
def receiver(database_url: str) -> Iterator[Served]:
    """With the defaults."""
    with served(database_url) as running:
        yield running
