"""``db``: the agent's database, made and copied."""

from pathlib import Path

import click

from agent.cli import options
from agent.cli.command import Invocation, group, signature


@group("db")
def db() -> None:
    """The agent's database: make one, copy it, trust a copy."""


@db.command("init")
def init(invocation: Invocation) -> None:
    """Make the database that the settings name (serve does it by itself). One that is there is brought up to date."""
    with invocation.directory(make=True) as directory:  # it takes the mapping of these settings
        place = directory.store.place
    invocation.answer("database", {"place": place}, f"The database at {place} is ready.")


@db.command(
    "backup",
    examples=[
        "/backup/agent-monday.db",
        '(pg_dump --clean --if-exists "$URL" && opshelm-agent db backup --stamp-sql) > agent-monday.sql   # PostgreSQL',
    ],
)
@click.argument("target", metavar="[FILE]", required=False, type=options.FILE)
@click.option("--stamp-sql", is_flag=True, help="Only print what stamps a PostgreSQL dump, to put at its end.")
def backup(invocation: Invocation, target: Path | None, *, stamp_sql: bool) -> None:
    """A consistent copy while the agent runs (SQLite). The copy is stamped: an agent started on it distrusts itself."""
    from agent.store.backup import backup as copy
    from agent.store.backup import stamp_sql as statements

    if (target is None) != stamp_sql:
        raise click.UsageError("give FILE for a copy, or --stamp-sql")
    if target is None:
        text = statements()
        invocation.answer("stamp", {"sql": text}, text.rstrip())
        return
    with invocation.store() as store:
        copy(store, target)
    invocation.answer("backup", {"file": str(target)}, f"Copied to {target}. It is stamped as a copy.")


@db.command("accept-restore", examples=['--reason "disk lost, restored Monday\'s copy"'])
@options.reason
def accept_restore(invocation: Invocation, reason: str) -> None:
    """Trust a restored copy again, after a dry run showed what it would do."""
    from agent.store import brakes

    by = signature(reason)
    why = invocation.write(lambda conn: brakes.accept_restore(conn, by))
    invocation.answer("restore", {"accepted": True, "was": why}, "Accepted. The next run may apply again.")
