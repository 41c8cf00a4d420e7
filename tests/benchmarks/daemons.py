"""The rows of a daemon beside a simulated org: at rest, in a storm of events, and pushed to while a sweep runs. By processes alone."""

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import httpx

from benchmarks.agents import agents
from benchmarks.builds import Build, cpu_seconds
from benchmarks.ports import HANGS, Answering, awaited
from benchmarks.rows import Row, Sizes, copied, free_port

_SECRET = "benchmark"
#: In one delivery of an event hook.
_TOGETHER = 10
_SENDERS = 8


@contextmanager
def _serving(build: Build, sizes: Sizes, folder: Path, **more: str) -> Iterator[tuple[Path, str, dict[str, str], int]]:
    """Its folder with everybody in step, its address, its settings and its process id."""
    with copied(build, sizes.people, folder) as (place, settings):
        ports = {"OPSHELM_SERVER__PORT": str(free_port()), "OPSHELM_SERVER__ADMIN_PORT": str(free_port())}
        env = {**settings, **ports, "OPSHELM_SERVER__HOST": "127.0.0.1", "OPSHELM_OKTA__HOOK_SECRET": _SECRET, **more}
        with (place / "log").open("w") as log:
            process = build.start("serve", folder=place, env=env, out=log, err=log)
            try:
                url = f"http://127.0.0.1:{ports['OPSHELM_SERVER__PORT']}"
                awaited(f"{url}/scim/v2", process, place / "log")
                yield place, url, env, process.pid
            finally:
                process.terminate()
                process.wait(60)


def _idle(build: Build, sizes: Sizes, folder: Path) -> Row:
    """With the default clock: events each 30 s, a sweep each hour. The first sweep, at its start, is over."""
    with _serving(build, sizes._replace(people=200), folder) as (_, _, _, process):
        time.sleep(10)
        before = cpu_seconds(process)
        time.sleep(sizes.idle)
        spent = cpu_seconds(process) - before
        status = Path(f"/proc/{process}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
    return {"megabytes": resident / 1024, "cpu %": 100 * spent / sizes.idle}


def _storm(build: Build, sizes: Sizes, folder: Path) -> Row:
    """Deliveries of an event hook, as fast as they are answered; until the last look is taken. One event a person."""
    people = min(sizes.people, sizes.events)
    small = sizes._replace(people=people)
    with _serving(build, small, folder, OPSHELM_SCHEDULE__RECONCILE="off") as (place, url, env, _):
        with closing(sqlite3.connect(place / "opshelm-agent.db")) as conn:
            ids = [row[0] for row in conn.execute("select okta_id from users where okta_id is not null")]
            runs = conn.execute("select count(*) from runs").fetchone()
        turns = [[ids[(at + n) % len(ids)] for n in range(_TOGETHER)] for at in range(0, sizes.events, _TOGETHER)]
        refused: list[int] = []
        began = time.perf_counter()
        senders = [
            Thread(
                target=_deliver, args=(f"{url}/hooks/okta", env["OPSHELM_OKTA__ORG_URL"], turns[n::_SENDERS], refused)
            )
            for n in range(_SENDERS)
        ]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        sent = time.perf_counter()
        with closing(sqlite3.connect(place / "opshelm-agent.db", timeout=HANGS)) as conn:
            while conn.execute("select count(*) from attention").fetchone() != (0,):
                if time.perf_counter() - sent > 4 * HANGS:
                    raise RuntimeError(f"{build.name}: the queue is not empty after {4 * HANGS} s")
                time.sleep(0.1)
            if conn.execute("select count(*) from runs").fetchone() == runs:
                raise RuntimeError(f"{build.name}: nobody of the storm was looked at")
        return {
            "refused": float(len(refused)),
            "answered, seconds": sent - began,
            "empty, seconds": time.perf_counter() - sent,
        }


def _deliver(address: str, org_url: str, turns: list[list[str]], refused: list[int]) -> None:
    with httpx.Client(headers={"Authorization": _SECRET}, timeout=HANGS) as client:
        for number, people in enumerate(turns):
            events = [
                {
                    "uuid": f"{person}-{number}",
                    "published": "2026-01-01T00:00:00.000Z",
                    "eventType": "user.account.update_profile",
                    "displayMessage": "",
                    "severity": "INFO",
                    "outcome": {"result": "SUCCESS"},
                    "target": [{"id": person, "type": "User", "alternateId": "", "displayName": ""}],
                }
                for person in people
            ]
            body = {
                "eventType": "com.okta.event_hook",
                "eventTypeVersion": "1.0",
                "cloudEventsVersion": "0.1",
                "source": f"{org_url}/api/v1/eventHooks/who1",
                "eventId": f"{people[0]}-{number}",
                "eventTime": "2026-01-01T00:00:00.000Z",
                "data": {"events": events},
            }
            answer = client.post(address, json=body)
            if not answer.is_success:
                refused.append(answer.status_code)


def _beside(build: Build, sizes: Sizes, folder: Path) -> Row:
    """PUTs at 32 connections, alone and while commands sweep everybody one after the other."""
    with _serving(build, sizes, folder, OPSHELM_SCHEDULE__RECONCILE="off") as (place, url, env, _):
        target = _pushed(build, place, url, env)
        seconds = max(sizes.seconds, 2)
        _warm(target)
        alone = target.load("PUT", seconds)
        over = Event()
        sweeps: list[subprocess.Popen[bytes]] = []

        def sweep() -> None:
            with (place / "sweeps").open("w") as out:
                while not over.is_set():
                    sweeps.append(build.start("reconcile", folder=place, env=env, out=out, err=out))
                    sweeps[-1].wait()

        sweeping = Thread(target=sweep)
        sweeping.start()
        try:
            busy = target.load("PUT", 3 * seconds)
        finally:
            over.set()
            sweeps[-1].terminate()
            sweeping.join(HANGS)
    return _both(alone, busy)


def _beside_own(build: Build, sizes: Sizes, folder: Path) -> Row:
    """The same with the daemon's own sweeps, each a second after the one before."""
    seconds = max(sizes.seconds, 2)
    with _serving(build, sizes, folder, OPSHELM_SCHEDULE__RECONCILE="off") as (place, url, env, _):
        target = _pushed(build, place, url, env)
        _warm(target)
        alone = target.load("PUT", seconds)
    with _serving(build, sizes, folder, OPSHELM_SCHEDULE__RECONCILE="1s") as (place, url, env, _):
        target = _pushed(build, place, url, env)
        _warm(target)
        busy = target.load("PUT", 3 * seconds)
    return _both(alone, busy)


def _pushed(build: Build, place: Path, url: str, env: dict[str, str]) -> Answering:
    build.run("keys", "create", "bench", "--output", "json", folder=place, env=env)
    target = Answering(build.name, f"{url}/scim/v2", json.loads((place / "out").read_text())["key"], durable=True)
    with closing(sqlite3.connect(place / "opshelm-agent.db")) as conn:
        target.people = conn.execute("select id, user_name, okta_id from users order by seq limit 2000").fetchall()
    return target


def _warm(target: Answering) -> None:
    """The first PUTs read a database that nothing has read yet: counted, what is alone would be slower than what is beside."""
    target.load("PUT", 2)


def _both(alone: Row, busy: Row) -> Row:
    return {
        "p99 ms": busy["p99 ms"],
        "alone, p99 ms": alone["p99 ms"],
        "times": busy["p99 ms"] / alone["p99 ms"],
        "/s": busy["/s"],
        "alone, /s": alone["/s"],
    }


DAEMONS: dict[str, Callable[[Build, Sizes, Path], Row]] = {
    "idle daemon": _idle,
    "hook storm": _storm,
    "pushes beside a sweep": _beside,
    "pushes beside its own sweep": _beside_own,
    "agents on PostgreSQL": agents,
}
