"""A killed writer keeps what it acknowledged; a COMMIT whose answer is lost has exactly one effect; a failed fsync stops."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.engine import make_url

from agent.directory.sql import SqlDirectory
from agent.model.errors import StoreError, StoreUnavailable
from agent.settings import DatabaseSettings, Settings
from agent.store.engine import Store
from agent.store.tables import cursors
from support.place import assert_whole

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

WRITER = """
import sys
from datetime import UTC, datetime
from threading import Semaphore
from agent.directory.port import Draft, WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.model.users import MultiValue, Profile
from agent.settings import DatabaseSettings, Settings
from agent.store.engine import Store

store = Store.open(DatabaseSettings(url=sys.argv[1]))
directory = SqlDirectory(store, Settings())
context = WriteContext(actor="test", source=Source.PUSH)
slots = Semaphore(8)

def acknowledge(future):
    sys.stdout.write(future.result().user.user_name + "\\n")
    sys.stdout.flush()
    slots.release()

for number in range(100_000):
    slots.acquire()
    name = f"p{number}@example.com"
    draft = Draft(user_name=name, profile=Profile(emails=(MultiValue(value=name, primary=True),)), okta_id=f"00u{number}")
    directory.create(draft, context, datetime.now(UTC)).add_done_callback(acknowledge)
"""


@pytest.mark.parametrize("after", [1, 40, 333])
def test_a_killed_writer_keeps_what_it_acknowledged(database: DatabaseSettings, after: int) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, database.url], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline().strip() for _ in range(after)]
    writer.send_signal(signal.SIGKILL)
    # What it said in its last moments counts too; a line cut short does not.
    acknowledged += [line.strip() for line in writer.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    writer.wait(60)
    writer.stdout.close()
    store = Store.open(database)
    directory = SqlDirectory(store, Settings())
    assert all(directory.find(user_name_key=name) is not None for name in acknowledged)
    assert_whole(store)
    store.close()


class Proxy:
    """Between the agent and PostgreSQL; cuts the connection at the next COMMIT, before or after the server has it."""

    def __init__(self, url: str) -> None:
        self._server = make_url(url)
        self.cut: str | None = None
        #: The next answer of the server is lost; and it was given.
        self._mute = threading.Event()
        self._answered = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = self._server.set(host="127.0.0.1", port=self._listener.getsockname()[1], query={}).render_as_string(
            hide_password=False
        )
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _dial(self) -> socket.socket:
        folder = self._server.query.get("host") or self._server.host or "127.0.0.1"
        port = self._server.port or 5432
        if not str(folder).startswith("/"):
            return socket.create_connection((str(folder), port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{folder}/.s.PGSQL.{port}")
        return server

    def _serve(self, client: socket.socket) -> None:
        server = self._dial()
        back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
        back.start()
        with client, server:
            while data := _receive(client):
                if b"COMMIT" in data and self.cut is not None:
                    how, self.cut = self.cut, None
                    if how == "after":
                        self._mute.set()
                        server.sendall(data)
                        # Only now may the client notice: it would end a transaction that is still in progress.
                        assert self._answered.wait(60)
                        client.shutdown(socket.SHUT_RDWR)
                    return
                server.sendall(data)

    def _copy(self, server: socket.socket, client: socket.socket) -> None:
        while data := _receive(server):
            if self._mute.is_set():
                self._mute.clear()
                self._answered.set()
                return
            try:
                client.sendall(data)
            except OSError:
                return


def _receive(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except OSError:
        return b""


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    made = Proxy(postgres_url)
    yield made
    made.close()


@pytest.mark.parametrize(("cut", "runs"), [("after", 1), ("before", 2)])
def test_a_lost_commit_has_exactly_one_effect(proxy: Proxy, cut: str, runs: int) -> None:
    store = Store.open(DatabaseSettings(url=proxy.url))
    ran = []

    def work(conn: Connection) -> str:
        ran.append(1)
        conn.execute(insert(cursors).values(name=f"{cut}-{len(ran)}", value="x", updated=NOW))
        return "done"

    proxy.cut = cut
    assert store.write(work) == "done"
    assert len(ran) == runs
    with store.read() as conn:
        assert set(conn.execute(select(cursors.c.name)).scalars()) == {f"{cut}-{runs}"}
    store.close()


def test_a_connection_lost_between_writes_is_not_noticed(postgres_url: str) -> None:
    import psycopg

    store = Store.open(DatabaseSettings(url=postgres_url))
    store.write(lambda conn: conn.execute(insert(cursors).values(name="one", value="x", updated=NOW)).close())
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert ended.rowcount >= 1
    store.write(lambda conn: conn.execute(insert(cursors).values(name="two", value="x", updated=NOW)).close())
    with store.read() as conn:
        assert set(conn.execute(select(cursors.c.name)).scalars()) == {"one", "two"}
    store.close()


def test_where_the_writer_itself_fails_nobody_waits_for_it_and_the_process_is_told_to_end(sqlite_store: Store) -> None:
    told: list[StoreError] = []
    sqlite_store.on_fatal = told.append

    def ends_its_thread(_conn: Connection) -> None:
        raise SystemExit

    def nothing(_conn: Connection) -> None:
        pass

    first = sqlite_store.submit(ends_its_thread)
    later = [sqlite_store.submit(nothing) for _ in range(3)]
    for waiting in (first, *later, sqlite_store.submit(nothing)):
        with pytest.raises(StoreUnavailable, match="writer has failed"):
            waiting.result(60)
    assert len(told) == 1


@pytest.mark.parametrize("name", ["SQLITE_IOERR_FSYNC", "SQLITE_CORRUPT"])
def test_a_disk_that_does_not_keep_what_was_written_stops_the_process(sqlite_store: Store, name: str) -> None:
    told: list[StoreError] = []
    sqlite_store.on_fatal = told.append

    def work(conn: Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = name
        raise error

    futures = [sqlite_store.submit(work) for _ in range(3)]
    for future in futures:
        with pytest.raises(StoreUnavailable, match="The agent stops"):
            future.result(60)
    assert told == [sqlite_store.fatal]
    with pytest.raises(StoreUnavailable):
        sqlite_store.write(lambda conn: None)


SLOW_DISK = """
import sys
from datetime import UTC, datetime
from sqlalchemy import insert
from agent.settings import DatabaseSettings
from agent.store.engine import Store
from agent.store.tables import cursors

store = Store.open(DatabaseSettings(url=sys.argv[1]))
store.on_fatal = lambda error: print("fatal", flush=True)
for number in range(50):
    try:
        store.write(lambda c: c.execute(insert(cursors).values(name=str(number), value="x", updated=datetime.now(UTC))).close())
    except Exception as error:
        print(type(error).__name__, flush=True)
        break
    print(number, flush=True)
sys.exit(3 if store.fatal else 0)
"""


@pytest.mark.faults
@pytest.mark.parametrize("when", [5, 12, 20])
def test_a_failed_fsync_is_fatal_and_loses_nothing(sqlite_url: str, when: int, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    injected = f"inject=fdatasync,fsync:error=EIO:when={when}"
    command = ["strace", "-f", "-o", str(trace), "-e", "trace=fdatasync,fsync", "-e", injected]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [*command, sys.executable, "-c", SLOW_DISK, sqlite_url],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "INJECTED" in trace.read_text()
    *numbers, said, error = run.stdout.split()
    assert (said, error, run.returncode) == ("fatal", "StoreUnavailable", 3)
    store = Store.open(DatabaseSettings(url=sqlite_url))
    with store.read() as conn:
        assert set(numbers) <= set(conn.execute(select(cursors.c.name)).scalars())
    store.close()


SEEN_BY_ANOTHER = """
import sys
from sqlalchemy import select
from agent.settings import DatabaseSettings
from agent.store.engine import Store
from agent.store.tables import cursors

store = Store.open(DatabaseSettings(url=sys.argv[1]))
with store.read() as conn:
    print(*conn.execute(select(cursors.c.name).order_by(cursors.c.name)).scalars())
store.close()
"""


def test_a_database_opened_twice_in_one_process_keeps_its_locks(sqlite_url: str) -> None:
    """Else another process, the last one as far as it can see, deletes the log that this one goes on writing."""

    def seen_by_another() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", SEEN_BY_ANOTHER, sqlite_url]
        return subprocess.run(
            command, env=environment, check=True, timeout=60, capture_output=True, text=True
        ).stdout.split()

    store = Store.open(DatabaseSettings(url=sqlite_url))
    store.write(lambda conn: conn.execute(insert(cursors).values(name="one", value="x", updated=NOW)).close())
    Store.open(DatabaseSettings(url=sqlite_url)).close()
    assert seen_by_another() == ["one"]
    store.write(lambda conn: conn.execute(insert(cursors).values(name="two", value="x", updated=NOW)).close())
    assert seen_by_another() == ["one", "two"]
    store.close()
