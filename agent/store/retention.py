"""Lets go of what is old: sealed journal blocks once they are exported, runs, plans, alarms that are over. Nothing unexported is deleted.

A deleted block keeps its number, ids and hash, so that the chain stays whole and the exported file can be proven.
"""

import os
from datetime import datetime
from pathlib import Path

import msgspec
from sqlalchemy import Connection, delete, select, update

from agent.model.errors import StoreError
from agent.settings import RetentionSettings
from agent.store import alarms, judgements, plans, runs, seal
from agent.store.backup import sync
from agent.store.engine import Store
from agent.store.tables import journal, journal_blocks


def keep_within(store: Store, settings: RetentionSettings, now: datetime) -> int:
    """Export and delete old blocks, delete what else is old; answers how many blocks went."""
    store.write(lambda conn: plans.forget(conn, now - settings.runs))
    store.write(lambda conn: runs.forget(conn, now - settings.runs))
    with store.read() as conn:
        since = judgements.kept_since(conn, now - settings.runs)
    store.write(lambda conn: judgements.forget(conn, since))
    store.write(lambda conn: alarms.forget(conn, now - settings.runs))
    if settings.export_dir is None:
        return 0
    folder = Path(settings.export_dir)
    with store.read() as conn:
        c = journal_blocks.c
        old = select(c.n).where(c.sealed_at < now - settings.journal, c.exported_to.is_(None)).order_by(c.n)
        blocks = conn.execute(old).scalars().all()
    for number in blocks:
        file = _export(store, folder, number)
        store.write(lambda conn, number=number, file=file: _drop(conn, number, str(file)))  # type: ignore[misc]
    return len(blocks)


def _export(store: Store, folder: Path, number: int) -> Path:
    """One file a block, complete on the disk before its rows may go."""
    file = folder / f"journal-{number:08d}.jsonl"
    partial = file.with_suffix(".partial")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
            for row in seal.export(store.read, block=number):
                out.write(msgspec.json.encode(row) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        partial.replace(file)
        sync(folder)
    except OSError as exc:
        raise StoreError(
            f"Block {number} of the journal can't be exported to {folder}: {exc.strerror}. Nothing was deleted."
        ) from exc
    return file


def _drop(conn: Connection, number: int, file: str) -> None:
    conn.execute(delete(journal).where(journal.c.block == number))
    conn.execute(update(journal_blocks).where(journal_blocks.c.n == number).values(exported_to=file))
