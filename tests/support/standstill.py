"""An agent's process that stands still, as a machine that sleeps does, until SIGCONT."""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from agent.model.errors import StoreUnavailable
from agent.settings import DatabaseSettings
from agent.store.engine import Store


def stopped_between_transactions(pid: int, url: str) -> None:
    """Frozen, and not while it holds the lock of an SQLite file, which nobody could break, or a transaction of PostgreSQL."""
    impatient = Store.open(DatabaseSettings(url=url, busy_timeout=0.05))
    try:
        while True:
            os.kill(pid, signal.SIGSTOP)
            while not _at_rest(pid):
                time.sleep(0.001)
            try:
                impatient.write(lambda conn: None)
                if not _amid_a_transaction(impatient):
                    return
            except StoreUnavailable:
                pass
            os.kill(pid, signal.SIGCONT)
    finally:
        impatient.close()


def _at_rest(pid: int) -> bool:
    """Whether each thread of a process has stopped: the signal reaches one that runs later than `kill` returns.

    A thread that ends just now is gone between two looks, or a zombie for a moment; only the process itself stays one.
    """
    states = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            states[task.name] = task.joinpath("stat").read_text().rpartition(")")[2].split()[0]
    assert states.get(str(pid)) != "Z", "it ended before it could be frozen"
    return set(states.values()) <= {"T", "t"}


def _amid_a_transaction(store: Store) -> bool:
    """Whether any other session on the PostgreSQL database is at anything."""
    if store.dialect == "sqlite":
        return False
    busy = "datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
    with store.read() as conn:
        return bool(conn.exec_driver_sql(f"SELECT count(*) FROM pg_stat_activity WHERE {busy}").scalar_one())
