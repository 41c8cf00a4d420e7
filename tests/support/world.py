"""A whole world in one process: a simulated org over HTTP, a store, a directory on either backend, the agent's runs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from agent.directory.port import Acts, Draft, WriteContext
from agent.directory.remote.directory import RemoteDirectory
from agent.directory.remote.patience import Pace
from agent.directory.sql import SqlDirectory
from agent.imports import Importer
from agent.imports.planner import Choice
from agent.model.codes import ActionState, Source
from agent.model.guard import typed
from agent.model.mapping import apply
from agent.model.matching import MatchClass
from agent.model.users import DirectoryUser, Enterprise, MultiValue, Name, Profile, identity_key
from agent.okta_org.org import OktaOrg
from agent.reconcile import Reconciler, RunReport
from agent.runs.frame import Progress
from agent.settings import DatabaseSettings, OktaSettings, Settings
from agent.simulator.server import SimulatedOrg
from agent.store import account as account_row
from agent.store import imports, plans
from agent.store.engine import Store
from agent.store.plans import StoredPlan
from agent.store.runs import Asker
from support.databases import sqlite_in
from support.receiver import served
from support.remotes import QUICK, Remote

#: Of a remote: directory.owners.
OWNER = "boss@example.org"
#: More calls than any test makes.
COUNTED = 1_000
BY_CLI = WriteContext(actor="somebody", source=Source.CLI, exempt=True)
EVERYBODY = Choice(classes=frozenset({MatchClass.EXACT, MatchClass.NONE}))
#: Limits that no test meets by accident.
RAISED = {
    "deactivations_percent": 100.0,
    "deactivations_floor": 10_000,
    "deactivations_cap": 10_000,
    "window_percent": 100.0,
    "window_floor": 10_000,
    "window_cap": 10_000,
    "push_percent": 100.0,
    "push_floor": 10_000,
    "push_cap": 10_000,
    "identity_floor": 10_000,
    "creates_floor": 10_000,
}


def profile(login: str, first: str, last: str, **more: Any) -> Profile:
    return Profile(
        name=Name(given_name=first, family_name=last),
        emails=(MultiValue(value=login, type="work", primary=True),),
        enterprise=Enterprise(department="Import"),
        **more,
    )


def account(
    directory: SqlDirectory, login: str, first: str = "", last: str = "", *, active: bool = True, email: str = ""
) -> DirectoryUser:
    """A local account, as it was in OpsHelm before Okta came."""
    names = first or login.partition("@")[0].capitalize(), last or "Local"
    draft = Draft(user_name=login, profile=profile(email or login, *names), active=active)
    return directory.create(draft, BY_CLI, datetime.now(UTC)).result().user


def okta_user(
    org: SimulatedOrg, login: str, first: str = "", last: str = "", *, email: str = "", status: str = "ACTIVE"
) -> str:
    """An Okta user who hasn't the app; answers the id."""
    names = {"firstName": first or login.partition("@")[0].capitalize(), "lastName": last or "Person"}
    body = {
        "profile": {"login": login, "email": email or login, **names},
        "credentials": {"password": {"value": "s3cret-S3cret"}},
    }
    activate = "false" if status == "STAGED" else "true"
    okta_id = str(org.api("POST", f"/users?activate={activate}", body)["id"])
    if status == "SUSPENDED":
        org.api("POST", f"/users/{okta_id}/lifecycle/suspend")
    elif status == "DEPROVISIONED":
        org.api("POST", f"/users/{okta_id}/lifecycle/deactivate")
    return okta_id


class World:
    """``org`` is Okta; ``directory`` is OpsHelm; ``reconcile`` and ``importer`` are the agent. ``ahead`` moves its clock.

    With a ``remote`` that is OpsHelm, and what people do there they do behind the agent's back.
    """

    def __init__(
        self, org: SimulatedOrg, okta: OktaOrg, store: Store, *, remote: Remote | None = None, **sections: Any
    ) -> None:
        self.org, self.okta, self.store, self.remote = org, okta, store, remote
        self.pace = QUICK
        #: Of the receiver that Okta pushes to; "" where it doesn't.
        self.key = ""
        self.ahead = timedelta()
        self._taken = 0
        self.configure(**sections)

    def configure(self, **sections: Any) -> None:
        okta = OktaSettings(org_url=self.org.url, app_id=self.org.app_id, api_token=self.org.token)
        directory = sections.pop("directory", {})
        if self.remote is not None:
            directory = _remote_section(self.remote) | directory
        self.settings = Settings(okta=okta, directory=directory, **{"imports": {"max_per_run": 300}, **sections})
        self.directory = SqlDirectory(self.store, self.settings) if self.remote is None else self.beside(self.pace)
        self.reconciler = Reconciler(self.store, self.directory, self.okta, self.settings, self.now)
        self.importer = Importer(self.store, self.directory, self.okta, self.settings, self.now)

    def beside(self, pace: Pace = QUICK) -> RemoteDirectory:
        """The remote, as another process sees it. Close it."""
        return RemoteDirectory(self.store, self.settings, clock=self.now, pace=pace)

    def restart(self, pace: Pace = QUICK, **sections: Any) -> None:
        """The agent as a new process, which knows nothing of the remote yet."""
        self.close()
        self.pace = pace
        self.configure(**{"guard": RAISED, **sections})

    def close(self) -> None:
        if isinstance(self.directory, RemoteDirectory):
            self.directory.close()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def reconcile(
        self,
        *users: str,
        apply: bool = True,
        first_run: int | None = None,
        allow_empty: int | None = None,
        trigger: str = "cli",
        progress: Progress | None = None,
    ) -> RunReport:
        grant = typed(first_run=first_run, allow_empty=allow_empty)
        by = Asker(trigger=trigger, actor="test")
        return self.reconciler.run(apply=apply, users=users, grant=grant, by=by, wait=0, progress=progress)

    def take(self) -> dict[str, Any]:
        """A person whom no other test of this world has touched."""
        person = self.people()[self._taken]
        self._taken += 1
        return person

    def actions_for(self, report: RunReport, okta_id: str) -> list[tuple[str, str | None]]:
        """(kind, held) of this person's actions in the report's plan."""
        assert report.plan is not None, report
        mine = [a for a in report.plan.plan.actions if a.okta_id == okta_id]
        return [(a.kind.value, a.held.value if a.held else None) for a in mine]

    def findings_for(self, report: RunReport, okta_id: str) -> set[str]:
        return {f.code.value for f in report.findings if f.okta_id == okta_id}

    def people(self) -> list[dict[str, Any]]:
        return self.org.state()

    def first_run(self) -> None:
        """Everybody in Okta gets an account; the pins are set."""
        report = self.reconcile(first_run=1_000_000)
        assert report.outcome in ("applied", "in_step"), report

    def pin(self) -> None:
        """As the first apply does, without applying anything."""
        org_id, now = self.okta.org_id(), self.now()
        self.store.write(
            lambda conn: account_row.pin(
                conn, org_id=org_id, app_id=self.org.app_id, app_label="", actor="test", now=now
            )
        )

    def account(self, login: str) -> DirectoryUser:
        user = self.directory.find(user_name_key=identity_key(login))
        assert user is not None, login
        return user

    def accounts(self) -> dict[str, DirectoryUser]:
        return {user.user_name: user for page in self.directory.everyone() for user in page}

    def acts(self) -> Acts:
        return self.directory.operator(actor="operator", reason="test", now=self.now())

    def change(self, login: str, **values: Any) -> DirectoryUser:
        """Somebody changes the account in OpsHelm behind Okta's back. ``active`` and SCIM paths."""
        user = self.account(login)
        if self.remote is not None:
            self.remote.patch(user.id, **values)
            return self._read(user.id)
        active = values.pop("active", user.active)
        name = values.pop("userName", user.user_name)

        def wanted(before: DirectoryUser) -> Draft:
            return Draft(user_name=name, profile=apply(before.profile, values), active=active)

        return self.directory.modify(user.id, wanted, BY_CLI, self.now()).result().user

    def local(self, login: str, **acts: Any) -> DirectoryUser:
        if self.remote is not None:
            return self._read(self.remote.post(login)["id"])
        return self.acts().add(login, **acts)

    def vanish(self, login: str) -> None:
        """The account is deleted at the remote."""
        assert self.remote is not None
        answer = self.remote.client.delete(f"/Users/{self.account(login).id}")
        assert answer.status_code == 204

    def _read(self, user_id: str) -> DirectoryUser:
        found = self.directory.get(user_id)
        assert found is not None
        return found

    def sql(self, statement: str, **values: Any) -> Any:
        return self.store.write(lambda conn: conn.execute(text(statement), values))

    def state_of(self, login: str) -> dict[str, Any]:
        return next(person for person in self.people() if person["login"] == login)

    def journal_rows(self) -> int:
        with self.store.read() as conn:
            return int(conn.execute(text("select count(*) from journal")).scalar_one())

    # Imports

    def colleague(self, login: str, *names: str, **more: Any) -> DirectoryUser:
        return account(self.directory, login, *names, **more)

    def okta_user(self, login: str, *names: str, **more: Any) -> str:
        return okta_user(self.org, login, *names, **more)

    def plan(self, choice: Choice = EVERYBODY) -> StoredPlan:
        stored = self.importer.plan(choice, actor="test").plan
        assert stored is not None
        return stored

    def named(self, *logins: str, decision: str = "") -> StoredPlan:
        return self.plan(Choice(named={self.account(login).id: decision for login in logins}))

    def apply(self, plan: StoredPlan) -> RunReport:
        return self.importer.apply(plan.id, actor="test", wait=0)

    def stored(self, plan: StoredPlan) -> StoredPlan:
        with self.store.read() as conn:
            found = plans.get(conn, plan.id)
        assert found is not None
        return found

    def row(self, login: str) -> imports.Import:
        with self.store.read() as conn:
            found = imports.get(conn, self.account(login).id)
        assert found is not None
        return found

    def calls(self, method: str, path: str) -> int:
        """How often Okta was asked so: a fault that only delays counts them."""
        listed = self.org.call("GET", "/simulator/faults")
        return sum(COUNTED - fault["times"] for fault in listed if (fault["method"], fault["path"]) == (method, path))

    def count(self, *calls: tuple[str, str]) -> None:
        self.org.faults(*({"method": method, "path": path, "times": COUNTED} for method, path in calls))

    def journal(self) -> list[tuple[str, str, str]]:
        """Kind, verb and source of every row that an import wrote."""
        with self.store.read() as conn:
            rows = conn.exec_driver_sql("SELECT kind, verb, source FROM journal WHERE source = 'import' ORDER BY id")
            return [tuple(row) for row in rows]

    def states(self, plan: StoredPlan) -> list[tuple[str, str]]:
        return [(a.kind.value, (ActionState.HELD if a.held else a.state).value) for a in self.stored(plan).plan.actions]


def _remote_section(remote: Remote) -> dict[str, Any]:
    return {
        "backend": "scim",
        "base_url": remote.url,
        "api_key": remote.key,
        "owners": (OWNER,),
        "max_per_second": 100_000.0,
    }


@contextmanager
def open_world(
    folder: Path,
    users: int = 8,
    *,
    seed: int = 1,
    url: str = "",
    remote: Remote | None = None,
    retries: int = 5,
    window: float = 60.0,
    style: str = "oin",
    **sections: Any,
) -> Iterator[World]:
    """``url``: another database than a SQLite file in the folder. ``window``: seconds until Okta's limits are full again."""
    with ExitStack() as stack:
        org = stack.enter_context(SimulatedOrg.start(users=users, seed=seed, rate_window=window, app_style=style))
        org.provisioning(mode="off")
        settings = OktaSettings(org_url=org.url, app_id=org.app_id, api_token=org.token, max_retries=retries)
        okta = stack.enter_context(OktaOrg.connect(settings))
        store = Store.open(DatabaseSettings(url=url or sqlite_in(folder)))
        stack.callback(store.close)
        made = World(org, okta, store, remote=remote, **{"guard": RAISED, **sections})
        stack.callback(made.close)
        yield made


@contextmanager
def open_import_world(folder: Path) -> Iterator[World]:
    """Okta pushes to a receiver, and nobody is in OpsHelm; with the guard's own limits."""
    with ExitStack() as stack:
        org = stack.enter_context(SimulatedOrg.start(users=3, seed=6, rate_window=1.0, time_scale=0.01))
        okta = stack.enter_context(
            OktaOrg.connect(OktaSettings(org_url=org.url, app_id=org.app_id, api_token=org.token, budget_share=1))
        )
        receiver = stack.enter_context(served(sqlite_in(folder)))
        org.provisioning(mode="on", scim_url=receiver.url, scim_key=receiver.key)
        made = World(org, okta, receiver.store)
        made.key = receiver.key
        yield made
