"""The real org and directory as a file without anybody in it: the same plan comes of it, and nobody's name is in it."""

import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.model.codes import HeldCode
from agent.model.holds import Decision
from agent.okta_org.org import OktaOrg
from agent.reconcile import export
from agent.runs.frame import RunReport, Silent
from agent.settings import DatabaseSettings, OktaSettings
from agent.simulator.server import SimulatedOrg
from agent.store import brakes, holds
from agent.store.engine import Store
from agent.store.journal import Signature
from support.databases import sqlite_in
from support.world import World, open_world

ODD = ("zoë.ångström@example.com", "Zoë", "Ångström"), ("o'neill+ops@sub.corp.example.org", "Conan", "O'Neill")


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    """Something of everything that makes a plan."""
    with open_world(tmp_path, users=40, url=database_url, receiver={"ascii_usernames": False}) as w:
        w.first_run()
        by = Signature(actor="ann@host", source="cli", at=w.now(), reason="asked by Bob Secret")
        people = [w.take() for _ in range(14)]
        for person in people[:4]:
            w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")
        w.org.api("POST", f"/users/{people[4]['okta_id']}/lifecycle/suspend")
        w.org.api("POST", f"/users/{people[5]['okta_id']}/lifecycle/deactivate")
        for person in people[6:9]:
            w.change(person["login"], title="Drifted", active=person is not people[6])
        w.org.set_app_user(people[9]["okta_id"], profile={"costCenter": "CC 12", "title": None})
        w.org.set_app_user(people[10]["okta_id"], credentials={"userName": f"New.{people[10]['login']}"})
        w.local("local@example.com")
        for login, first, last in (*ODD, ("local@example.com", "Lo", "Cal")):
            okta_id = w.okta_user(login, first, last)
            w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": okta_id, "scope": "USER"})
        w.acts().deactivate(w.account(people[11]["login"]).id)
        w.acts().protect(w.account(people[0]["login"]).id, protected=True)
        w.configure(guard={"deactivations_floor": 1, "deactivations_percent": 1.0}, receiver={"ascii_usernames": False})
        w.reconcile(apply=False)
        with w.store.read() as conn:
            waiting = [h for h in holds.open_holds(conn) if h.decision is Decision.WAITING]
        assert {h.code for h in waiting} >= {HeldCode.DEACTIVATIONS_PER_RUN}
        w.store.write(lambda conn: brakes.reject_holds(conn, by, waiting[:1]))
        yield w


def counts(report: RunReport) -> Counter[tuple[str, str, tuple[str, ...]]]:
    assert report.plan is not None, report
    return Counter(
        (action.kind.value, action.held.value if action.held else "", tuple(sorted(action.changes)))
        for action in report.plan.plan.actions
    )


def exported(w: World, file: Path) -> None:
    with gzip.open(file, "wb") as out, w.okta.run():
        for line in export.lines(w.okta, w.store, w.now(), Silent()):
            out.write(line)


def test_the_same_plan_comes_of_it_and_nobody_is_in_it(world: World, tmp_path: Path) -> None:
    real = world.reconcile(apply=False)
    file = tmp_path / "shape.jsonl.gz"
    exported(world, file)
    copy = Store.open(DatabaseSettings(url=sqlite_in(tmp_path, "copy.db")), make=True)
    with SimulatedOrg.start(from_export=file) as org, gzip.open(file) as lines:
        export.load(copy, lines, world.now())
        settings = OktaSettings(org_url=org.url, app_id=org.app_id, api_token=org.token)
        with OktaOrg.connect(settings) as okta:
            rehearsed = World(org, okta, copy, guard=world.settings.guard, receiver=world.settings.receiver)
            tried = rehearsed.reconcile(apply=False)
    copy.close()
    assert len(counts(real)) > 6
    assert counts(tried) == counts(real)
    assert Counter(f.code for f in tried.findings) == Counter(f.code for f in real.findings)
    said = gzip.decompress(file.read_bytes()).decode().lower()
    for account in world.accounts().values():
        parts = (account.user_name, account.id, account.okta_id, account.profile.display_name)
        assert not [part for part in parts if part and part.lower() in said]
    for secret in ("secret", "@example.com", "example.org", world.org.token, "asked by", world.org.app_id.lower()):
        assert secret not in said
