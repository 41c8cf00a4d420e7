"""F-08, F-09 and the crash loop: the n-th sync, write or send of a real process fails, or is the last thing that it does.

``strace`` injects the fault; each run asserts that it fired, that everything that was acknowledged is there, and that the
next process goes on. A full disk is a small tmpfs: refused honestly, and recovered from without a restart.
"""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from agent.settings import DatabaseSettings
from agent.store.engine import Store
from support.company import Case, Company, company, directory
from support.databases import sqlite_in
from support.forks import Warm
from support.invariants import check
from support.processes import agent, environment
from support.pusher import ROOMY, Pusher, new_key

pytestmark = pytest.mark.faults

SYNC, WRITE, SEND = "fdatasync,fsync", "pwrite64", "sendto"
PEOPLE = range(12)
KILLED, FATAL, GOES_ON = -signal.SIGKILL, 1, 0
#: Call, fault, n-th times, how the daemon ends.
INTO_A_DAEMON = [
    (SYNC, "signal=KILL", (1, 3, 10), KILLED),
    (SYNC, "error=EIO", (1, 7), FATAL),
    (SYNC, "error=ENOSPC", (4,), FATAL),
    (WRITE, "signal=KILL", (1, 10, 33), KILLED),
    (WRITE, "error=EIO", (2, 21), GOES_ON),
    (WRITE, "error=ENOSPC", (5, 26), GOES_ON),
    (SEND, "signal=KILL", (1, 8), KILLED),
    (SEND, "error=EIO", (6,), GOES_ON),
    (SEND, "error=ECONNRESET", (3,), GOES_ON),
]


def times(cases: list[tuple[str, str, tuple[int, ...], int]]) -> Iterator[tuple[str, str, int, int]]:
    for calls, fault, numbers, end in cases:
        for nth in numbers:
            yield calls, fault, nth, end


class Tracer:
    """strace on every thread of a process that runs already."""

    def __init__(self, pid: int, trace: Path, calls: str, fault: str, nth: int) -> None:
        self.trace = trace
        options = ["-e", f"trace={calls}", "-e", f"inject={calls}:{fault}:when={nth}"]
        self.process = subprocess.Popen(
            ["strace", "-f", "-o", str(trace), *options, "-p", str(pid)], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        said = self.process.stderr.readline()
        assert "attached" in said, said

    def fired(self) -> None:
        self.process.communicate(timeout=60)
        assert fired(self.trace)


def fired(trace: Path) -> bool:
    return re.search(r"INJECTED|killed by SIGKILL", trace.read_text()) is not None


@pytest.mark.parametrize(("calls", "fault", "nth", "end"), list(times(INTO_A_DAEMON)))
def test_f09_a_fault_at_the_nth_call_of_a_daemon_loses_nothing(
    warm: Warm, sqlite_url: str, tmp_path: Path, calls: str, fault: str, nth: int, end: int
) -> None:
    env = ROOMY | {"OPSHELM_DATABASE__URL": sqlite_url}
    key = new_key(sqlite_url)
    daemon = warm.serve(tmp_path, env)
    tracer = Tracer(daemon.pid, tmp_path / "trace", calls, fault, nth)
    pusher = Pusher(daemon.url, key)
    for number in PEOPLE:
        if not pusher.person(number) and end != GOES_ON:
            break
    assert (daemon.stop() if end == GOES_ON else daemon.wait()) == end
    tracer.fired()
    assert set(pusher.statuses) <= {200, 201, 429}
    assert_kept(sqlite_url, pusher)
    again = warm.serve(tmp_path, env)
    after = Pusher(again.url, key)
    after.acknowledged = pusher.acknowledged
    assert after.person(999)
    assert after.statuses == [201, 200, 200, 200]
    assert again.stop() == 0
    assert_kept(sqlite_url, after)


def assert_kept(url: str, pusher: Pusher) -> None:
    store = Store.open(DatabaseSettings(url=url))
    check(store, pusher.said())
    store.close()


# A run


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory, warm: Warm) -> Iterator[Company]:
    with company(tmp_path_factory.mktemp("company"), warm) as made:
        yield made


@pytest.mark.parametrize(
    ("calls", "fault"),
    [
        (SYNC, "signal=KILL"),
        (WRITE, "signal=KILL"),
        (SEND, "signal=KILL"),
        (SYNC, "error=EIO"),
        (WRITE, "error=ENOSPC"),
    ],
)
# None of them the beat of the lease, which is borne once.
@pytest.mark.parametrize("nth", [1, 4, 13, 16])
def test_f04_a_fault_at_the_nth_call_of_a_run_is_put_right_by_the_next_one(
    drifted: Company, tmp_path: Path, calls: str, fault: str, nth: int
) -> None:
    case = drifted.case(tmp_path)
    trace = tmp_path / "trace"
    options = ["-e", f"trace={calls}", "-e", f"inject={calls}:{fault}:when={nth}"]
    run = [sys.executable, "-m", "agent", "reconcile", "--apply"]
    done = subprocess.run(
        ["strace", "-f", "-o", str(trace), *options, *run],
        cwd=tmp_path,
        env=environment(drifted.env()),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert fired(trace), f"the run has fewer than {nth} such calls"
    # strace ends as its process does.
    assert done.returncode == (KILLED if "KILL" in fault else 1), done.stderr
    assert "Traceback" not in done.stderr
    case.heals()


# A full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """12 MB (a log grows to 4 MB before it is folded in), with a migrated database on it."""
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)], check=True)
    try:
        sqlite_in(place)
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    """A file that leaves no byte."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 4096)
            except OSError:
                return filler


@pytest.mark.parametrize("workers", [1, 3])
def test_f08_a_full_disk_is_refused_honestly_and_recovered_from_without_a_restart(
    warm: Warm, small_disk: Path, tmp_path: Path, workers: int
) -> None:
    url = f"sqlite:///{small_disk}/agent.db"
    key = new_key(url)
    daemon = warm.serve(tmp_path, ROOMY | {"OPSHELM_DATABASE__URL": url, "OPSHELM_SERVER__WORKERS": str(workers)})
    pusher = Pusher(daemon.url, key)
    assert pusher.person(1)
    filler = fill(small_disk)
    # What the log of the database has room for may still be written; then it is said, each time.
    full = [refused(pusher, number) for number in range(2, 22)]
    assert full[-1], "the disk was never full"
    assert len(pusher.find(1)) == 1
    # What only a worker has met it tells within a second; nothing else makes the daemon write so soon.
    answers = (httpx.get(f"{daemon.admin}/readyz") for _ in range(2000))
    ready = next(answer for answer in answers if answer.status_code == 503)
    assert ready.json()["status"] == "disk_full"
    assert f"{small_disk}/agent.db is full" in ready.json()["why"]
    for what in ("status", "check"):
        done = agent(
            what,
            cwd=tmp_path,
            env={"OPSHELM_DATABASE__URL": url, "OPSHELM_SERVER__ADMIN_PORT": daemon.admin.rpartition(":")[2]},
        )
        assert done.returncode == 1
        assert f"The disk under the database {small_disk}/agent.db is full." in done.stdout + done.stderr, what
        assert "Traceback" not in done.stderr
    filler.unlink()
    for number in range(22, 42):
        assert pusher.person(number)
    assert httpx.get(f"{daemon.admin}/readyz").status_code == 200
    assert 429 not in pusher.statuses[-60:]
    assert daemon.stop() == 0
    assert_kept(url, pusher)


def refused(pusher: Pusher, number: int) -> bool:
    answer = pusher.create(number)
    assert answer is not None
    if answer.status == 201:
        return False
    assert answer.status == 429
    assert answer.headers["retry-after"] == "60"
    assert "Nothing was changed" in answer.json()["detail"]
    return True


def test_f08_a_run_on_a_full_disk_ends_cleanly_and_the_next_one_does_its_work(
    drifted: Company, small_disk: Path, tmp_path: Path
) -> None:
    case = Case(drifted, tmp_path)
    shutil.copyfile(drifted.database, small_disk / "agent.db")
    url = {"OPSHELM_DATABASE__URL": f"sqlite:///{small_disk}/agent.db"}
    filler = fill(small_disk)
    done = case.run("reconcile", "--apply", **url)
    assert done.code == 1
    assert "The disk under the database" in done.out + done.err
    assert "is full" in done.out + done.err
    assert "Traceback" not in done.err
    filler.unlink()
    done = case.run("reconcile", "--apply", **url)
    assert done.code == 0, done.out + done.err
    store = Store.open(DatabaseSettings(url=url["OPSHELM_DATABASE__URL"]))
    check(store)
    assert directory(store) == drifted.expected
    store.close()
