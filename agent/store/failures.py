"""Database errors in the agent's words. Knows which mean: try later, run it again, or stop the process."""

import sqlite3
from enum import Enum
from typing import Any

from sqlalchemy import exc

from agent.model.errors import DiskFull, StoreError, StoreUnavailable
from agent.store.connect import from_postgresql


class Failure(Enum):
    """What a failed transaction means for the one who ran it."""

    #: Nothing was written; the whole transaction may run once more at once.
    RETRY = "retry"
    #: Nothing was written; waiting helps.
    LATER = "later"
    #: What the disk holds is unknown: the process must stop (a failed fsync can't be retried).
    FATAL = "fatal"
    #: A mistake in the program or a constraint that a check should have caught.
    BUG = "bug"


_FATAL_NAMES = {
    "SQLITE_IOERR_FSYNC": "the disk did not keep what was written",
    "SQLITE_IOERR_DIR_FSYNC": "the disk did not keep what was written",
    "SQLITE_CORRUPT": "the file is damaged",
    "SQLITE_NOTADB": "the file that database.url names is no SQLite database",
}
#: The second one: no room for the file by which processes share the log's index.
_FULL_NAMES = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")
_FULL_STATE = "53100"
_LATER_NAMES = {
    "SQLITE_BUSY": "the database is locked by another process",
    "SQLITE_LOCKED": "the database is locked",
    "SQLITE_IOERR": "the disk answers with an I/O error",
    "SQLITE_READONLY": "the database file is read-only",
    "SQLITE_CANTOPEN": "the database file can't be opened",
    "SQLITE_PERM": "the database file may not be accessed",
    "SQLITE_NOMEM": "there is no memory left",
    "SQLITE_INTERRUPT": "the statement was interrupted",
}
#: serialization failure, deadlock, unique race: another transaction won; a second run sees its result.
_RETRY_STATES = ("40001", "40P01", "23505")
_LATER_STATES = {
    "55P03": "another agent holds a lock for too long",
    "57014": "a statement ran into its time limit",
    "53": "the database server is out of resources",
    "58": "the database server has a system error",
    "57": "the database server is shutting down or starting up",
    "08": "the connection to the database was lost",
    "25006": "the database is read-only (a standby?)",
}
_FATAL_STATES = ("XX001", "XX002")


def original(error: BaseException) -> Any:
    """The driver's error inside SQLAlchemy's."""
    return error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error


def classify(error: BaseException) -> tuple[Failure, str]:
    """What to do, and what happened in words for an operator."""
    cause = original(error)
    if isinstance(cause, sqlite3.Error):
        return _classify_sqlite(cause)
    if from_postgresql(cause):
        return _classify_postgresql(cause)
    if isinstance(error, exc.TimeoutError):
        return Failure.LATER, "all connections to the database are in use"
    if isinstance(error, exc.SQLAlchemyError) and getattr(error, "connection_invalidated", False):
        return Failure.RETRY, "the connection to the database was lost"
    return Failure.BUG, str(cause)


def _classify_sqlite(cause: sqlite3.Error) -> tuple[Failure, str]:
    name = getattr(cause, "sqlite_errorname", "") or ""
    for prefix, words in _FATAL_NAMES.items():
        if name.startswith(prefix):
            return Failure.FATAL, f"{words} ({name})"
    if name.startswith(_FULL_NAMES):
        return Failure.LATER, f"the disk is full ({name})"
    for prefix, words in _LATER_NAMES.items():
        if name.startswith(prefix):
            return Failure.LATER, f"{words} ({name})"
    if name.startswith("SQLITE_CONSTRAINT"):
        return Failure.RETRY, str(cause)
    return Failure.BUG, str(cause)


def _classify_postgresql(cause: Any) -> tuple[Failure, str]:
    state = cause.sqlstate or ""
    if state in _RETRY_STATES:
        return Failure.RETRY, f"another transaction was faster ({state})"
    if state in _FATAL_STATES:
        return Failure.FATAL, f"the database is damaged ({state})"
    if state == _FULL_STATE:
        return Failure.LATER, f"the disk is full ({state})"
    for prefix, words in _LATER_STATES.items():
        if state.startswith(prefix):
            # A server that went away may be back already, or another one may have taken over.
            again = state.startswith(("57P", "08"))
            return (Failure.RETRY if again else Failure.LATER), f"{words} ({state})"
    # 54: a value that is larger than an index or a row can hold; no second try and no waiting makes it smaller.
    if (from_postgresql(cause, "OperationalError") and not state.startswith("54")) or not state:
        return Failure.RETRY, "the connection to the database was lost"
    return Failure.BUG, f"{cause} ({state})"


def is_full(error: BaseException) -> bool:
    cause = original(error)
    return (getattr(cause, "sqlite_errorname", "") or "").startswith(_FULL_NAMES) or getattr(
        cause, "sqlstate", ""
    ) == _FULL_STATE


def translate(error: BaseException, place: str = "") -> StoreError:
    """The error for callers. ``place``: the file, or host and port. Mind: details never hold a connection URL or parameters."""
    failure, words = classify(error)
    if failure is Failure.BUG:
        return StoreError(f"the database refused a statement: {words.rstrip('.')}. Nothing was changed. This is a bug.")
    if failure is Failure.FATAL:
        return StoreUnavailable(
            f"The database failed: {words}. The agent stops; check the file and its disk, then start it again."
        )
    if is_full(error):
        where = f" {place}" if place else ""
        return DiskFull(
            f"The disk under the database{where} is full. Nothing was changed. Make room there (df -h); the agent goes on by itself."
        )
    return StoreUnavailable(f"The database can't be used just now: {words}. Nothing was changed; try again later.")


def locked(error: BaseException) -> bool:
    """Another process writes to SQLite's file just now."""
    return (getattr(original(error), "sqlite_errorname", "") or "").startswith("SQLITE_BUSY")


def interrupted(error: BaseException) -> bool:
    """A statement was ended because its time was over."""
    cause = original(error)
    return getattr(cause, "sqlite_errorname", "") == "SQLITE_INTERRUPT" or (
        from_postgresql(cause) and cause.sqlstate == "57014"
    )


def unopened(error: BaseException, place: str) -> StoreError:
    """``translate`` at the start, where nothing was connected yet: a server that isn't there is no connection that was lost.

    ``place`` is host and port. libpq's own words name host, user and database, never the password.
    """
    cause = original(error)
    connecting = isinstance(error, exc.DBAPIError) and error.statement is None and not error.connection_invalidated
    if not connecting or not from_postgresql(cause, "OperationalError") or cause.sqlstate:
        return translate(error, place)
    reason = str(cause).partition("\n")[0].rpartition("failed: ")[2]
    if "FATAL:" in reason:
        return StoreUnavailable(
            f"PostgreSQL at {place} refuses the connection: {reason.replace('FATAL:', '').strip()}. Nothing was changed. "
            "Check user, password and database name in database.url."
        )
    return StoreUnavailable(
        f"PostgreSQL at {place} can't be reached: {reason}. Nothing was changed. Check host and port in database.url, "
        "whether the server runs, and whether the network lets this machine through to it."
    )


def connection_lost(raw: Any) -> bool:
    """Whether a psycopg connection is beyond use."""
    return bool(getattr(raw, "broken", False) or getattr(raw, "closed", False))
