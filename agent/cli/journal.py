"""``journal``: who did what, and the proof that nothing was changed afterwards."""

import sys

import click

from agent.cli.command import ROW_ID, Invocation, csv_option, group
from agent.cli.people import find
from agent.cli.render import fields


@group("journal")
def journal() -> None:
    """Every change and every refused attempt, sealed."""


@journal.command(
    "export",
    examples=[
        "opshelm-agent journal export > journal.jsonl",
        "opshelm-agent journal export --csv > journal.csv",
        "opshelm-agent journal export --user ann@example.com",
    ],
)
@click.option("--user", metavar="LOGIN", help="Only rows about this account.")
@click.option("--after", metavar="ID", type=ROW_ID, help="Only rows after this one.")
@csv_option
def export(invocation: Invocation, *, user: str | None, after: int | None, as_csv: bool) -> None:
    """All rows as JSON lines, oldest first; with --output json as one document."""
    import msgspec

    from agent.store import seal

    with invocation.directory() as directory:
        person = find(directory, user) if user else None
        rows = seal.export(directory.store.read, after=after or 0, directory_id=person.id if person else None)
        if invocation.json:
            invocation.answer("journal", {"rows": list(rows)}, "")
        elif as_csv:
            sys.stdout.writelines(seal.csv_lines(rows))
        else:
            sys.stdout.writelines(msgspec.json.encode(row).decode() + "\n" for row in rows)


@journal.command(
    "verify",
    examples=["opshelm-agent journal verify", 'opshelm-agent journal verify --head "12 9f3c…"   # as the log told it'],
)
@click.option("--head", metavar="TEXT", help="A block's number and hash from the log, to hold against.")
def verify(invocation: Invocation, head: str | None) -> int:
    """Find changed, missing, swapped or cut-off rows. Exit code 1 if there are any. Says how many are not sealed yet."""
    from agent.store import seal

    with invocation.read() as conn:
        report = seal.verify(conn, head=head)
    lines = [f"wrong: {problem}" for problem in report.problems]
    counted = (
        f"{report.rows:,} rows in {report.blocks:,} blocks, {report.unsealed:,} not sealed yet. Head: {report.head}"
    )
    verdict = "The journal was changed, or the database is damaged." if report.problems else "The chain is whole."
    body = {"ok": not report.problems, **fields(report, "problems", "rows", "blocks", "unsealed", "head")}
    invocation.answer("journal_verify", body, "\n".join([*lines, counted, verdict]))
    return int(bool(report.problems))
