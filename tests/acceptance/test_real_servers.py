"""SCIM servers from the registries, each as a remote OpsHelm: 60 people by reconcile and by Okta's pushes, in both app styles.

docs/remote.md holds what comes out. ``python tests/acceptance/test_real_servers.py [name …]`` prints its table anew.
"""

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from msgspec.structs import replace

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from agent.checks import remote as remote_checks
from agent.directory.remote.mirror import LAG
from agent.directory.remote.patience import Pace
from agent.model.check import CheckState
from agent.receiver.app import build
from agent.reconcile import RunReport
from agent.store import keys
from agent.store.journal import Signature
from support.real_servers import SERVERS, RealServer
from support.receiver import running
from support.remotes import CORE, QUICK, Remote
from support.world import OWNER, World, open_world

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs" / "remote.md"
PEOPLE = 60
SCIM = {"Content-Type": "application/scim+json"}
WAYS = ("reconcile", "oin", "wizard")
YES, NO, LEFT_OUT = "yes", "no", "left out"
STEPS = ("first run", "second look", "title", "surname", "rename", "deactivate", "reactivate", "in step")
Found = dict[str, str]


class Play:
    """One server, one way; ``found`` is what came out, step by step."""

    def __init__(self, world: World, remote: Remote, *, pushes: bool) -> None:
        self.world, self.remote, self.pushes = world, remote, pushes
        self.found: Found = {}
        self.words = ""
        self.ids: dict[str, str] = {}

    def all(self) -> None:
        self.note("first run", self.first_run())
        # A remote with nobody in it shows little.
        self.found["check"] = self.checked().value
        if self.found["first run"] == NO:
            self.found |= dict.fromkeys(STEPS[1:], "-")
            return
        self.note("second look", self.look())
        people = self.world.people()[:5]
        self.ids = {p["okta_id"]: self.world.account(p["login"]).id for p in people}
        title, surname, rename, leaver, back = (person["okta_id"] for person in people)
        self.note("title", self.profile(title, "title", "Chief", lambda raw: raw.get("title")))
        self.note("surname", self.profile(surname, "lastName", "Newname", _surname))
        new = "new.name@example.com"
        self.world.org.api("POST", f"/users/{rename}", {"profile": {"login": new, "email": new}})
        self.note("rename", self.become(rename, lambda raw: str(raw.get("userName")).lower(), new))
        self.unassign(leaver)
        self.note("deactivate", self.become(leaver, _active, False))
        self.unassign(back)
        gone = self.become(back, _active, False)
        self.world.org.api("POST", f"/apps/{self.world.org.app_id}/users", {"id": back})
        again = self.become(back, _active, True)
        self.note("reactivate", again if gone == YES else NO)
        # A value that the remote makes by itself may show only when it is written twice.
        self.note("in step", YES if YES in (self.look(), self.look()) else NO)

    def note(self, step: str, what: str) -> None:
        self.found[step] = what
        if what == NO:
            print(step, self.words, file=sys.stderr)

    # Steps

    def checked(self) -> CheckState:
        with closing(self.world.beside()) as directory:
            lines = [c for c in remote_checks.checks(directory, self.world.now()) if c.name.startswith("remote")]
        print(*(f"{c.state.value} {c.name}: {c.detail}" for c in lines), sep="\n", file=sys.stderr)
        return max((c.state for c in lines), key=list(CheckState).index)

    def first_run(self) -> str:
        if not self.pushes:
            report = self.reconciled(first_run=1_000_000)
            return YES if report.outcome == "applied" and report.exit_code == 0 else NO
        self.world.pin()
        self.world.org.provisioning(push_waiting=True)
        return YES if self.settled() else NO

    def look(self) -> str:
        self.world.ahead += LAG + timedelta(minutes=1)
        return YES if self.reconciled().outcome == "in_step" else NO

    def profile(self, okta_id: str, name: str, value: str, shown: Callable[[dict[str, Any]], Any]) -> str:
        self.world.org.api("POST", f"/users/{okta_id}", {"profile": {name: value}})
        return self.become(okta_id, shown, value)

    def unassign(self, okta_id: str) -> None:
        self.world.org.api("DELETE", f"/apps/{self.world.org.app_id}/users/{okta_id}")

    def become(self, okta_id: str, shown: Callable[[dict[str, Any]], Any], value: object) -> str:
        """Whether what was done in Okta came about. A run may have failed at somebody else; a task is a failure."""
        carried = self.carried()
        if self.pushes and not carried:
            return NO
        answer = self.remote.client.get(f"/Users/{quote(self.ids[okta_id], safe='')}")
        raw = answer.json() if answer.status_code == 200 else {"active": False}
        if shown(raw) == value:
            return YES
        self.words += f" {shown(raw)!r} instead of {value!r}"
        # Done in the agent's eyes, and the remote shows nothing of it.
        return LEFT_OUT if carried and shown(raw) is None else NO

    def carried(self) -> bool:
        self.world.ahead += LAG + timedelta(minutes=1)
        if self.pushes:
            return self.settled()
        return self.reconciled().exit_code == 0

    def reconciled(self, **more: int) -> RunReport:
        report = self.world.reconcile(**more)
        actions = report.plan.plan.actions if report.plan is not None else ()
        errors = {
            action.error or f"{action.kind.value} {sorted(action.changes)} {action.state.value}" for action in actions
        }
        self.words = f"{report.outcome} {report.detail} {sorted(errors)[:3]}"
        return report

    def settled(self) -> bool:
        self.world.org.wait_idle(300)
        tasks = self.world.org.tasks()
        self.words = f"{len(tasks)} tasks: {[task['error'] for task in tasks[:2]]}"
        return not tasks


def _surname(raw: dict[str, Any]) -> Any:
    return (raw.get("name") or {}).get("familyName")


def _active(raw: dict[str, Any]) -> Any:
    return raw.get("active")


@contextmanager
def play(server: RealServer, folder: Path, way: str) -> Iterator[Play]:
    installed = folder / re.sub(r"\W+", "-", server.name)
    installed.mkdir(exist_ok=True)
    place = folder / f"{installed.name}-{way}"
    place.mkdir()
    style = "oin" if way == "reconcile" else way
    with (
        server.start(installed) as remote,
        open_world(place, users=PEOPLE, seed=7, remote=remote, style=style) as world,
    ):
        # Pauses as they are for users: some of these servers take one call at a time, and refuse what comes meanwhile.
        world.restart(replace(QUICK, first_wait=Pace().first_wait))
        remote.client.post("/Users", json={"schemas": [CORE], "userName": OWNER, "active": True}, headers=SCIM)
        if way == "reconcile":
            yield Play(world, remote, pushes=False)
            return
        by = Signature(actor="test", source="test", at=datetime.now(UTC))
        _, key = world.store.write(lambda conn: keys.create(conn, by, name="okta"))
        with running(build(world.directory, world.store, world.settings)) as url:
            world.org.provisioning(mode="on", scim_url=f"{url}/scim/v2", scim_key=key, time_scale=0.0001)
            yield Play(world, remote, pushes=True)
            world.org.provisioning(mode="off")


def tried(server: RealServer, folder: Path) -> dict[str, Found]:
    found = dict[str, Found]()
    for way in WAYS:
        with play(server, folder, way) as one:
            one.all()
            found[way] = one.found
    return found


def row(server: RealServer, found: dict[str, Found]) -> str:
    """One word where all ways came out alike."""
    cells = []
    for step in ("check", *STEPS):
        words = [found[way][step] for way in WAYS]
        cells.append(words[0] if len(set(words)) == 1 else " / ".join(words))
    return "| " + " | ".join((server.name, server.version, *cells)) + " |"


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name)
def test_each_server_does_what_the_docs_say(server: RealServer, tmp_path: Path) -> None:
    if server.missing:
        pytest.skip(f"unmet need: {server.missing}")
    found = tried(server, tmp_path)
    assert row(server, found) in DOCS.read_text(encoding="utf-8"), found
    for way, steps in found.items():
        # What check finds good is good.
        assert steps["check"] != "ok" or steps["in step"] == YES, (way, steps)


def test_the_docs_name_no_other_server() -> None:
    text = DOCS.read_text(encoding="utf-8").partition("## Real servers")[2].partition("\n## ")[0]
    named = re.findall(r"^\| (?!server)([^|]+?) \|", text, re.MULTILINE)
    assert [name for name in named if not name.startswith("-")] == [server.name for server in SERVERS]


def _print(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for server in SERVERS:
            if not names or server.name in names:
                print(row(server, tried(server, Path(folder))), flush=True)


if __name__ == "__main__":
    _print(sys.argv[1:])
