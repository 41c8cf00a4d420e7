"""Runs: one row for each execution, with its start, end, counts and outcome; and its findings, which nobody acted on."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, to_builtins
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from agent.model.plan import Finding
from agent.store.connect import as_struct, as_structs, equal
from agent.store.tables import findings, plans
from agent.store.tables import runs as table


class Asker(Struct, frozen=True, kw_only=True):
    """Who asked for a run, and how."""

    #: cli, schedule, event, push, …
    trigger: str
    actor: str


class RunRequest(Asker, frozen=True, kw_only=True):
    """What was asked for."""

    #: sweep, single or import.
    kind: str
    dry: bool
    #: Logins that a single run was asked for; empty for all.
    scope: tuple[str, ...] = ()


class RunEnd(Struct, frozen=True, kw_only=True):
    """How it ended."""

    outcome: str
    exit_code: int
    counts: dict[str, int] = {}
    detail: str = ""


class RunProgress(Struct, frozen=True, kw_only=True):
    """How far a run is, as it told last."""

    at: datetime
    #: What is being done, such as "people read".
    what: str
    done: int = 0
    total: int | None = None
    #: A second, since it does this.
    rate: float = 0.0
    #: Seconds that it waits for one of Okta's limits, and for which.
    waits: float = 0.0
    waits_for: str = ""


class Run(RunRequest, frozen=True, kw_only=True):
    id: int
    started: datetime
    #: None while it runs, or where the process died.
    ended: datetime | None
    outcome: str | None
    exit_code: int | None
    counts: dict[str, int]
    detail: str
    #: While it goes on; None where it has not told yet.
    progress: RunProgress | None = None


def start(conn: Connection, request: RunRequest, now: datetime) -> int:
    values = {**to_builtins(request), "scope": _text(request.scope), "started": now}
    return int(conn.execute(insert(table).values(**values).returning(table.c.id)).scalar_one())


def finish(conn: Connection, run_id: int, end: RunEnd, now: datetime) -> None:
    values = {**to_builtins(end), "counts": _text(end.counts), "ended": now, "progress": None}
    conn.execute(update(table).where(table.c.id == run_id).values(**values))


def tell(conn: Connection, run_id: int, progress: RunProgress) -> None:
    """How far it is, unless it has ended."""
    goes_on = (table.c.id == run_id, table.c.ended.is_(None))
    conn.execute(update(table).where(*goes_on).values(progress=_text(progress)))


def get(conn: Connection, run_id: int) -> Run | None:
    row = conn.execute(select(table).where(table.c.id == run_id)).first()
    return None if row is None else _read(row)


def recent(conn: Connection, limit: int) -> list[Run]:
    """Newest first."""
    return [_read(row) for row in conn.execute(select(table).order_by(table.c.id.desc()).limit(limit))]


class RunFilter(Struct, frozen=True, kw_only=True):
    """Which runs somebody wants to see; what is None is not asked for."""

    outcomes: tuple[str, ...] | None = None
    #: Runs without an end.
    running: bool = False
    kind: str | None = None
    trigger: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    #: Older than this one.
    before: int | None = None


def find(conn: Connection, wanted: RunFilter, limit: int) -> list[Run]:
    """Newest first."""
    c = table.c
    rules = equal(table, kind=wanted.kind, trigger=wanted.trigger)
    if wanted.outcomes is not None:
        rules.append(c.outcome.in_(wanted.outcomes))
    if wanted.running:
        rules.append(c.ended.is_(None))
    if wanted.since is not None:
        rules.append(c.started >= wanted.since)
    if wanted.until is not None:
        rules.append(c.started < wanted.until)
    if wanted.before is not None:
        rules.append(c.id < wanted.before)
    return [_read(row) for row in conn.execute(select(table).where(*rules).order_by(c.id.desc()).limit(limit))]


def triggers(conn: Connection) -> list[str]:
    return list(conn.execute(select(table.c.trigger).distinct().order_by(table.c.trigger)).scalars())


def unfinished(conn: Connection) -> list[Run]:
    """Runs without an end: at work, or left by a process that died."""
    return [_read(row) for row in conn.execute(select(table).where(table.c.ended.is_(None)).order_by(table.c.id))]


def remove(conn: Connection, run_id: int) -> None:
    """As if it had not been; only for one that has neither plan nor findings."""
    conn.execute(delete(table).where(table.c.id == run_id))


def forget(conn: Connection, before: datetime) -> int:
    """Delete runs that ended before, with their findings; those that have a plan go with it (plans.forget first)."""
    planned = select(plans.c.run_id)
    old = delete(table).where(table.c.started < before, table.c.ended.is_not(None), table.c.id.not_in(planned))
    return conn.execute(old).rowcount


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _read(row: Any) -> Run:
    kept = {name: msgspec.json.decode(getattr(row, name) or "null") for name in ("scope", "counts", "progress")}
    return as_struct(Run, row, **{**kept, "counts": kept["counts"] or {}, "detail": row.detail or ""})


# Findings


class RunFindings(Struct, frozen=True, kw_only=True):
    """The findings of one run, and since when each is met."""

    run_id: int
    findings: tuple[Finding, ...]
    first_seen: tuple[datetime | None, ...]


#: Where a run has more findings than this, all of its kind are read at once to find the ones that were met before.
_FEW = 100


def add_findings(conn: Connection, run_id: int, found: Sequence[Finding]) -> None:
    """Add to what the run has. One that an earlier run of its kind met moves to this one: kept once, however often it is met.

    What a newer run has met already stays there.
    """
    if not found:
        return
    run = conn.execute(select(table.c.kind, table.c.started).where(table.c.id == run_id)).one()
    start = conn.execute(
        select(func.coalesce(func.max(findings.c.n), 0)).where(findings.c.run_id == run_id)
    ).scalar_one()
    known = _known(conn, run_id, run.kind, found)
    rows, moved = [], []
    for n, one in enumerate(found, start + 1):
        values = {"code": one.code.value, "login": one.login, "directory_id": one.directory_id, "okta_id": one.okta_id}
        before = known.get(tuple(values.values()))
        earlier = before.pop() if before else None
        if earlier is not None:
            moved.append({"old_run": earlier.run_id, "old_n": earlier.n})
        first = run.started if earlier is None else earlier.first_seen or earlier.started
        rows.append({"run_id": run_id, "n": n, "detail": one.detail, "first_seen": first, **values})
    if moved:
        old = (findings.c.run_id == bindparam("old_run"), findings.c.n == bindparam("old_n"))
        conn.execute(delete(findings).where(*old), moved)
    conn.execute(insert(findings), rows)


def _known(conn: Connection, run_id: int, kind: str, found: Sequence[Finding]) -> dict[tuple[Any, ...], list[Any]]:
    """What earlier runs of that kind have met, by what makes two findings the same."""
    wanted = [table.c.kind == kind, findings.c.run_id < run_id]
    if len(found) <= _FEW:
        wanted.append(findings.c.login.in_({one.login for one in found}))
    columns = (findings.c.code, findings.c.login, findings.c.directory_id, findings.c.okta_id)
    more = (findings.c.run_id, findings.c.n, findings.c.first_seen, table.c.started)
    rows = conn.execute(select(*columns, *more).join(table, table.c.id == findings.c.run_id).where(*wanted))
    known: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        known.setdefault(tuple(row[:4]), []).append(row)
    return known


def findings_of(conn: Connection, run_id: int) -> tuple[Finding, ...]:
    return tuple(as_structs(conn, Finding, select(findings).where(findings.c.run_id == run_id).order_by(findings.c.n)))


def latest_findings(conn: Connection) -> RunFindings | None:
    """Of the last sweep that ended; None where there was none."""
    last = select(func.max(table.c.id)).where(table.c.kind == "sweep", table.c.ended.is_not(None))
    run_id = conn.execute(last).scalar()
    if run_id is None:
        return None
    mine = select(findings.c.first_seen).where(findings.c.run_id == run_id).order_by(findings.c.n)
    since = tuple(conn.execute(mine).scalars())
    return RunFindings(run_id=run_id, findings=findings_of(conn, run_id), first_seen=since)
