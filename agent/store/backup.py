"""Copies of a SQLite database while it is in use. Each copy is stamped: an agent started on it distrusts itself.

For PostgreSQL use its own tools (docs: pg_dump); only a copy made here carries the stamp.
"""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from agent.model.errors import StoreError, UsageError
from agent.store.connect import sqlite_path
from agent.store.engine import Store

#: Pages copied at a time; writers go on in between.
_PAGES = 1000


def backup(store: Store, target: Path, now: datetime | None = None) -> None:
    """A consistent copy at ``target``, which must not exist."""
    source = sqlite_path(store.settings)
    if source is None:
        raise UsageError("db backup is for SQLite. PostgreSQL: pg_dump --format=custom, see docs/backup.md")
    if target.exists():
        raise UsageError(f"{target} exists already; a backup never overwrites one.")
    partial = target.with_name(target.name + ".partial")
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        _copy(source, partial, f"a copy of {datetime.now(UTC) if now is None else now:%Y-%m-%d %H:%M:%S} UTC")
        _sync(partial)
        partial.replace(target)
    except (OSError, sqlite3.Error) as exc:
        partial.unlink(missing_ok=True)
        raise StoreError(f"The backup to {target} failed: {exc}. The database itself is as it was.") from exc


def _copy(source: Path, target: Path, stamp: str) -> None:
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there, pages=_PAGES)
        # One plain file: no -wal that could be left behind.
        there.execute("PRAGMA journal_mode=DELETE")
        there.execute("UPDATE account SET distrust = ?", [f"this database is {stamp}"])
        # Who held a lease when the copy was made does not hold it now.
        there.execute("UPDATE lease SET holder = NULL")
        there.commit()


def _sync(file: Path) -> None:
    for path, flags in ((file, os.O_RDWR), (file.parent, os.O_RDONLY)):
        handle = os.open(path, flags)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
