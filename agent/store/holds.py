"""The register of holds: opened, found again, decided, ended. Asks nobody and judges nothing (agent.model.holds, agent.model.guard).

Every function belongs into one write transaction with the account row locked, so that a decision and a write can't pass
each other. A person is the account, or the Okta user where there is no account yet; once it is made, the hold is its.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct, convert
from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, insert, or_, select, text, update

from agent.model.codes import HeldCode
from agent.model.errors import NotFound
from agent.model.holds import ChangeKind, Decision, Hold, HoldEnd, Reason, subject_of, within
from agent.model.structs import ready
from agent.model.users import DirectoryUser, identity_key
from agent.store.attention import batched
from agent.store.connect import (
    Fixed,
    as_struct,
    as_structs,
    as_values,
    equal,
    micros,
    moment,
    remembered,
    write_later,
    write_now,
)
from agent.store.journal import Signature
from agent.store.tables import holds as table
from agent.store.tables import push_marks, users

_columns = [table.c[name] for name in Hold.__struct_fields__]
_open = table.c.ended.is_(None)
_of_subjects = Fixed(
    select(*_columns).where(
        _open, table.c.subject.in_([bindparam("account"), bindparam("okta_user"), bindparam("login")])
    )
)
_FOUND = ("last_found", "tries", "waits_for", "code", "detail", "wish", "login", "plan_id", "action_n")
_refresh = Fixed(update(table).where(table.c.id == bindparam("hold")).values({n: bindparam(n) for n in _FOUND}))
_one_open = Fixed(select(table.c.id).where(_open).limit(1))
_ANY_OPEN = "holds"
_NEWEST = "newest push mark"


# Reading


def of_user(conn: Connection, user: DirectoryUser) -> list[Hold]:
    """The open holds that concern this account, those of its Okta user and of its name from before it was made too."""
    return of_person(conn, user.id, user.okta_id, user.user_name)


def of_person(conn: Connection, directory_id: str | None, okta_id: str | None, login: str) -> list[Hold]:
    if not any_open(conn):
        return []
    rows = _of_subjects(
        conn,
        account=directory_id or "",
        okta_user=subject_of(None, okta_id, login) if okta_id else "",
        login=subject_of(None, None, login),
    )
    return [_decoded(row) for row in rows.fetchall()]


def any_open(conn: Connection) -> bool:
    """Whether the register has any; asked once in a write transaction."""
    here = remembered(conn)
    if _ANY_OPEN not in here:
        here[_ANY_OPEN] = _one_open(conn).fetchone() is not None
    return bool(here[_ANY_OPEN])


def of_name(conn: Connection, login: str) -> list[Hold]:
    """The open holds of whoever has this name and no account yet, whichever Okta user that is."""
    named = and_(_open, table.c.directory_id.is_(None), func.lower(table.c.login) == identity_key(login))
    return _read(conn, named)


def open_holds(
    conn: Connection,
    *,
    code: HeldCode | None = None,
    people: Collection[str] | None = None,
    decision: Decision | None = None,
) -> list[Hold]:
    """Oldest first. ``people``: directory ids, Okta ids or logins."""
    wanted = _rules(HoldFilter(code=code, decision=decision))
    return _read(conn, and_(*wanted, *([] if people is None else [_named(people)])))


class HoldFilter(Struct, frozen=True, kw_only=True):
    """Which open holds somebody wants to see; what is None or "" is not asked for."""

    code: HeldCode | None = None
    kind: ChangeKind | None = None
    decision: Decision | None = None
    #: A part of the login.
    login: str = ""
    #: Those that wait since before then.
    older_than: datetime | None = None
    ids: tuple[int, ...] | None = None


def matching(conn: Connection, wanted: HoldFilter, limit: int, *, offset: int = 0) -> list[Hold]:
    """Open ones, oldest first."""
    found = select(table).where(*_rules(wanted)).order_by(table.c.since, table.c.id)
    return as_structs(conn, Hold, found.offset(offset).limit(limit))


def count(conn: Connection, wanted: HoldFilter) -> int:
    return conn.execute(select(func.count()).where(*_rules(wanted))).scalar_one()


def _rules(wanted: HoldFilter) -> list[ColumnElement[bool]]:
    rules = [_open, *equal(table, code=wanted.code, kind=wanted.kind, decision=wanted.decision)]
    if wanted.login:
        rules.append(func.lower(table.c.login).contains(wanted.login.lower(), autoescape=True))
    if wanted.older_than is not None:
        rules.append(table.c.since < wanted.older_than)
    if wanted.ids is not None:
        rules.append(table.c.id.in_(wanted.ids))
    return rules


class HoldGroup(Struct, frozen=True, kw_only=True):
    """Open holds that wait for one reason, or were decided in one way."""

    code: HeldCode
    decision: Decision
    number: int
    #: Since when the oldest waits.
    since: datetime


def groups(conn: Connection) -> list[HoldGroup]:
    """All open ones, by code and decision, that first which waits longest."""
    c = table.c
    since = func.min(c.since, type_=c.since.type).label("since")
    found = select(c.code, c.decision, func.count().label("number"), since).where(_open)
    return as_structs(conn, HoldGroup, found.group_by(c.code, c.decision).order_by(since))


def _named(people: Collection[str]) -> ColumnElement[bool]:
    """By directory id, Okta id or login, in whatever case it is written."""
    keys, c = [identity_key(name) for name in people], table.c
    return or_(c.directory_id.in_(people), c.okta_id.in_(people), c.login.in_(people), func.lower(c.login).in_(keys))


def history(conn: Connection, people: Collection[str], limit: int = 50) -> list[Hold]:
    """Open and ended ones of these people, newest first."""
    return as_structs(conn, Hold, select(table).where(_named(people)).order_by(table.c.id.desc()).limit(limit))


def oldest_waiting(conn: Connection) -> dict[HeldCode, datetime]:
    """Since when the oldest one of each code waits."""
    waiting = (_open, table.c.decision == Decision.WAITING.value)
    rows = conn.execute(select(table.c.code, func.min(table.c.since)).where(*waiting).group_by(table.c.code))
    return {HeldCode(code): since for code, since in rows}


# Opening and finding again


def find(conn: Connection, reasons: Iterable[Reason], now: datetime, *, by: str, pushed: bool = False) -> None:
    """Open what is new, and note that the rest was found again; a decision about another wish ends as moot.

    ``pushed``: Okta asked for it just now, once more.
    """
    for some in batched(list({(r.subject, r.kind): r for r in reasons}.values())):
        known = _known(conn, some)
        new: list[dict[str, Any]] = []
        again: list[dict[str, Any]] = []
        for reason in some:
            old = known.get((reason.subject, reason.kind))
            decided = old is not None and old.decision is not Decision.WAITING
            if old is not None and decided and old.wish and not within(reason.wish, old.wish):
                end(conn, [old.id], HoldEnd.MOOT, now)
                old = None
            if old is None:
                new.append(_row(reason, now, by=by, tries=int(pushed)))
            else:
                again.append(_found_again(old, reason, now, pushed=pushed))
        if new:
            remembered(conn)[_ANY_OPEN] = True
            conn.execute(insert(table), new)
        _refresh.many(conn, again)


def _known(conn: Connection, reasons: Collection[Reason]) -> dict[tuple[str, ChangeKind], Hold]:
    subjects = {reason.subject for reason in reasons}
    rows = conn.execute(select(table).where(_open, table.c.subject.in_(subjects)))
    return {(row.subject, ChangeKind(row.kind)): as_struct(Hold, row) for row in rows}


def _row(reason: Reason, now: datetime, *, by: str, tries: int) -> dict[str, Any]:
    opened = {"since": now, "opened_by": by, "last_found": now, "tries": tries, "decision": Decision.WAITING.value}
    return {**as_values(reason), "subject": reason.subject, **opened}


def _found_again(old: Hold, reason: Reason, now: datetime, *, pushed: bool) -> dict[str, Any]:
    """Its age stays. What a person decided keeps the words that it was decided with."""
    words: Reason = old
    place = old if reason.plan_id is None else reason
    detail = old.detail
    if old.decision is Decision.WAITING:
        words = reason
        # Who was only seen to wait is told so in the words of this hold, which stay the first ones.
        detail = old.detail if old.detail and old.detail in reason.detail else reason.detail
    return {
        "hold": old.id,
        "last_found": micros(now),
        "tries": old.tries + int(pushed),
        "waits_for": reason.waits_for,
        "code": words.code.value,
        "detail": detail,
        "wish": words.wish,
        "login": words.login,
        "plan_id": place.plan_id,
        "action_n": place.action_n,
    }


# Deciding


def decide(
    conn: Connection, ids: Collection[int], decision: Decision, by: Signature, *, until: datetime | None = None
) -> None:
    """One decision for these open holds; the journal's row is the caller's."""
    values = {"decision": decision.value, "decided_at": by.at, "decided_by": by.actor, "reason": by.reason}
    for some in batched(list(ids)):
        conn.execute(update(table).where(table.c.id.in_(some), _open).values(**values, until=until))


def block(
    conn: Connection,
    reason: Reason,
    by: Signature,
    *,
    until: datetime | None = None,
    decision: Decision = Decision.BLOCKED,
) -> None:
    """An operator's word for this kind of change, whether somebody wants it or not; takes an open hold's place."""
    known = _known(conn, [reason]).get((reason.subject, reason.kind))
    if known is not None:
        end(conn, [known.id], HoldEnd.LIFTED, by.at)
    remembered(conn)[_ANY_OPEN] = True
    row = _row(reason, by.at, by=by.actor, tries=0)
    decided = {"decision": decision.value, "decided_at": by.at, "decided_by": by.actor, "reason": by.reason}
    conn.execute(insert(table).values(**{**row, **decided, "until": until}))


def lapse(conn: Connection, now: datetime) -> None:
    """Approvals that nobody used in time wait again, with their age; blocks whose time is over end."""
    over = (_open, table.c.until <= now)
    waits = {"decision": Decision.WAITING.value, "until": None}
    conn.execute(update(table).where(*over, table.c.decision == Decision.APPROVED.value).values(**waits))
    ended = {"ended": HoldEnd.EXPIRED.value, "ended_at": now}
    conn.execute(update(table).where(*over, table.c.decision == Decision.BLOCKED.value).values(**ended))


# Ending


def end(conn: Connection, ids: Collection[int], how: HoldEnd, now: datetime) -> None:
    for some in batched(ids):
        conn.execute(update(table).where(table.c.id.in_(some), _open).values(ended=how.value, ended_at=now))


def done(conn: Connection, mine: Iterable[Hold], wishes: Mapping[ChangeKind, str], now: datetime) -> None:
    """A write has made these changes of an account: its holds of them end, and those of the opposite wish are moot.

    Blocks stay: only an operator or their time ends them. So do holds of which only a part was done.
    """
    opposite = {ChangeKind.DEACTIVATE: ChangeKind.ACTIVATE, ChangeKind.ACTIVATE: ChangeKind.DEACTIVATE}
    moot = {opposite[kind] for kind in wishes if kind in opposite}
    for hold in mine:
        if hold.decision is Decision.BLOCKED:
            continue
        if hold.kind in wishes and (not wishes[hold.kind] or within(hold.wish, wishes[hold.kind])):
            end(conn, [hold.id], HoldEnd.DONE, now)
        elif hold.kind in moot:
            end(conn, [hold.id], HoldEnd.MOOT, now)


def renamed(conn: Connection, mine: Iterable[Hold], login: str) -> None:
    """These are of an account that has another name by now."""
    conn.execute(update(table).where(table.c.id.in_([hold.id for hold in mine])).values(login=login))


def settled(conn: Connection, strangers: Collection[Hold], user: DirectoryUser) -> None:
    """What was held of this person before they had an account is the account's now, and so is what is over of it.

    Of two open ones of a kind the decided one stays, else the account's own.
    """
    own = {hold.kind: hold for hold in _read(conn, and_(_open, table.c.directory_id == user.id))}
    before = and_(table.c.directory_id.is_(None), table.c.subject.in_({hold.subject for hold in strangers}))
    for hold in _read(conn, and_(_open, before)):
        other = own.get(hold.kind)
        if other is not None:
            over = hold if hold.decision is Decision.WAITING else other
            end(conn, [over.id], HoldEnd.MOOT, user.updated)
    conn.execute(update(table).where(before).values(subject=user.id, directory_id=user.id, login=user.user_name))


def pass_on(conn: Connection, account_id: str, okta_id: str | None, login: str) -> None:
    """The account is there no more; whoever said no to access for it said so of its person, who may be given another one."""
    subject = subject_of(None, okta_id, login)
    mine = [hold for hold in of_person(conn, account_id, okta_id, login) if hold.kind is ChangeKind.ACTIVATE]
    said = [h for h in mine if h.subject == account_id and h.decision in (Decision.BLOCKED, Decision.REJECTED)]
    for hold in said:
        end(conn, [other.id for other in mine if other.subject == subject], HoldEnd.MOOT, hold.last_found)
        conn.execute(update(table).where(table.c.id == hold.id).values(subject=subject, directory_id=None))


def unwanted(
    conn: Connection,
    kept: Collection[tuple[str, ChangeKind]],
    people: Collection[str] | None,
    now: datetime,
    *,
    unknown: Collection[str] = (),
) -> int:
    """End as moot what nobody wants any more, after a complete sweep (``people`` None) or a direct read of these people.

    ``kept``: subject and kind of all that is still wanted. ``unknown``: ids and logins of those of whom nothing was learnt.
    Blocks stay.
    """
    open_ones: list[ColumnElement[bool]] = [_open, table.c.decision != Decision.BLOCKED.value]
    # A link that was taken back isn't wanted while Okta hasn't assigned the app: an import that would have it assigned must not.
    open_ones.append(or_(table.c.code != HeldCode.UNDONE.value, table.c.kind != ChangeKind.LINK.value))
    if people is not None:
        open_ones.append(_named(people))
    c, spared = table.c, set(unknown)
    rows = conn.execute(select(c.id, c.subject, c.kind, c.directory_id, c.okta_id, c.login).where(*open_ones))
    gone = [
        row.id
        for row in rows
        if (row.subject, ChangeKind(row.kind)) not in kept
        and spared.isdisjoint((row.directory_id, row.okta_id, row.login))
    ]
    end(conn, gone, HoldEnd.MOOT, now)
    return len(gone)


def forget(conn: Connection, before: datetime) -> None:
    """Drop holds that ended before then; the journal keeps what was decided."""
    conn.execute(delete(table).where(table.c.ended_at < before))


# Marks of pushes

_mark = Fixed(
    text(
        "INSERT INTO push_marks (directory_id, seq) VALUES (:account, (SELECT coalesce(max(seq), 0) + 1 FROM push_marks)) "
        "ON CONFLICT (directory_id) DO UPDATE SET seq = excluded.seq"
    )
)
_mark_of = Fixed(select(push_marks.c.seq).where(push_marks.c.directory_id == bindparam("account")))
_newest_mark = Fixed(select(func.coalesce(func.max(push_marks.c.seq), 0)))


def mark_push(conn: Connection, directory_id: str) -> None:
    """Okta has just said something about this account, whether it changed anything or not."""
    remembered(conn).pop(_NEWEST, None)
    write_later(conn, _write_marks, directory_id)


def _write_marks(conn: Connection, accounts: list[str]) -> None:
    # Nobody sees one push of a transaction without the others, so that one number does for them; a statement takes each once.
    _mark.together(conn, [{"account": account} for account in dict.fromkeys(accounts)])


def pushed_since(conn: Connection, directory_id: str, mark: int) -> bool:
    """Whether Okta has said something about this account after the push with that mark."""
    here = remembered(conn)
    if _NEWEST not in here:
        here[_NEWEST] = newest_push_mark(conn)
    if here[_NEWEST] <= mark:
        return False
    row = _mark_of(conn, account=directory_id).fetchone()
    return row is not None and row[0] > mark


def pushed_after(conn: Connection, mark: int) -> set[str]:
    """Directory ids, Okta ids and logins of all whom Okta has said something about after the push with that mark."""
    if newest_push_mark(conn) <= mark:
        return set()
    theirs = push_marks.outerjoin(users, users.c.id == push_marks.c.directory_id)
    names = select(push_marks.c.directory_id, users.c.okta_id, users.c.user_name).select_from(theirs)
    return {name for row in conn.execute(names.where(push_marks.c.seq > mark)) for name in row if name}


def changed_since(conn: Connection, versions: Mapping[str, int]) -> set[str]:
    """Of accounts, as they were when they had this version, those that are otherwise by now."""
    found: set[str] = set()
    for some in batched(versions):
        rows = conn.execute(select(users.c.id, users.c.version).where(users.c.id.in_(some)))
        now = {row.id: row.version for row in rows}
        found.update(account for account in some if now.get(account) != versions[account])
    return found


def newest_push_mark(conn: Connection) -> int:
    """Whoever asks Okta from now on knows of every push up to this one."""
    write_now(conn, _write_marks)
    return int(_newest_mark(conn).fetchone()[0])


# Rows

_TIMES = ("since", "last_found", "decided_at", "until", "ended_at")


def _read(conn: Connection, wanted: ColumnElement[bool]) -> list[Hold]:
    return as_structs(conn, Hold, select(table).where(wanted).order_by(table.c.since, table.c.id))


def _decoded(row: tuple[Any, ...]) -> Hold:
    values = dict(zip(Hold.__struct_fields__, row, strict=True))
    return convert(values | {name: moment(values[name]) for name in _TIMES if values[name] is not None}, ready[Hold])


def one(conn: Connection, hold_id: int) -> Hold:
    found = _read(conn, table.c.id == hold_id)
    if not found:
        raise NotFound(f"There is no hold {hold_id}. See: opshelm-agent holds list")
    return found[0]


#: How long ended holds are kept.
KEPT = timedelta(days=90)
