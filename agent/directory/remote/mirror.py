"""The accounts of a remote as rows of ``users``: what was seen of them last, joined with what the agent alone keeps. No calls.

============  ===================================================================================================
of the user   comes from
============  ===================================================================================================
okta_id       the link, once a sweep, a push or an operator made one; else the externalId at the remote, unless several
              accounts have it or an operator has unlinked this one
origin        the row; else local: an externalId that no sweep or push of this agent confirmed binds nothing yet
role          the remote's roles, where it shows any; else directory.owners
version       the row's own: it grows with every change that was seen
marks         protected, suspended, hidden, deactivated: the row
all the rest  the remote
============  ===================================================================================================

======================================  ===========================================================================
what shows an account                   is believed
======================================  ===========================================================================
a read by id                            unless the row was written since the read began; then it is read again
a list or a search, which may lag       unless the agent wrote the account less than ``LAG`` ago and nobody wrote after it;
                                        roles in any case
any of them, while a call on it is      no: only the outcome of that call writes the row
open
a whole list that leaves it out         the row goes; what the agent keeps of it waits in ``departed`` for its return
======================================  ===========================================================================

UserNames and externalIds are unique in ``users``, and a remote's need not be. Of several accounts whose userNames differ in case
alone, the one that is linked has the name; where none is, nobody has it, and nobody guesses. Who has no name there is known by
id alone until a listing shows that it is free again.
"""

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    delete,
    false,
    func,
    insert,
    literal_column,
    or_,
    select,
    true,
    update,
)

from agent.directory import guarded, rows
from agent.directory.remote.wire import EPOCH, Problem, RemoteAccount
from agent.directory.rows import Policy, locked_account
from agent.model.errors import UsageError
from agent.model.structs import decoder
from agent.model.users import DirectoryUser, Origin, Role, identity_key
from agent.store import account as account_row
from agent.store import holds, intents
from agent.store.attention import batched
from agent.store.connect import Fixed, driver, micros, moment
from agent.store.engine import Store
from agent.store.intents import Intent
from agent.store.tables import MANAGED, departed, mirror, users

#: How long the agent's own last write outweighs a list that shows something older.
LAG = timedelta(minutes=10)
#: Before a key that its account has no right to at the moment.
_NAMELESS = "#nameless "


class Beside(Struct, frozen=True, kw_only=True):
    """Of one account, what ``users`` has no column for."""

    digest: int | None = None
    etag: str | None = None
    external_id: str | None = None
    detached: bool = False
    shows_owner: bool | None = None
    written: datetime | None = None

    @classmethod
    def of(
        cls,
        account: RemoteAccount,
        row: "Mirrored | None" = None,
        *,
        etag: str | None = None,
        detached: bool = False,
        digest: int | None = None,
    ) -> "Beside":
        """As an answer has shown it."""
        return cls(
            digest=digest,
            etag=etag or account.etag,
            external_id=account.okta_id,
            detached=detached,
            shows_owner=account.owner,
            written=None if row is None else row.beside.written,
        )


class Mirrored(NamedTuple):
    seq: int
    user: DirectoryUser
    beside: Beside


class Marks(NamedTuple):
    """What the agent alone keeps of an account."""

    okta_id: str | None = None
    detached: bool = False
    origin: Origin = Origin.LOCAL
    protected: bool = False
    suspended: bool = False
    hidden: bool = False
    deactivated: datetime | None = None

    @classmethod
    def of(cls, user: DirectoryUser, *, detached: bool) -> "Marks":
        return cls(user.okta_id, detached, user.origin, user.protected, user.suspended, user.hidden, user.deactivated)


class Known(NamedTuple):
    """What is known of one account before it is read, as of one moment."""

    row: Mirrored | None
    marks: Marks
    owner_keys: Collection[str]
    #: Calls on it whose outcome isn't known.
    waiting: list[Intent]


class Taken(Struct, frozen=True, kw_only=True):
    """What a call that is open counts as having taken away: of managed active accounts, of active owners."""

    managed_active: bool = False
    active_owners: bool = False

    def give_back(self, conn: Connection) -> None:
        account_row.count(conn, managed_active=self.managed_active, active_owners=self.active_owners)


class _Open(Struct):
    """Of an intent's body."""

    taken: Taken = Taken()


_open = decoder(_Open)


def join(account: RemoteAccount, marks: Marks, owner_keys: Collection[str], *, version: int = 1) -> DirectoryUser:
    """``owner_keys``: directory.owners as identity keys; none where the remote shows roles."""
    owner = account.owner
    if owner is None:
        owner = bool(owner_keys) and identity_key(account.user_name) in owner_keys
    okta_id = marks.okta_id
    if not marks.detached and (okta_id is None or marks.origin is Origin.LOCAL):
        okta_id = account.okta_id
    return DirectoryUser(
        id=account.id,
        user_name=account.user_name,
        profile=account.profile,
        active=account.active,
        created=account.created,
        updated=account.updated,
        deactivated=None if account.active else marks.deactivated,
        okta_id=okta_id,
        role=Role.OWNER if owner else Role.MEMBER,
        origin=marks.origin,
        protected=marks.protected,
        suspended=marks.suspended and not account.active,
        hidden=marks.hidden and not account.active,
        version=version,
    )


def same(one: DirectoryUser, other: DirectoryUser) -> bool:
    """But for the version, and when the remote last wrote it."""
    return replace(one, version=other.version, updated=other.updated, created=other.created) == other


class Mirror:
    """Thread-safe. ``policy`` changes when settings are renewed."""

    def __init__(self, store: Store, policy: Policy, owners: Collection[str]) -> None:
        self.store = store
        self.renew(policy, owners)
        with store.read() as conn:
            if conn.execute(_foreign).first() is not None:
                raise UsageError(
                    "This database holds an OpsHelm of its own (directory.backend = sql). For a remote one the agent needs a "
                    "database that holds none: set database.url to another one. Nothing was changed."
                )

    def renew(self, policy: Policy, owners: Collection[str]) -> None:
        self.policy = policy
        self._owner_keys = frozenset(map(identity_key, owners))

    # Looking

    def known(self, user_id: str) -> Known:
        with self.store.read() as conn:
            return Known(*before(conn, user_id), self.owner_keys(conn), intents.open_on(conn, user_id))

    def owner_keys(self, conn: Connection) -> Collection[str]:
        """Who counts as an owner where an account shows no roles; nobody where the remote shows some, for then those count."""
        return () if self._owner_keys and shows_owners(conn) else self._owner_keys

    def owners_known(self, conn: Connection) -> bool:
        """By the remote's own roles, else by the setting: where neither is there, any deactivation may take the last one away."""
        return bool(self._owner_keys) or shows_owners(conn)

    def digests(self) -> dict[str, int]:
        """By account, of what a listing last showed of it, where its row says just that."""
        with self.store.read() as conn:
            return dict(_digests(conn))

    # What was seen

    def take(self, account: RemoteAccount, etag: str | None, known: Known) -> DirectoryUser | None:
        """A read by id that began when so much was ``known``; None where the row was written since: read it again."""
        user = self._joined(account, known.row, known.marks, known.owner_keys)
        row = known.row
        if known.waiting or (row is not None and user == row.user and etag == row.beside.etag):
            return user

        def work(conn: Connection) -> DirectoryUser | None:
            locked_account(conn, self.policy)
            now = get(conn, account.id)
            if (now and now.user) != (row and row.user) or intents.open_on(conn, account.id):
                return None
            digest = row.beside.digest if row is not None and same(user, row.user) else None
            beside = Beside.of(account, now, etag=etag, detached=known.marks.detached, digest=digest)
            seen = self.put(conn, now, user, beside)
            _count(conn, [(row and row.user, seen)])
            return seen

        return self.store.write(work)

    def listed(
        self, accounts: Sequence[RemoteAccount], since: datetime, digests: Mapping[str, int] | None = None
    ) -> list[DirectoryUser]:
        """From a list or a search. ``since``: what the agent wrote later outweighs it."""

        def work(conn: Connection) -> list[DirectoryUser]:
            locked_account(conn, self.policy)
            owner_keys, busy = self.owner_keys(conn), intents.open_ids(conn)
            seen: list[tuple[DirectoryUser | None, DirectoryUser]] = []
            new = {} if digests is None else self._added(conn, accounts, owner_keys, digests, busy)
            for account in accounts:
                if account.id in new:
                    seen.append((None, new[account.id]))
                    continue
                row, marks = before(conn, account.id)
                user = self._joined(account, row, marks, owner_keys)
                if account.id in busy:
                    seen.append((row and row.user, user if row is None else row.user))
                elif row is not None and _lags(row, user, since):
                    # Roles change without a call of the agent, who wrote all else.
                    changed = user.role is not row.user.role
                    user = replace(row.user, role=user.role, version=row.user.version + changed)
                    user = self.put(conn, row, user, replace(row.beside, shows_owner=account.owner))
                    seen.append((row.user, user))
                else:
                    digest = None if digests is None else digests[account.id]
                    beside = Beside.of(account, row, detached=marks.detached, digest=digest)
                    seen.append((row and row.user, self.put(conn, row, user, beside)))
            _count(conn, [(old, new) for old, new in seen if new.id not in busy])
            return [user for _, user in seen]

        return self.store.write(work) if accounts else []

    def _added(
        self,
        conn: Connection,
        accounts: Sequence[RemoteAccount],
        owner_keys: Collection[str],
        digests: Mapping[str, int],
        busy: Collection[str],
    ) -> dict[str, DirectoryUser]:
        """Those that nobody knows yet and whose names nobody has, written together: a first listing has few others."""
        by_id = {account.id: account for account in accounts if account.id not in busy}
        for table, column in (("users", "id"), ("departed", "directory_id")):
            for user_id in _held(conn, table, column, by_id):
                by_id.pop(user_id, None)
        version = _first_version()
        new = {user_id: join(account, Marks(), owner_keys, version=version) for user_id, account in by_id.items()}
        for column in ("user_name_key", "okta_id"):
            names = {user_id: name for user_id, user in new.items() if (name := getattr(user, column)) is not None}
            times = Counter([*names.values(), *_held(conn, "users", column, names.values())])
            new = {user_id: user for user_id, user in new.items() if times[names.get(user_id)] <= 1}
        if not new:
            return {}
        seqs = rows.insert_users(conn, [*new.values()], self.policy.mapping)
        shown = {user_id: Beside.of(by_id[user_id], digest=digests[user_id]) for user_id in new}
        _insert.together(conn, [{"user_seq": seqs[user_id], **_values(one)} for user_id, one in shown.items()])
        return new

    def _joined(
        self, account: RemoteAccount, row: Mirrored | None, marks: Marks, owner_keys: Collection[str]
    ) -> DirectoryUser:
        user = join(account, marks, owner_keys, version=1 if row is None else row.user.version)
        if row is None:
            return user
        if marks.origin is Origin.LOCAL and row.beside.external_id == account.okta_id:
            # Several have it, or nobody else: as the last whole listing showed.
            user = replace(user, okta_id=row.user.okta_id)
        # Not all that shows an account says when it was made and written.
        created = row.user.created if user.created == EPOCH else user.created
        updated = row.user.updated if user.updated == EPOCH else user.updated
        version = row.user.version + (not same(user, row.user))
        return replace(user, created=created, updated=updated, version=version)

    def put(self, conn: Connection, row: Mirrored | None, user: DirectoryUser, beside: Beside) -> DirectoryUser:
        """The row as it is from now on; counts nothing."""
        if row is None:
            user, had_name = _free(conn, replace(user, version=_first_version()), returns=True)
            seq = rows.insert_user(conn, user, self.policy.mapping)
            _yield_name(conn, user, had_name)
            _insert(conn, user_seq=seq, **_values(beside))
            forget(conn, id=user.id)
            return user
        old, had_name = row.user, None
        if (old.user_name_key, old.okta_id, old.hidden) != (user.user_name_key, user.okta_id, user.hidden):
            # These are written together, and a row may be without its name.
            user, had_name = _free(conn, user)
        if user != old:
            rows.update_user(conn, old, user, self.policy.mapping)
        _yield_name(conn, user, had_name)
        if user.created != old.created:
            _update_created(conn, id=user.id, created=micros(user.created))
        if beside != row.beside:
            _update(conn, key_seq=row.seq, **_values(beside))
        return user

    def depart(self, gone: Sequence[str]) -> None:
        """Accounts that a read by id didn't find, while a search finds others."""
        if gone:
            self.store.write(lambda conn: self._depart(conn, gone))

    def _depart(self, conn: Connection, gone: Sequence[str]) -> None:
        locked_account(conn, self.policy)
        busy = intents.open_ids(conn)
        for user_id in gone:
            row, marks = before(conn, user_id)
            if row is None or user_id in busy:
                continue
            forget(conn, id=user_id)
            if marks._replace(okta_id=None) != Marks():
                # It waits for the account's return.
                conn.execute(insert(departed).values({**marks._asdict(), "directory_id": user_id}))
            drop(conn, row)

    # A whole listing

    def unseen(self, seen: Collection[str]) -> set[str]:
        """Accounts but for these, which a listing has just shown."""
        with self.store.read() as conn:
            # Each of them has a row, unless a call on it is open.
            if not intents.open_ids(conn) and _number(conn).fetchone()[0] == len(seen):
                return set()
            return {row[0] for row in _ids(conn) if row[0] not in seen}

    def written_since(self, since: datetime, among: Collection[str]) -> list[DirectoryUser]:
        with self.store.read() as conn:
            ids = [row[0] for row in _written(conn, since=micros(since)).fetchall() if row[0] in among]
            return [row.user for user_id in ids if (row := get(conn, user_id)) is not None]

    def in_use(self, among: Collection[str]) -> list[str]:
        """Of these, the active accounts of Okta's people."""
        with self.store.read() as conn:
            return [user_id for (user_id,) in _in_use(conn) if user_id in among] if among else []

    def written_as(self, user_name_key: str, since: datetime) -> str | None:
        """The account that the agent has given this userName since then."""
        with self.store.read() as conn:
            found = _written_as(conn, key=user_name_key, since=micros(since)).fetchone()
        return None if found is None else str(found[0])

    def seen_as(self, attribute: str, value: str) -> str | None:
        """The account with this userName (its key) or externalId."""
        mine = users.c.user_name_key if attribute == "userName" else mirror.c.external_id
        with self.store.read() as conn:
            wanted = select(users.c.id).select_from(_both).where(mine == value).order_by(users.c.seq).limit(1)
            return conn.execute(wanted).scalar()

    def linked(self, user_ids: Sequence[str]) -> dict[str, str]:
        """Okta id by account, where there is a link."""
        with self.store.read() as conn:
            return {user_id: okta_id for user_id in user_ids if (okta_id := before(conn, user_id)[1].okta_id)}

    def close(self, gone: Sequence[str]) -> list[Problem]:
        """After a whole listing; ``gone``: who is in it no more. Answers whose externalId or userName others have too."""

        def work(conn: Connection) -> list[Problem]:
            self._depart(conn, gone)
            nameless, unlinked, owners = _recount(conn)
            shared = _named_again(conn) if nameless else []
            contested = _contested(conn) if unlinked else []
            if self._set_roles(conn, any_now=owners > 0):
                _recount(conn)
            return [*contested, *shared]

        return self.store.write(work)

    def _set_roles(self, conn: Connection, *, any_now: bool) -> bool:
        """As the setting or the roles of the whole listing say; an account alone can't tell which of them counts. Whether any changed."""
        keys = self.owner_keys(conn)
        named = users.c.user_name_key.in_(keys) & mirror.c.shows_owner.is_(None)
        wanted = select(users.c.seq).select_from(_both).where(named if keys else mirror.c.shows_owner)
        owners = set(conn.execute(wanted).scalars())
        now = set(conn.execute(select(users.c.seq).where(_owns)).scalars()) if any_now else set()
        for seqs, role in ((owners - now, Role.OWNER), (now - owners, Role.MEMBER)):
            for seq in seqs:
                changed = {"role": role.value, "version": users.c.version + 1}
                conn.execute(update(users).where(users.c.seq == seq).values(changed))
        return owners != now


# Statements

_MORE = Beside.__struct_fields__
_columns = [*rows.COLUMNS, *(mirror.c[name] for name in _MORE)]
_both = users.join(mirror, mirror.c.user_seq == users.c.seq)
_get = Fixed(select(*_columns).select_from(_both).where(users.c.id == bindparam("id")))
_ids = Fixed(select(users.c.id))
_digests = Fixed(select(users.c.id, mirror.c.digest).select_from(_both).where(mirror.c.digest.is_not(None)))
_in_use = Fixed(select(users.c.id).where(users.c.active, MANAGED))
_number = Fixed(select(func.count()).select_from(users))
_written = Fixed(select(users.c.id).select_from(_both).where(mirror.c.written >= bindparam("since")))
_written_as = Fixed(
    select(users.c.id)
    .select_from(_both)
    .where(users.c.user_name_key == bindparam("key"), mirror.c.written >= bindparam("since"))
)
_insert = Fixed(insert(mirror).inline().values({name: bindparam(name) for name in ("user_seq", *_MORE)}))
_update = Fixed(
    update(mirror).where(mirror.c.user_seq == bindparam("key_seq")).values({name: bindparam(name) for name in _MORE})
)
_update_created = Fixed(update(users).where(users.c.id == bindparam("id")).values(created=bindparam("created")))
_marks = Fixed(select(*(departed.c[name] for name in Marks._fields)).where(departed.c.directory_id == bindparam("id")))
#: What was kept of an account that has no row.
forget = Fixed(delete(departed).where(departed.c.directory_id == bindparam("id")))
_nameless: ColumnElement[str] = literal_column(f"'{_NAMELESS}'") + users.c.id
_give_up_name = Fixed(
    update(users)
    .where(users.c.user_name_key == bindparam("key"), users.c.id != bindparam("id"))
    .values(user_name_key=_nameless)
    .returning(users.c.id, users.c.okta_id)
)
_take_name = Fixed(update(users).where(users.c.id == bindparam("id")).values(user_name_key=bindparam("key")))
_give_up_okta_id = Fixed(update(users).where(users.c.id == bindparam("id")).values(okta_id=None))
_shown_owner = Fixed(select(mirror.c.user_seq).where(mirror.c.shows_owner).limit(1))
_owns = users.c.role == Role.OWNER.value
_unlinked = users.c.origin == Origin.LOCAL.value
_foreign = select(users.c.seq).where(users.c.seq.not_in(select(mirror.c.user_seq))).limit(1)


def get(conn: Connection, user_id: str) -> Mirrored | None:
    found = _get(conn, id=user_id).fetchone()
    if found is None:
        return None
    digest, etag, external_id, detached, shows_owner, written = found[-len(_MORE) :]
    beside = Beside(
        digest=digest,
        etag=etag,
        external_id=external_id,
        detached=bool(detached),
        shows_owner=None if shows_owner is None else bool(shows_owner),
        written=None if written is None else moment(written),
    )
    return Mirrored(found[0], rows.decode(found), beside)


def _held(conn: Connection, table: str, column: str, values: Collection[str]) -> set[str]:
    """Of these, whatever some row has there."""
    # json_each has columns of its own, an id among them.
    wanted, given = f"{table}.{column}", [*values]
    if conn.dialect.name == "sqlite":
        # A join, since IN would sort them first, which takes as long again.
        sql = f"SELECT {wanted} FROM json_each(?) CROSS JOIN {table} WHERE {wanted} = value"
        return {row[0] for row in driver(conn).execute(sql, [msgspec.json.encode(given).decode()])}
    return {row[0] for row in driver(conn).execute(f"SELECT {wanted} FROM {table} WHERE {wanted} = ANY(%s)", [given])}


def before(conn: Connection, user_id: str) -> tuple[Mirrored | None, Marks]:
    """The account's row, and what the agent alone keeps of it, where it has none too."""
    row = get(conn, user_id)
    if row is not None:
        return row, Marks.of(row.user, detached=row.beside.detached)
    found = _marks(conn, id=user_id).fetchone()
    if found is None:
        return None, Marks()
    okta_id, detached, origin, protected, suspended, hidden, deactivated = found
    return None, Marks(
        okta_id,
        bool(detached),
        Origin(origin),
        bool(protected),
        bool(suspended),
        bool(hidden),
        None if deactivated is None else moment(deactivated),
    )


def shows_owners(conn: Connection) -> bool:
    """Whether the remote's own roles call anybody an owner."""
    return _shown_owner(conn).fetchone() is not None


def owners(conn: Connection) -> Sequence[str]:
    return conn.execute(select(users.c.id).where(_owns)).scalars().all()


def linked_to(conn: Connection, okta_id: str) -> list[str]:
    """The accounts that belong to this Okta user as far as is known: one that is there, and such as no listing shows."""
    row = rows.find(conn, "okta_id", okta_id)
    away = conn.execute(select(departed.c.directory_id).where(departed.c.okta_id == okta_id)).scalars()
    return [*([] if row is None else [row.id]), *away]


def drop(conn: Connection, row: Mirrored) -> None:
    holds.pass_on(conn, row.user.id, row.user.okta_id, row.user.user_name)
    # What is beside it, and its e-mails, go with it.
    conn.execute(delete(users).where(users.c.seq == row.seq))
    _count(conn, [(row.user, None)])


def _count(conn: Connection, changes: Sequence[tuple[DirectoryUser | None, DirectoryUser | None]]) -> None:
    account_row.count(
        conn,
        managed_active=sum(guarded.managed_active(new) - guarded.managed_active(old) for old, new in changes),
        active_owners=sum(guarded.active_owner(new) - guarded.active_owner(old) for old, new in changes),
        visible=sum(guarded.visible(new) - guarded.visible(old) for old, new in changes),
    )


def _values(beside: Beside) -> dict[str, Any]:
    written = None if beside.written is None else micros(beside.written)
    return {**msgspec.structs.asdict(beside), "written": written}


def _first_version() -> int:
    """Of a row that may have been there before: never one that it had then."""
    return time.time_ns() // 1_000_000 % 0x3FFF_FFFF + 1


def _lags(row: Mirrored, shown: DirectoryUser, since: datetime) -> bool:
    """The agent's own write, which a list doesn't show yet; nobody wrote after it."""
    written = row.beside.written
    return written is not None and written >= since and shown.updated <= row.user.updated


def _free(
    conn: Connection, user: DirectoryUser, *, returns: bool = False
) -> tuple[DirectoryUser, tuple[str, str | None] | None]:
    """``user`` with names that no other row has by then, who was linked has the externalId; and who had the userName until now: its
    id and Okta id.

    ``returns``: it had no row, and takes no link of somebody else's.
    """
    had_name = next(iter(_give_up_name(conn, key=user.user_name_key, id=user.id).fetchall()), None)
    other = None if user.okta_id is None else rows.find(conn, "okta_id", user.okta_id)
    if other is None or other.id == user.id:
        return user, had_name
    if user.origin is Origin.LOCAL or (returns and other.managed):
        return replace(user, okta_id=None), had_name
    _give_up_okta_id(conn, id=other.id)
    return user, had_name


def _yield_name(conn: Connection, user: DirectoryUser, had_name: tuple[str, str | None] | None) -> None:
    """Nobody but who is linked has a name that was somebody else's."""
    if had_name is not None and user.okta_id is None:
        _give_up_name(conn, key=user.user_name_key, id="")
        if had_name[1] is not None:
            _take_name(conn, key=user.user_name_key, id=had_name[0])


def _named_again(conn: Connection) -> list[Problem]:
    """Names that are free, or of one linked account, go to that; answers who has none."""
    mine = select(users.c.id, users.c.user_name, users.c.okta_id)
    groups: dict[str, list[Any]] = {}
    for row in conn.execute(mine.where(users.c.user_name_key.startswith(_NAMELESS)).order_by(users.c.seq)).all():
        groups.setdefault(identity_key(row.user_name), []).append(row)
    without: list[Problem] = []
    for key, parked in groups.items():
        holders = list(conn.execute(mine.where(users.c.user_name_key == key)).all())
        linked = [one for one in (*holders, *parked) if one.okta_id is not None]
        alone = not holders and len(parked) == 1
        heir = linked[0] if linked else parked[0] if alone else None
        _give_up_name(conn, key=key, id="" if heir is None else heir.id)
        if heir is not None:
            _take_name(conn, key=key, id=heir.id)
        detail = "another account of OpsHelm has this userName too, but for its case; rename one of them there"
        shared = [one for one in (*holders, *parked) if one is not heir]
        without += [Problem(id=o.id, login=o.user_name, detail=detail, duplicate=True, shared=True) for o in shared]
    return without


def _contested(conn: Connection) -> list[Problem]:
    """An externalId that several accounts have binds only the one that a link confirms."""
    unlinked = (_unlinked, mirror.c.detached == false(), mirror.c.external_id.is_not(None))
    several = (select(mirror.c.external_id).select_from(_both).where(*unlinked).group_by(mirror.c.external_id)).having(
        func.count() > 1
    )
    owner = users.alias("o")
    linked = select(owner.c.okta_id).where(owner.c.okta_id.is_not(None), owner.c.origin != Origin.LOCAL.value)
    shared = or_(mirror.c.external_id.in_(several), mirror.c.external_id.in_(linked))
    wanted = (
        select(users.c.id, users.c.user_name, mirror.c.external_id)
        .select_from(_both)
        .where(*unlinked, shared)
        .order_by(users.c.seq)
    )
    has = "another account of OpsHelm has the externalId {} too, so it says nothing; correct it there"
    found = [
        Problem(id=user_id, login=name, okta_id=okta_id, detail=has.format(okta_id), duplicate=True)
        for user_id, name, okta_id in conn.execute(wanted)
    ]
    for some in batched([one.id for one in found]):
        conn.execute(update(users).where(users.c.id.in_(some), users.c.okta_id.is_not(None)).values(okta_id=None))
    alone = select(users.c.id, mirror.c.external_id).select_from(_both).where(*unlinked, users.c.okta_id.is_(None))
    theirs = {one.id for one in found}
    for user_id, external_id in conn.execute(alone).all():
        if user_id not in theirs:
            conn.execute(update(users).where(users.c.id == user_id).values(okta_id=external_id))
    return found


def _recount(conn: Connection) -> tuple[int, int, int]:
    """A call that is under way counts as made, whatever the list shows. Answers what is rare, in the same look: how many have no
    name, are linked to nobody, own OpsHelm.
    """
    managed = or_(
        users.c.origin == Origin.LINKED.value, (users.c.origin == Origin.OKTA.value) & users.c.okta_id.is_not(None)
    )
    active, nameless = users.c.active == true(), users.c.user_name_key.startswith(_NAMELESS)
    counted = (managed & active, _owns & active, users.c.hidden == false(), nameless, _unlinked, _owns)
    numbers = select(*(func.count().filter(one) for one in counted)).select_from(users)
    managed_active, active_owners, visible, *rare = conn.execute(numbers).one()
    taken = [_open(intent.body).taken for intent in intents.open_intents(conn)]
    account_row.recount(
        conn,
        managed_active=managed_active - sum(one.managed_active for one in taken),
        active_owners=active_owners - sum(one.active_owners for one in taken),
        visible=visible,
    )
    return rare[0], rare[1], rare[2]
