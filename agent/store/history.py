"""The directory as it was at a moment, rebuilt from the journal; and who lost access in a period. Writes nothing.

Every applied row about an account holds it whole, before and after. Of one account the newest row up to the moment says how
it was; where rows were let go (``journal.retention``), the first one after it does, by what it was before. An account that
no row knows is as it is now.

Rows of one account are in the order of their ids, since each write holds the account row's lock; their times may repeat where
the clock was set back.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from sys import intern
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, and_, func, not_, or_, select

from agent.model.codes import IN_OKTA, Source
from agent.model.holds import Decision
from agent.model.structs import decoder
from agent.store import former_ids
from agent.store.journal import RELEASE, UNDO
from agent.store.tables import holds, journal, journal_blocks, users

#: Accounts that are fetched at a time, so that no answer of the database is held whole.
_PAGE = 2_000
#: What begins access, and what ends it; of several things that one write did these come first (agent.directory.guarded).
_BEGINS = ("create", "reactivate")
_ENDS = ("deactivate", "remove")
_COLUMNS = ("user_name", "active", "role", "origin", "protected", "suspended", "hidden", "version")


#: What an import did in Okta is about an account too, and holds none.
_OF_OPSHELM = journal.c.verb.not_in([kind.value for kind in IN_OKTA])


class NameThen(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    formatted: str | None = None
    given_name: str | None = None
    family_name: str | None = None


class Head(Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """What the journal keeps of an account, as far as it says who has access."""

    user_name: str
    external_id: str | None = None
    active: bool = False
    role: str = "member"
    origin: str = "local"
    protected: bool = False
    suspended: bool = False
    hidden: bool = False
    version: int = 0
    name: NameThen | None = None

    @property
    def shown_name(self) -> str:
        if self.name is None:
            return ""
        parts = (part for part in (self.name.given_name, self.name.family_name) if part)
        return self.name.formatted or " ".join(parts)


class Cause(Struct, frozen=True, kw_only=True, gc=False):
    """The journal's row that made something so."""

    row: int
    at: datetime
    actor: str
    source: str
    reason: str
    run_id: int | None


class AccountThen(Struct, frozen=True, kw_only=True, gc=False):
    """One account at that moment. ``access``: what made it active last; None where no row says so any more."""

    directory_id: str
    head: Head
    access: Cause | None = None
    role: Cause | None = None
    blocked: str = ""


class JournalledChange(Struct, frozen=True, kw_only=True, gc=False):
    """One row of the journal; ``before`` and ``after`` are JSON."""

    kind: str
    verb: str
    directory_id: str | None
    okta_id: str | None
    before: str | None
    after: str | None
    cause: Cause


class Touched(Struct, frozen=True, kw_only=True, gc=False):
    """One account that the rows of a selection are about. ``since``: the newest row of somebody else after their first one."""

    directory_id: str
    login: str
    verbs: tuple[str, ...]
    first: int
    last: int
    since: JournalledChange | None = None


class EndedAccess(Struct, frozen=True, kw_only=True, gc=False):
    """One person's access that ended."""

    directory_id: str
    okta_id: str | None
    user_name: str
    verb: str
    cause: Cause


_head = decoder(Head)
_OF_CHANGE = ("kind", "verb", "directory_id", "okta_id", "before", "after")
_CAUSE = (journal.c.id, journal.c.at, journal.c.actor, journal.c.source, journal.c.reason, journal.c.run_id)


def known_since(conn: Connection) -> datetime | None:
    """Before it rows were let go, so that nobody can say how it was; None where the journal has all."""
    gone = select(func.max(journal_blocks.c.sealed_at)).where(journal_blocks.c.exported_to.is_not(None))
    return conn.execute(gone).scalar()


def accounts_at(conn: Connection, at: datetime) -> Iterator[AccountThen]:
    """Everybody whom OpsHelm had at that moment, hidden ones too; in no order that means anything."""
    yield from _with_causes(conn, at, _past(conn, at))


def accounts_now(conn: Connection, at: datetime) -> Iterator[AccountThen]:
    """The same of now, from the accounts themselves. ``at``: now."""
    yield from _with_causes(conn, at, _current(conn))


def _with_causes(conn: Connection, at: datetime, heads: Iterable[tuple[str, Head]]) -> Iterator[AccountThen]:
    blocked, access, role = _blocked(conn, at), _causes(conn, at, _BEGINS), _causes(conn, at, ("role",))
    for directory_id, head in heads:
        yield AccountThen(
            directory_id=directory_id,
            head=head,
            access=access.get(directory_id),
            role=_later(role.get(directory_id), access.get(directory_id)) if head.role == "owner" else None,
            blocked=blocked.get(directory_id) or blocked.get(head.external_id or "", ""),
        )


def ended(conn: Connection, since: datetime, until: datetime) -> Iterator[EndedAccess]:
    """Access that ended in the period, oldest first."""
    wanted = select(journal.c.directory_id, journal.c.okta_id, journal.c.before, journal.c.verb, *_CAUSE).where(
        journal.c.kind == "applied", journal.c.verb.in_(_ENDS), journal.c.at >= since, journal.c.at <= until
    )
    for row in conn.execute(wanted.where(journal.c.before.is_not(None)).order_by(journal.c.id)):
        head = _head(row.before)
        if not head.active:
            continue
        yield EndedAccess(
            directory_id=row.directory_id,
            okta_id=row.okta_id or head.external_id,
            user_name=head.user_name,
            verb=row.verb,
            cause=_cause(row),
        )


def changes(conn: Connection, since: datetime, until: datetime) -> Iterator[JournalledChange]:
    """All that the journal has of the period, oldest first; attempts that a rule refused too."""
    columns = (journal.c[name] for name in _OF_CHANGE)
    rows = select(*columns, *_CAUSE).where(journal.c.at >= since, journal.c.at <= until)
    for row in conn.execute(rows.order_by(journal.c.id).execution_options(yield_per=_PAGE)):
        yield _change(row)


def _change(row: Any) -> JournalledChange:
    return JournalledChange(cause=_cause(row), **{name: getattr(row, name) for name in _OF_CHANGE})


class RowSelection(Struct, frozen=True, kw_only=True):
    """Rows of the journal: those of a run, or those of pushes in a period."""

    run_id: int | None = None
    since: datetime | None = None
    until: datetime | None = None

    def rules(self) -> list[ColumnElement[bool]]:
        if self.run_id is not None:
            return [journal.c.run_id == self.run_id]
        assert self.since is not None
        window: list[ColumnElement[bool]] = [journal.c.source == Source.PUSH.value, journal.c.at >= self.since]
        return window if self.until is None else [*window, journal.c.at <= self.until]

    def others(self) -> ColumnElement[bool]:
        """All but these; a row of no run has NULL there, which is unequal to nothing."""
        if self.run_id is not None:
            return or_(journal.c.run_id.is_(None), journal.c.run_id != self.run_id)
        return not_(and_(*self.rules()))


#: Rows that changed an account; decisions have no ``after``.
_CHANGED = (
    *(journal.c.kind == "applied", journal.c.directory_id.is_not(None), journal.c.after.is_not(None), _OF_OPSHELM),
    # An account that has stepped aside stays there: somebody else has its id.
    journal.c.verb != RELEASE,
)


def touched(conn: Connection, selection: RowSelection) -> list[Touched]:
    """In the order of their first rows."""
    rules = selection.rules()
    rows = conn.execute(
        select(journal.c.id, journal.c.directory_id, journal.c.verb, journal.c.after)
        .where(*_CHANGED, *rules)
        .order_by(journal.c.id)
        .execution_options(yield_per=_PAGE)
    )
    found: dict[str, Touched] = {}
    for row in rows:
        known = found.get(row.directory_id)
        login = _head(row.after).user_name
        if known is None:
            found[row.directory_id] = Touched(
                directory_id=row.directory_id, login=login, verbs=(row.verb,), first=row.id, last=row.id
            )
        else:
            found[row.directory_id] = replace(known, login=login, verbs=(*known.verbs, row.verb), last=row.id)
    if not found:
        return []
    others = select(journal.c.directory_id, *(journal.c[name] for name in _OF_CHANGE), *_CAUSE).where(
        *_CHANGED, selection.others(), journal.c.id > min(one.first for one in found.values())
    )
    for later in conn.execute(others.order_by(journal.c.id).execution_options(yield_per=_PAGE)):
        known = found.get(later.directory_id)
        if known is not None and later.id > known.first:
            found[later.directory_id] = replace(known, since=_change(later))
    return list(found.values())


def done_in_okta(conn: Connection, selection: RowSelection) -> list[tuple[str, str, str]]:
    """Directory id, Okta id and what an import did there."""
    rows = select(journal.c.directory_id, journal.c.okta_id, journal.c.verb).where(
        journal.c.kind == "applied", not_(_OF_OPSHELM), *selection.rules()
    )
    return [(row.directory_id or "", row.okta_id or "", row.verb) for row in conn.execute(rows.order_by(journal.c.id))]


def before_and_after(conn: Connection, first: int, last: int) -> tuple[str | None, str, int | None]:
    """How the account was before the first of these rows and after the last, and the plan of the first."""
    both = select(journal.c.id, journal.c.before, journal.c.after, journal.c.plan_id)
    rows = {row.id: row for row in conn.execute(both.where(journal.c.id.in_((first, last))))}
    return rows[first].before, rows[last].after, rows[first].plan_id


def held_by_undo(conn: Connection, directory_id: str, plan_id: int) -> bool:
    """Whether the undo with this plan held the person, so that what it took back wasn't done again."""
    mine = (journal.c.directory_id == directory_id, journal.c.plan_id == plan_id, journal.c.verb == UNDO)
    return conn.execute(select(journal.c.id).where(*mine).limit(1)).first() is not None


def _cause(row: Any) -> Cause:
    # The same few words stand in every row: one copy of each is enough.
    return Cause(
        row=row.id,
        at=row.at,
        actor=intern(row.actor),
        source=intern(row.source),
        reason=intern(row.reason),
        run_id=row.run_id,
    )


def _later(one: Cause | None, other: Cause | None) -> Cause | None:
    """A role is given by itself, or with the access; a deactivation ends it."""
    return max((cause for cause in (one, other) if cause), key=lambda cause: cause.row, default=None)


def _past(conn: Connection, at: datetime) -> Iterator[tuple[str, Head]]:
    about = and_(journal.c.kind == "applied", journal.c.directory_id.is_not(None), _OF_OPSHELM)
    until = and_(about, journal.c.after.is_not(None), journal.c.at <= at)
    newest = select(func.max(journal.c.id)).where(until).group_by(journal.c.directory_id)
    known = select(journal.c.directory_id).where(until)
    first = select(func.min(journal.c.id)).where(about, journal.c.directory_id.not_in(known))
    released = former_ids.released(conn, at)
    for column, which in ((journal.c.after, newest), (journal.c.before, first.group_by(journal.c.directory_id))):
        rows = select(journal.c.directory_id, column, journal.c.id).where(journal.c.id.in_(which), column.is_not(None))
        if column is journal.c.before:
            rows = rows.where(journal.c.verb != RELEASE)  # until then it was the account of another id
        for row in conn.execute(rows.execution_options(yield_per=_PAGE)):
            if row.id > released.get(row.directory_id, 0):
                yield row.directory_id, _head(row[1])
    yield from _current(conn, users.c.created <= at, users.c.id.not_in(select(journal.c.directory_id).where(about)))


def _current(conn: Connection, *wanted: ColumnElement[bool]) -> Iterator[tuple[str, Head]]:
    columns = (users.c[name] for name in _COLUMNS)
    rows = select(users.c.id, users.c.okta_id, users.c.given_name, users.c.family_name, *columns).where(*wanted)
    for row in conn.execute(rows.execution_options(yield_per=_PAGE)):
        name = NameThen(given_name=row.given_name, family_name=row.family_name)
        yield row.id, Head(external_id=row.okta_id, name=name, **{key: getattr(row, key) for key in _COLUMNS})


def _causes(conn: Connection, at: datetime, verbs: Sequence[str]) -> dict[str, Cause]:
    """Of each account the newest row of these verbs."""
    newest = (
        select(func.max(journal.c.id))
        .where(journal.c.kind == "applied", journal.c.verb.in_(verbs), journal.c.at <= at)
        .group_by(journal.c.directory_id)
    )
    rows = select(journal.c.directory_id, *_CAUSE).where(journal.c.id.in_(newest))
    return {row.directory_id: _cause(row) for row in conn.execute(rows.execution_options(yield_per=_PAGE))}


def _blocked(conn: Connection, at: datetime) -> dict[str, str]:
    """Account, or Okta id of a person whose account was lost → why and by whom it was blocked then."""
    rows = select(holds.c.directory_id, holds.c.okta_id, holds.c.decided_by, holds.c.reason).where(
        holds.c.decision == Decision.BLOCKED.value,
        holds.c.decided_at <= at,
        or_(holds.c.ended_at.is_(None), holds.c.ended_at > at),
    )
    return {row.directory_id or row.okta_id: f"{row.reason} ({row.decided_by})" for row in conn.execute(rows)}
