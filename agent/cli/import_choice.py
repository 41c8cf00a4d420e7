"""Whom ``import plan`` means: classes, names, a CSV file of chosen accounts. Reads the directory for ids; decides nothing."""

import csv
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from agent.model.errors import UsageError
from agent.model.matching import NEW, MatchClass
from agent.model.users import identity_key

if TYPE_CHECKING:
    from agent.directory.port import Directory
    from agent.imports.planner import Choice

_LOGIN = ("login", "username", "user_name")
_DECIDE = "decide"


class Chosen(Struct, frozen=True, kw_only=True):
    """The options as given."""

    everybody: bool
    kind: str | None
    users: tuple[str, ...]
    csv: Any
    #: For the one --user: an Okta user's id, "new" or "".
    decision: str


def chosen(said: Chosen, directory: "Directory", limit: int | None) -> "Choice":
    """UsageError names every account that doesn't exist, all at once."""
    from agent.imports.planner import Choice

    if said.everybody:
        return Choice(classes=frozenset({MatchClass.EXACT, MatchClass.NONE}), limit=limit)
    if said.kind:
        return Choice(classes=frozenset({MatchClass(said.kind)}), limit=limit)
    rows = [(login, said.decision) for login in said.users] + list(_read(said.csv) if said.csv else ())
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


def _read(file: Any) -> Iterator[tuple[str, str]]:
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
