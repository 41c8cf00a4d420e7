"""The rows that need no port: sweeps, their repairs and first runs, each a command beside a simulated org."""

import re
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.builds import Build, here

Row = dict[str, float]

ROOMY = {
    f"OPSHELM_GUARD__{name}": value
    for name, value in {
        "DEACTIVATIONS_FLOOR": "1000000",
        "DEACTIVATIONS_CAP": "1000000",
        "DEACTIVATIONS_PERCENT": "100",
        "CREATES_FLOOR": "1000000",
        "IDENTITY_FLOOR": "1000000",
        "WINDOW_FLOOR": "1000000",
        "WINDOW_CAP": "1000000",
        "WINDOW_PERCENT": "100",
        "PUSH_FLOOR": "1000000",
        "PUSH_PERCENT": "100",
        "PUSH_CAP": "1000000",
    }.items()
}
_DRIFT = (
    "update users set profile = json_set(profile, '$.title', 'x' || (profile ->> '$.title')), mapped = replace(mapped, "
    "json_quote(profile ->> '$.title'), json_quote('x' || (profile ->> '$.title'))) where seq % ? = 0"
)


class Sizes(NamedTuple):
    people: int
    accounts: int
    rounds: int
    #: Of load in one round.
    seconds: int
    #: Of a storm.
    events: int = 10_000
    #: Of watching a daemon that has nothing to do.
    idle: int = 60
    #: This tree's daemons besides the one that is a single process: their ``server.workers``.
    workers: tuple[int, ...] = (2, 4)

    @classmethod
    def quick(cls) -> "Sizes":
        return cls(people=2_000, accounts=500, rounds=1, seconds=2, events=500, idle=5, workers=(2,))

    @classmethod
    def full(cls) -> "Sizes":
        return cls(people=100_000, accounts=2_000, rounds=5, seconds=5)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


_orgs: dict[int, "subprocess.Popen[bytes]"] = {}


@cache
def org(people: int, folder: Path) -> dict[str, str]:
    """A simulated org with so many people, for all builds and the rest of the run; the settings that lead to it."""
    port = free_port()
    _start_org(people, port, folder)
    return {
        "OPSHELM_OKTA__ORG_URL": f"http://127.0.0.1:{port}",
        "OPSHELM_OKTA__APP_ID": "0oaOPSHELMSIM0000001",
        "OPSHELM_OKTA__API_TOKEN": "simulated-token",
        "OPSHELM_OKTA__BUDGET_SHARE": "1",
        **ROOMY,
    }


def _start_org(people: int, port: int, folder: Path) -> None:
    args = ["simulate", "--port", str(port), "--users", str(people), "--rate-limit", "1000000"]
    with (folder / "org.log").open("w") as log:
        _orgs[port] = here().start(*args, folder=folder, env={}, out=log, err=log)
    for _ in range(3000):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the simulated org did not start")


def touch_everybody(people: int, folder: Path) -> None:
    """The same people again, each with other times: nobody's answer is what it was, and all are as they were."""
    port = int(org(people, folder)["OPSHELM_OKTA__ORG_URL"].rpartition(":")[2])
    _stop(_orgs.pop(port))
    _start_org(people, port, folder)


def stop_orgs() -> None:
    while _orgs:
        _stop(_orgs.popitem()[1])


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(60)


@cache
def in_step(build: Build, people: int, folder: Path) -> Path:
    """A folder whose database has everybody, in step."""
    found = folder / f"{build.name}-{people}"
    found.mkdir()
    env = org(people, folder)
    build.run("db", "init", folder=found, env=env, codes=(0, 2))  # older ones make it by themselves
    build.run("reconcile", "--apply", "--first-run", str(people), folder=found, env=env)
    # The simulated org renders each page once.
    build.run("reconcile", folder=found, env=env)
    return found


@contextmanager
def copied(build: Build, people: int, folder: Path, *, one_in: int = 0) -> Iterator[tuple[Path, dict[str, str]]]:
    """A copy of that, with one in so many titles changed behind Okta's back."""
    origin, place = in_step(build, people, folder), folder / "copy"
    shutil.copytree(origin, place)
    try:
        if one_in:
            with closing(sqlite3.connect(place / "opshelm-agent.db")) as conn, conn:
                conn.execute(_DRIFT, [one_in])
        yield place, org(people, folder)
    finally:
        shutil.rmtree(place)


def _sweep(build: Build, sizes: Sizes, folder: Path) -> Row:
    """Everybody is read and compared: Okta's answers are none that were seen before."""
    with copied(build, sizes.people, folder) as (place, env):
        touch_everybody(sizes.people, folder)
        return build.run("reconcile", folder=place, env=env)._asdict()


def _unchanged(build: Build, sizes: Sizes, folder: Path) -> Row:
    """A sweep after one that found the same."""
    with copied(build, sizes.people, folder) as (place, env):
        build.run("reconcile", "--apply", folder=place, env=env)
        return build.run("reconcile", folder=place, env=env)._asdict()


def _applied(build: Build, sizes: Sizes, folder: Path) -> Row:
    with copied(build, sizes.people, folder, one_in=100) as (place, env):
        return build.run("reconcile", "--apply", folder=place, env=env)._asdict()


def _fixes(build: Build, sizes: Sizes, folder: Path) -> Row:
    """What many fixes take beyond the same sweep without them."""
    with copied(build, sizes.people, folder) as (place, env):
        without = build.run("reconcile", "--apply", folder=place, env=env)
    with copied(build, sizes.people, folder, one_in=5) as (place, env):
        took = build.run("reconcile", "--apply", folder=place, env=env)
        # The plan's JSON would be in this process's memory, which is the least that any command after it is measured to take.
        said = re.search(r"([\d,]+) done", (place / "out").read_text())
    done = int(said[1].replace(",", "")) if said else 0
    more = took.seconds - without.seconds
    if more < 0.2:
        raise RuntimeError(f"{build.name}: {done} fixes in {more:.2f} s are too few to tell how many a second")
    return {"fixes/s": done / more, "cpu ms": 1000 * (took.cpu - without.cpu) / done}


def _first(build: Build, sizes: Sizes, folder: Path) -> Row:
    """A plan that names everybody, shown once more, and approved: everybody gets an account."""
    place = folder / "empty"
    place.mkdir()
    env = org(sizes.people, folder)
    build.run("db", "init", folder=place, env=env, codes=(0, 2))
    try:
        planned = build.run("reconcile", folder=place, env=env, codes=(0, 1, 3, 4))
        shown = build.run("plans", "show", "1", folder=place, env=env, codes=(0, 1, 2, 3, 4))
        approved = build.run("reconcile", "--apply", "--first-run", str(sizes.people), folder=place, env=env)
    finally:
        shutil.rmtree(place)
    return {**planned._asdict(), "shown, seconds": shown.seconds, "approved, seconds": approved.seconds}


def _small(build: Build, sizes: Sizes, folder: Path) -> Row:
    return _unchanged(build, sizes._replace(people=200), folder)


def _million(build: Build, sizes: Sizes, folder: Path) -> Row:
    """Ten times as many as the others."""
    return _sweep(build, sizes._replace(people=10 * sizes.people), folder)


SWEEPS: dict[str, Callable[[Build, Sizes, Path], Row]] = {
    "sweep in step": _sweep,
    "unchanged sweep": _unchanged,
    "1 % drift applied": _applied,
    "fixes": _fixes,
    "first run, planned": _first,
    "200 people, a command": _small,
    "ten times as many": _million,
}
