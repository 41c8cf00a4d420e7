"""THE compare: what Okta showed in a sweep beside ``users``, and the pairs that may need something, found by the database.
Judging is model.cases'.

What Okta showed is a temporary table on a connection of its own: nobody else sees it, it waits for no other writer and makes
none wait, and it ends with the sweep, however it ends. Somebody who is listed twice (the list moved while it was paged) counts
once, as seen last. Of those who are in step with the accounts as they are meanwhile only that is kept; the others are
compared within ``Staging.snapshot``.

Pairs are joined by the link first (``bound``: the account holds the Okta user id; ``named``: the app user's externalId is
the account's id), then by userName key (``holder``). A pair that is certainly in step is not answered:

===================  ==================================================================================================
wanted               not answered when
===================  ==================================================================================================
active, keep         bound, active, managed; userName key, e-mail key and mapped attributes are equal; the app user's
                     externalId names nobody else
inactive             none of the three accounts is active or only suspended
pending, leave       always
===================  ==================================================================================================

App users that share a userName key with another that is wanted are answered in any case (``twin``).
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    CompoundSelect,
    Connection,
    FromClause,
    Identity,
    Index,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
    union,
)
from sqlalchemy.schema import CreateIndex, CreateTable

from agent.model.cases import CurrentAccount, Pair, Want
from agent.model.desired import DesiredRow, Wanted
from agent.model.errors import StoreUnavailable
from agent.model.users import Origin, Role
from agent.store.connect import Fixed, as_struct, database_errors, driver, micros, moment, sqlite_path
from agent.store.engine import Store
from agent.store.failures import translate
from agent.store.tables import users

# What Okta showed

#: One row a person that a sweep saw (model.cases.Want). ``n``: in the order of the listing. Who was found in step has no more
#: than ``okta_id`` and ``read_at``, and is wanted active.
sweep_rows = Table(
    "sweep_rows",
    MetaData(),
    Column("n", Integer, Identity(), primary_key=True),
    Column("okta_id", String(64), nullable=False),
    Column("external_id", Text),
    Column("user_name", Text),
    Column("user_name_key", Text),
    Column("email", Text),
    Column("email_key", Text),
    Column("wanted", String(8)),
    # Row of the desired-state table that decided.
    Column("row", String(40)),
    Column("mapped", Text),
    Column("unsaid", BigInteger),
    Column("sync_error", Boolean),
    Column("read_at", BigInteger, nullable=False),
    prefixes=["TEMPORARY"],
)

#: Of a row: Okta wants the person active.
WANTED_ACTIVE = or_(sweep_rows.c.wanted == Wanted.ACTIVE.value, sweep_rows.c.wanted.is_(None))
# Made when all rows are there: sorting them once takes a tenth of the time of keeping them sorted.
_OKTA_ID = Index("ix_sweep_rows_okta_id", sweep_rows.c.okta_id)


#: What is compared of an account: okta_id, user_name_key, email_key, mapped.
Content = tuple[str, str, str, str]


class Staging:
    """Used by one thread. Open it with ``staging``; what it raises are StoreErrors."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        #: PostgreSQL's process that has the rows; None for SQLite, which is this one.
        self._session: int | None = None
        if not _is_sqlite(conn):
            self._session = driver(conn).execute("SELECT pg_backend_pid()").fetchone()[0]

    @cached_property
    def _contents(self) -> set[int]:
        """Of the accounts with whom somebody can be in step, what is compared, as numbers that mean something in this process
        alone: some seventy bytes each.
        """
        return self._numbers("okta_id, user_name_key, email_key, mapped")

    @cached_property
    def _named(self) -> set[int]:
        """The same with the account's id behind it. Most orgs name all accounts by their ids or none, and ask for one of the two."""
        return self._numbers("okta_id, user_name_key, email_key, mapped, id")

    def _numbers(self, columns: str) -> set[int]:
        asked = f"SELECT {columns} FROM users WHERE okta_id IS NOT NULL AND active AND origin <> 'local'"
        found: set[int] = set()
        # With a name, PostgreSQL's answer stays in the server.
        name = () if self._session is None else ("accounts",)
        with self._transaction() as raw, closing(raw.cursor(*name)) as cursor:
            cursor.execute(asked)
            while rows := cursor.fetchmany(_ROWS):
                found.update(map(hash, rows))
        return found

    def is_held(self, content: Content, external_id: str | None) -> bool:
        """Whether somebody whom Okta wants active, and whose account it names so or not at all, is in step."""
        if external_id is None:
            return hash(content) in self._contents
        return hash((*content, external_id)) in self._named

    def add_in_step(self, okta_ids: list[str], read_at: datetime) -> None:
        """People of one page of whom ``is_held`` says yes."""
        if not okta_ids:
            return
        names, at = f"{sweep_rows.name} (okta_id, read_at)", _read_at(read_at)
        with self._transaction() as raw:
            if self._session is None:
                raw.execute(f"INSERT INTO {names} SELECT value, ? FROM json_each(?)", [at, _json(okta_ids)])
            else:
                raw.execute(f"INSERT INTO {names} SELECT unnest(%s::text[]), %s", [okta_ids, at])

    def add_people(self, wants: Sequence[Want]) -> None:
        """Others of the page, projected."""
        if wants:
            with self._transaction() as raw:
                self._add(raw, [_sweep_row(want) for want in wants])

    def _add(self, raw: Any, rows: list[tuple[Any, ...]]) -> None:
        table = sweep_rows
        names = ", ".join(f'"{column.name}"' for column in table.c if column.name != "n")
        if self._session is None:
            places = ", ".join("?" * (len(table.c) - 1))
            raw.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({places})", rows)
        else:
            with raw.cursor().copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

    def close_people(self) -> int:
        """All have come; answers how many there are."""
        table, key = sweep_rows, sweep_rows.c.okta_id
        with self._transaction() as raw:
            self._conn.execute(CreateIndex(_OKTA_ID))
            if self._session is not None:
                # Nothing else gathers statistics of a temporary table.
                raw.execute(f"ANALYZE {table.name}")
            people, rows = (
                self._conn.execute(select(func.count()).select_from(of)).scalar_one()
                for of in (select(key).distinct().subquery(), table)
            )
            if people != rows:
                last = select(func.max(table.c.n)).group_by(key)
                self._conn.execute(table.delete().where(table.c.n.not_in(last)))
            return people

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One snapshot of the database, with the listing in it, for all statements inside."""
        with self._transaction(" ISOLATION LEVEL REPEATABLE READ READ ONLY", end="ROLLBACK"):
            yield self._conn

    @contextmanager
    def _transaction(self, mode: str = "", *, end: str = "COMMIT") -> Iterator[Any]:
        """The driver's connection, amid a transaction of the session that has the listing. ``mode`` is PostgreSQL's."""
        raw = driver(self._conn)
        with _translated():
            raw.execute("BEGIN" if self._session is None else f"BEGIN{mode}")
            try:
                self._require_session(raw)
                yield raw
            except BaseException:
                with suppress(*database_errors()):
                    raw.execute("ROLLBACK")
                raise
            raw.execute(end)

    def _require_session(self, raw: Any) -> None:
        """A pooler that shares sessions would answer from other rows than those of this sweep."""
        if self._session is not None and raw.execute("SELECT pg_backend_pid()").fetchone()[0] != self._session:
            raise StoreUnavailable(
                "PostgreSQL gave the sweep another session than the one that has its rows. Nothing was changed. A pooler in "
                "between needs pool_mode = session."
            )


@contextmanager
def staging(store: Store) -> Iterator[Staging]:
    """An empty listing, gone when the block ends."""
    with _translated():
        conn = store.engine.execution_options(isolation_level="AUTOCOMMIT").connect()
    try:
        with _translated():
            if _is_sqlite(conn):
                _prepare_sqlite(driver(conn), sqlite_path(store.settings))
            found = Staging(conn)
            conn.execute(CreateTable(sweep_rows))
        yield found
    finally:
        with suppress(*database_errors()):
            # Ended, whatever state it is in: back in a pool it would bring the tables along.
            conn.invalidate()
            conn.close()


def _prepare_sqlite(raw: Any, database: Path | None) -> None:
    """In a file without a name, where the database has its space too; elsewhere temporary things are small, and in memory."""
    raw.execute("PRAGMA temp_store=FILE")
    # All of it is written once and read a few times, most of it in order: fewer, larger pages take a third less time.
    raw.execute("PRAGMA temp.page_size=16384")
    # Nothing here is ever rolled back: after an error all of it is thrown away.
    raw.execute("PRAGMA temp.journal_mode=OFF")
    folder = str(database.absolute().parent) if database else ""
    # The setting is the whole process's, so it is made but once. Where it can't be made, the system's own folder does.
    with suppress(*database_errors()):
        if raw.execute("PRAGMA temp_store_directory").fetchone() != (folder,):
            raw.execute(f"PRAGMA temp_store_directory={_quoted(folder)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except database_errors() as exc:
        raise translate(exc) from exc


def _is_sqlite(conn: Connection) -> bool:
    return conn.dialect.name == "sqlite"


#: One time for each page.
_read_at = lru_cache(maxsize=16)(micros)
_moment = lru_cache(maxsize=16)(moment)
_encode = msgspec.json.Encoder().encode


def _json(texts: list[str]) -> str:
    return _encode(texts).decode()


# Of an enum's member, ``_value_`` is the attribute and ``value`` a slower way to it; these rows are many.
def _sweep_row(want: Want) -> tuple[Any, ...]:
    return (
        want.okta_id,
        want.external_id,
        want.user_name,
        want.user_name_key,
        want.email,
        want.email_key,
        want.wanted._value_,
        want.row._value_,
        want.mapped,
        want.unsaid,
        want.sync_error,
        _read_at(want.read_at),
    )


# Both sides

#: Rows taken from the database at once, so that memory stays flat.
_ROWS = 500
_WANT = (
    "okta_id",
    "external_id",
    "user_name",
    "user_name_key",
    "email",
    "email_key",
    "wanted",
    "row",
    "mapped",
    "unsaid",
    "sync_error",
    "read_at",
)
_ACCOUNT = (
    "id",
    "user_name",
    "user_name_key",
    "email_key",
    "okta_id",
    "origin",
    "protected",
    "active",
    "suspended",
    "role",
    "mapped",
    "version",
)
_SOMEBODY = (Wanted.ACTIVE.value, Wanted.KEEP.value)
_WANTED = {wanted.value: wanted for wanted in Wanted}
_ROW = {row.value: row for row in DesiredRow}
_ORIGIN = {origin.value: origin for origin in Origin}
_ROLE = {role.value: role for role in Role}

_s = sweep_rows.alias("s")


def differing(conn: Connection) -> Iterator[Pair]:
    """Every app user of the sweep that may need something, each with the up to three accounts that it may mean.

    The order is that of the listing, or any. ``conn`` is that of ``Staging.snapshot``, and in use until the iterator is done.
    """
    twins = {row[0] for row in _twin_keys(conn).fetchall()}
    for row in _stream(_differing(conn)):
        yield _candidate(row, twins)
    for key in sorted(twins):
        for row in _twins(conn, key=key).fetchall():
            yield _candidate(row, twins)
        for row in _seen_twins(conn, key=key).fetchall():
            yield _seen_twin(row)


def absent(conn: Connection) -> Iterator[CurrentAccount]:
    """Accounts that no app user of the sweep means, and that a leaver's could be.

    Managed ones that are active (or inactive only because of a suspension), and local ones whose externalId nobody has
    confirmed yet; whether that has the shape of an Okta id is the caller's to see. An unbound account also counts as
    meant by Okta's externalId or its userName; a bound one does not (somebody else may have got the name, and Okta may have
    linked them to it).
    """
    for row in _stream(_absent(conn)):
        yield _account(row, 0)


def _stream(cursor: Any) -> Iterator[Any]:
    while rows := cursor.fetchmany(_ROWS):
        yield from rows


def _candidate(row: Any, twins: set[str]) -> Pair:
    start, width = len(_WANT), len(_ACCOUNT)
    if row[start] is None:
        # Whoever is linked for the first time is here three times over, and a first run has everybody in memory.
        once = dict[str, str]().setdefault
        row = [once(value, value) if type(value) is str else value for value in row]
    want = _want(row)
    bound = _side(row, start)
    named = bound if bound is not None and bound.id == want.external_id else _side(row, start + width)
    holder = next(
        (one for one in (bound, named) if one is not None and one.user_name_key == want.user_name_key), None
    ) or _side(row, start + 2 * width)
    return Pair(
        want=want,
        bound=bound,
        named=named,
        holder=holder,
        twin=want.user_name_key in twins and want.wanted.value in _SOMEBODY,
    )


def _side(row: Any, start: int) -> CurrentAccount | None:
    return None if row[start] is None else _account(row, start)


def _seen_twin(row: Any) -> Pair:
    """Somebody who was found in step: what Okta wants of them is what the account has."""
    account = _account(row, 1)
    want = Want(
        okta_id=account.okta_id or "",
        external_id=None,
        user_name=account.user_name,
        user_name_key=account.user_name_key,
        email=account.email_key,
        email_key=account.email_key,
        wanted=Wanted.ACTIVE,
        row=DesiredRow.LIVE,
        mapped=account.mapped,
        unsaid=0,
        read_at=moment(row[0]),
    )
    return Pair(want=want, bound=account, holder=account, twin=True)


def _want(row: Any) -> Want:
    return Want(
        okta_id=row[0],
        external_id=row[1],
        user_name=row[2],
        user_name_key=row[3],
        email=row[4],
        email_key=row[5],
        wanted=_WANTED[row[6]],
        row=_ROW[row[7]],
        mapped=row[8],
        unsaid=row[9],
        sync_error=bool(row[10]),
        read_at=_moment(row[11]),
    )


def _account(row: Any, start: int) -> CurrentAccount:
    (key, user_name, user_name_key, email_key, okta_id, origin, protected, active, suspended, role, mapped, version) = (
        row[start : start + len(_ACCOUNT)]
    )
    return CurrentAccount(
        id=key,
        user_name=user_name,
        user_name_key=user_name_key,
        email_key=email_key,
        okta_id=okta_id,
        origin=_ORIGIN[origin],
        protected=bool(protected),
        active=bool(active),
        suspended=bool(suspended),
        role=_ROLE[role],
        mapped=mapped,
        version=version,
    )


def _wants() -> list[Any]:
    return [_s.c[name] for name in _WANT]


def _accounts(*sides: FromClause) -> list[Any]:
    return [side.c[name].label(f"{side.name}_{name}") for side in sides for name in _ACCOUNT]  # type: ignore[attr-defined]


def _pairs() -> tuple[Select[Any], FromClause, FromClause, FromClause]:
    bound, named, holder = users.alias("b"), users.alias("n"), users.alias("h")
    joined = (
        _s.outerjoin(bound, bound.c.okta_id == _s.c.okta_id)
        .outerjoin(named, named.c.id == _other_than(bound.c.id, _s.c.external_id))
        .outerjoin(holder, holder.c.user_name_key == _other_than(bound.c.user_name_key, _s.c.user_name_key))
    )
    return select(*_wants(), *_accounts(bound, named, holder)).select_from(joined), bound, named, holder


def _other_than(own: ColumnElement[Any], key: ColumnElement[Any]) -> ColumnElement[Any]:
    """The key to look an account up by, nothing where it is the bound one's: that account is there already."""
    return case((own.is_distinct_from(key), key))


def _equal(bound: FromClause) -> Any:
    """1 where nothing can differ. It reads the sweep's row and the bound account alone: the other two joins are spared."""
    equal = and_(
        _s.c.wanted.in_([literal_column(f"'{wanted}'") for wanted in _SOMEBODY]),
        bound.c.active == true(),
        bound.c.origin != literal_column("'local'"),
        bound.c.user_name_key == _s.c.user_name_key,
        bound.c.email_key == _s.c.email_key,
        bound.c.mapped == _s.c.mapped,
        or_(_s.c.external_id.is_(None), _s.c.external_id == bound.c.id),
    )
    return case((equal, literal_column("1")), else_=literal_column("0"))


def _differing_pairs() -> Select[Any]:
    statement, bound, named, holder = _pairs()
    lives = or_(*(or_(side.c.active == true(), side.c.suspended == true()) for side in (bound, named, holder)))
    is_open = case(
        (_s.c.wanted != literal_column("'inactive'"), literal_column("1")),
        (lives, literal_column("1")),
        else_=literal_column("0"),
    )
    told: list[Any] = [literal_column(f"'{wanted}'") for wanted in (*_SOMEBODY, Wanted.INACTIVE.value)]
    return statement.where(_s.c.wanted.in_(told), _equal(bound) == literal_column("0"), is_open == literal_column("1"))


def _in_step_twins() -> Select[Any]:
    """Those of a twin key that differing leaves out."""
    statement, bound, _, _ = _pairs()
    return statement.where(
        _s.c.user_name_key == bindparam("key", type_=_s.c.user_name_key.type), _equal(bound) == literal_column("1")
    )


def _twin_names() -> CompoundSelect[Any]:
    """The keys that two of those have who are wanted; of two who were found in step none does."""
    holder, seen = users.alias("h"), sweep_rows.alias("o")
    wanted = _s.c.wanted.in_([literal_column(f"'{wanted}'") for wanted in _SOMEBODY])
    among = select(_s.c.user_name_key).where(wanted).group_by(_s.c.user_name_key)
    beside = (
        select(_s.c.user_name_key)
        .join_from(_s, holder, holder.c.user_name_key == _s.c.user_name_key)
        .join(seen, and_(seen.c.okta_id == holder.c.okta_id, seen.c.wanted.is_(None)))
        .where(wanted)
    )
    return union(among.having(func.count() > literal_column("1")), beside)


def _twins_found_in_step() -> Select[Any]:
    account = users.alias("b")
    return (
        select(_s.c.read_at, *_accounts(account))
        .join_from(_s, account, account.c.okta_id == _s.c.okta_id)
        .where(_s.c.wanted.is_(None), account.c.user_name_key == bindparam("key"))
    )


def _absentees() -> Select[Any]:
    account, inner = users.alias("a"), users.alias("i")
    seen = exists(select(_s.c.okta_id).where(_s.c.okta_id == inner.c.okta_id))
    named = select(_s.c.external_id).where(_s.c.external_id.is_not(None))
    called = select(_s.c.user_name_key).where(_s.c.user_name_key.is_not(None))
    # Two indexes in the same order; the rows themselves are read for the few that are left.
    not_seen = select(inner.c.seq).where(inner.c.okta_id.is_not(None), ~seen)
    unbound = select(inner.c.seq).where(inner.c.okta_id.is_(None), inner.c.origin == literal_column("'linked'"))
    return (
        select(*_accounts(account))
        .where(
            or_(account.c.seq.in_(not_seen), account.c.seq.in_(unbound)),
            or_(account.c.active == true(), account.c.suspended == true()),
            or_(
                account.c.okta_id.is_not(None), and_(account.c.id.not_in(named), account.c.user_name_key.not_in(called))
            ),
        )
        .order_by(account.c.user_name_key)
    )


_twin_keys = Fixed(_twin_names())
_differing = Fixed(_differing_pairs())
_twins = Fixed(_in_step_twins())
_seen_twins = Fixed(_twins_found_in_step())
_absent = Fixed(_absentees())


class LocalAccount(Struct, frozen=True, kw_only=True):
    id: str
    user_name: str
    protected: bool


def only_local(conn: Connection, limit: int) -> tuple[int, list[LocalAccount]]:
    """How many active local accounts no app user of the sweep means, and the first ``limit`` of them by userName.

    ``conn`` is that of ``Staging.snapshot``.
    """
    named = select(sweep_rows.c.external_id).where(sweep_rows.c.external_id.is_not(None))
    called = select(sweep_rows.c.user_name_key).where(sweep_rows.c.user_name_key.is_not(None))
    inner = users.alias("i")
    unmanaged = (inner.c.origin == "local") | ((inner.c.origin == "okta") & inner.c.okta_id.is_(None))
    found = (
        select(users.c.id, users.c.user_name, users.c.protected)
        .where(
            users.c.hidden == false(),
            users.c.active == true(),
            # Few, and found by one scan: in the order of the names each account would be fetched by itself.
            users.c.seq.in_(select(inner.c.seq).where(unmanaged)),
            users.c.id.not_in(named),
            users.c.user_name_key.not_in(called),
        )
        .order_by(users.c.user_name_key)
    )
    # One scan where they are few, as they usually are.
    first = [as_struct(LocalAccount, row) for row in conn.execute(found.limit(limit + 1))]
    if len(first) <= limit:
        return len(first), first
    return conn.execute(select(func.count()).select_from(found.subquery())).scalar_one(), first[:limit]
