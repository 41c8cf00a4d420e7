"""People whom a push, an operator, an event or a settle time named: who is due, and when to try again. Reads nothing of Okta.

A row only says whom to look at; what is done follows from what is read then.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from agent.model.codes import FindingCode
from agent.model.plan import Finding
from agent.reconcile.report import Outcome
from agent.reconcile.single import Asked
from agent.store import attention
from agent.store.attention import Attention

#: People looked at together; an event storm becomes a sweep elsewhere.
TOGETHER = 50
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)
#: Nothing was learnt about the people: they stay due.
_UNANSWERED = frozenset(
    {Outcome.ERROR, Outcome.LEASE_HELD, Outcome.FROZEN, Outcome.INCOMPLETE, Outcome.PAUSED, Outcome.STOPPED}
)


class Due(Struct, frozen=True, kw_only=True):
    rows: tuple[Attention, ...]
    asked: Asked
    #: Somebody else may have come under their name: deactivated outside the limits if they are gone.
    unlimited: frozenset[str]
    findings: tuple[Finding, ...]


def due(conn: Any, now: datetime) -> Due | None:
    """Those who are new to the queue together; who failed before, alone, so that one person can't block the others."""
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


def settle(conn: Any, rows: Sequence[Attention], outcome: Outcome, now: datetime) -> None:
    """Done, or due again later: a question is asked until Okta answers."""
    if outcome not in _UNANSWERED:
        attention.done(conn, [row.id for row in rows])
        return
    for row in rows:
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(row.attempts, 10))
        attention.postpone(conn, [row.id], now + wait)


def _refused(row: Attention) -> Finding:
    detail = "Okta pushed this account inactive, but it is local and was never linked: it stays active"
    return Finding(
        code=FindingCode.LOCAL_DEACTIVATE,
        login="",
        detail=detail,
        directory_id=row.directory_id,
        okta_id=row.okta_id,
    )
