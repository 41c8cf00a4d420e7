"""Copies of a SQLite database while it is in use. Each copy is stamped: an agent started on it distrusts itself.

PostgreSQL has its own tools; ``stamp_sql`` is what makes a dump of theirs carry the stamp.
"""

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from agent.model.errors import StoreError, UsageError
from agent.model.times import when
from agent.store.connect import sqlite_path
from agent.store.engine import Store

#: All pages in one step, which reads one snapshot and lets writers go on. In several, each commit of another connection
#: makes SQLite begin again: under a stream of pushes it never ends.
_ALL_PAGES = -1
#: Who held a lease when the copy was made does not hold it now.
_NO_HOLDER = "UPDATE lease SET holder = NULL"


def backup(store: Store, target: Path, now: datetime | None = None) -> None:
    """A consistent copy at ``target``, which must not exist."""
    source = sqlite_path(store.settings)
    if source is None:
        raise UsageError(
            "db backup copies SQLite. PostgreSQL has its own tool; this makes a dump with the stamp in it: "
            "(pg_dump --clean --if-exists DATABASE_URL && opshelm-agent db backup --stamp-sql) > FILE. See docs/backup.md"
        )
    if target.exists():
        raise UsageError(f"{target} exists already; a backup never overwrites one.")
    partial = target.with_name(target.name + ".partial")
    try:
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
        _copy(source, partial, _stamp(now))
        sync(partial, os.O_RDWR)
        sync(partial.parent)
        partial.replace(target)
    except (OSError, sqlite3.Error) as exc:
        partial.unlink(missing_ok=True)
        raise StoreError(f"The backup to {target} failed: {exc}. The database itself is as it was.") from exc


def stamp_sql(now: datetime | None = None) -> str:
    """What stamps a PostgreSQL dump, at its end or after it was restored. A dump may leave the search path empty."""
    return f"RESET search_path;\nUPDATE account SET distrust = '{_stamp(now)}';\n{_NO_HOLDER};\n"


def _stamp(now: datetime | None) -> str:
    return f"this database is a copy of {when(datetime.now(UTC) if now is None else now)}"


def _copy(source: Path, target: Path, stamp: str) -> None:
    with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there, pages=_ALL_PAGES)
        # One plain file: no -wal that could be left behind.
        there.execute("PRAGMA journal_mode=DELETE")
        there.execute("UPDATE account SET distrust = ?", [stamp])
        there.execute(_NO_HOLDER)
        there.commit()


def sync(path: Path, flags: int = os.O_RDONLY) -> None:
    """What was written to the file, or which files the folder has, is on the disk."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
