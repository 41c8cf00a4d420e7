"""Who has access to OpsHelm at a moment, since when and by whose word; who lost it, and how long after Okta said so.

Reads the accounts (now) or the journal (any moment that it still holds), and Okta for what only Okta knows: whether somebody is
assigned directly or by a group, and when it said that somebody is to go. Decides and changes nothing.

What a report can't know it says: assignments of the past are Okta's alone, and access that the journal doesn't explain has no
``since``. With a remote OpsHelm the past is what the agent itself did there.
"""

import math
import statistics
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from msgspec import Struct

from agent.model.codes import Source
from agent.model.errors import UsageError
from agent.model.holds import ChangeKind
from agent.okta_org.org import OktaOrg
from agent.reports.basis import Basis, facts, iso, read, through
from agent.reports.document import Document, ReportTable, Rows
from agent.store import history, holds
from agent.store.engine import Connection, Store
from agent.store.history import AccountThen, Cause

#: What Okta says when somebody is to lose the app.
LEAVING = ("application.user_membership.remove", "user.lifecycle.deactivate", "user.lifecycle.suspend")
#: How far Okta's clock and ours may be apart without an order of events being read wrongly.
SKEW = timedelta(minutes=1)
SLOWEST = 10
_COUNTED = ("accounts", "with_access", "owners", "local", "protected", "unexplained")
_RUNS = (Source.SWEEP.value, Source.SINGLE.value)
#: How an account came to be Okta's, or why it isn't.
_LINKED = {"local": "local, not Okta's", "okta": "made by Okta", "linked": "local account that Okta took over"}


class AccessLine(Struct, frozen=True, kw_only=True, gc=False):
    """One account with access, as the report's row: texts, moments in ISO 8601, "" for what nobody knows."""

    login: str
    name: str
    role: str
    role_since: str
    role_by: str
    access_since: str
    access_by: str
    access_through: str
    linked: str
    assigned: str
    protected: str
    blocked: str
    directory_id: str
    okta_id: str
    journal_row: str


class LostAccess(Struct, frozen=True, kw_only=True, gc=False):
    """One person's access that ended. ``seconds`` after Okta's word; None where Okta's log doesn't say."""

    login: str
    ended: str
    by: str
    through: str
    okta_said: str
    seconds: float | None
    directory_id: str
    okta_id: str


class Losses(Struct, frozen=True, kw_only=True):
    since: str
    count: int
    #: Of how many Okta's word is known.
    measured: int
    median_seconds: float | None
    p99_seconds: float | None
    slowest: list[LostAccess]
    people: list[LostAccess]


class Caveat(Struct, frozen=True, kw_only=True):
    """Something that an auditor will ask about."""

    what: str
    login: str
    detail: str


class AccessReport(Struct, frozen=True, kw_only=True):
    at: str
    basis: Basis
    okta: str
    counts: dict[str, int]
    exceptions: list[Caveat]
    lost: Losses
    people: list[AccessLine]


#: How long Okta's System Log keeps what happened.
LOG_KEPT = timedelta(days=90)


class OktaEvidence(Struct, frozen=True, kw_only=True):
    """What Okta was asked. ``assigned`` None: it was not asked about assignments."""

    said: str
    assigned: dict[str, str] | None = None
    leaving: dict[str, list[datetime]] = {}


NOT_ASKED = OktaEvidence(said="Okta was not asked.")


def ask_okta(okta: OktaOrg, app_id: str, since: datetime, at: datetime | None, *, now: datetime) -> OktaEvidence:
    """Assignments (of now alone, ``at`` None) and what Okta's System Log says of leavers. It refuses to be asked of older times."""
    leaving: dict[str, list[datetime]] = defaultdict(list)
    until, begin = (at or now) + SKEW, max(since - SKEW, now - LOG_KEPT)
    if until < begin:
        return OktaEvidence(said=f"Okta was not asked: its log keeps {LOG_KEPT.days} days.")
    for okta_id, left in _leaving(okta, app_id, begin):
        if left <= until:
            leaving[okta_id].append(left)
    for moments in leaving.values():
        moments.sort()
    if at is None:
        return OktaEvidence(said="Okta was asked.", assigned=_assigned(okta), leaving=leaving)
    return OktaEvidence(said="Okta's log was asked; assignments of the past are not known.", leaving=leaving)


def _leaving(okta: OktaOrg, app_id: str, since: datetime) -> Iterator[tuple[str, datetime]]:
    person = " or ".join(f'eventType eq "{kind}"' for kind in LEAVING[1:])
    wanted = f'(target.id eq "{app_id}" and eventType eq "{LEAVING[0]}") or {person}'
    cursor: str | None = None
    while True:
        events, cursor = okta.log_events(since=since, cursor=cursor, filter=wanted)
        for event in events:
            if event.published is not None:
                yield from (
                    (target.id, event.published)
                    for target in event.target or ()
                    if target.type in ("User", "AppUser") and target.id.startswith("00u")
                )
        if not events or cursor is None:
            return


def _assigned(okta: OktaOrg) -> dict[str, str]:
    """Okta user → "directly", or by which groups."""
    by_group: dict[str, list[str]] = defaultdict(list)
    for group in okta.app_groups():
        for okta_id in okta.group_members(group.id):
            by_group[okta_id].append(group.name or group.id)
    found = {}
    for page in okta.app_user_pages():
        for user in page:
            groups = by_group.get(user.id)
            found[user.id] = f"by group {', '.join(sorted(groups))}" if groups and user.scope != "USER" else "directly"
            if groups and user.scope == "USER":
                found[user.id] = f"directly; also by group {', '.join(sorted(groups))}"
    return found


def access(store: Store, okta: OktaEvidence, *, at: datetime | None, since: datetime, now: datetime) -> AccessReport:
    """``at`` None: now. Raises UsageError for a moment that has not been, or a period that is none."""
    moment = at or now
    if moment > now or since > moment:
        raise UsageError("--at is a moment that has been, and --since one before it.")
    people: list[AccessLine] = []
    counts: Counter[str] = Counter(dict.fromkeys(_COUNTED, 0))
    exceptions: list[Caveat] = []
    with store.read() as conn:
        basis = read(conn, now, since)
        for one in history.accounts_now(conn, moment) if at is None else history.accounts_at(conn, moment):
            _count(one, counts)
            if one.head.active:
                people.append(_person(one, okta))
                exceptions += _exceptions(one, okta)
        if at is None:
            exceptions += _held(conn)
        lost = _losses(conn, okta, since, moment)
    people.sort(key=lambda person: person.login.casefold())
    exceptions.sort(key=lambda one: (one.what, one.login.casefold()))
    return AccessReport(
        at=iso(moment),
        basis=basis,
        okta=okta.said,
        counts=dict(counts),
        exceptions=exceptions,
        lost=lost,
        people=people,
    )


def _count(one: AccountThen, counts: Counter[str]) -> None:
    head = one.head
    counts["accounts"] += 1
    if not head.active:
        return
    counts["with_access"] += 1
    counts["owners"] += head.role == "owner"
    counts["local"] += head.origin == "local"
    counts["protected"] += head.protected
    counts["unexplained"] += one.access is None


def _person(one: AccountThen, okta: OktaEvidence) -> AccessLine:
    head, began, role = one.head, one.access, one.role
    assigned = "not known"
    if okta.assigned is not None:
        assigned = okta.assigned.get(head.external_id or "", "not assigned")
    return AccessLine(
        login=head.user_name,
        name=head.shown_name,
        role=head.role,
        role_since=iso(role.at) if role else "",
        role_by=_role_by(role) if role else "",
        access_since=iso(began.at) if began else "",
        access_by=began.actor if began else "",
        access_through=through(began) if began else "",
        linked=_LINKED.get(head.origin, head.origin),
        assigned=assigned,
        protected="yes" if head.protected else "",
        blocked=one.blocked,
        directory_id=one.directory_id,
        okta_id=head.external_id or "",
        journal_row=str(began.row) if began else "",
    )


def _role_by(cause: Cause) -> str:
    """A run gives the role by a group, which its reason names."""
    return f"{cause.actor}: {cause.reason}" if cause.source in _RUNS and cause.reason else cause.actor


def _exceptions(one: AccountThen, okta: OktaEvidence) -> Iterator[Caveat]:
    head = one.head
    if head.origin == "local":
        yield Caveat(what="local", login=head.user_name, detail="Okta neither gave this access nor ends it.")
    elif okta.assigned is not None and (head.external_id or "") not in okta.assigned:
        yield Caveat(what="not_assigned", login=head.user_name, detail="Okta has not assigned this person to the app.")
    if head.protected:
        yield Caveat(what="protected", login=head.user_name, detail="Neither pushes nor runs change this account.")
    if one.blocked:
        yield Caveat(what="blocked", login=head.user_name, detail=f"Active against a block: {one.blocked}")
    if one.access is None:
        yield Caveat(what="unexplained", login=head.user_name, detail="No row of the journal says who gave the access.")


def _held(conn: Connection) -> Iterator[Caveat]:
    for hold in holds.open_holds(conn):
        if hold.kind is ChangeKind.DEACTIVATE:
            detail = f"Okta wants this access to end; held since {iso(hold.since)}: {hold.code.value}"
            yield Caveat(what="held", login=hold.login, detail=detail)


def _losses(conn: Connection, okta: OktaEvidence, since: datetime, until: datetime) -> Losses:
    people = []
    for end in history.ended(conn, since, until):
        said = _word(okta.leaving.get(end.okta_id or "", []), end.cause.at)
        seconds = None if said is None else max(0.0, (end.cause.at - said).total_seconds())
        people.append(
            LostAccess(
                login=end.user_name,
                ended=iso(end.cause.at),
                by=end.cause.actor,
                through=through(end.cause),
                okta_said="" if said is None else iso(said),
                seconds=seconds,
                directory_id=end.directory_id,
                okta_id=end.okta_id or "",
            )
        )
    known = sorted((one for one in people if one.seconds is not None), key=lambda one: one.seconds or 0, reverse=True)
    seconds_known = [one.seconds or 0.0 for one in reversed(known)]
    return Losses(
        since=iso(since),
        count=len(people),
        measured=len(known),
        median_seconds=statistics.median(seconds_known) if known else None,
        # The nearest rank: the smallest value that 99 of 100 don't exceed.
        p99_seconds=seconds_known[max(0, math.ceil(len(known) * 0.99) - 1)] if known else None,
        slowest=known[:SLOWEST],
        people=people,
    )


def _word(moments: list[datetime], ended: datetime) -> datetime | None:
    """Okta's newest word before the access ended."""
    before = bisect_right(moments, ended + SKEW)
    return moments[before - 1] if before else None


_COLUMNS = tuple(name for name in AccessLine.__struct_fields__)
_LOST = ("login", "okta_said", "ended", "seconds", "by", "through")


def document(report: AccessReport) -> Document:
    lost = report.lost
    measured = f"{lost.measured:,} of {lost.count:,} measured"
    if lost.median_seconds is not None and lost.p99_seconds is not None:
        measured += f": median {_span(lost.median_seconds)}, 99 % within {_span(lost.p99_seconds)}"
    count = report.counts
    named = [
        ("Moment", report.at),
        ("With access", f"{count['with_access']:,} of {count['accounts']:,} accounts; {count['owners']:,} owners"),
        ("Lost access", f"{lost.count:,} since {lost.since}; time from Okta's word: {measured}"),
        ("Exceptions", f"{len(report.exceptions):,}"),
        ("Okta", report.okta),
    ]
    tables = [
        ReportTable(
            title="Exceptions",
            caption="What to ask about: access that Okta doesn't govern, doesn't want any more, or nobody explains.",
            columns=("what", "login", "detail"),
            rows=[[one.what, one.login, one.detail] for one in report.exceptions],
            empty="None.",
        ),
        ReportTable(
            title="Slowest to lose access",
            caption="From Okta's word to the end of the access.",
            columns=_LOST,
            rows=[_lost(one) for one in lost.slowest],
            empty="Nobody of whom Okta's word is known.",
        ),
        ReportTable(
            title="Lost access",
            caption=f"Since {lost.since}, oldest first.",
            columns=_LOST,
            rows=[_lost(one) for one in lost.people],
            empty="Nobody.",
        ),
        ReportTable(
            title="Who has access",
            caption=f"At {report.at}, by login. journal_row: the journal's row that gave it.",
            columns=_COLUMNS,
            rows=Rows(report.people, _COLUMNS),
            empty="Nobody.",
            keys=3,
        ),
    ]
    return Document(title="Access to OpsHelm", facts=[*named, *facts(report.basis)], tables=tables)


def _lost(one: LostAccess) -> list[str]:
    return [one.login, one.okta_said, one.ended, "" if one.seconds is None else _span(one.seconds), one.by, one.through]


def _span(seconds: float) -> str:
    """``4 s``, ``3 min``, ``2.5 h``, ``4 d``."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.1f}".removesuffix(".0") + " s"
