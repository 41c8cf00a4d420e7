"""The one door to the database: consistent reads, and write transactions that share a commit. Knows no table.

Reads: on SQLite a connection of its own with a snapshot (cheap enough for an event loop); on PostgreSQL a pooled one,
repeatable read. Writes: one writer thread takes what waits, up to a bound, into one transaction and answers after COMMIT.

==========================================  ==========================================================================
a work …                                    then
==========================================  ==========================================================================
answers                                     the caller gets the answer once it is committed
answers ``Raised(error)``                   what it wrote is committed, and the caller gets the error
raises an AgentError                        it has written nothing; the others of the transaction are not disturbed
raises anything else                        all is rolled back, and every work of the transaction runs once more, alone
meets a lost connection or a unique race    alone, it runs once more: the second run sees what the other one wrote
==========================================  ==========================================================================

A COMMIT whose answer was lost is not guessed at: PostgreSQL is asked what became of that transaction's id, and only an
aborted one runs again. A failed fsync is fatal: nothing more is served, and ``on_fatal`` is called so that the process ends.

A test may end the process as kill -9 does, at a named place: ``OPSHELM_CRASH_AT=import.created`` ends it at the first time that place is reached, ``import.created:40`` at the 40th.
"""

import os
import queue
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Literal, NamedTuple, TypeVar

from sqlalchemy import Connection as Connection  # noqa: PLC0414 - for those who may not import sqlalchemy
from sqlalchemy import Engine

from agent.model.errors import AgentError, DiskFull, StoreError, StoreUnavailable, TooSlow
from agent.settings import DatabaseSettings
from agent.store import connect, schema
from agent.store.connect import Transaction, database_errors, driver
from agent.store.failures import Failure, classify, connection_lost, interrupted, locked, translate, unopened

VARIABLE = "OPSHELM_CRASH_AT"

#: Every place, and what is true there.
CRASH_POINTS = {
    "store.written": "a transaction has done all its work and is not committed",
    "store.committed": "a transaction is committed, nobody who waits for it has been told",
    "push.committed": "a push is committed, its answer is not sent",
    "sweep.page": "one page of the listing was read, its rows may be stored",
    "plan.stored": "the plan is stored, nobody has decided about it",
    "plan.decided": "a stored plan is approved and used up, nothing of it is carried out",
    "apply.planned": "the plan is stored, this batch is pending",
    "apply.sent": "this batch is marked as sent, nothing of it is written",
    "apply.written": "this batch is written in a transaction that is not committed",
    "apply.done": "this batch is committed, the run has no end",
    "call.intended": "the intent of a call to a remote directory is stored, nothing is sent",
    "call.answered": "the remote has answered a change with yes, nobody has read it back",
    "call.read": "a change at the remote was read back, its outcome is not stored",
    "wave.called": "the updates of a wave were made and read back, their outcomes are not stored",
    "plan.closed": "every action has its end, the run has not",
    "undo.restored": "an account is as it was before, its action has no end",
    "undo.marked": "these actions of an undo have their ends, others wait",
    "undo.unlinked": "an imported account is local again, Okta has not been asked to unassign it",
    "undo.unassigned": "Okta has unassigned somebody whom an import assigned, the agent has not stored it",
    "import.planned": "the plan is stored, nothing else has happened",
    "import.intended": "the wish to create is stored, Okta has not been asked",
    "import.create_answered": "Okta has created the user, the agent has not stored it",
    "import.created": "the new Okta user's id is stored",
    "import.assign_intended": "the wish to assign is stored, Okta has not been asked",
    "import.assign_answered": "Okta has assigned the user, the agent has not stored it",
    "import.assigned": "the assignment is stored",
    "import.done": "every action has its end, the run has not",
}

_reached: Counter[str] = Counter()


def crash_point(name: str) -> None:
    """End this process here, without any clean-up, if a test asked for it."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    if name not in CRASH_POINTS:
        raise LookupError(f"{name} is no crash point")
    place, _, times = wanted.partition(":")
    if place == name:
        _reached[name] += 1
        if _reached[name] == int(times or 1):
            os.kill(os.getpid(), signal.SIGKILL)


_END_TRANSACTION = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_xid = %s::xid8::xid"

T = TypeVar("T")

#: Works in one transaction: enough to share an fsync widely, few enough that the first one doesn't wait long.
MAX_BATCH = 256
#: So soon after a transaction of several the next one waits at most a moment for as many.
_SOON, _MOMENT = 0.02, 0.004
#: Seconds between two looks at a lock that another process has, and at how many have come.
_LOOK_AGAIN = 0.0005
#: Of SQLite's machine, between two looks at the clock: some milliseconds.
_STEPS_BETWEEN_LOOKS = 100_000
#: How long PostgreSQL may take to say what became of a transaction whose COMMIT was not answered.
_VERDICT_SECONDS = 10.0


class Raised(NamedTuple):
    """A work's answer: commit what was written, then raise the error to the caller."""

    error: AgentError


class _Job(NamedTuple):
    work: Callable[[Connection], Any]
    future: "Future[Any]"


class _Outcome(NamedTuple):
    value: Any = None
    error: BaseException | None = None


class _WroteAndRaised(Exception):
    """A work broke the rule that what raises has not written."""


class Store:
    """One per process. Thread-safe. A work may run more than once, so it has no effect outside the database."""

    def __init__(self, engine: Engine, settings: DatabaseSettings) -> None:
        self.engine = engine
        self.settings = settings
        self.dialect: Literal["sqlite", "postgresql"] = "sqlite" if engine.name == "sqlite" else "postgresql"
        self.reads_block = self.dialect == "postgresql"
        self.fatal: StoreError | None = None
        #: A transaction found the disk full; None where one has written since, and there is room.
        self.full: DiskFull | None = None
        #: Called once, from the writer's thread, when the process must stop.
        self.on_fatal: Callable[[StoreError], None] | None = None
        self._readers: deque[Connection] = deque()
        self._snapshots = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._closing = threading.Lock()
        self._writer: Connection | None = None
        #: Is never set: who waits for it waits so long.
        self._never = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="store-writer", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, settings: DatabaseSettings, *, make: bool = True) -> "Store":
        """Connect and bring the schema up to date; SchemaTooNew where a newer program was here.

        Where there is none yet, one is made, or without ``make`` it is NoDatabase.
        """
        engine = connect.engine(settings, make=make)
        try:
            if engine.name == "postgresql":
                connect.require_sessions(engine, connect.place(settings))
            schema.prepare(engine, connect.place(settings), make=make)
        except database_errors() as exc:
            engine.dispose()
            raise unopened(exc, connect.place(settings)) from exc
        except BaseException:
            engine.dispose()
            raise
        return cls(engine, settings)

    @property
    def place(self) -> str:
        """Where the database is: the file, or the server's host and port."""
        return connect.place(self.settings)

    def close(self) -> None:
        """Finish what waits, then let go of every connection."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()
        while self._readers:
            self._readers.pop().close()
        self.engine.dispose()

    # Reads

    @contextmanager
    def read(self, at_most: timedelta | None = None) -> Iterator[Connection]:
        """One snapshot for all statements inside. Not for writing; keep it short, and never across an await.

        ``at_most``: a statement that takes longer is ended, as TooSlow.
        """
        try:
            if self.dialect == "sqlite":
                yield from self._read_sqlite(at_most)
            else:
                with self._snapshots.connect() as conn:
                    if at_most is not None:
                        limit = max(1, round(at_most.total_seconds() * 1000))
                        conn.exec_driver_sql(f"SET LOCAL statement_timeout = {limit}")
                    yield conn
        except database_errors() as exc:
            if at_most is not None and interrupted(exc):
                raise TooSlow(f"The database needs longer than {at_most.total_seconds():g} s for this.") from exc
            raise translate(exc, self.place) from exc

    def ask(self, question: Callable[[Connection], T]) -> T:
        """For one statement, which is a snapshot of its own: on SQLite without the two that would make it one."""
        if self.dialect == "postgresql":
            with self.read() as conn:
                return question(conn)
        conn = self._reader()
        try:
            return question(conn)
        except database_errors() as exc:
            raise translate(exc, self.place) from exc
        finally:
            self._put_back(conn)

    def _reader(self) -> Connection:
        try:
            return self._readers.pop()
        except IndexError:
            return self.engine.connect()

    def _put_back(self, conn: Connection) -> None:
        if self._closed:
            conn.close()
        else:
            self._readers.append(conn)

    def _read_sqlite(self, at_most: timedelta | None) -> Iterator[Connection]:
        conn = self._reader()
        raw = driver(conn)
        if at_most is not None:
            end = time.monotonic() + at_most.total_seconds()
            raw.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_LOOKS)
        try:
            raw.execute("BEGIN")
            yield conn
        finally:
            if at_most is not None:
                raw.set_progress_handler(None, 0)
            if raw.in_transaction:
                raw.execute("ROLLBACK")
            self._put_back(conn)

    # Writes

    def submit(self, work: Callable[[Connection], T | Raised]) -> "Future[T]":
        """Run ``work`` in a write transaction; the Future is done after COMMIT."""
        future: Future[T] = Future()
        # Running from the start: who stops waiting (a client that went away) can't cancel what may be half done.
        future.set_running_or_notify_cancel()
        with self._closing:
            if self.fatal is not None or self._closed:
                future.set_exception(
                    self.fatal or StoreUnavailable("The agent is stopping. Nothing was changed; try again later.")
                )
            else:
                self._queue.put(_Job(work, future))
        return future

    def write(self, work: Callable[[Connection], T | Raised]) -> T:
        """``submit`` and wait. Not from within a work."""
        if threading.current_thread() is self._thread:
            raise RuntimeError("a work can't wait for another one")
        return self.submit(work).result()

    def waiting(self) -> int:
        """Works that wait for the writer."""
        return self._queue.qsize()

    def _serve(self) -> None:
        last, ended = 1, 0.0
        while (first := self._queue.get()) is not None:
            batch = [first]
            try:
                # Who was answered together comes back together: one commit for all of them, and not the first of them alone.
                until = min(ended + _SOON, time.monotonic() + _MOMENT)
                while self._queue.qsize() + 1 < last and time.monotonic() < until:
                    # time.sleep fails where something between us and the kernel sets clocks.
                    self._never.wait(_LOOK_AGAIN)
                self._fill(batch)
                self._run(batch)
            except BaseException as exc:  # noqa: BLE001 - a thread has nobody to raise it to
                return self._give_up(batch, exc)
            last, ended = len(batch), time.monotonic()
            # Neither the last work nor its answer is to live until the next one comes.
            del first, batch
        return self._disconnect()

    def _fill(self, batch: list[_Job]) -> None:
        while len(batch) < MAX_BATCH:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return
            if job is None:
                self._queue.put(None)
                return
            batch.append(job)

    def _give_up(self, batch: list[_Job], exc: BaseException) -> None:
        """The writer itself has failed: nobody is left waiting for it, and the process ends."""
        error = StoreUnavailable(f"The database's writer has failed ({type(exc).__name__}). Nothing more is written.")
        error.__cause__ = exc
        with self._closing:
            self.fatal = error
            while not self._queue.empty():
                if (job := self._queue.get_nowait()) is not None:
                    batch.append(job)
        left = [job for job in batch if not job.future.done()]
        _answer(left, [_Outcome(error=error)] * len(left))
        if self.on_fatal is not None:
            self.on_fatal(error)

    def _run(self, jobs: list[_Job]) -> None:
        if self.fatal is not None:
            return _answer(jobs, [_Outcome(error=self.fatal)] * len(jobs))
        try:
            return _answer(jobs, self._transaction(jobs))
        except StoreError as exc:
            return _answer(jobs, [_Outcome(error=exc)] * len(jobs))
        except Exception as exc:  # noqa: BLE001 - whatever it was, each caller gets an answer
            failure = classify(exc)[0] if isinstance(exc, database_errors()) else Failure.BUG
            if failure in (Failure.LATER, Failure.FATAL):
                error = self._unavailable(exc, failure)
                return _answer(jobs, [_Outcome(error=error)] * len(jobs))
        for job in jobs:
            _answer([job], [self._alone(job)])
        return None

    def _alone(self, job: _Job) -> _Outcome:
        for last in (False, True):
            try:
                return self._transaction([job])[0]
            except database_errors() as exc:
                failure = classify(exc)[0]
                if failure is Failure.RETRY and not last:
                    continue
                return _Outcome(error=self._unavailable(exc, failure))
            except Exception as exc:  # noqa: BLE001 - a mistake in the work belongs to its caller
                return _Outcome(error=exc)
        raise AssertionError("unreachable")

    def _unavailable(self, exc: Exception, failure: Failure) -> StoreError:
        error = translate(exc, self.place)
        error.__cause__ = exc
        if isinstance(error, DiskFull):
            self.full = error
        if failure is Failure.FATAL and self.fatal is None:
            self.fatal = error
            if self.on_fatal is not None:
                self.on_fatal(error)
        return error

    def _transaction(self, jobs: list[_Job]) -> list[_Outcome]:
        conn = self._connect()
        raw = driver(conn)
        before = raw.total_changes if self.dialect == "sqlite" else 0
        try:
            if self.dialect == "sqlite":
                self._begin(raw)
            shared = Transaction(conn)
            outcomes = [self._member(conn, raw, job, shared) for job in jobs]
            shared.end()
            xid = self._transaction_id(raw)
        except BaseException:
            Transaction.drop(conn)
            self._roll_back(raw)
            raise
        crash_point("store.written")
        try:
            raw.commit()
        except BaseException:
            if not self._committed(raw, xid):
                raise
        if self.full is not None and (xid is not None or (self.dialect == "sqlite" and raw.total_changes != before)):
            self._look_for_room()
        crash_point("store.committed")
        return outcomes

    def _begin(self, raw: Any) -> None:
        """Take SQLite's one lock for writing, which another process may have.

        SQLite's own wait looks for it after ever longer pauses, up to 100 ms, so that whoever writes without a pause keeps it.
        """
        end = time.monotonic() + self.settings.busy_timeout.total_seconds()
        while True:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except database_errors() as exc:
                if not locked(exc) or time.monotonic() >= end:
                    raise
                self._never.wait(_LOOK_AGAIN)
            else:
                return

    def _look_for_room(self) -> None:
        """Something was written, which on SQLite may only have fitted into what its log has had before."""
        free = connect.room(self.settings)
        if free is None or free >= connect.ENOUGH_ROOM:
            self.full = None

    def _connect(self) -> Connection:
        if self._writer is None:
            try:
                self._writer = self.engine.connect()
            except database_errors() as exc:
                raise translate(exc, self.place) from exc
            if self.dialect == "sqlite":
                driver(self._writer).execute("PRAGMA busy_timeout = 0")  # _begin waits itself
        return self._writer

    def _member(self, conn: Connection, raw: Any, job: _Job, shared: Transaction) -> _Outcome:
        before = self._written(raw, shared)
        try:
            value = job.work(conn)
        except AgentError as exc:
            if self._written(raw, shared) != before:
                raise _WroteAndRaised(f"{exc.code} was raised after a write") from exc
            return _Outcome(error=exc)
        return _Outcome(error=value.error) if isinstance(value, Raised) else _Outcome(value)

    def _written(self, raw: Any, shared: Transaction) -> int:
        """Rows so far; on PostgreSQL those alone that are left to the end."""
        return (raw.total_changes if self.dialect == "sqlite" else 0) + shared.waiting()

    def _roll_back(self, raw: Any) -> None:
        with suppress(*database_errors()):
            raw.rollback()
        if self.dialect == "postgresql" and connection_lost(raw):
            self._disconnect()

    def _disconnect(self) -> None:
        conn, self._writer = self._writer, None
        if conn is None:
            return
        with suppress(*database_errors()):
            if self.dialect == "postgresql" and connection_lost(driver(conn)):
                conn.invalidate()
            conn.close()

    def _transaction_id(self, raw: Any) -> str | None:
        if self.dialect == "sqlite":
            return None
        found = raw.execute("SELECT pg_current_xact_id_if_assigned()::text").fetchone()
        return found[0] if found else None

    def _committed(self, raw: Any, xid: str | None) -> bool:
        """After a COMMIT that raised: whether it took effect. False means that it certainly did not."""
        lost = self.dialect == "postgresql" and connection_lost(raw)
        self._roll_back(raw)
        if not lost or xid is None:
            return False
        deadline = time.monotonic() + _VERDICT_SECONDS
        while time.monotonic() < deadline:
            with suppress(*database_errors()), self.engine.connect() as conn:
                status = driver(conn).execute("SELECT pg_xact_status(%s::xid8)", [xid]).fetchone()[0]
                if status != "in progress":
                    return bool(status == "committed")
                # The server has not noticed that the connection is gone; it would keep the account's lock.
                driver(conn).execute(_END_TRANSACTION, [xid])
            time.sleep(0.05)
        raise StoreUnavailable(
            "The connection to the database was lost while it committed, and it is not back to say whether it did. "
            "Look at the account before you repeat the change."
        )


def _answer(jobs: list[_Job], outcomes: list[_Outcome]) -> None:
    for job, outcome in zip(jobs, outcomes, strict=True):
        if outcome.error is not None:
            job.future.set_exception(outcome.error)
        else:
            job.future.set_result(outcome.value)
