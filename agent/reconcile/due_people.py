"""People whom a push, an operator, an event or a settle time named: who is due, and when to try again. Reads nothing of Okta.

A row only says whom to look at; what is done follows from what is read then.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from agent.model.codes import ActionState, FindingCode
from agent.model.plan import Finding
from agent.reconcile.direct_read import Asked
from agent.reconcile.event_queue import heal
from agent.runs.report import Outcome, RunReport
from agent.store import attention, events
from agent.store.attention import Attention
from agent.store.engine import Connection, Store

#: People looked at together; an event storm becomes a sweep elsewhere.
TOGETHER = 50
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)
#: Nothing was learnt about the people: they stay due.
UNANSWERED = frozenset(
    {Outcome.ERROR, Outcome.LEASE_HELD, Outcome.FROZEN, Outcome.INCOMPLETE, Outcome.PAUSED, Outcome.STOPPED}
)
#: Who is looked at again, or is left alone: nothing is healed yet.
_NOT_YET = frozenset({FindingCode.PENDING, FindingCode.SYNCING, FindingCode.LEFT_ALONE, FindingCode.UNREADABLE})


class Due(Struct, frozen=True, kw_only=True):
    rows: tuple[Attention, ...]
    asked: Asked
    #: Somebody else may have come under their name: deactivated outside the limits if they are gone.
    unlimited: frozenset[str]
    findings: tuple[Finding, ...]
    #: Everybody is to be looked at instead.
    sweep: bool = False


def due(conn: Connection, now: datetime) -> Due | None:
    """A sweep if one is asked for; else those who are new to the queue together; who failed before, alone, so that one person can't block the others."""
    sweep = attention.asked(conn, attention.SWEEP, now)
    if sweep is not None:
        return Due(rows=(sweep,), asked=Asked(), unlimited=frozenset(), findings=(), sweep=True)
    waiting = attention.due(conn, now, TOGETHER)
    rows = [row for row in waiting if row.attempts == 0] or waiting[:1]
    if not rows:
        return None
    reuse = [row.okta_id for row in rows if row.reason == attention.CONFIRM_REUSE and row.okta_id]
    return Due(
        rows=tuple(rows),
        asked=Asked(
            okta_ids=tuple(dict.fromkeys(row.okta_id for row in rows if row.okta_id)),
            directory_ids=tuple(
                dict.fromkeys(row.directory_id for row in rows if row.directory_id and not row.okta_id)
            ),
        ),
        unlimited=frozenset(reuse),
        findings=tuple(_refused(row) for row in rows if row.reason == attention.LOCAL_DEACTIVATE),
    )


class Ahead(Struct, frozen=True, kw_only=True):
    """What is known before a run begins of those whom it will look at."""

    now: datetime
    #: People that it reads directly.
    people: tuple[str, ...] = ()
    sweep: bool = False
    #: Looks that a sweep makes needless, as they were asked for before it began.
    covered: tuple[Attention, ...] = ()

    @classmethod
    def of(cls, store: Store, now: datetime, *, sweep: bool) -> "Ahead":
        if not sweep:
            return cls(now=now)
        with store.read() as conn:
            waiting = attention.of(conn, (attention.EVENT, attention.SWEEP))
        return cls(now=now, sweep=True, covered=tuple(waiting))


def after(store: Store, ahead: Ahead, report: RunReport, now: datetime) -> None:
    """What the run has seen to: looks that a complete sweep covers, and failed pushes of those who are right now."""
    if report.outcome in UNANSWERED or report.outcome is Outcome.DISPROVED:
        return
    with store.read() as conn:
        failing = {failure.okta_id for failure in events.open_failures(conn)}
    healed = _right(ahead, report, failing)
    covered = () if report.dry or _held_whole(report) else ahead.covered

    def work(conn: Connection) -> None:
        attention.done(conn, covered)
        heal(conn, sorted(healed), ahead.now, now)

    if covered or healed:
        store.write(work)


def _right(ahead: Ahead, report: RunReport, failing: set[str]) -> set[str]:
    """Of those with a failed push, who is as Okta wants them now."""
    if _held_whole(report):
        return set()
    actions = report.plan.plan.actions if report.plan else ()
    undone = {action.okta_id for action in actions if action.state is not ActionState.DONE}
    later = {finding.okta_id for finding in report.findings if finding.code in _NOT_YET}
    seen = failing if ahead.sweep else failing & {*ahead.people, *(action.okta_id for action in actions)}
    return {okta_id for okta_id in seen if okta_id is not None} - undone - later


def _held_whole(report: RunReport) -> bool:
    return report.plan is not None and report.plan.plan.held is not None


def settle(conn: Connection, rows: Sequence[Attention], report: RunReport, now: datetime) -> None:
    """Done, or due again later: a question is asked until Okta answers, and until the account can be read."""
    if report.outcome in UNANSWERED:
        postpone(conn, rows, now)
        return
    unread = [finding for finding in report.findings if finding.code is FindingCode.UNREADABLE]
    names = {name for found in unread for name in (found.okta_id, found.directory_id, found.login) if name}
    left = [row for row in rows if (row.okta_id or row.directory_id) in names]
    attention.done(conn, [row for row in rows if row not in left])
    postpone(conn, left, now)


def postpone(conn: Connection, rows: Sequence[Attention], now: datetime) -> None:
    for row in rows:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(row.attempts, 10))
        attention.postpone(conn, [row.id], now + wait)


def _refused(row: Attention) -> Finding:
    detail = "Okta pushed this account inactive, but it is local and was never linked: it stays active"
    return Finding(
        code=FindingCode.LOCAL_DEACTIVATE, login="", detail=detail, directory_id=row.directory_id, okta_id=row.okta_id
    )
