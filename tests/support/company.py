"""A company whose people have moved, a database from before that, and the agent's commands on copies of it.

Every fault leaves the same question: does the next run bring everybody to where a run without faults would have?
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from agent.settings import DatabaseSettings
from agent.simulator import SimulatedOrg
from agent.store.engine import Store
from agent.store.tables import users
from support.forks import Done, Warm
from support.invariants import Acknowledged, check, no_op, settled
from support.world import World, open_world

#: Enough for several pages, batches and kinds; few enough that the limits let all of it through.
PEOPLE = 30
LEAVERS, JOINERS, CHANGED, BACK = 3, 4, 6, 2
FIXES = LEAVERS + JOINERS + CHANGED + BACK


class Company:
    """``database`` is from before the drift; ``expected`` is the directory after a run without faults."""

    def __init__(self, org: SimulatedOrg, database: Path, warm: Warm) -> None:
        self.org, self.database, self.warm = org, database, warm
        self.expected: dict[str, Any] = {}

    def env(self, **more: str) -> dict[str, str]:
        return {
            "OPSHELM_OKTA__ORG_URL": self.org.url,
            "OPSHELM_OKTA__APP_ID": self.org.app_id,
            "OPSHELM_OKTA__API_TOKEN": self.org.token,
            "OPSHELM_OKTA__BUDGET_SHARE": "1",
            "OPSHELM_RECONCILE__LEASE_TTL": "0.3s",
            "OPSHELM_RECONCILE__BATCH": "4",
            "OPSHELM_RECONCILE__PAGE_SIZE": "10",
            **more,
        }

    def case(self, folder: Path) -> "Case":
        shutil.copyfile(self.database, folder / "opshelm-agent.db")
        return Case(self, folder)


class Case:
    """One copy of the database, in a folder of its own; ``url``: another database than that."""

    def __init__(self, company: Company, folder: Path, url: str = "") -> None:
        self.company, self.folder = company, folder
        self.url = url or f"sqlite:///{folder}/opshelm-agent.db"

    def run(self, *args: str, **env: str) -> Done:
        return self.company.warm.run(*args, cwd=self.folder, env=self._env(env))

    def start(self, *args: str, **env: str) -> int:
        """The same without waiting for its end: the process's id. Its output is in ``background``."""
        folder = self.folder / "background"
        folder.mkdir()
        return self.company.warm.start(*args, cwd=folder, env=self._env(env))

    def background(self) -> str:
        return "".join((self.folder / "background" / name).read_text() for name in ("stdout.txt", "stderr.txt"))

    def _env(self, env: dict[str, str]) -> dict[str, str]:
        return self.company.env(**{"OPSHELM_DATABASE__URL": self.url, **env})

    def apply(self) -> Done:
        return self.run("reconcile", "--apply", "--output", "json")

    @contextmanager
    def store(self) -> Iterator[Store]:
        opened = Store.open(DatabaseSettings(url=self.url))
        try:
            yield opened
        finally:
            opened.close()

    def heals(self, acknowledged: Iterable[Acknowledged] = ()) -> None:
        """After a fault: what holds at once, and what holds after the next run, which is the last one that does anything."""
        with self.store() as store:
            check(store, acknowledged)
        done = self.apply()
        assert done.code == 0, done.out + done.err
        with self.store() as store:
            check(store, acknowledged)
            settled(store)
            assert directory(store) == self.company.expected
            last = no_op(store, self.apply)
        assert last.json()["run"]["outcome"] == "in_step"


def directory(store: Store) -> dict[str, Any]:
    """What counts of every account, without what differs from run to run (ids, times, versions)."""
    columns = (users.c.user_name, users.c.okta_id, users.c.active, users.c.role, users.c.origin, users.c.mapped)
    with store.read() as conn:
        return {row.user_name: tuple(row)[1:] for row in conn.execute(select(*columns))}


@contextmanager
def company(folder: Path, warm: Warm) -> Iterator[Company]:
    with open_world(folder, PEOPLE, window=1) as w:
        w.local("owner@example.com", owner=True)
        w.local("local@example.com")
        w.acts().protect(w.local("service@example.com").id, protected=True)
        w.first_run()
        returning = [person["okta_id"] for person in w.people()[LEAVERS : LEAVERS + BACK]]
        for okta_id in returning:
            w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{okta_id}")
        assert w.reconcile().outcome == "applied"
        drift(w, returning)
        w.org.wait_idle()
        made = Company(w.org, folder / "before.db", warm)
        w.store.close()
        (folder / "agent.db").rename(made.database)
        (folder / "clean").mkdir()
        clean = made.case(folder / "clean")
        done = clean.apply()
        assert done.code == 0, done.out + done.err
        assert done.json()["run"]["counts"]["done"] == FIXES
        with clean.store() as store:
            made.expected = directory(store)
        yield made


def drift(w: World, returning: list[str]) -> None:
    """Changes in Okta whose pushes are lost: leavers, joiners, people who changed, people who come back."""
    people = w.people()
    for person in people[:LEAVERS]:
        w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")
    for okta_id in returning:
        w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": okta_id})
    for number in range(JOINERS):
        login = f"joiner{number}@example.com"
        profile = {"login": login, "email": login, "firstName": "Jo", "lastName": f"Iner{number}"}
        okta_id = w.org.api("POST", "/users?activate=true", {"profile": profile})["id"]
        w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": okta_id})
    for person in people[-CHANGED:]:
        w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Captain"}})
