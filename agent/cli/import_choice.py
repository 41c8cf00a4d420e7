"""Whom ``import plan`` means: classes, names, a CSV file of chosen accounts. Reads the directory for ids; decides nothing."""

import csv
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO, TypedDict

import click

from agent.model.errors import UsageError
from agent.model.matching import NEW, MatchClass
from agent.model.users import identity_key

if TYPE_CHECKING:
    from agent.directory.port import Directory
    from agent.imports.planner import Choice

_LOGIN = ("login", "username", "user_name")
_DECIDE = "decide"


class Whom(TypedDict):
    """The options as given."""

    everybody: bool
    kind: str | None
    users: tuple[str, ...]
    csv_file: TextIO | None
    #: For the one --user: it is this Okta user, or a new one.
    okta_id: str | None
    create: bool


def refuse_contradictions(whom: Whom) -> None:
    users, csv_file, okta_id, create = whom["users"], whom["csv_file"], whom["okta_id"], whom["create"]
    if (okta_id or create) and (len(users) != 1 or csv_file or (okta_id and create)):
        raise click.UsageError("--okta-id ID or --create goes with exactly one --user")
    if sum((whom["everybody"], bool(whom["kind"]), bool(users or csv_file))) != 1:
        raise click.UsageError("say whom: --all, --class, or --user and --csv")


def choice_of(whom: Whom, directory: "Directory", limit: int | None) -> "Choice":
    """UsageError names every account that doesn't exist, all at once."""
    from agent.imports.planner import Choice

    if whom["everybody"]:
        return Choice(classes=frozenset({MatchClass.EXACT, MatchClass.NONE}), limit=limit)
    if whom["kind"]:
        return Choice(classes=frozenset({MatchClass(whom["kind"])}), limit=limit)
    decided = whom["okta_id"] or (NEW if whom["create"] else "")
    rows = [(login, decided) for login in whom["users"]]
    rows += _read(whom["csv_file"]) if whom["csv_file"] else ()
    named: dict[str, str] = {}
    problems = []
    for login, decision in rows:
        account = directory.find(user_name_key=identity_key(login))
        if account is None:
            problems.append(f"no OpsHelm account has the userName {login}")
        else:
            named[account.id] = decision
    if problems:
        raise UsageError("\n".join([*problems, "See: opshelm-agent import list"]))
    if not named:
        raise UsageError("the CSV file names nobody; it needs a column login")
    return Choice(named=named, limit=limit)


def _read(file: TextIO) -> Iterator[tuple[str, str]]:
    """``login`` (or userName) and, where wanted, ``decide``: an Okta user's id, or "new". Other columns are ignored."""
    try:
        rows = list(csv.reader(file))
    except (csv.Error, UnicodeDecodeError) as exc:
        raise UsageError(f"{file.name}: not a CSV file in UTF-8") from exc
    header = [cell.strip().casefold() for cell in rows[0]] if rows else []
    at = next((header.index(name) for name in _LOGIN if name in header), None)
    if at is None:
        raise UsageError(f"{file.name}: the first line must name the columns; one of them is login")
    decide = header.index(_DECIDE) if _DECIDE in header else None
    for number, row in enumerate(rows[1:], 2):
        login = _cell(row, at)
        if not login:
            if any(cell.strip() for cell in row):
                raise UsageError(f"{file.name}:{number}: no login")
            continue
        decision = _cell(row, decide) if decide is not None else ""
        yield login, NEW if decision.casefold() == NEW else decision


def _cell(row: list[str], at: int) -> str:
    """Without the quote that keeps a spreadsheet from running it."""
    text = row[at].strip() if at < len(row) else ""
    return text.removeprefix("'")
