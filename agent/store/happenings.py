"""What happens, as it happens: journal rows, runs that begin and end, holds that open and end. For whoever follows; writes nothing."""

from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, func, select

from agent.model.codes import Source
from agent.store import journal_rows, runs
from agent.store.journal_rows import JournalQuery, JournalRow
from agent.store.runs import Run
from agent.store.tables import holds
from agent.store.tables import runs as runs_table

_EVERYTHING = JournalQuery()
_SAID = {Source.PUSH.value: "push", Source.SWEEP.value: "repair", Source.SINGLE.value: "repair"}


class Happening(Struct, frozen=True, kw_only=True):
    """One line. ``what``: push, repair, import, decision, run, look or hold."""

    at: datetime
    what: str
    #: What was done, such as "deactivate (refused)", "begun", "applied".
    verb: str
    #: Whom it is about; "" for a run.
    login: str = ""
    by: str = ""
    detail: str = ""


class FollowedTo(Struct, frozen=True, kw_only=True):
    """How far somebody has followed."""

    row: int
    run: int
    hold: int
    #: Runs and holds whose end is still to come.
    runs: frozenset[int] = frozenset()
    holds: frozenset[int] = frozenset()


def now(conn: Connection) -> FollowedTo:
    """From here on."""
    open_holds = conn.execute(select(holds.c.id).where(holds.c.ended.is_(None))).scalars()
    return FollowedTo(
        row=journal_rows.newest(conn),
        run=conn.execute(select(func.max(runs_table.c.id))).scalar() or 0,
        hold=conn.execute(select(func.max(holds.c.id))).scalar() or 0,
        runs=frozenset(run.id for run in runs.unfinished(conn)),
        holds=frozenset(open_holds),
    )


def newer(conn: Connection, place: FollowedTo) -> tuple[list[Happening], FollowedTo]:
    """What came since, in the order of its times, and where to go on."""
    rows, row = journal_rows.newer(conn, _EVERYTHING, place.row)
    found = [_of_row(one) for one in rows]
    later = select(runs_table.c.id).where(runs_table.c.id > place.run).order_by(runs_table.c.id)
    begun = [runs.get(conn, n) for n in conn.execute(later).scalars().all()]
    watched = {run.id: run for run in begun if run is not None}
    found += [_begun(run) for run in watched.values()]
    watched |= {n: run for n in place.runs if (run := runs.get(conn, n)) is not None}
    found += [_ended(run) for run in watched.values() if run.ended is not None]
    columns = (
        holds.c[name] for name in ("id", "login", "kind", "code", "detail", "since", "opened_by", "ended", "ended_at")
    )
    concerned = (holds.c.id > place.hold) | holds.c.id.in_(place.holds)
    open_holds, newest_hold = set(), place.hold
    for hold in conn.execute(select(*columns).where(concerned).order_by(holds.c.id)):
        newest_hold = max(newest_hold, hold.id)
        word = f"{hold.kind} {hold.code}"
        if hold.id > place.hold:
            opened = Happening(
                at=hold.since, what="hold", verb=word, login=hold.login, by=hold.opened_by, detail=hold.detail
            )
            found.append(opened)
        if hold.ended is None:
            open_holds.add(hold.id)
        else:
            found.append(Happening(at=hold.ended_at, what="hold", verb=f"{word}: {hold.ended}", login=hold.login))
    found.sort(key=lambda one: one.at)
    return found, FollowedTo(
        row=row,
        run=max((place.run, *watched)),
        hold=newest_hold,
        runs=frozenset(run.id for run in watched.values() if run.ended is None),
        holds=frozenset(open_holds),
    )


def _of_row(row: JournalRow) -> Happening:
    what = _SAID.get(row.source, "import" if row.source == Source.IMPORT else "decision")
    return Happening(at=row.at, what=what, verb=row.done, login=row.login, by=row.actor, detail=row.reason)


def _what(run: Run) -> str:
    return "look" if run.kind == "single" else "run"


def _begun(run: Run) -> Happening:
    kind = f"{run.kind} (dry)" if run.dry else run.kind
    return Happening(
        at=run.started, what=_what(run), verb="begun", by=run.actor, detail=f"run {run.id}, {kind}, {run.trigger}"
    )


def _ended(run: Run) -> Happening:
    counts = ", ".join(f"{n} {name}" for name, n in (run.counts or {}).items() if n)
    detail = f"run {run.id}{f': {counts}' if counts else ''}"
    return Happening(at=run.ended or run.started, what=_what(run), verb=run.outcome or "ended", detail=detail)
