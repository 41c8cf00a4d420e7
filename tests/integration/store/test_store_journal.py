"""Sealed blocks: what is done to the journal behind the agent's back shows."""

import csv
import io
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import Connection, delete, func, select, update

from agent.settings import RetentionSettings
from agent.store import journal, retention, seal
from agent.store.engine import Store
from agent.store.tables import journal as table
from agent.store.tables import journal_blocks

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def write(store: Store, count: int = 1, **fields: object) -> None:
    def work(conn: Connection) -> None:
        for number in range(count):
            values = {"verb": "update", "actor": "key:1", "source": "push", "directory_id": f"user-{number}", **fields}
            journal.append(conn, journal.Entry(kind=journal.Kind.APPLIED, **values), NOW)

    store.write(work)


def verify(store: Store, head: str | None = None) -> seal.SealReport:
    with store.read() as conn:
        return seal.verify(conn, head=head)


def ids(store: Store) -> list[int]:
    with store.read() as conn:
        return list(conn.execute(select(table.c.id).order_by(table.c.id)).scalars())


@pytest.fixture
def sealed(store: Store) -> Store:
    """Three blocks of three rows, and two rows that wait."""
    for _ in range(3):
        write(store, 3)
        assert seal.seal(store, NOW) is not None
    write(store, 2)
    return store


def test_a_whole_chain_is_whole_and_says_what_is_not_sealed_yet(sealed: Store) -> None:
    report = verify(sealed)
    assert (report.problems, report.rows, report.blocks, report.unsealed) == ([], 11, 3, 2)


def test_sealing_nothing_makes_no_block(store: Store) -> None:
    assert seal.seal(store, NOW) is None
    assert verify(store).blocks == 0


def test_many_rows_become_several_blocks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "ROWS", 4)
    write(store, 10)
    block = seal.seal(store, NOW)
    assert block is not None
    assert (block.n, len(block.rows), verify(store).problems) == (3, 2, [])


@pytest.mark.parametrize("where", [4, -1])
def test_a_changed_row(sealed: Store, where: int) -> None:
    row = ids(sealed)[where]
    sealed.write(lambda conn: conn.execute(update(table).where(table.c.id == row).values(actor="somebody else")))
    assert any(f"row {row}" in problem and "was changed" in problem for problem in verify(sealed).problems)


def test_a_changed_row_with_its_hash_made_to_fit(sealed: Store) -> None:
    row = ids(sealed)[4]

    def forge(conn: Connection) -> None:
        fields = journal.Entry.__struct_fields__
        found = conn.execute(select(table).where(table.c.id == row)).one()._asdict() | {"actor": "somebody else"}
        digest = journal.row_hash(int(found["at"].timestamp() * 1_000_000), *(found[name] for name in fields))
        conn.execute(update(table).where(table.c.id == row).values(actor="somebody else", hash=digest))

    sealed.write(forge)
    assert verify(sealed).problems == ["block 2 doesn't match its rows: rows were swapped or replaced"]


def test_a_missing_row(sealed: Store) -> None:
    row = ids(sealed)[4]
    sealed.write(lambda conn: conn.execute(delete(table).where(table.c.id == row)))
    assert f"row {row} of block 2 is missing" in verify(sealed).problems


def test_two_swapped_rows(sealed: Store) -> None:
    one, two = ids(sealed)[3:5]

    def swap(conn: Connection) -> None:
        for old, new in ((one, -1), (two, one), (-1, two)):
            conn.execute(update(table).where(table.c.id == old).values(id=new))

    sealed.write(swap)
    assert verify(sealed).problems == ["block 2 doesn't match its rows: rows were swapped or replaced"]


def test_a_row_slipped_into_a_block(sealed: Store) -> None:
    row = ids(sealed)[-1]
    sealed.write(lambda conn: conn.execute(update(table).where(table.c.id == row).values(block=2)))
    assert "block 2 has 4 rows, but it was sealed with 3" in verify(sealed).problems


def test_a_missing_block(sealed: Store) -> None:
    def cut(conn: Connection) -> None:
        conn.execute(delete(table).where(table.c.block == 2))
        conn.execute(delete(journal_blocks).where(journal_blocks.c.n == 2))

    sealed.write(cut)
    assert "block 2 is missing" in verify(sealed).problems


def test_a_cut_off_end(sealed: Store) -> None:
    def cut(conn: Connection) -> None:
        conn.execute(delete(table).where(table.c.block == 3))
        conn.execute(delete(journal_blocks).where(journal_blocks.c.n == 3))

    sealed.write(cut)
    assert verify(sealed).problems == ["the newest block is 2, but block 3 was sealed: the end was cut off"]


def test_an_end_cut_off_with_its_trace_differs_from_the_log(sealed: Store) -> None:
    from agent.store import account

    head = verify(sealed).head

    def cut(conn: Connection) -> None:
        conn.execute(delete(table).where(table.c.block == 3))
        conn.execute(delete(journal_blocks).where(journal_blocks.c.n == 3))
        last = conn.execute(select(journal_blocks.c.hash).where(journal_blocks.c.n == 2)).scalar_one()
        account.change(conn, journal_block=2, journal_hash=last)

    sealed.write(cut)
    assert verify(sealed).problems == []
    assert verify(sealed, head).problems == [
        "block 3 is not the one that the log names: the journal was cut off and written anew"
    ]


def test_export_filters_and_pages(store: Store) -> None:
    write(store, 5, after='{"active":false}')
    rows = list(seal.export(store.read, page_size=2))
    assert [row["directory_id"] for row in rows] == [f"user-{n}" for n in range(5)]
    assert (rows[0]["after"], rows[0]["at"]) == ({"active": False}, "2026-11-24T12:00:00+00:00")
    assert [row["id"] for row in seal.export(store.read, directory_id="user-3")] == [rows[3]["id"]]
    assert [row["id"] for row in seal.export(store.read, after=rows[3]["id"])] == [rows[4]["id"]]


def test_an_export_to_somebody_slow_is_whole_and_holds_nothing_open(store: Store) -> None:
    write(store, 6)
    before = ids(store)
    export = seal.export(store.read, page_size=2)
    taken = [next(export)["id"]]
    write(store, 3)
    assert nothing_open(store)
    assert taken + [row["id"] for row in export] == before


def nothing_open(store: Store) -> bool:
    if store.dialect == "sqlite":
        # All of the log can be folded in only where nobody reads an older state.
        with store.engine.connect() as conn:
            return conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0] == 0
    # PostgreSQL ends a transaction that is idle for long.
    idle = "state LIKE 'idle in transaction%%' AND datname = current_database() AND pid <> pg_backend_pid()"
    with store.read() as conn:
        return not conn.exec_driver_sql(f"SELECT pid FROM pg_stat_activity WHERE {idle}").all()


@pytest.mark.parametrize("start", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1"])
def test_no_csv_cell_starts_a_formula(sqlite_store: Store, start: str) -> None:
    write(sqlite_store, 1, reason=start)
    text = "".join(seal.csv_lines(seal.export(sqlite_store.read)))
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["reason"] == f"'{start}"


def test_old_blocks_go_only_once_they_are_exported(sealed: Store, tmp_path) -> None:
    later = NOW + timedelta(days=3)
    write(sealed, 1)
    assert retention.keep_within(sealed, RetentionSettings(journal=timedelta(days=1)), later) == 0
    kept = RetentionSettings(journal=timedelta(days=1), export_dir=str(tmp_path / "old"))
    assert retention.keep_within(sealed, kept, later) == 3
    lines = (tmp_path / "old" / "journal-00000001.jsonl").read_bytes().splitlines()
    assert [msgspec.json.decode(line)["directory_id"] for line in lines] == ["user-0", "user-1", "user-2"]
    report = verify(sealed)
    assert (report.problems, report.rows, report.unsealed) == ([], 3, 3)
    assert seal.seal(sealed, later) is not None
    assert verify(sealed).problems == []


def test_a_folder_that_can_not_be_written_deletes_nothing(sealed: Store, tmp_path) -> None:
    from agent.model.errors import StoreError

    (tmp_path / "file").write_text("")
    kept = RetentionSettings(journal=timedelta(days=1), export_dir=str(tmp_path / "file"))
    with pytest.raises(StoreError, match="Nothing was deleted"):
        retention.keep_within(sealed, kept, NOW + timedelta(days=3))
    with sealed.read() as conn:
        assert conn.execute(select(func.count()).select_from(table)).scalar_one() == 11


def test_two_sealers_make_one_chain(store: Store) -> None:
    write(store, 6)
    futures = [store.submit(lambda conn: seal.seal_in(conn, NOW)) for _ in range(4)]
    blocks = [future.result(60) for future in futures]
    assert [block is None for block in blocks] == [False, True, True, True]
    assert verify(store).problems == []
