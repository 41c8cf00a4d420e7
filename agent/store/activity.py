"""What happened by day: pushes, repairs, holds, and how long sweeps took. Days are counted from 1970, in UTC.

Rows are counted from a number on, so that whoever remembers what it has counted reads none twice.
"""

from collections import Counter
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from agent.model.codes import Source
from agent.store.journal import Kind
from agent.store.tables import holds, journal, runs

_PUSH, _SWEEP, _SINGLE = Source.PUSH.value, Source.SWEEP.value, Source.SINGLE.value


def newest(conn: Connection) -> tuple[int, int]:
    """Of the journal and of the holds."""
    rows = (conn.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one() for table in (journal, holds))
    row, hold = map(int, rows)
    return row, hold


def changes(conn: Connection, *, after: int, upto: int, since: datetime) -> tuple[Counter[int], Counter[int]]:
    """Applied pushes, and what the agent itself repaired, by day, of the journal's rows between these two."""
    c, day = journal.c, _day("journal.at")
    wanted = (c.id > after, c.id <= upto, c.at >= since, c.kind == Kind.APPLIED.value)
    mine = select(day, c.source, func.count()).where(*wanted, c.source.in_((_PUSH, _SWEEP, _SINGLE)))
    pushes, repairs = Counter[int](), Counter[int]()
    for number, source, count in conn.execute(mine.group_by(day, c.source)):
        (pushes if source == _PUSH else repairs)[int(number)] += count
    return pushes, repairs


def opened(conn: Connection, *, after: int, upto: int, since: datetime) -> Counter[int]:
    """Holds by the day since when they wait."""
    day = _day("holds.since")
    wanted = (holds.c.id > after, holds.c.id <= upto, holds.c.since >= since)
    rows = conn.execute(select(day, func.count()).where(*wanted).group_by(day))
    return Counter({int(number): count for number, count in rows})


def durations(conn: Connection, since: datetime) -> dict[int, float]:
    """Seconds that the longest sweep of each day took."""
    day = _day("runs.started")
    took: ColumnElement[int] = literal_column("max(runs.ended - runs.started)")
    wanted = (runs.c.kind == "sweep", runs.c.started >= since, runs.c.ended.is_not(None))
    return {
        int(number): int(micros) / 1e6
        for number, micros in conn.execute(select(day, took).where(*wanted).group_by(day))
    }


def _day(column: str) -> ColumnElement[int]:
    return literal_column(f"{column} / 86400000000")
