"""From a change in Okta whose push is lost to a repaired directory: median and p99, by hook and by polling.

    python tests/benchmarks/bench_events.py [--changes 200] [--people 1000] [--events 30s] [--way hook|poll|both]

A simulated org in this process, the daemon as a process of its own with SQLite. The clock starts when Okta's answer to the
change is there and stops when the account in the database is as Okta wants it. One change at a time, at random moments for
polling, so that the wait for the next poll is in it.
"""

import argparse
import json
import os
import random
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.reconcile.event_names import HOOK_EVENTS
from agent.simulator import SimulatedOrg

_SECRET = "benchmark"
_GIVE_UP = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--events", default="30s", help="schedule.events while polling")
    parser.add_argument("--way", choices=["hook", "poll", "both"], default="both")
    asked = parser.parse_args()
    ways = ["hook", "poll"] if asked.way == "both" else [asked.way]
    print(json.dumps([_measure(way, asked) for way in ways], indent=2))


def _measure(way: str, asked: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, SimulatedOrg.start(users=asked.people) as org:
        org.provisioning(mode="off")
        folder = Path(name)
        settings = _settings(org, "off" if way == "hook" else asked.events)
        _agent(folder, settings, "reconcile", "--apply", "--first-run", str(asked.people))
        with _daemon(folder, settings):
            if way == "hook":
                _hook(org, settings["OPSHELM_SERVER__PORT"])
            took = sorted(_changes(org, folder, asked.changes, pause=0.0 if way == "hook" else _seconds(asked.events)))
    return {
        "way": way,
        "events": None if way == "hook" else asked.events,
        "people": asked.people,
        "changes": len(took),
        "median_s": round(statistics.median(took), 3),
        "p99_s": round(took[min(len(took) - 1, int(len(took) * 0.99))], 3),
        "max_s": round(took[-1], 3),
    }


def _changes(org: SimulatedOrg, folder: Path, count: int, pause: float) -> Iterator[float]:
    draw, people = random.Random(1), org.state()
    with sqlite3.connect(folder / "opshelm-agent.db") as conn:
        for number in range(count):
            person = people[number % len(people)]
            time.sleep(draw.random() * pause)
            title = f"Title {number}"
            org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": title}})
            yield _until(conn, person["login"], title)


def _until(conn: sqlite3.Connection, login: str, title: str) -> float:
    started = time.perf_counter()
    question = "select json_extract(profile, '$.title') from users where user_name = ?"
    while conn.execute(question, [login]).fetchone() != (title,):
        if time.perf_counter() - started > _GIVE_UP:
            raise TimeoutError(login)
        time.sleep(0.002)
    return time.perf_counter() - started


def _settings(org: SimulatedOrg, events: str) -> dict[str, str]:
    return {
        "OPSHELM_OKTA__ORG_URL": org.url,
        "OPSHELM_OKTA__APP_ID": org.app_id,
        "OPSHELM_OKTA__API_TOKEN": org.token,
        "OPSHELM_OKTA__HOOK_SECRET": _SECRET,
        "OPSHELM_SCHEDULE__RECONCILE": "off",
        "OPSHELM_SCHEDULE__EVENTS": events,
        "OPSHELM_SERVER__HOST": "127.0.0.1",
        "OPSHELM_SERVER__PORT": str(_free_port()),
        "OPSHELM_SERVER__ADMIN_PORT": str(_free_port()),
    }


def _hook(org: SimulatedOrg, port: str) -> None:
    config = {
        "uri": f"http://127.0.0.1:{port}/hooks/okta",
        "authScheme": {"type": "HEADER", "key": "Authorization", "value": _SECRET},
    }
    body = {
        "name": "agent",
        "events": {"type": "EVENT_TYPE", "items": list(HOOK_EVENTS)},
        "channel": {"type": "HTTP", "version": "1.0.0", "config": config},
    }
    made = org.api("POST", "/eventHooks", body)
    org.api("POST", f"/eventHooks/{made['id']}/lifecycle/verify")


def _environment(settings: dict[str, str]) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **settings}


def _agent(folder: Path, settings: dict[str, str], *args: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "agent", *args],
        cwd=folder,
        env=_environment(settings),
        check=True,
        stdout=subprocess.DEVNULL,
    )


@contextmanager
def _daemon(folder: Path, settings: dict[str, str]) -> Iterator[None]:
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "agent", "serve"], cwd=folder, env=_environment(settings), stderr=log
        )
        try:
            port = int(settings["OPSHELM_SERVER__PORT"])
            while '"serving"' not in (folder / "log").read_text():
                time.sleep(0.05)
            socket.create_connection(("127.0.0.1", port)).close()
            yield
        finally:
            process.terminate()
            process.wait(60)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _seconds(text: str) -> float:
    return float(text.removesuffix("ms")) / 1000 if text.endswith("ms") else float(text.removesuffix("s"))


if __name__ == "__main__":
    main()
