"""What the guard judged: each run in which there was something to limit, and each pushed deactivation. Judges nothing itself.

The same actions judged again, as of a plan that waits for weeks, are kept once. Kept as long as runs (``retention.runs``), and no
more than ``MOST`` of them: a plan of thousands that is another one each hour would be gigabytes.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from heapq import merge

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, delete, func, insert, select

from agent.model.codes import Source
from agent.model.holds import ChangeKind, HoldEnd
from agent.model.replay import ChangeEnded, JudgedAction, JudgedPush, JudgedRun, Judgement
from agent.model.structs import decoder
from agent.store.connect import Fixed, micros, write_later
from agent.store.journal import Kind
from agent.store.tables import holds, journal, judgements, runs

_encode = msgspec.json.Encoder().encode
_run = decoder(JudgedRun)
_push = decoder(JudgedPush)
_actions = decoder(tuple[JudgedAction, ...])
#: Rows that are read at a time.
_PAGE = 500
#: Characters of actions.
MOST = 64_000_000


def note_run(conn: Connection, run_id: int, judged: JudgedRun, now: datetime) -> None:
    text = None if judged.actions is None else _encode(judged.actions).decode()
    body = _encode(replace(judged, actions=None)).decode()
    digest = None if text is None else hashlib.sha256(text.encode()).hexdigest()
    same = None
    if digest is not None:
        like = select(judgements.c.id).where(judgements.c.digest == digest, judgements.c.actions.is_not(None))
        same = conn.execute(like.order_by(judgements.c.id.desc()).limit(1)).scalar()
    row = {"at": now, "run_id": run_id, "body": body, "digest": digest, "actions": text if same is None else None}
    conn.execute(insert(judgements).values(row | {"same": same}))


_add_push = Fixed(insert(judgements).inline().values(at=bindparam("at"), body=bindparam("body")))


def note_push(conn: Connection, judged: JudgedPush, now: datetime) -> None:
    write_later(conn, _add_push.together, {"at": micros(now), "body": _encode(judged).decode()})


def oldest(conn: Connection) -> datetime | None:
    """Since when there are any."""
    return conn.execute(select(judgements.c.at).order_by(judgements.c.id).limit(1)).scalar()


def kept_since(conn: Connection, before: datetime, most: int = MOST) -> datetime:
    """``before``, or when it began that no more than ``most`` was judged."""
    sizes = select(judgements.c.at, func.length(judgements.c.actions)).where(judgements.c.actions.is_not(None))
    for row in conn.execute(sizes.where(judgements.c.at >= before).order_by(judgements.c.id.desc())):
        most -= row[1]
        if most < 0:
            before = row.at + timedelta(microseconds=1)
            break
    return before


def history(conn: Connection, since: datetime) -> Iterator[Judgement | ChangeEnded]:
    """Everything since then, in order of time; of the same moment, what was judged comes first."""
    return merge(_judged(conn, since), _swept(conn, since), _ends(conn, since), key=lambda one: one.at)


def _swept(conn: Connection, since: datetime) -> list[Judgement]:
    """Good sweeps in which there was nothing to limit."""
    judged = select(judgements.c.run_id).where(judgements.c.run_id.is_not(None))
    good = select(runs.c.ended, runs.c.id).where(
        runs.c.kind == "sweep",
        runs.c.dry.is_(False),
        runs.c.ended >= since,
        runs.c.outcome.in_(["in_step", "applied", "partial"]),
        runs.c.id.not_in(judged),
    )
    return [Judgement(row.ended, row.id, None) for row in conn.execute(good.order_by(runs.c.ended))]


def _judged(conn: Connection, since: datetime) -> Iterator[Judgement]:
    last: tuple[int, tuple[JudgedAction, ...]] | None = None
    after = 0
    while True:
        page = select(judgements).where(judgements.c.id > after, judgements.c.at >= since)
        rows = conn.execute(page.order_by(judgements.c.id).limit(_PAGE)).fetchall()
        for row in rows:
            if row.run_id is None:
                yield Judgement(row.at, None, _push(row.body))
                continue
            run, place = _run(row.body), row.same or row.id
            if row.digest is not None:
                if last is None or last[0] != place:
                    text = row.actions
                    if text is None:
                        text = conn.execute(select(judgements.c.actions).where(judgements.c.id == place)).scalar_one()
                    last = place, _actions(text)
                run = replace(run, actions=last[1])
            yield Judgement(row.at, row.run_id, run)
        if len(rows) < _PAGE:
            return
        after = rows[-1].id


def _ends(conn: Connection, since: datetime) -> list[ChangeEnded]:
    """Changes that nobody wanted any more, or that were made by hand."""
    over = holds.c.ended.in_([HoldEnd.MOOT, HoldEnd.LIFTED, HoldEnd.EXPIRED])
    moot = select(holds.c.ended_at, holds.c.directory_id, holds.c.kind).where(
        over, holds.c.ended_at >= since, holds.c.directory_id.is_not(None)
    )
    found = [ChangeEnded(row.ended_at, row.directory_id, ChangeKind(row.kind)) for row in conn.execute(moot)]
    made = select(journal.c.at, journal.c.directory_id, journal.c.verb, journal.c.source).where(
        journal.c.kind == Kind.APPLIED, journal.c.verb.in_(["deactivate", "reactivate"]), journal.c.at >= since
    )
    for row in conn.execute(made):
        if row.verb == "deactivate":
            found.append(ChangeEnded(row.at, row.directory_id, ChangeKind.ACTIVATE))
        if row.verb == "reactivate" or row.source == Source.CLI:
            found.append(ChangeEnded(row.at, row.directory_id, ChangeKind.DEACTIVATE))
    return sorted(found, key=lambda end: end.at)


def forget(conn: Connection, before: datetime) -> None:
    """Drop what is older, but for what a later one is the same as."""
    needed = select(judgements.c.same).where(judgements.c.at >= before, judgements.c.same.is_not(None))
    conn.execute(delete(judgements).where(judgements.c.at < before, judgements.c.id.not_in(needed)))
