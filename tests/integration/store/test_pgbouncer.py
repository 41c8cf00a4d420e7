"""A real PgBouncer before PostgreSQL: in session mode all is as without one; in its other modes the agent doesn't start."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from agent.model.errors import ConfigError, StoreUnavailable
from agent.settings import DatabaseSettings
from agent.store import compare
from agent.store.engine import Store
from support.processes import agent, free_port
from support.world import open_world

Pooled = Callable[..., str]

_INI = """
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
pool_mode = {mode}
default_pool_size = 20
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
logfile = {folder}/log
pidfile = {folder}/pid
"""


@pytest.fixture
def pooled(postgres_url: str) -> Iterator[Pooled]:
    """The database's address behind a PgBouncer in the mode that is asked for."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("apt-get install pgbouncer")
    url = make_url(postgres_url)
    host = str(url.query.get("host", url.host))
    started: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # It won't run as root; the server's own user reaches the server's socket.
        user = Path(host).owner() if host.startswith("/") else "nobody"
        folder.chmod(0o777)

        def of(mode: str) -> str:
            listen = free_port()
            values = {"host": host, "port": url.port or 5432, "user": url.username, "mode": mode, "listen": listen}
            (folder / "pgbouncer.ini").write_text(_INI.format(**values, folder=folder))
            as_user = ["-u", user] if os.getuid() == 0 else []
            started.append(subprocess.Popen([program, "-q", *as_user, str(folder / "pgbouncer.ini")]))
            found = f"postgresql://{url.username}@127.0.0.1:{listen}/{url.database}"
            _await(found, folder / "log")
            return found

        yield of
        for process in started:
            process.terminate()
            process.wait(30)


def _await(url: str, log: Path) -> None:
    for _ in range(1000):
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text() if log.exists() else "no PgBouncer")


def test_in_session_mode_a_sweep_and_its_repairs_are_as_without(pooled: Pooled, tmp_path: Path) -> None:
    with open_world(tmp_path, users=20, url=pooled("session")) as w:
        w.first_run()
        assert w.reconcile().outcome == "in_step"
        person = w.people()[0]
        w.change(person["login"], title="Changed")
        assert w.reconcile().outcome == "applied"
        assert w.account(person["login"]).profile.title != "Changed"
        with w.store.read() as conn:
            shown = [conn.exec_driver_sql(f"SHOW {name}").scalar() for name in ("lock_timeout", "timezone")]
    assert shown == ["10s", "UTC"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_in_another_mode_nothing_starts_and_one_sentence_says_why(pooled: Pooled, mode: str, tmp_path: Path) -> None:
    url = pooled(mode)
    with pytest.raises(ConfigError, match="pool_mode = session"):
        Store.open(DatabaseSettings(url=url))
    for command in (("check",), ("reconcile",), ("serve",), ("db", "init")):
        done = agent(*command, cwd=tmp_path, env={"OPSHELM_DATABASE__URL": url})
        assert done.returncode == 2, done.stderr
        assert "Set pool_mode = session" in done.stderr + done.stdout
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_busy_pooler_is_seen_through_as_well(pooled: Pooled, postgres_url: str) -> None:
    """Somebody else takes the server that rests, so that the second connection gets another one."""
    url = pooled("transaction")
    with psycopg.connect(url) as first, psycopg.connect(url) as second:
        for conn in (first, second):
            conn.execute("SELECT 1")
        first.commit()
        with pytest.raises(ConfigError, match="shares PostgreSQL's sessions"):
            Store.open(DatabaseSettings(url=url))


def test_a_sweep_that_gets_another_session_ends_without_a_result(
    pooled: Pooled, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the start concluded: rows of another session are never compared."""
    monkeypatch.setattr("agent.store.connect.require_sessions", lambda *_: None)
    url = pooled("transaction")
    store = Store.open(DatabaseSettings(url=url))
    with compare.staging(store) as rows, psycopg.connect(url) as other:
        # It takes the server that rests, and keeps it.
        other.execute("SELECT 1")
        with pytest.raises(StoreUnavailable, match="another session"), rows.snapshot():
            pass
    store.close()
