"""Findings: what a run noticed and did not act on, kept with the run."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, func, insert, select

from agent.model.codes import FindingCode
from agent.model.plan import Finding
from agent.store.tables import findings as table
from agent.store.tables import runs


class StoredFinding(Struct, frozen=True, kw_only=True):
    """The findings of one run."""

    run_id: int
    findings: tuple[Finding, ...]


def save(conn: Connection, run_id: int, findings: Sequence[Finding]) -> None:
    """Add to what the run has."""
    start = conn.execute(select(func.coalesce(func.max(table.c.n), 0)).where(table.c.run_id == run_id)).scalar_one()
    rows = [
        {
            "run_id": run_id,
            "n": start + n,
            "code": found.code.value,
            "login": found.login,
            "detail": found.detail,
            "directory_id": found.directory_id,
            "okta_id": found.okta_id,
        }
        for n, found in enumerate(findings, 1)
    ]
    if rows:
        conn.execute(insert(table), rows)


def of_run(conn: Connection, run_id: int) -> tuple[Finding, ...]:
    rows = conn.execute(select(table).where(table.c.run_id == run_id).order_by(table.c.n))
    return tuple(_read(row) for row in rows)


def latest(conn: Connection) -> StoredFinding | None:
    """Of the last sweep that ended; None where there was none."""
    last = select(func.max(runs.c.id)).where(runs.c.kind == "sweep", runs.c.ended.is_not(None))
    run_id = conn.execute(last).scalar()
    return None if run_id is None else StoredFinding(run_id=run_id, findings=of_run(conn, run_id))


def _read(row: Any) -> Finding:
    return Finding(
        code=FindingCode(row.code),
        login=row.login,
        detail=row.detail,
        directory_id=row.directory_id,
        okta_id=row.okta_id,
    )
