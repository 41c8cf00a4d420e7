"""``journal``: who did what, and the proof that nothing was changed afterwards."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from agent.cli import options
from agent.cli.command import Invocation, encode_line, group
from agent.cli.people import find
from agent.cli.render import csv_text
from agent.model.times import when
from agent.runs.wording import clean, fields

if TYPE_CHECKING:
    from agent.store.engine import Store
    from agent.store.journal_rows import JournalQuery, JournalRow

_ROW = (
    *("id", "at", "kind", "verb", "login", "actor", "source", "reason"),
    *("directory_id", "okta_id", "run_id", "plan_id"),
)
#: Seconds between two looks of --follow.
_FOLLOW_EVERY = 0.5


@group("journal")
def journal() -> None:
    """Every change and every refused attempt, sealed."""


@journal.command(
    "list", examples=["", "--since 2h --verb deactivate", "--user ann@example.com", "--actor root --follow"]
)
@click.option("--since", type=options.MOMENT, help="Not older: 2h, 7d, or 2026-03-01T08:00.")
@click.option("--user", metavar="LOGIN", help="Only rows about this account.")
@click.option("--actor", metavar="TEXT", default="", help="A part of who did it, such as root, key:3 or run 81.")
@click.option("--verb", metavar="VERB", default="", help="Such as deactivate, or keys for all about keys.")
@click.option("--kind", type=click.Choice(["applied", "refused", "intent", "failed"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@options.as_csv
def list_rows(
    invocation: Invocation, *, user: str | None, kind: str | None, limit: int, follow: bool, as_csv: bool, **said: Any
) -> None:
    """Who did what to whom, newest last. export has all of it."""
    from agent.store import journal_rows
    from agent.store.journal import Kind

    with invocation.directory() as directory:
        query = journal_rows.JournalQuery(
            directory_id=find(directory, user).id if user else None, kind=Kind(kind) if kind else None, **said
        )
        with directory.store.read() as conn:
            last = journal_rows.newest(conn)
            found = list(reversed(journal_rows.first(conn, query, limit)))
        if follow:
            for rows in _coming(directory.store, query, found, last):
                for row in rows:
                    click.echo(encode_line(_as_json(row)) if invocation.json else _line(row))
            return
    documents = [_as_json(row) for row in found]
    if as_csv:
        click.echo(csv_text(_ROW, documents))
        return
    columns = ["at", "what", "login", "by", "why"]
    cells = [[one.at, one.done, one.login, one.actor, one.reason] for one in found]
    invocation.answer_table("journal", {"rows": documents}, columns, cells, "No such row.")


def _coming(
    store: "Store", query: "JournalQuery", found: "list[JournalRow]", last: int
) -> "Iterator[list[JournalRow]]":
    from agent.store import journal_rows

    while True:
        yield found
        sys.stdout.flush()
        time.sleep(_FOLLOW_EVERY)
        with store.read() as conn:
            found, last = journal_rows.newer(conn, query, last)


def _as_json(row: "JournalRow") -> dict[str, Any]:
    changes = {path: {"before": before, "after": after} for path, (before, after) in row.changes.items()}
    return {**fields(row, *_ROW), "changes": changes}


def _line(row: "JournalRow") -> str:
    parts = (when(row.at), row.done, row.login, f"by {row.actor}", row.reason)
    return "  ".join(clean(part) for part in parts if part)


@journal.command("export", examples=["> journal.jsonl", "--csv > journal.csv", "--user ann@example.com"])
@click.option("--user", metavar="LOGIN", help="Only rows about this account.")
@click.option("--after", metavar="ID", type=options.ROW_ID, help="Only rows after this one.")
@options.as_csv
def export(invocation: Invocation, *, user: str | None, after: int | None, as_csv: bool) -> None:
    """All rows as JSON lines, oldest first; with --output json as one document."""
    from agent.store import seal

    with invocation.directory() as directory:
        person = find(directory, user) if user else None
        rows = seal.export(directory.store.read, after=after or 0, directory_id=person.id if person else None)
        if invocation.json:
            invocation.answer("journal", {"rows": list(rows)}, "")
        elif as_csv:
            sys.stdout.writelines(seal.csv_lines(rows))
        else:
            sys.stdout.writelines(f"{encode_line(row)}\n" for row in rows)


@journal.command("verify", examples=["", '--head "12 9f3c…"   # as the log told it'])
@click.option("--head", metavar="TEXT", help="A block's number and hash from the log, to hold against.")
def verify(invocation: Invocation, head: str | None) -> int:
    """Find changed, missing, swapped or cut-off rows. Exit code 1 if there are any. Says how many are not sealed yet."""
    from agent.store import seal

    report = invocation.read(lambda conn: seal.verify(conn, head=head))
    lines = [f"wrong: {problem}" for problem in report.problems]
    counted = (
        f"{report.rows:,} rows in {report.blocks:,} blocks, {report.unsealed:,} not sealed yet. Head: {report.head}"
    )
    verdict = "The journal was changed, or the database is damaged." if report.problems else "The chain is whole."
    body = {"ok": not report.problems, **fields(report, "problems", "rows", "blocks", "unsealed", "head")}
    invocation.answer("journal_verify", body, "\n".join([*lines, counted, verdict]))
    return int(bool(report.problems))
