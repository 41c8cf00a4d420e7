"""Imports in one process: a simulated org that pushes to a real receiver, and the importer between them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.directory.port import Acts, Draft, WriteContext
from agent.directory.sql import SqlDirectory
from agent.imports import Importer
from agent.imports.planner import Choice
from agent.model.codes import ActionState, Source
from agent.model.matching import MatchClass
from agent.model.users import DirectoryUser, Enterprise, MultiValue, Name, Profile, identity_key
from agent.okta_org.org import OktaOrg
from agent.runs.report import RunReport
from agent.settings import OktaSettings, Settings
from agent.simulator.server import SimulatedOrg
from agent.store import account as account_row
from agent.store import imports, plans
from agent.store.engine import Store
from agent.store.plans import StoredPlan
from support.receiver import served, sqlite_in

#: More calls than any test makes.
COUNTED = 1_000

BY_CLI = WriteContext(actor="somebody", source=Source.CLI, exempt=True)


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


EVERYBODY = Choice(classes=frozenset({MatchClass.EXACT, MatchClass.NONE}))


class Box:
    """``org`` is Okta, ``directory`` OpsHelm, ``importer`` the agent. ``ahead`` moves the agent's clock."""

    def __init__(self, org: SimulatedOrg, okta: OktaOrg, store: Store, key: str) -> None:
        self.org, self.okta, self.store, self.key = org, okta, store, key
        self.ahead = timedelta()
        self.configure()

    def configure(self, **sections: Any) -> None:
        okta = {"org_url": self.org.url, "app_id": self.org.app_id, "api_token": self.org.token}
        self.settings = Settings(okta=okta, **{"imports": {"max_per_run": 300}, **sections})
        self.directory = SqlDirectory(self.store, self.settings)
        self.importer = Importer(self.store, self.directory, self.okta, self.settings, self.now)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def bind(self) -> None:
        """As the first apply of a reconcile does it."""
        names = {"org_id": self.okta.org_id(), "app_id": self.org.app_id, "app_label": "OpsHelm", "actor": "test"}
        self.store.write(lambda conn: account_row.pin(conn, **names, now=self.now()))

    def acts(self) -> Acts:
        return self.directory.operator(actor="operator", reason="test", now=self.now())

    def account(self, login: str, *names: str, **more: Any) -> DirectoryUser:
        return account(self.directory, login, *names, **more)

    def okta_user(self, login: str, *names: str, **more: Any) -> str:
        return okta_user(self.org, login, *names, **more)

    def read(self, login: str) -> DirectoryUser:
        user = self.directory.find(user_name_key=identity_key(login))
        assert user is not None, login
        return user

    def person(self, login: str) -> dict[str, Any]:
        found = [person for person in self.org.state() if person["login"] == login]
        assert len(found) == 1, found
        return found[0]

    def plan(self, choice: Choice = EVERYBODY) -> StoredPlan:
        stored = self.importer.plan(choice, actor="test").plan
        assert stored is not None
        return stored

    def named(self, *logins: str, decision: str = "") -> StoredPlan:
        return self.plan(Choice(named={self.read(login).id: decision for login in logins}))

    def apply(self, plan: StoredPlan) -> RunReport:
        return self.importer.apply(plan.id, actor="test", wait=0)

    def stored(self, plan: StoredPlan) -> StoredPlan:
        with self.store.read() as conn:
            found = plans.get(conn, plan.id)
        assert found is not None
        return found

    def row(self, login: str) -> imports.Import:
        with self.store.read() as conn:
            found = imports.get(conn, self.read(login).id)
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


@contextmanager
def box(folder: Path) -> Iterator[Box]:
    with ExitStack() as stack:
        org = stack.enter_context(SimulatedOrg.start(users=3, seed=6, rate_window=1.0, time_scale=0.01))
        okta = stack.enter_context(
            OktaOrg.connect(OktaSettings(org_url=org.url, app_id=org.app_id, api_token=org.token, budget_share=1))
        )
        receiver = stack.enter_context(served(sqlite_in(folder)))
        org.provisioning(mode="on", scim_url=receiver.url, scim_key=receiver.key)
        yield Box(org, okta, receiver.store, receiver.key)
