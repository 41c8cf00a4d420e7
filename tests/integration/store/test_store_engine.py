"""Shared commits, snapshots, and what becomes of works that fail."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.engine import URL

from agent.model.errors import FenceLost, StoreError, StoreUnavailable
from agent.settings import DatabaseSettings
from agent.store import account
from agent.store.connect import driver, write_later, write_now
from agent.store.engine import Raised, Store
from agent.store.tables import cursors

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def add(name: str):
    def work(conn: Connection) -> int:
        conn.execute(insert(cursors).values(name=name, value="x", updated=NOW))
        return 1

    return work


def names(store: Store) -> set[str]:
    with store.read() as conn:
        return set(conn.execute(select(cursors.c.name)).scalars())


class Gate:
    """Holds the writer, so that what is submitted meanwhile shares the next transaction."""

    def __init__(self, store: Store) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.future = store.submit(self._work)
        assert self.entered.wait(60)

    def _work(self, conn: Connection) -> None:
        self.entered.set()
        assert self.open.wait(60)

    def release(self) -> None:
        self.open.set()
        self.future.result(60)


def test_works_that_wait_share_one_transaction(store: Store) -> None:
    seen: list[str] = []
    now = "pg_current_xact_id()::text" if store.dialect == "postgresql" else "'the same'"
    if store.dialect == "sqlite":
        store.write(lambda conn: driver(conn).set_trace_callback(seen.append))
    gate = Gate(store)

    def work(conn: Connection) -> str:
        return str(conn.execute(text(f"SELECT {now}")).scalar_one())

    futures = [store.submit(add("w1")), *(store.submit(work) for _ in range(5)), store.submit(add("w2"))]
    gate.release()
    assert len({future.result(60) for future in futures[1:-1]}) == 1
    assert names(store) == {"w1", "w2"}
    if store.dialect == "sqlite":
        store.write(lambda conn: driver(conn).set_trace_callback(None))
        # One for setting the trace, one for the gate, one for all that waited.
        assert seen.count("COMMIT") == 3


def test_an_expected_error_disturbs_nobody_else(store: Store) -> None:
    gate = Gate(store)

    def refuses(conn: Connection) -> None:
        raise FenceLost("no")

    futures = [store.submit(add("one")), store.submit(refuses), store.submit(add("two"))]
    gate.release()
    assert (futures[0].result(60), futures[2].result(60)) == (1, 1)
    with pytest.raises(FenceLost):
        futures[1].result(60)
    assert names(store) == {"one", "two"}


def test_an_unexpected_error_fails_its_own_work_alone(store: Store) -> None:
    gate = Gate(store)

    def breaks(conn: Connection) -> None:
        conn.execute(insert(cursors).values(name="half", value="x", updated=NOW))
        raise KeyError("a bug")

    futures = [store.submit(add("one")), store.submit(breaks), store.submit(add("two"))]
    gate.release()
    assert (futures[0].result(60), futures[2].result(60)) == (1, 1)
    with pytest.raises(KeyError):
        futures[1].result(60)
    assert names(store) == {"one", "two"}


def test_a_database_error_fails_its_own_work_alone_and_is_translated(store: Store) -> None:
    gate = Gate(store)
    futures = [
        store.submit(add("one")),
        store.submit(lambda conn: conn.execute(text("SELECT * FROM no_such_table"))),
        store.submit(add("two")),
    ]
    gate.release()
    assert (futures[0].result(60), futures[2].result(60)) == (1, 1)
    with pytest.raises(StoreError, match="no_such_table"):
        futures[1].result(60)
    assert names(store) == {"one", "two"}


def test_raised_keeps_what_was_written_and_raises(store: Store) -> None:
    def work(conn: Connection) -> Raised:
        add("kept")(conn)
        return Raised(FenceLost("no"))

    with pytest.raises(FenceLost):
        store.write(work)
    assert names(store) == {"kept"}


def test_what_raises_after_a_write_is_rolled_back_on_sqlite(sqlite_store: Store) -> None:
    def work(conn: Connection) -> None:
        add("half")(conn)
        raise FenceLost("too late")

    with pytest.raises(Exception, match="after a write"):
        sqlite_store.write(work)
    assert names(sqlite_store) == set()


def test_a_lost_unique_race_runs_once_more_and_sees_the_winner(store: Store) -> None:
    runs = []

    def work(conn: Connection) -> str:
        runs.append(1)
        found = conn.execute(select(cursors.c.value).where(cursors.c.name == "name")).scalar()
        if found is not None:
            return found
        if len(runs) == 1:
            # The other one commits between our look and our write: here, by writing the same row twice.
            conn.execute(insert(cursors).values(name="name", value="other", updated=NOW))
        conn.execute(insert(cursors).values(name="name", value="mine", updated=NOW))
        return "mine"

    assert store.write(work) == "mine"
    assert len(runs) >= 2
    assert names(store) == {"name"}


def leave(name: str):
    """A work whose row is written with those of the others, at the end."""

    def work(conn: Connection) -> None:
        write_later(conn, _write_names, name)

    return work


def _write_names(conn: Connection, left: list[str]) -> None:
    conn.execute(insert(cursors), [{"name": name, "value": str(len(left)), "updated": NOW} for name in left])


def test_what_works_leave_to_the_end_is_written_together(store: Store) -> None:
    gate = Gate(store)
    futures = [store.submit(leave("one")), store.submit(leave("two"))]
    gate.release()
    for future in futures:
        future.result(60)
    with store.read() as conn:
        assert {tuple(row) for row in conn.execute(select(cursors.c.name, cursors.c.value))} == {
            ("one", "2"),
            ("two", "2"),
        }


def test_who_reads_what_was_left_to_the_end_has_it_written_before(store: Store) -> None:
    gate = Gate(store)

    def counts(conn: Connection) -> int:
        write_now(conn, _write_names)
        return len(conn.execute(select(cursors.c.name)).all())

    futures = [store.submit(leave("one")), store.submit(counts), store.submit(leave("two"))]
    gate.release()
    assert futures[1].result(60) == 1
    futures[2].result(60)
    assert names(store) == {"one", "two"}


@pytest.mark.parametrize("error", [FenceLost("no"), ValueError("a mistake")], ids=["expected", "mistake"])
def test_who_leaves_a_row_and_raises_leaves_none(store: Store, error: Exception) -> None:
    gate = Gate(store)

    def leaves_and_raises(conn: Connection) -> None:
        leave("wrong")(conn)
        raise error

    futures = [store.submit(leave("one")), store.submit(leaves_and_raises), store.submit(leave("two"))]
    gate.release()
    for future in (futures[0], futures[2]):
        future.result(60)
    assert futures[1].exception(10) is not None
    assert names(store) == {"one", "two"}


def test_works_of_one_transaction_see_what_the_others_made_of_the_counters(store: Store) -> None:
    gate = Gate(store)

    def counts(conn: Connection) -> tuple[int, int]:
        before = account.lock(conn).visible
        account.count(conn, visible=2)
        return before, account.get(conn).visible

    futures = [store.submit(counts) for _ in range(3)]
    gate.release()
    assert [future.result(60) for future in futures] == [(0, 2), (2, 4), (4, 6)]


def test_one_statement_can_be_asked_alone(store: Store) -> None:
    store.write(add("one"))
    question = select(cursors.c.name)
    assert store.ask(lambda conn: conn.execute(question).scalars().all()) == ["one"]
    with pytest.raises(StoreError):
        store.ask(lambda conn: conn.execute(text("SELECT nothing FROM nowhere")))
    assert store.ask(lambda conn: conn.execute(question).scalars().all()) == ["one"]


def test_a_read_is_one_snapshot(store: Store) -> None:
    store.write(add("before"))
    with store.read() as conn:
        first = set(conn.execute(select(cursors.c.name)).scalars())
        store.write(add("after"))
        again = set(conn.execute(select(cursors.c.name)).scalars())
    assert first == again == {"before"}
    assert names(store) == {"before", "after"}


def test_a_cancelled_future_does_not_stop_the_writer(store: Store) -> None:
    gate = Gate(store)
    future = store.submit(add("one"))
    future.cancel()
    gate.release()
    assert store.write(add("two")) == 1


def test_a_work_can_not_wait_for_another(store: Store) -> None:
    with pytest.raises(RuntimeError, match="can't wait"):
        store.write(lambda conn: store.write(add("inner")))


def test_close_finishes_what_waits_and_refuses_what_comes(database: DatabaseSettings) -> None:
    store = Store.open(database)
    gate = Gate(store)
    waiting = store.submit(add("one"))
    closer = threading.Thread(target=store.close)
    closer.start()
    gate.release()
    closer.join(60)
    assert waiting.result(0) == 1
    with pytest.raises(StoreUnavailable, match="stopping"):
        store.submit(add("late")).result(0)


def test_a_lock_held_elsewhere_is_said_and_passes(sqlite_url: str) -> None:
    import sqlite3
    from datetime import timedelta

    store = Store.open(DatabaseSettings(url=sqlite_url, busy_timeout=timedelta(milliseconds=50)))
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="locked by another process"):
        store.write(add("one"))
    other.execute("ROLLBACK")
    other.close()
    assert store.write(add("one")) == 1
    store.close()


#: Transactions of 10 ms with 2 ms between them. Says the number of each when it has begun; the file's ``user_version`` counts them.
BUSY = """
import itertools, sqlite3, sys, time
conn = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for n in itertools.count(1):
    conn.execute("BEGIN IMMEDIATE")
    print(n, flush=True)
    conn.execute(f"PRAGMA user_version = {n}")
    time.sleep(0.01)
    conn.execute("COMMIT")
    time.sleep(0.002)
"""


def test_a_process_that_writes_all_the_time_does_not_keep_the_lock(sqlite_store: Store) -> None:
    import subprocess
    import sys

    def done() -> int:
        with sqlite_store.read() as conn:
            return int(conn.execute(text("PRAGMA user_version")).scalar_one())

    passed = 0
    path = str(sqlite_store.engine.url.database)
    with subprocess.Popen([sys.executable, "-c", BUSY, path], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        for n in range(30):
            before = done()
            while int(other.stdout.readline()) <= before:
                pass
            sqlite_store.write(add(f"name{n}"))
            passed += done() - before
        other.kill()
    # One or two of its transactions for each of ours; with SQLite's own pauses there are five to ten.
    assert passed <= 100


def test_a_full_disk_is_said_and_passes(sqlite_store: Store) -> None:
    big = "x" * 100_000

    def work(conn: Connection) -> None:
        pages = conn.execute(text("PRAGMA page_count")).scalar_one()
        conn.execute(text(f"PRAGMA max_page_count={pages}"))
        conn.execute(insert(cursors).values(name="big", value=big, updated=NOW))

    with pytest.raises(StoreUnavailable, match=r"The disk under the database .* is full"):
        sqlite_store.write(work)
    sqlite_store.write(lambda conn: conn.execute(text("PRAGMA max_page_count=1000000")).scalar_one())
    assert sqlite_store.write(add("one")) == 1
    assert names(sqlite_store) == {"one"}


def test_a_database_that_can_not_be_opened_is_named(tmp_path) -> None:
    with pytest.raises(StoreUnavailable, match="can't be opened"):
        Store.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/no/such/folder/agent.db"))
    with pytest.raises(StoreUnavailable):
        Store.open(DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/nothing"))


def test_the_file_is_its_owners_alone(tmp_path) -> None:
    Store.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/agent.db")).close()
    assert (tmp_path / "agent.db").stat().st_mode & 0o077 == 0


def test_a_server_that_refuses_says_why_and_never_the_password(postgres_server: URL) -> None:
    url = postgres_server.set(database="no_such_database", password="s3cret")
    settings = DatabaseSettings(url=url.render_as_string(hide_password=False))
    with pytest.raises(
        StoreUnavailable, match=r'refuses the connection: database "no_such_database" does not'
    ) as caught:
        Store.open(settings)
    assert "s3cret" not in caught.value.detail
