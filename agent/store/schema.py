"""Brings the schema up to date at start, under a lock, in one transaction: a kill leaves the old or the new one.

An older program refuses a newer schema. Loads Alembic only when there is something to do (it takes a second).
"""

from pathlib import Path
from uuid import uuid4

from sqlalchemy import Connection, Engine, inspect, text

from agent.model.errors import SchemaTooNew
from agent.store.connect import driver, no_database

#: Oldest first. A test holds this together with the files in migrations/versions.
REVISIONS = (*(f"{n:04}" for n in range(1, 22)),)
#: Any number, the same in all agents; PostgreSQL's advisory locks are numbers.
MIGRATION_LOCK = 0x0A6E_4D16


def prepare(engine: Engine, place: str, *, make: bool) -> None:
    """Upgrade if needed. Without ``make``, NoDatabase where there are no tables; ``place`` is for its text."""
    with engine.connect() as conn:
        if _is_current(conn):
            return
        if not make and revision(conn) is None:
            raise no_database(f"The database at {place} has no tables of the agent")
        raw = driver(conn)
        if engine.name == "sqlite":
            # Rebuilding a table must not fire its children's foreign keys; the pragma has no effect inside a transaction.
            raw.execute("PRAGMA foreign_keys=OFF")
            raw.execute("BEGIN IMMEDIATE")
        else:
            raw.rollback()
            raw.execute("SELECT set_config('lock_timeout', '0', true), pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        try:
            if not _is_current(conn):
                _upgrade(conn)
            raw.commit()
        except BaseException:
            raw.rollback()
            raise


def revision(conn: Connection) -> str | None:
    """The schema's revision; None for an empty database."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    found = conn.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _is_current(conn: Connection) -> bool:
    found = revision(conn)
    if found is not None and found not in REVISIONS:
        raise SchemaTooNew(
            f"The database has schema {found}, which is newer than this program knows ({REVISIONS[-1]}). "
            "Nothing was changed. Install the version that migrated it, or restore a backup from before."
        )
    return found == REVISIONS[-1]


def _upgrade(conn: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
    found = conn.execute(text("SELECT count(*) FROM account")).scalar_one()
    if not found:
        conn.execute(text("INSERT INTO account (id, instance) VALUES (1, :instance)"), {"instance": str(uuid4())})
