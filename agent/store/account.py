"""The account row: the lock that every guarded write takes first, counters, pins and brakes. No rules."""

from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection, bindparam, select, update

from agent.model.errors import OtherMapping
from agent.model.mapping import Mapping, deviations
from agent.store.connect import Fixed, read, remembered, write_later, write_now
from agent.store.tables import account as table


class Account(Struct, frozen=True, kw_only=True):
    """One row, read whole."""

    instance: str
    #: Accounts that are managed and active; active owners; accounts that SCIM shows.
    managed_active: int
    active_owners: int
    visible: int
    org_id: str | None
    app_id: str | None
    app_label: str | None
    pinned_at: datetime | None
    pinned_by: str | None
    #: Of the mapping that every agent on this database has; None: of whoever comes first.
    mapping_hash: str | None
    #: Its text (model.mapping.Mapping.text), how many there were, and how far users.mapped was rebuilt for it (None: all of it).
    mapping: str | None
    mapping_version: int
    mapping_seq: int | None
    #: Why this database is not to be trusted (a restored copy); None when it is.
    distrust: str | None
    paused_at: datetime | None
    paused_by: str | None
    paused_reason: str | None
    last_good_sweep: datetime | None
    last_good_people: int | None
    journal_block: int
    journal_hash: str

    @property
    def pinned(self) -> bool:
        return self.org_id is not None

    @property
    def paused(self) -> bool:
        return self.paused_at is not None


#: Differences that an error names.
_NAMED = 3
_columns = [table.c[name] for name in Account.__struct_fields__]
_get = Fixed(select(*_columns))
_lock = Fixed(select(*_columns).with_for_update())
_count = Fixed(
    update(table).values(
        managed_active=table.c.managed_active + bindparam("managed_active"),
        active_owners=table.c.active_owners + bindparam("active_owners"),
        visible=table.c.visible + bindparam("visible"),
    )
)
_visible = Fixed(select(table.c.visible))
_LOCKED = "account"


def touch(conn: Connection) -> None:
    """Write the row as it is: a try whether anything can be written."""
    conn.execute(update(table).values(instance=table.c.instance))


def get(conn: Connection) -> Account:
    write_now(conn, _write_counts)
    return _read(_get(conn).fetchone())


def lock(conn: Connection) -> Account:
    """The row, locked until the transaction ends (a SQLite write transaction is that lock already)."""
    here = remembered(conn)
    row: Account | None = here.get(_LOCKED)
    if row is None:
        write_now(conn, _write_counts)
        here.clear()  # what was read without the lock may be old
        row = here[_LOCKED] = _read(_lock(conn).fetchone())
    return row


def changed(conn: Connection) -> None:
    """Whoever locks it next in this transaction reads it again."""
    remembered(conn).pop(_LOCKED, None)


def _read(row: Any) -> Account:
    return read(Account, row, times=("pinned_at", "paused_at", "last_good_sweep"))


def visible(conn: Connection) -> int:
    write_now(conn, _write_counts)
    return int(_visible(conn).fetchone()[0])


def count(conn: Connection, *, managed_active: int = 0, active_owners: int = 0, visible: int = 0) -> None:
    """Add to the counters; called by the guarded write alone."""
    if not (managed_active or active_owners or visible):
        return
    here = remembered(conn)
    row: Account | None = here.get(_LOCKED)
    if row is not None:
        here[_LOCKED] = replace(
            row,
            managed_active=row.managed_active + managed_active,
            active_owners=row.active_owners + active_owners,
            visible=row.visible + visible,
        )
    write_later(conn, _write_counts, (managed_active, active_owners, visible))


def _write_counts(conn: Connection, counts: list[tuple[int, int, int]]) -> None:
    managed_active, active_owners, visible = map(sum, zip(*counts, strict=True))
    _count(conn, managed_active=managed_active, active_owners=active_owners, visible=visible)


def recount(conn: Connection, *, managed_active: int, active_owners: int, visible: int) -> None:
    """What was counted anew; writes go on from there."""
    now = get(conn)
    if (now.managed_active, now.active_owners, now.visible) != (managed_active, active_owners, visible):
        change(conn, managed_active=managed_active, active_owners=active_owners, visible=visible)


def change(conn: Connection, **values: Any) -> None:
    """These columns; what they mean is the caller's."""
    changed(conn)
    conn.execute(update(table).values(**values))


def pin(conn: Connection, *, org_id: str, app_id: str, app_label: str, actor: str, now: datetime) -> None:
    """From now on this account belongs to that org and app."""
    change(conn, org_id=org_id, app_id=app_id, app_label=app_label, pinned_at=now, pinned_by=actor)


def pause(conn: Connection, *, actor: str, reason: str, now: datetime) -> None:
    change(conn, paused_at=now, paused_by=actor, paused_reason=reason)


def resume(conn: Connection) -> None:
    change(conn, paused_at=None, paused_by=None, paused_reason=None)


def set_mapping(conn: Connection, mapping: Mapping, version: int) -> None:
    """What users.mapped holds is of another one from now on, until it was rebuilt."""
    change(conn, mapping_hash=mapping.hash, mapping=mapping.text, mapping_version=version, mapping_seq=0)


def require_mapping(row: Account, mapping: Mapping) -> None:
    """OtherMapping where the database has another one: two that differ would undo each other's work for ever."""
    if row.mapping_hash in (None, mapping.hash):
        return
    found = deviations(mapping.text, row.mapping or "{}")
    more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    raise OtherMapping(
        f"The database has another mapping (version {row.mapping_version}) than these settings: "
        f"{'; '.join(found[:_NAMED])}{more}. Nothing was changed. Use the settings that the other agents have, or give the "
        "database these: opshelm-agent config apply"
    )


def good_sweep(conn: Connection, *, at: datetime, people: int) -> None:
    """A complete sweep that may be compared with; ``people`` is how many it saw."""
    change(conn, last_good_sweep=at, last_good_people=people)
