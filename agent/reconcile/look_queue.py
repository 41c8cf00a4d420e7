"""The queue of people to look at: events, pushes, operators and settle times put them in; a look takes them out.

A row only says whom to look at; what is done follows from what is read then. Events come in in one transaction with what they
left: uuids met, failed pushes, their alarm. More people than a sweep would cost calls, or an event that names nobody in
particular, ask for one sweep instead; asking twice is asking once. Reads no Okta and changes no account.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import ActionState, FindingCode
from agent.model.errors import UsageError
from agent.model.okta import LogEvent, is_okta_id
from agent.model.plan import Finding
from agent.model.times import when
from agent.reconcile.direct_read import Selection
from agent.reconcile.event_names import MEMBERSHIP, named
from agent.runs.frame import EXIT_CODES, Outcome, RunReport
from agent.store import account, alarms, attention, events, journal
from agent.store.attention import Attention
from agent.store.engine import Connection, Store
from agent.store.events import PushFailure
from agent.store.failed_people import FailedAt, FailedPerson
from agent.store.journal import Signature

#: Calls of a sweep beside its pages: the org, the app (twice), the lists by status.
_SWEEP_CALLS = 8
PUSH_FAILED = "push_failed"
_SUBJECT = "okta"
#: People looked at together; an event storm becomes a sweep elsewhere.
TOGETHER = 50
FIRST_WAIT = timedelta(seconds=30)
LONGEST_WAIT = timedelta(minutes=15)
#: Nothing was learnt about the people, so that they stay due: what fails a run, but for a listing that was wrong.
UNANSWERED = frozenset(Outcome) - {*EXIT_CODES, Outcome.DISPROVED}
#: Who is looked at again, or is left alone: nothing is healed yet.
_NOT_YET = frozenset({FindingCode.PENDING, FindingCode.SYNCING, FindingCode.LEFT_ALONE, FindingCode.UNREADABLE})


# Events in


class Queued(Struct, kw_only=True):
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

    def add(self, other: "Queued") -> None:
        self.fresh += other.fresh
        self.duplicates += other.duplicates
        self.people += other.people
        self.sweep |= other.sweep


def queue(
    conn: Connection, found: Sequence[LogEvent], *, app_id: str, page_size: int, now: datetime, delivery: str = ""
) -> Queued:
    """``delivery``: the id of the message that brought them; met before, it brings nothing."""
    if delivery and not events.meet(conn, [delivery], now):
        return Queued(duplicates=len(found))
    new = events.meet(conn, [event.uuid for event in found], now)
    fresh = [event for event in {event.uuid: event for event in found}.values() if event.uuid in new]
    what = named(fresh, app_id, _role_groups(conn, fresh))
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


def _role_groups(conn: Connection, fresh: Sequence[LogEvent]) -> frozenset[str]:
    if not any(event.event_type.startswith(MEMBERSHIP) for event in fresh):
        return frozenset()
    from agent.store import roles

    return roles.group_ids(conn)


def retry(conn: Connection, people: Sequence[FailedPerson], by: Signature, *, page_size: int) -> Queued:
    """Have these looked at again, as soon as the daemon can: a look repairs what it finds. Imports are not among what it repairs."""
    meant = [one for one in people if one.where is not FailedAt.IMPORT]
    okta_ids = {one.okta_id for one in meant if one.okta_id}
    accounts = {one.directory_id for one in meant if one.directory_id and not one.okta_id}
    if not okta_ids and not accounts:
        raise UsageError(
            "Nobody of them is waited for: nothing failed, or it is an import (opshelm-agent import list)."
        )
    row = account.lock(conn)
    count = len(okta_ids) + len(accounts)
    sweep = count > sweep_calls(max(row.last_good_people or 0, row.managed_active), page_size)
    if sweep:
        ask_for_sweep(conn, by.at)
    else:
        attention.add_events(conn, okta_ids, by.at)
        for directory_id in sorted(accounts):
            attention.add(conn, reason=attention.EVENT, directory_id=directory_id, not_before=by.at, now=by.at)
    one = meant[0] if count == 1 else None
    whom = {"directory_id": one.directory_id, "okta_id": one.okta_id} if one else {}
    journal.note(conn, "failures retry", by, reason=by.reason or (one.cause if one else f"{count:,} people"), **whom)
    return Queued(people=count, sweep=sweep)


def sweep_calls(people: int, page_size: int) -> int:
    """Calls to Okta that a sweep costs."""
    return -(-people // page_size) + _SWEEP_CALLS


def ask_for_sweep(conn: Connection, now: datetime) -> None:
    attention.add(conn, reason=attention.SWEEP, not_before=now, now=now)


# Looks out


class DueLook(Struct, frozen=True, kw_only=True):
    """Who is due to be looked at, and why."""

    rows: tuple[Attention, ...]
    who: Selection
    #: Somebody else may have come under their name: deactivated outside the limits if they are gone.
    unlimited: frozenset[str]
    findings: tuple[Finding, ...]
    #: Everybody is to be looked at instead.
    sweep: bool = False


def due(conn: Connection, now: datetime) -> DueLook | None:
    """A sweep if one is asked for; else those who are new to the queue together; who failed before, alone, so that one person can't block the others."""
    sweep = attention.asked(conn, attention.SWEEP, now)
    if sweep is not None:
        return DueLook(rows=(sweep,), who=Selection(), unlimited=frozenset(), findings=(), sweep=True)
    waiting = attention.due(conn, now, TOGETHER)
    rows = [row for row in waiting if row.attempts == 0] or waiting[:1]
    if not rows:
        return None
    reuse = [row.okta_id for row in rows if row.reason == attention.CONFIRM_REUSE and row.okta_id]
    return DueLook(
        rows=tuple(rows),
        who=Selection(
            okta_ids=tuple(dict.fromkeys(row.okta_id for row in rows if row.okta_id)),
            directory_ids=tuple(
                dict.fromkeys(row.directory_id for row in rows if row.directory_id and not row.okta_id)
            ),
        ),
        unlimited=frozenset(reuse),
        findings=tuple(_refused(row) for row in rows if row.reason == attention.LOCAL_DEACTIVATE),
    )


class Coverage(Struct, frozen=True, kw_only=True):
    """Whom a run looks at, and the looks that it makes needless; as of before it begins."""

    now: datetime
    #: People that it reads directly.
    people: tuple[str, ...] = ()
    sweep: bool = False
    #: Looks that a sweep makes needless, as they were asked for before it began.
    covered: tuple[Attention, ...] = ()

    @classmethod
    def of(cls, store: Store, now: datetime, *, sweep: bool) -> "Coverage":
        if not sweep:
            return cls(now=now)
        with store.read() as conn:
            waiting = attention.of(conn, (attention.EVENT, attention.SWEEP))
        return cls(now=now, sweep=True, covered=tuple(waiting))


def after(store: Store, covers: Coverage, report: RunReport, now: datetime) -> None:
    """What the run has seen to: looks that a complete sweep covers, and failed pushes of those who are right now."""
    if report.outcome not in EXIT_CODES:
        return
    failing = {failure.okta_id for failure in store.ask(events.open_failures)}
    healed = _right(covers, report, failing)
    covered = () if report.dry or _held_whole(report) else covers.covered

    def work(conn: Connection) -> None:
        attention.done(conn, covered)
        heal(conn, sorted(healed), covers.now, now)

    if covered or healed:
        store.write(work)


def _right(covers: Coverage, report: RunReport, failing: set[str]) -> set[str]:
    """Of those with a failed push, who is as Okta wants them now."""
    if _held_whole(report):
        return set()
    actions = report.plan.plan.actions if report.plan else ()
    undone = {action.okta_id for action in actions if action.state is not ActionState.DONE}
    later = {finding.okta_id for finding in report.findings if finding.code in _NOT_YET}
    seen = failing if covers.sweep else failing & {*covers.people, *(action.okta_id for action in actions)}
    return {okta_id for okta_id in seen if okta_id is not None} - undone - later


def _held_whole(report: RunReport) -> bool:
    return report.plan is not None and report.plan.plan.held is not None


def looked(conn: Connection, rows: Sequence[Attention], report: RunReport, now: datetime) -> None:
    """Done, or due again later: a question is asked until Okta answers, and until the account can be read."""
    if report.outcome in UNANSWERED:
        postpone(conn, rows, now)
        return
    unread = [finding for finding in report.findings if finding.code is FindingCode.UNREADABLE]
    names = {name for found in unread for name in (found.okta_id, found.directory_id, found.login) if name}
    readable = [row for row in rows if row.okta_id is None or is_okta_id(row.okta_id)]
    left = [row for row in readable if (row.okta_id or row.directory_id) in names]
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


# Pushes of Okta's that failed


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
    return f"{failure.event_type} failed at {when(failure.at)}: {failure.reason.rstrip('.')}"


def _keep_failures(
    conn: Connection, failures: Sequence[PushFailure], pushed: dict[str, datetime], now: datetime
) -> None:
    open_before = {failure.okta_id for failure in events.open_failures(conn)} if pushed else set()
    if failures:
        events.failed(conn, failures)
    # A later push came through, so nothing is open; one that is met late says nothing of a newer failure.
    over = {okta_id: at for okta_id, at in pushed.items() if okta_id in open_before or failures}
    for okta_id, at in over.items():
        events.heal(conn, [okta_id], at, now)
    if failures or over:
        tell(conn, now)
