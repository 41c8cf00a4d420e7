"""Events into the queue of people to look at, in one transaction with what they left: uuids met, failed pushes, their alarm.

More people than a sweep would cost calls, or an event that names nobody in particular, ask for one sweep instead; asking
twice is asking once. Reads no Okta and changes no account.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import FindingCode
from agent.model.okta import LogEvent
from agent.model.plan import Finding
from agent.reconcile.event_names import named
from agent.store import account, alarms, attention, events
from agent.store.engine import Connection
from agent.store.events import PushFailure

#: Calls of a sweep beside its pages: the org, the app (twice), the lists by status.
_SWEEP_CALLS = 8
PUSH_FAILED = "push_failed"
_SUBJECT = "okta"


class Queued(Struct, frozen=True, kw_only=True):
    """What became of some events."""

    #: Met for the first time.
    fresh: int = 0
    duplicates: int = 0
    #: People to look at.
    people: int = 0
    sweep: bool = False

    @property
    def anything(self) -> bool:
        return self.sweep or self.people > 0


def queue(
    conn: Connection, found: Sequence[LogEvent], *, app_id: str, page_size: int, now: datetime, delivery: str = ""
) -> Queued:
    """``delivery``: the id of the message that brought them; met before, it brings nothing."""
    if delivery and not events.meet(conn, [delivery], now):
        return Queued(duplicates=len(found))
    new = events.meet(conn, [event.uuid for event in found], now)
    fresh = [event for event in {event.uuid: event for event in found}.values() if event.uuid in new]
    what = named(fresh, app_id)
    people = what.people | events.bound(conn, what.if_bound - what.people)
    _keep_failures(conn, what.failures, what.pushed, now)
    row = account.get(conn)
    limit = sweep_calls(max(row.last_good_people or 0, row.managed_active), page_size)
    sweep = what.everybody or attention.waiting(conn, attention.EVENT) + len(people) > limit
    if sweep:
        ask_for_sweep(conn, now)
    else:
        attention.add_events(conn, people, now)
    return Queued(fresh=len(fresh), duplicates=len(found) - len(fresh), people=len(people), sweep=sweep)


def sweep_calls(people: int, page_size: int) -> int:
    """Calls to Okta that a sweep costs."""
    return -(-people // page_size) + _SWEEP_CALLS


def ask_for_sweep(conn: Connection, now: datetime) -> None:
    attention.add(conn, reason=attention.SWEEP, not_before=now, now=now)


def heal(conn: Connection, people: Sequence[str], before: datetime, now: datetime) -> None:
    """These are as Okta wants them: what failed before is over, and the alarm with the last of it."""
    events.heal(conn, people, before, now)
    tell(conn, now)


def tell(conn: Connection, now: datetime) -> None:
    """The one alarm on failed pushes says what is open now."""
    left = events.open_failures(conn)
    if not left:
        alarms.clear(conn, PUSH_FAILED, _SUBJECT, now)
        return
    detail = (
        f"Okta could not push {len(left)} people and the agent has not repaired all of it yet. The newest, in Okta's words: "
        f"{words(left[0])}. Look: opshelm-agent explain {left[0].okta_id}; Okta lists them under Tasks"
    )
    alarms.raise_alarm(conn, PUSH_FAILED, _SUBJECT, detail, now)


def worded(conn: Connection, findings: tuple[Finding, ...], people: Collection[str] = ()) -> tuple[Finding, ...]:
    """Failed pushes in Okta's own words; of ``people`` also those whose app user shows no error any more."""
    named = {f.okta_id for f in findings if f.code is FindingCode.SYNC_ERROR and f.okta_id is not None}
    known = events.failures_of(conn, named | set(people))
    found = [
        replace(f, detail=f"{f.detail}. {words(known[f.okta_id])}")
        if f.code is FindingCode.SYNC_ERROR and f.okta_id in known
        else f
        for f in findings
    ]
    for okta_id in sorted(known.keys() - named):
        if known[okta_id].healed is None:
            detail = f"Okta's own push failed. {words(known[okta_id])}"
            found.append(Finding(code=FindingCode.SYNC_ERROR, login="", detail=detail, okta_id=okta_id))
    return tuple(found)


def words(failure: PushFailure) -> str:
    return f"{failure.event_type} failed at {failure.at:%Y-%m-%d %H:%M} UTC: {failure.reason.rstrip('.')}"


def _keep_failures(conn: Connection, failures: Sequence[Any], pushed: dict[str, datetime], now: datetime) -> None:
    open_before = {failure.okta_id for failure in events.open_failures(conn)} if pushed else set()
    if failures:
        events.failed(
            conn, [PushFailure(okta_id=f.okta_id, event_type=f.event_type, reason=f.reason, at=f.at) for f in failures]
        )
    # A later push came through, so nothing is open; one that is met late says nothing of a newer failure.
    over = {okta_id: at for okta_id, at in pushed.items() if okta_id in open_before or failures}
    for okta_id, at in over.items():
        events.heal(conn, [okta_id], at, now)
    if failures or over:
        tell(conn, now)
