"""People's whole time at an OpsHelm on servers like those in use, by runs and by Okta's pushes: the second look finds all in step."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.directory.remote.mirror import LAG
from agent.store import alarms
from support.databases import sqlite_in
from support.holding import HoldWorld, hold_world
from support.remote_kinds import KINDS
from support.remotes import Remote
from support.sloppy import KEY, Body, Sloppy, sloppy_server
from support.world import OWNER, RAISED

FULL = [pytest.param(60, style, marks=pytest.mark.slow) for style in ("oin", "wizard")]


class Played:
    def __init__(self, world: HoldWorld, server: Sloppy, *, pushed: bool) -> None:
        self.world, self.server, self.pushed = world, server, pushed
        self.person: dict[str, Any] = world.people()[1]

    @property
    def shown(self) -> Body:
        okta_id = self.person["okta_id"]
        return next(user for user in self.server.users.values() if user.get("externalId") == okta_id)

    def changed(self, **profile: str) -> None:
        self.world.org.api("POST", f"/users/{self.person['okta_id']}", {"profile": profile})
        self.done()

    def done(self) -> None:
        """By whichever way; then a look finds all in step."""
        org = self.world.org
        if self.pushed:
            org.wait_idle()
            assert org.tasks() == []
        else:
            self.run("applied", "in_step")
        self.run("in_step")
        self.run("in_step", users=(self.person["okta_id"],))

    def run(self, *outcomes: str, users: tuple[str, ...] = ()) -> None:
        self.world.ahead += LAG + timedelta(minutes=1)
        report = self.world.reconcile(*users)
        said = [(a.kind.value, a.changes) for a in report.plan.plan.actions] if report.plan else []
        assert report.outcome.value in outcomes, (report, said)
        with self.world.store.read() as conn:
            assert [a.code for a in alarms.open_alarms(conn)] == []


@contextmanager
def played(kind: str, folder: Path, people: int, style: str, *, pushed: bool) -> Iterator[Played]:
    with sloppy_server() as server:
        server.add(OWNER)
        KINDS[kind][0](server)
        remote = Remote(server.url, KEY)
        with remote.client, hold_world(sqlite_in(folder), people, style, remote, guard=RAISED) as world:
            if not pushed:
                world.org.provisioning(mode="off")
            yield Played(world, server, pushed=pushed)


@pytest.mark.parametrize("pushed", [False, True], ids=["runs", "pushes"])
@pytest.mark.parametrize(("people", "style"), [(6, "oin"), *FULL])
@pytest.mark.parametrize("kind", KINDS)
def test_all_that_happens_to_a_person_ends_in_step(
    tmp_path: Path, kind: str, people: int, style: str, pushed: bool
) -> None:
    with played(kind, tmp_path, people, style, pushed=pushed) as play:
        play.run("in_step")
        play.changed(title="Chief Engineer")
        assert (play.shown.get("title") == "Chief Engineer") == (KINDS[kind][1] or kind == "respelling")
        play.changed(lastName="Newname")
        assert play.shown["name"]["familyName"] == "Newname"
        play.changed(login="moved@example.com", email="moved@example.com")
        assert play.shown["userName"] == "moved@example.com"
        assignment = f"/apps/{play.world.org.app_id}/users"
        play.world.org.api("DELETE", f"{assignment}/{play.person['okta_id']}")
        play.done()
        assert play.shown["active"] is False
        play.world.org.api("POST", assignment, {"id": play.person["okta_id"]})
        play.done()
        assert play.shown["active"] is True
