"""The two listings that a sweep compares: what Okta showed, and (for a remote directory) what the directory showed.

Rows are keyed by the sweep's run; a sweep that died leaves rows that nobody reads again. Comparing is in compare.py.
Somebody who is listed twice (the list moved while it was paged) counts once, as seen last.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, func, select

from agent.model.cases import Account, Want
from agent.store.statement import driver, micros
from agent.store.tables import directory_rows, sweep_rows


def add_sweep_rows(conn: Connection, sweep: int, wants: Iterable[Want]) -> None:
    """One page of app users, projected. ``want.wanted`` and ``want.row`` are kept as their values."""
    _add(conn, sweep_rows, [_sweep_row(sweep, want) for want in wants])


def add_directory_rows(conn: Connection, sweep: int, accounts: Iterable[Account]) -> None:
    """One page of a remote directory."""
    _add(conn, directory_rows, [_directory_row(sweep, account) for account in accounts])


def people(conn: Connection, sweep: int) -> int:
    """How many people the sweep saw."""
    return conn.execute(select(func.count()).where(sweep_rows.c.sweep == sweep)).scalar_one()


def counted(conn: Connection, sweep: int) -> dict[str, int]:
    """How many of them for each wanted state."""
    groups = (
        select(sweep_rows.c.wanted, func.count())
        .where(sweep_rows.c.sweep == sweep)
        .group_by(sweep_rows.c.wanted)
    )
    return {row[0]: row[1] for row in conn.execute(groups)}


def clear(conn: Connection, sweep: int, *, at_most: int = 20_000) -> int:
    """Delete rows of this sweep and of older ones; call it until it answers 0, each in its own transaction."""
    return sum(
        _clear(conn, table, key, sweep, at_most)
        for table, key in ((sweep_rows, sweep_rows.c.okta_id), (directory_rows, directory_rows.c.id))
    )


def _clear(conn: Connection, table: Table, key: Any, sweep: int, at_most: int) -> int:
    newest = conn.execute(select(func.max(table.c.sweep))).scalar()
    if newest is None:
        return 0
    if conn.dialect.name == "sqlite" and newest <= sweep:
        # Without a condition SQLite gives the pages back as they are, however many rows there are.
        conn.execute(delete(table))
        return 0
    return conn.execute(_oldest(table, key, sweep, at_most)).rowcount


def _oldest(table: Table, key: Any, sweep: int, at_most: int) -> Any:
    first = select(func.min(table.c.sweep)).where(table.c.sweep <= sweep).scalar_subquery()
    some = select(key).where(table.c.sweep == first).limit(at_most)
    return delete(table).where(table.c.sweep == first, key.in_(some))


def _sweep_row(sweep: int, want: Want) -> tuple[Any, ...]:
    return (
        sweep,
        want.okta_id,
        want.external_id,
        want.user_name,
        want.user_name_key,
        want.email,
        want.email_key,
        want.wanted.value,
        want.row.value,
        want.mapped,
        want.cleared,
        want.sync_error,
        micros(want.read_at),
    )


def _directory_row(sweep: int, account: Account) -> tuple[Any, ...]:
    return (
        sweep,
        account.id,
        account.user_name,
        account.user_name_key,
        account.email_key,
        account.okta_id,
        account.origin.value,
        account.protected,
        account.active,
        account.suspended,
        account.role.value,
        account.mapped,
        account.version,
    )


def _add(conn: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    names = ", ".join(f'"{column.name}"' for column in table.c)
    if conn.dialect.name == "sqlite":
        places = ", ".join("?" * len(table.c))
        driver(conn).executemany(f"INSERT OR REPLACE INTO {table.name} ({names}) VALUES ({places})", rows)
    else:
        _copy(driver(conn), table, names, rows)


def _copy(raw: Any, table: Table, names: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """COPY can't replace, so it goes through a temporary table; the last of two equal keys wins there too."""
    keys = [column.name for column in table.primary_key]
    rows = list({row[:2]: row for row in rows}.values())
    page = f"page_of_{table.name}"
    raw.execute(f"CREATE TEMPORARY TABLE IF NOT EXISTS {page} (LIKE {table.name}) ON COMMIT DELETE ROWS")
    raw.execute(f"TRUNCATE {page}")
    with raw.cursor().copy(f"COPY {page} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)
    news = ", ".join(f'"{c.name}" = excluded."{c.name}"' for c in table.c if c.name not in keys)
    raw.execute(
        f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {page} "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {news}"
    )
