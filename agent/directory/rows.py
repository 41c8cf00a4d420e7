"""Directory users as rows of ``users``, both ways, the mapping that the rows are built with, and the transaction that a write is
part of. The statements of the hot path; no rules.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import zip_longest
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    bindparam,
    delete,
    false,
    insert,
    or_,
    select,
    true,
    type_coerce,
    union_all,
    update,
)

from agent.directory.port import Identity, WriteContext
from agent.model.mapping import Mapping
from agent.model.structs import decoder
from agent.model.users import DirectoryUser, Origin, Profile, Role, ShownUser, identity_key
from agent.settings import GuardSettings, PolicySettings, ReceiverSettings, Settings
from agent.store import account, journal
from agent.store.account import Account
from agent.store.connect import Fixed, micros, moment, remembered, write_later, write_now
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.tables import UtcTime, user_emails, users


class Policy(Struct, frozen=True, kw_only=True):
    """What the guarded write goes by, made once from the settings."""

    guard: GuardSettings = GuardSettings()
    policy: PolicySettings = PolicySettings()
    receiver: ReceiverSettings = ReceiverSettings()
    mapping: Mapping
    #: An operator may give and take the owner role; a remote's is given there alone.
    sets_roles: bool = True
    #: False: nobody can tell who the last owner is.
    owners_known: bool = True
    #: False: accounts have no e-mails there, so that none has to equal the userName.
    has_emails: bool = True

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        return cls(
            guard=settings.guard, policy=settings.policy, receiver=settings.receiver, mapping=Mapping(settings.mapping)
        )


class WriteScope(NamedTuple):
    """One write inside a transaction that has locked the account row: who writes and why, when, and by which policy."""

    conn: Connection
    #: The account row as it is by now in this transaction.
    row: Account
    context: WriteContext
    now: datetime
    policy: Policy

    @classmethod
    def locked(cls, conn: Connection, context: WriteContext, now: datetime, policy: Policy) -> "WriteScope":
        return cls(conn, locked_account(conn, policy), context, now, policy)


def locked_account(conn: Connection, policy: Policy) -> Account:
    """The account row, locked; OtherMapping where somebody has changed the mapping, for what is written now would be wrong."""
    row = account.lock(conn)
    account.require_mapping(row, policy.mapping)
    return row


_encode = msgspec.json.Encoder().encode
_decode = decoder(Profile)
_ROLES = {role.value: role for role in Role}
_ORIGINS = {origin.value: origin for origin in Origin}

_NAMES = (
    *("seq", "id", "user_name", "profile", "active", "created", "updated", "okta_id", "role", "origin", "protected"),
    *("suspended", "hidden", "deactivated", "version"),
)
#: What a DirectoryUser is read from, in order; select these where a statement has a shape of its own.
COLUMNS = [users.c[name] for name in _NAMES]


def _raw(columns: Iterable[Column[Any]]) -> list[ColumnElement[Any]]:
    """For Connection.execute: times stay as the driver gives them, as decode wants them."""
    return [type_coerce(column, BigInteger) if isinstance(column.type, UtcTime) else column for column in columns]


RAW = _raw(COLUMNS)
#: What a ShownUser is read from.
SHOWN = _raw(users.c[name] for name in ShownUser.__struct_fields__)

_IDS = tuple(f"id{n}" for n in range(32))
_by_ids = Fixed(select(*COLUMNS).where(users.c.id.in_([bindparam(name) for name in _IDS])))
_IDENTITIES: tuple[Identity, ...] = ("id", "user_name_key", "okta_id")
_by = {name: Fixed(select(*COLUMNS).where(users.c[name] == bindparam("value"))) for name in _IDENTITIES}
_shown_by = {
    name: Fixed(select(*SHOWN).where(users.c[name] == bindparam("value"), users.c.hidden == false()))
    for name in _IDENTITIES
}
_after = Fixed(select(*COLUMNS).where(users.c.seq > bindparam("seq")).order_by(users.c.seq).limit(bindparam("count")))
_shown = users.c.hidden == false()
_page = Fixed(
    select(*SHOWN)
    .where(
        _shown,
        # The index on (hidden, seq) counts off what comes before the page; the rows themselves are not touched.
        users.c.seq
        >= select(users.c.seq)
        .where(_shown)
        .order_by(users.c.seq)
        .limit(1)
        .offset(bindparam("offset"))
        .scalar_subquery(),
    )
    .order_by(users.c.seq)
    .limit(bindparam("count"))
)
_holders = Fixed(
    union_all(
        select(*RAW).where(or_(users.c.user_name_key == bindparam("key"), users.c.okta_id == bindparam("okta_id"))),
        select(*RAW)
        .select_from(user_emails.join(users, users.c.seq == user_emails.c.user_seq))
        .where(
            user_emails.c.value_key == bindparam("email_key"),
            users.c.email_key == bindparam("email_key"),
            users.c.active == true(),
        ),
    )
)

#: Each of these is in an index; writing one that has not changed would write its index again.
_IDENTITY = ("user_name_key", "okta_id", "hidden")
_DETAILS = ("given_name", "family_name", "display_name", "profile", "mapped")
_PROFILE = ("user_name", "email_key", *_DETAILS)
_STATE = ("origin", "protected", "active", "suspended", "role", "version", "updated", "deactivated")
_VALUES = (*_IDENTITY, *_PROFILE, *_STATE)
_new: dict[str, Any] = {name: bindparam(name) for name in ("id", "created", *_VALUES)}
_insert = Fixed(insert(users).inline().values(_new))
_insert_returning = Fixed(insert(users).values(_new).returning(users.c.seq))


def _updating(*names: str) -> Fixed:
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    return Fixed(update(users).where(users.c.id == bindparam("key_id")).values(values))


#: By what changed: identity, profile.
_updates = {
    (False, False): _updating(*_STATE),
    (False, True): _updating(*_STATE, *_PROFILE),
    (True, False): _updating(*_STATE, *_IDENTITY),
    (True, True): _updating(*_VALUES),
}
_update_details = _updating("version", "updated", *_DETAILS)
#: Accounts that were read for what is written next, by id.
_AHEAD = "accounts ahead"
_move = _updating("id")
_EMAIL = ("user_seq", "position", "value", "value_key", "type", "is_primary")
_insert_email = Fixed(insert(user_emails).inline().values({name: bindparam(name) for name in _EMAIL}))
_delete_emails = Fixed(delete(user_emails).where(user_emails.c.user_seq == bindparam("seq")))
_seq = Fixed(select(users.c.seq).where(users.c.id == bindparam("id")))


def decode(row: Any) -> DirectoryUser:
    """A row of COLUMNS, as the driver gave it."""
    return DirectoryUser(
        id=row[1],
        user_name=row[2],
        profile=_decode(row[3]),
        active=bool(row[4]),
        created=moment(row[5]),
        updated=moment(row[6]),
        okta_id=row[7],
        role=_ROLES[row[8]],
        origin=_ORIGINS[row[9]],
        protected=bool(row[10]),
        suspended=bool(row[11]),
        hidden=bool(row[12]),
        deactivated=None if row[13] is None else moment(row[13]),
        version=row[14],
    )


def shown(row: Any) -> ShownUser:
    """A row of SHOWN."""
    user_id, user_name, profile, active, created, updated, okta_id, version = row
    made = moment(created)
    changed = made if updated == created else moment(updated)
    return ShownUser(user_id, user_name, profile.encode(), bool(active), made, changed, okta_id, version)


def find(conn: Connection, by: Identity, value: str) -> DirectoryUser | None:
    row = _by[by](conn, value=value).fetchone()
    return None if row is None else decode(row)


def current(conn: Connection, user_id: str) -> DirectoryUser | None:
    """The account as it is in this transaction, by its id; what was read ahead is taken once."""
    read: dict[str, DirectoryUser] | None = remembered(conn).get(_AHEAD)
    if read is not None and user_id in read:
        return read.pop(user_id)
    _write_waiting(conn)
    return find(conn, "id", user_id)


@contextmanager
def ahead(conn: Connection, ids: Sequence[str]) -> Iterator[None]:
    """These accounts are read in few statements, and what is changed of their details is written at the end; none given: no help.

    Until then nobody but ``current`` reads an account's details in this transaction.
    """
    if not ids:
        yield
        return
    found: dict[str, DirectoryUser] = {}
    for start in range(0, len(ids), len(_IDS)):
        named = dict(zip_longest(_IDS, ids[start : start + len(_IDS)]))
        found |= {row[1]: decode(row) for row in _by_ids(conn, **named).fetchall()}
    remembered(conn)[_AHEAD] = found
    try:
        yield
    finally:
        remembered(conn).pop(_AHEAD, None)
    _write_waiting(conn)


def _write_waiting(conn: Connection) -> None:
    write_now(conn, _update_details.many)


def show(conn: Connection, by: Identity, value: str) -> ShownUser | None:
    row = _shown_by[by](conn, value=value).fetchone()
    return None if row is None else shown(row)


def holders(conn: Connection, key: str | None, okta_id: str | None, email_key: str | None) -> list[DirectoryUser]:
    """Whoever has that userName key, that externalId, or is active with that primary e-mail; in one look."""
    return [decode(row) for row in _holders(conn, key=key, okta_id=okta_id, email_key=email_key).fetchall()]


def after(conn: Connection, seq: int, count: int) -> tuple[int, list[DirectoryUser]]:
    """The next accounts behind ``seq``, hidden ones too, and where to go on."""
    rows = _after(conn, seq=seq, count=count).fetchall()
    return (rows[-1][0] if rows else seq), [decode(row) for row in rows]


def page(conn: Connection, offset: int, count: int) -> list[ShownUser]:
    """One page of what SCIM shows."""
    return [shown(row) for row in _page(conn, offset=offset, count=count).fetchall()]


def insert_user(conn: Connection, user: DirectoryUser, mapping: Mapping) -> int:
    """Answers the row's ``seq``."""
    values = _whole(user, mapping)
    if conn.dialect.name == "sqlite":
        # The driver knows the number; RETURNING would cost a quarter of the insert.
        seq = _insert(conn, **values).lastrowid
    else:
        seq = _insert_returning(conn, **values).fetchone()[0]
    for email in _emails(seq, user):
        _insert_email(conn, **email)
    return int(seq)


def insert_users(conn: Connection, several: Sequence[DirectoryUser], mapping: Mapping) -> dict[str, int]:
    """Together, in few statements; answers each row's ``seq`` by its id."""
    _insert.together(conn, [_whole(user, mapping) for user in several])
    made = select(users.c.id, users.c.seq).where(users.c.id.in_([user.id for user in several]))
    seqs: dict[str, int] = {row.id: row.seq for row in conn.execute(made)}
    _insert_email.together(conn, [email for user in several for email in _emails(seqs[user.id], user)])
    return seqs


def update_details(conn: Connection, user: DirectoryUser, mapping: Mapping) -> None:
    """``update_user`` where nothing but the profile has changed, and no e-mail; among many that were read ahead written at their end."""
    values = {
        "key_id": user.id,
        "version": user.version,
        "updated": micros(user.updated),
        **_details(user.profile, mapping),
    }
    if _AHEAD in remembered(conn):
        write_later(conn, _update_details.many, values)
    else:
        _update_details(conn, **values)


def update_user(conn: Connection, before: DirectoryUser, user: DirectoryUser, mapping: Mapping) -> None:
    """Write what may have changed since ``before``."""
    values = _state(user)
    renamed = before.user_name != user.user_name
    # A change of case alone is none of the key, and a mirrored account may be without its name.
    identity = not before.same_name(user) or before.okta_id != user.okta_id or before.hidden is not user.hidden
    profile = renamed or before.profile != user.profile
    if identity:
        values |= _identity(user)
    if profile:
        values |= _profile(user, mapping)
    if before.id != user.id:
        _move(conn, key_id=before.id, id=user.id)
    values["key_id"] = user.id
    emails = before.profile.emails != user.profile.emails
    _updates[identity, profile](conn, **values)
    if emails:
        seq = _seq(conn, id=user.id).fetchone()[0]
        _delete_emails(conn, seq=seq)
        for email in _emails(seq, user):
            _insert_email(conn, **email)


def _whole(user: DirectoryUser, mapping: Mapping) -> dict[str, Any]:
    made = {"id": user.id, "created": micros(user.created)}
    return {**made, **_identity(user), **_profile(user, mapping), **_state(user)}


def _identity(user: DirectoryUser) -> dict[str, Any]:
    return {"user_name_key": user.user_name_key, "okta_id": user.okta_id, "hidden": user.hidden}


def _profile(user: DirectoryUser, mapping: Mapping) -> dict[str, Any]:
    return {"user_name": user.user_name, "email_key": user.email_key, **_details(user.profile, mapping)}


def _details(profile: Profile, mapping: Mapping) -> dict[str, Any]:
    name = profile.name
    return {
        "given_name": name.given_name if name else None,
        "family_name": name.family_name if name else None,
        "display_name": profile.display_name,
        "profile": _encode(profile).decode(),
        "mapped": mapping.project(profile),
    }


def _state(user: DirectoryUser) -> dict[str, Any]:
    return {
        "origin": str(user.origin),
        "protected": user.protected,
        "active": user.active,
        "suspended": user.suspended,
        "role": str(user.role),
        "version": user.version,
        "updated": micros(user.updated),
        "deactivated": None if user.deactivated is None else micros(user.deactivated),
    }


def _emails(seq: int, user: DirectoryUser) -> list[dict[str, Any]]:
    return [
        {
            "user_seq": seq,
            "position": position,
            "value": email.value,
            "value_key": None if email.value is None else identity_key(email.value),
            "type": email.type,
            "is_primary": bool(email.primary),
        }
        for position, email in enumerate(user.profile.emails)
    ]


# The mapping that the rows are built with

_REBUILT_AT_ONCE = 500
_project = Fixed(update(users).where(users.c.id == bindparam("key")).values(mapped=bindparam("mapped")))


def require_mapping(store: Store, mapping: Mapping) -> None:
    """The database's mapping is this one, or OtherMapping; a database without any takes it.

    All agents on a database have the same mapping, and ``users.mapped`` is built with it.
    """
    with store.read() as conn:
        row = account.get(conn)
    if row.mapping_hash is None:
        store.write(lambda conn: _take_mapping(conn, mapping, None))
        rebuild(store, mapping)
    else:
        account.require_mapping(row, mapping)


def change_mapping(store: Store, mapping: Mapping, by: Signature) -> int | None:
    """Make it the database's; answers its version, or None where it is that already. The rows are not rebuilt yet.

    It holds for every write from its first transaction on. Whoever is killed before all rows are rebuilt is followed by the
    next sweep, which does the rest before it compares.
    """
    return store.write(lambda conn: _take_mapping(conn, mapping, by))


def rebuild(store: Store, mapping: Mapping) -> int:
    """Build ``mapped`` of the accounts that are left anew, page by page, so that pushes wait for one page at most; answers how many."""
    done = 0
    while count := store.write(lambda conn: _rebuild_page(conn, mapping)):
        done += count
    return done


def _take_mapping(conn: Connection, mapping: Mapping, by: Signature | None) -> int | None:
    row = account.lock(conn)
    if row.mapping_hash == mapping.hash:
        return None
    if row.mapping_hash is not None and by is None:
        account.require_mapping(row, mapping)
    version = row.mapping_version + 1
    account.set_mapping(conn, mapping, version)
    if by is not None:
        why = by.reason or f"version {version}"
        journal.note(conn, "mapping", by, reason=why, before=row.mapping, after=mapping.text)
    return version


def _rebuild_page(conn: Connection, mapping: Mapping) -> int:
    row = account.lock(conn)
    account.require_mapping(row, mapping)
    if row.mapping_seq is None:
        return 0
    seq, found = after(conn, row.mapping_seq, _REBUILT_AT_ONCE)
    projected = [{"key": user.id, "mapped": mapping.project(user.profile)} for user in found]
    if projected:
        _project.many(conn, projected)
    account.change(conn, mapping_seq=seq if found else None)
    return len(found)
