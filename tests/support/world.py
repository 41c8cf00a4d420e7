"""A whole world in one process: the simulated org over HTTP, a SQLite store, the embedded directory, the reconciler."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from agent.directory.port import Acts, Draft, WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.model.guard import typed
from agent.model.mapping import apply
from agent.model.users import DirectoryUser, identity_key
from agent.okta_org.org import OktaOrg
from agent.reconcile import Reconciler, RunReport
from agent.runs.frame import Progress
from agent.settings import DatabaseSettings, OktaSettings, Settings
from agent.simulator.server import SimulatedOrg
from agent.store import account
from agent.store.engine import Store
from agent.store.runs import Asker

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


class World:
    """``org`` is Okta; ``directory`` is OpsHelm; ``reconcile`` is the agent. ``ahead`` moves the agent's clock."""

    def __init__(self, org: SimulatedOrg, okta: OktaOrg, store: Store, **sections: Any) -> None:
        self.org, self.okta, self.store = org, okta, store
        self.ahead = timedelta()
        self._taken = 0
        self.configure(**sections)

    def configure(self, **sections: Any) -> None:
        okta = OktaSettings(org_url=self.org.url, app_id=self.org.app_id, api_token=self.org.token)
        self.settings = Settings(okta=okta, **sections)
        self.directory = SqlDirectory(self.store, self.settings)
        self.reconciler = Reconciler(self.store, self.directory, self.okta, self.settings, self.now)

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
            lambda conn: account.pin(conn, org_id=org_id, app_id=self.org.app_id, app_label="", actor="test", now=now)
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
        active = values.pop("active", user.active)
        name = values.pop("userName", user.user_name)
        context = WriteContext(actor="somebody", source=Source.CLI, exempt=True)

        def wanted(before: DirectoryUser) -> Draft:
            return Draft(user_name=name, profile=apply(before.profile, values), active=active)

        return self.directory.modify(user.id, wanted, context, self.now()).result().user

    def local(self, login: str, **acts: Any) -> DirectoryUser:
        return self.acts().add(login, **acts)

    def sql(self, statement: str, **values: Any) -> Any:
        from sqlalchemy import text

        return self.store.write(lambda conn: conn.execute(text(statement), values))

    def state_of(self, login: str) -> dict[str, Any]:
        return next(person for person in self.people() if person["login"] == login)

    def journal_rows(self) -> int:
        from sqlalchemy import text

        with self.store.read() as conn:
            return int(conn.execute(text("select count(*) from journal")).scalar_one())


@contextmanager
def world(
    folder: Path,
    users: int = 8,
    *,
    seed: int = 1,
    url: str = "",
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
        store = Store.open(DatabaseSettings(url=url or f"sqlite:///{folder}/agent.db"))
        stack.callback(store.close)
        yield World(org, okta, store, **{"guard": RAISED, **sections})
