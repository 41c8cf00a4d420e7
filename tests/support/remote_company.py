"""A remote OpsHelm and an agent's database from before a drift, for processes that are killed or frozen in the middle of a call.

The remote lives in the test's own process, so that it knows every call it got, and survives.
"""

import copy
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select, update

from agent.settings import DatabaseSettings
from agent.simulator.server import SimulatedOrg
from agent.store import account, intents, seal
from agent.store.engine import Store
from agent.store.tables import deactivations, journal, mirror
from agent.store.tables import intents as intents_table
from support.forks import Done, Warm
from support.remotes import Remote
from support.sloppy import KEY, Sloppy, sloppy_server
from support.world import OWNER, RAISED, open_world

JOINER, CHANGED, LEAVER = "joiner", "changed", "leaver"
#: In Okta; the owner is OpsHelm's own.
PEOPLE = 4


class RemoteCompany:
    """One joiner, one changed person, one leaver; ``before`` is what the remote held before that."""

    def __init__(self, org: SimulatedOrg, server: Sloppy, database: Path, warm: Warm) -> None:
        self.org, self.server, self.database, self.warm = org, server, database, warm
        self.before = copy.deepcopy(server.users)
        self.ids: dict[str, str] = {}

    def case(self, folder: Path) -> "RemoteCase":
        shutil.copyfile(self.database, folder / "opshelm-agent.db")
        self.server.users = copy.deepcopy(self.before)
        self.server.calls.clear()
        self.server.scripted = None
        self.server.config["etag"]["supported"] = True
        return RemoteCase(self, folder)

    def env(self) -> dict[str, str]:
        guard = {f"OPSHELM_GUARD__{name.upper()}": str(limit) for name, limit in RAISED.items()}
        return guard | {
            "OPSHELM_OKTA__ORG_URL": self.org.url,
            "OPSHELM_OKTA__APP_ID": self.org.app_id,
            "OPSHELM_OKTA__API_TOKEN": self.org.token,
            "OPSHELM_OKTA__BUDGET_SHARE": "1",
            "OPSHELM_RECONCILE__LEASE_TTL": "0.3s",
            "OPSHELM_DIRECTORY__BACKEND": "scim",
            "OPSHELM_DIRECTORY__BASE_URL": self.server.url,
            "OPSHELM_DIRECTORY__API_KEY": KEY,
            "OPSHELM_DIRECTORY__OWNERS": f'["{OWNER}"]',
            "OPSHELM_DIRECTORY__MAX_PER_SECOND": "100000",
            # One call after the other, so that a number names the same one each time.
            "OPSHELM_DIRECTORY__CONCURRENCY": "1",
        }


class RemoteCase:
    """One copy of the database; the remote is as it was before the drift."""

    def __init__(self, company: RemoteCompany, folder: Path) -> None:
        self.company, self.folder, self.server = company, folder, company.server

    def run(self, *args: str, **env: str) -> Done:
        return self.company.warm.run(*args, cwd=self.folder, env=self.env(**env))

    def start(self, *args: str, **env: str) -> int:
        """The same without waiting for its end: the process's id."""
        folder = self.folder / "background"
        folder.mkdir()
        return self.company.warm.start(*args, cwd=folder, env=self.env(**env))

    def background(self) -> str:
        return (self.folder / "background" / "stdout.txt").read_text()

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder}/opshelm-agent.db"

    def env(self, **more: str) -> dict[str, str]:
        return self.company.env() | {"OPSHELM_DATABASE__URL": self.url, **more}

    def apply(self) -> Done:
        return self.run("reconcile", "--apply", "--output", "json")

    @contextmanager
    def store(self) -> Iterator[Store]:
        opened = Store.open(DatabaseSettings(url=self.url))
        try:
            yield opened
        finally:
            opened.close()

    def open_intents(self) -> int:
        with self.store() as store, store.read() as conn:
            return len(intents.open_intents(conn))

    def later(self, time_passes: timedelta = timedelta(minutes=5)) -> None:
        """For calls in doubt: what a process did that is gone is older by so much."""
        with self.store() as store, store.read() as conn:
            rows = conn.execute(select(intents_table.c.id, intents_table.c.at)).all()
        with self.store() as store:
            for row in rows:
                made = row.at - time_passes
                change = intents_table.update().where(intents_table.c.id == row.id).values(at=made)
                store.write(partial(_execute, change))

    def drift_another(self) -> str:
        """One more account is changed at the remote, so that a run has a wave of two; answers its id.

        Long after the agent's own last write, which would outweigh the list that shows it.
        """
        with self.store() as store:
            long_ago = update(mirror).where(mirror.c.written.is_not(None))
            long_ago = long_ago.values(written=datetime.now(UTC) - timedelta(hours=1))
            store.write(partial(_execute, long_ago))
        known = set(self.company.ids.values())
        other = next(i for i, u in self.server.users.items() if u.get("externalId") and i not in known)
        self.server.users[other] |= {
            "title": "Drifted",
            "meta": self.server.users[other]["meta"] | {"version": 'W/"50"'},
        }
        return other

    def user(self, who: str) -> dict[str, Any]:
        return self.server.users[self.company.ids[who]]

    def named(self, login: str) -> list[dict[str, Any]]:
        return [user for user in self.server.users.values() if user["userName"] == login]

    def heals(self) -> None:
        """The next run brings all in step; the one after it finds nothing to do."""
        done = self.apply()
        assert done.code == 0, done.out + done.err
        assert len(self.named("joiner@example.com")) == 1
        assert (self.user(CHANGED)["title"], self.user(LEAVER)["active"]) == ("Captain", False)
        assert len(self.server.users) == PEOPLE + 2
        self.is_whole()
        writes = sum(call.writes for call in self.server.calls)
        again = self.apply()
        assert again.json()["run"]["outcome"] == "in_step", again.out
        assert sum(call.writes for call in self.server.calls) == writes

    def is_whole(self) -> None:
        """Every intent has one outcome, the counters are those of what the remote holds, the journal is whole."""
        with self.store() as store, store.read() as conn:
            assert intents.open_intents(conn) == []
            rows = list(conn.execute(select(journal).order_by(journal.c.id)))
            row = account.get(conn)
            counted = list(conn.execute(select(deactivations.c.directory_id)).scalars())
            assert seal.verify(conn).problems == []
        began = sum(r.kind == "intent" for r in rows)
        ended = sum(r.kind in ("applied", "failed") and r.after is not None for r in rows)
        assert began == ended, [(r.kind, r.verb) for r in rows]
        applied = Counter((r.directory_id, r.verb) for r in rows if r.kind == "applied")
        assert max(applied.values()) == 1, f"carried out twice: {applied}"
        managed = [u for u in self.server.users.values() if u.get("externalId")]
        assert row.managed_active == sum(u["active"] for u in managed)
        assert row.active_owners == 1
        assert counted == [u["id"] for u in managed if not u["active"]]


@contextmanager
def remote_company(folder: Path, warm: Warm) -> Iterator[RemoteCompany]:
    with sloppy_server() as server, open_world(folder, remote=Remote(server.url, KEY), users=PEOPLE) as w:
        server.add(OWNER)
        w.first_run()
        people = w.people()
        changed, leaver = people[0], people[1]
        ids = {CHANGED: w.account(changed["login"]).id, LEAVER: w.account(leaver["login"]).id}
        w.org.api("POST", f"/users/{changed['okta_id']}", {"profile": {"title": "Captain"}})
        w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{leaver['okta_id']}")
        profile = {"login": "joiner@example.com", "email": "joiner@example.com", "firstName": "Jo", "lastName": "Iner"}
        joiner = w.org.api("POST", "/users?activate=true", {"profile": profile})["id"]
        w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": joiner})
        w.org.wait_idle()
        w.remote.client.close()
        database = folder / "before.db"
        w.store.close()
        (folder / "agent.db").rename(database)
        made = RemoteCompany(w.org, server, database, warm)
        made.ids = ids
        yield made


def _execute(statement: Any, conn: Connection) -> None:
    conn.execute(statement)
