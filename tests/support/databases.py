"""SQLite databases that are migrated already: once for each process, and copied."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.settings import DatabaseSettings
from agent.store.engine import Store


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder, "agent.db")
        Store.open(DatabaseSettings(url=f"sqlite:///{file}")).close()
        return file.read_bytes()


def sqlite_in(folder: Path, name: str = "agent.db") -> str:
    """The address of a database in this folder. One that is there already stays."""
    file = folder / name
    if not file.exists():
        file.write_bytes(_migrated())
    return f"sqlite:///{file}"
