"""Blocks of the journal: seal what came, find what was changed since, export, let go of what is old.

A block holds the ids of its rows, and its hash covers these, the rows' own hashes and the previous block's hash. Rows are
named one by one and not as a range, for a transaction that commits late may have taken a low id. The newest block's number
and hash are kept in the account row too, and in the log, so that a cut-off end shows.

=========================  ===========================================================================
what was done to it        how verify sees it
=========================  ===========================================================================
a row's contents changed   its own hash differs; with a new row hash, the block's
a row is missing           the block names it
two rows were swapped      the block holds ids with hashes
a row was slipped in       it says that it is in a block that doesn't name it
a block is missing         the numbers have a gap, and the next one's ``previous`` has no match
the end was cut off        the account row knows a later block
=========================  ===========================================================================
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Connection, func, insert, select, update

from agent.model import csv_text
from agent.model.structs import decoder
from agent.store import account, former_ids
from agent.store.attention import batched
from agent.store.connect import equal, micros
from agent.store.engine import Store
from agent.store.journal import Entry, row_hash
from agent.store.tables import journal, journal_blocks

#: Rows in one block: as many as one transaction should touch.
ROWS = 5000
_ids = decoder(list[int])
_FIELDS = Entry.__struct_fields__
_COLUMNS = [journal.c.id, journal.c.at, *(journal.c[name] for name in _FIELDS), journal.c.hash, journal.c.block]


class Block(Struct, frozen=True, kw_only=True):
    n: int
    rows: tuple[int, ...]
    hash: str


class SealReport(Struct, frozen=True, kw_only=True):
    """What verify found. ``head``: number and hash of the newest block, to compare with the log's."""

    problems: list[str]
    rows: int
    blocks: int
    unsealed: int
    head: str


def seal(store: Store, now: datetime, *, fence: int | None = None) -> Block | None:
    """Seal everything that waits; answers the newest block, None where nothing waited."""
    last = None
    while (block := store.write(lambda conn: seal_in(conn, now, fence=fence))) is not None:
        last = block
        if len(block.rows) < ROWS:
            break
    return last


def seal_in(conn: Connection, now: datetime, *, fence: int | None = None) -> Block | None:
    """One block of what waits, oldest first. The account's lock keeps two sealers apart."""
    from agent.store import lease

    head = account.lock(conn)
    if fence is not None:
        lease.check(conn, fence)
    waiting = select(journal.c.id, journal.c.hash).where(journal.c.block.is_(None)).order_by(journal.c.id).limit(ROWS)
    rows = [(row.id, row.hash) for row in conn.execute(waiting)]
    if not rows:
        return None
    n = head.journal_block + 1
    ids = tuple(row[0] for row in rows)
    digest = _block_hash(n, head.journal_hash, rows)
    conn.execute(
        insert(journal_blocks).values(
            n=n, sealed_at=now, rows=msgspec.json.encode(ids).decode(), previous=head.journal_hash, hash=digest
        )
    )
    # Late ones with a low id may lie between the first and the last: the ids say which rows are meant.
    for some in batched(ids):
        conn.execute(update(journal).where(journal.c.id.in_(some)).values(block=n))
    account.change(conn, journal_block=n, journal_hash=digest)
    return Block(n=n, rows=ids, hash=digest)


def verify(conn: Connection, *, head: str | None = None) -> SealReport:
    """Check every row and every block. ``head``: a line of the log to hold against ("N HASH"). Changes nothing."""
    row = account.get(conn)
    problems: list[str] = []
    previous, number, rows = "", 0, 0
    known = {}
    for block in conn.execute(select(journal_blocks).order_by(journal_blocks.c.n)):
        if block.n != number + 1:
            problems.append(f"block {number + 1} is missing")
        if block.previous != previous and block.n == number + 1:
            problems.append(f"block {block.n} doesn't follow block {number}")
        number, previous = block.n, block.hash
        known[block.n] = block.hash
        if block.exported_to is None:
            found, wrong = _check_block(conn, block)
            rows += found
            problems += wrong
    if (row.journal_block, row.journal_hash) != (number, previous):
        problems.append(f"the newest block is {number}, but block {row.journal_block} was sealed: the end was cut off")
    problems += _strays(conn, known)
    if head is not None:
        problems += _against(head, known)
    unsealed, wrong = _check_unsealed(conn)
    return SealReport(
        problems=problems + wrong,
        rows=rows + unsealed,
        blocks=number,
        unsealed=unsealed,
        head=f"{number} {previous}".strip(),
    )


def unsealed(conn: Connection) -> int:
    """How many rows no block holds yet."""
    return conn.execute(select(func.count()).where(journal.c.block.is_(None))).scalar() or 0


def _check_block(conn: Connection, block: Any) -> tuple[int, list[str]]:
    ids = _ids(block.rows)
    problems: list[str] = []
    hashes: list[tuple[int, str]] = []
    for some in batched(ids):
        found = {row.id: row for row in conn.execute(select(*_COLUMNS).where(journal.c.id.in_(some)))}
        for key in some:
            row = found.get(key)
            if row is None:
                problems.append(f"row {key} of block {block.n} is missing")
                continue
            if _hash(row) != row.hash:
                problems.append(f"row {key} of block {block.n} was changed")
            if row.block != block.n:
                problems.append(f"row {key} no longer says that it is in block {block.n}")
            hashes.append((key, row.hash))
    if not problems and _block_hash(block.n, block.previous, hashes) != block.hash:
        problems.append(f"block {block.n} doesn't match its rows: rows were swapped or replaced")
    return len(hashes), problems


def _strays(conn: Connection, known: dict[int, str]) -> list[str]:
    """Rows that say they are in a block that doesn't name them."""
    problems = []
    counts = select(journal.c.block, func.count()).where(journal.c.block.is_not(None)).group_by(journal.c.block)
    for number, count in conn.execute(counts):
        named = conn.execute(select(journal_blocks.c.rows).where(journal_blocks.c.n == number)).scalar()
        size = 0 if named is None else len(_ids(named))
        if number not in known or count > size:
            problems.append(f"block {number} has {count} rows, but it was sealed with {size}")
    return problems


def _against(head: str, known: dict[int, str]) -> list[str]:
    number, _, digest = head.partition(" ")
    if not number.isdigit() or not digest:
        return [f"{head!r} is no head such as '12 HASH'"]
    if known.get(int(number)) != digest:
        return [f"block {number} is not the one that the log names: the journal was cut off and written anew"]
    return []


def _check_unsealed(conn: Connection) -> tuple[int, list[str]]:
    count, problems = 0, []
    for row in conn.execute(select(*_COLUMNS).where(journal.c.block.is_(None)).order_by(journal.c.id)):
        count += 1
        if _hash(row) != row.hash:
            problems.append(f"row {row.id}, not sealed yet, was changed")
    return count, problems


def _hash(row: Any) -> str:
    return row_hash(micros(row.at), *(getattr(row, name) for name in _FIELDS))


def _block_hash(n: int, previous: str, rows: list[tuple[int, str]]) -> str:
    return hashlib.sha256(msgspec.json.encode((n, previous, rows))).hexdigest()


# Export


def export(
    read: Callable[[], AbstractContextManager[Connection]],
    *,
    after: int = 0,
    directory_id: str | None = None,
    block: int | None = None,
    page_size: int = 1000,
) -> Iterator[dict[str, Any]]:
    """Rows as JSON-ready dicts, oldest first: those that there are at the start.

    Each page is a read of its own, so that whoever takes them may take their time: no snapshot is held open meanwhile, which
    PostgreSQL would end, and for which SQLite would keep its log.
    """
    wanted = equal(journal, block=block)
    with read() as conn:
        newest = conn.execute(select(func.max(journal.c.id))).scalar() or 0
        if directory_id is not None:
            wanted.append(former_ids.mine(conn, directory_id))
    while True:
        page = select(*_COLUMNS).where(journal.c.id > after, journal.c.id <= newest, *wanted)
        with read() as conn:
            rows = conn.execute(page.order_by(journal.c.id).limit(page_size)).all()
        for row in rows:
            yield _as_dict(row)
        if len(rows) < page_size:
            return
        after = rows[-1].id


def csv_lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """The same as CSV with a header line; no cell can start a formula in a spreadsheet."""
    return csv_text.lines(["id", "at", *_FIELDS, "hash", "block"], rows)


def _as_dict(row: Any) -> dict[str, Any]:
    values = row._asdict()
    values["at"] = row.at.isoformat()
    for name in ("before", "after"):
        values[name] = None if values[name] is None else msgspec.json.decode(values[name])
    return dict(values)
