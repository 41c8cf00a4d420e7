"""The rows of an agent whose OpsHelm is a remote one: a SCIM server of the tests, a process of its own, with everybody of the org.

Run as a program it is that server: it prints its address, and for each line on stdin changes the title of one in so many.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.builds import Build, here
from benchmarks.rows import Row, Sizes, org
from support.sloppy import KEY, sloppy_server

#: As fast as both can, where Okta's or the remote's own pace is not what is measured.
_UNBOUNDED = "100000"


class _Remote:
    """A server with everybody in step."""

    def __init__(self, people: int, folder: Path) -> None:
        settings = org(people, folder)
        command = [sys.executable, __file__, settings["OPSHELM_OKTA__ORG_URL"]]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=here().env({})
        )
        self.env = {
            **settings,
            "OPSHELM_DIRECTORY__BACKEND": "scim",
            "OPSHELM_DIRECTORY__BASE_URL": self._line(),
            "OPSHELM_DIRECTORY__API_KEY": KEY,
            "OPSHELM_DIRECTORY__OWNERS": "nobody@example.com",
            "OPSHELM_DIRECTORY__PAGE_SIZE": "1000",
            "OPSHELM_DIRECTORY__MAX_PER_SECOND": _UNBOUNDED,
        }

    def drift(self, one_in: int) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{one_in}\n")
        self._process.stdin.flush()
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("the remote did not start")
        return line

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(60)


@contextmanager
def _remote(people: int, folder: Path) -> Iterator[_Remote]:
    found = _Remote(people, folder)
    try:
        yield found
    finally:
        found.close()


def _made(build: Build, folder: Path, name: str) -> Path:
    place = folder / f"{build.name}-{name}"
    place.mkdir(exist_ok=True)
    for old in place.glob("opshelm-agent.db*"):
        old.unlink()
    build.run("db", "init", folder=place, env={}, codes=(0, 2))
    return place


def _rows(build: Build, sizes: Sizes, folder: Path) -> dict[str, Row]:
    """All of one build in a turn, for they come one after the other at one remote."""
    with _remote(sizes.people, folder) as remote:
        place, env, everybody = _made(build, folder, "remote"), remote.env, str(sizes.people)
        first = build.run("reconcile", folder=place, env=env, codes=(0, 1, 3, 4))
        build.run("reconcile", "--apply", "--first-run", everybody, folder=place, env=env)
        remote.drift(100)
        repaired = build.run("reconcile", "--apply", folder=place, env=env)
        in_step = build.run("reconcile", folder=place, env=env)
        remote.drift(max(1, sizes.people // 250))
        slow = {**env, "OPSHELM_DIRECTORY__MAX_PER_SECOND": "25"}
        paced = build.run("reconcile", "--apply", folder=place, env=slow)
    wanted = -(-sizes.people // max(1, sizes.people // 250))
    return {
        "remote, first run planned": first._asdict(),
        "remote, 1 % repaired": repaired._asdict(),
        "remote, in step": in_step._asdict(),
        "remote, at 25 a second": {
            "repairs": wanted,
            "seconds more": max(0.0, paced.seconds - in_step.seconds),
            "repairs/s": wanted / max(0.001, paced.seconds - in_step.seconds),
        },
    }


@cache
def _turn(build: Build, sizes: Sizes, folder: Path, _number: int) -> dict[str, Row]:
    return _rows(build, sizes, folder)


_taken: dict[tuple[str, str], int] = {}


def _row(name: str) -> Callable[[Build, Sizes, Path], Row]:
    def measure(build: Build, sizes: Sizes, folder: Path) -> Row:
        number = _taken[build.name, name] = _taken.get((build.name, name), 0) + 1
        return _turn(build, sizes, folder, number)[name]

    return measure


REMOTE: dict[str, Callable[[Build, Sizes, Path], Row]] = {
    name: _row(name)
    for name in ("remote, first run planned", "remote, 1 % repaired", "remote, in step", "remote, at 25 a second")
}


def _serve(org_url: str) -> None:
    import msgspec

    from agent.model.mapping import Mapping, apply
    from agent.model.paths import EMAIL_PATH
    from agent.model.users import Profile
    from agent.okta_org.org import OktaOrg
    from agent.settings import OktaSettings

    mapping, settings = (
        Mapping(),
        OktaSettings(org_url=org_url, app_id="0oaOPSHELMSIM0000001", api_token="simulated-token"),
    )
    with sloppy_server() as server:
        server.config["filter"]["maxResults"] = 1000
        with OktaOrg.connect(settings) as okta:
            for page in okta.app_user_pages():
                for one in page:
                    values: dict[Any, Any] = mapping.values(mapping.project_wanted(one).mapped)
                    profile = apply(Profile(), {**values, EMAIL_PATH: one.user_name})
                    server.add(one.user_name, externalId=one.id, **msgspec.to_builtins(profile))
        print(server.url, flush=True)
        for line in sys.stdin:
            for number, user in enumerate(server.users.values()):
                if number % int(line) == 0:
                    user["title"] = "drifted"
            print("done", flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
