"""What was changed and decided in a period, from the journal: accounts, roles, keys, holds, settings. Reads only."""

from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from agent.model.errors import UsageError
from agent.reports.basis import Basis, facts, iso, read, through
from agent.reports.document import Document, ReportTable, Rows
from agent.store import history
from agent.store.engine import Store
from agent.store.journal_rows import changes_between, decoded


class ChangeRow(Struct, frozen=True, kw_only=True, gc=False):
    """One row of the journal. ``changed``: attribute by attribute, before → after."""

    row: int
    at: str
    kind: str
    verb: str
    login: str
    by: str
    through: str
    changed: str
    directory_id: str
    okta_id: str


class ChangesReport(Struct, frozen=True, kw_only=True):
    since: str
    until: str
    basis: Basis
    #: Verb → rows.
    counts: dict[str, int]
    changes: list[ChangeRow]


_COLUMNS = ("at", "verb", "login", "by", "through", "changed", "kind", "row", "directory_id", "okta_id")


def changes(store: Store, *, since: datetime, until: datetime, now: datetime) -> ChangesReport:
    """Raises UsageError for a period that is none, or of which rows were let go."""
    if since > until:
        raise UsageError("--since is after --until.")
    with store.read() as conn:
        basis = read(conn, now, since)
        rows = [_row(change) for change in history.changes(conn, since, until)]
    counts = Counter(row.verb for row in rows)
    return ChangesReport(
        since=iso(since), until=iso(until), basis=basis, counts=dict(counts.most_common()), changes=rows
    )


def document(report: ChangesReport) -> Document:
    counted = ", ".join(f"{n:,} {verb}" for verb, n in report.counts.items()) or "nothing"
    table = ReportTable(
        title="Changes and decisions",
        caption="Oldest first. A row is part of the journal under its number.",
        columns=_COLUMNS,
        rows=Rows(report.changes, _COLUMNS),
        empty="Nothing was changed and nobody decided anything.",
        keys=2,
    )
    period = ("Period", f"{report.since} to {report.until}")
    return Document(
        title="Changes in OpsHelm", facts=[period, ("Counted", counted), *facts(report.basis)], tables=[table]
    )


def _row(change: history.JournalledChange) -> ChangeRow:
    before, after = decoded(change.before), decoded(change.after)
    shown = after or before
    return ChangeRow(
        row=change.cause.row,
        at=iso(change.cause.at),
        kind=change.kind,
        verb=change.verb,
        login=str(shown.get("userName") or shown.get("login") or ""),
        by=change.cause.actor,
        through=through(change.cause),
        changed=_changed(before, after),
        directory_id=change.directory_id or "",
        okta_id=change.okta_id or "",
    )


def _changed(before: dict[str, Any], after: dict[str, Any]) -> str:
    found = changes_between(before, after).items()
    return "; ".join(f"{name}: {_value(old)} → {_value(new)}" for name, (old, new) in found)


def _value(value: object) -> str:
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
