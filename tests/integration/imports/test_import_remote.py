"""The same import where OpsHelm is a remote SCIM server: the agent's own receiver passes Okta's pushes on."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from agent.bootstrap import open_directory
from agent.imports import Importer
from agent.model.matching import Apart, ImportState
from agent.okta_org.org import OktaOrg
from agent.receiver.app import build
from agent.settings import Settings
from agent.simulator.server import SimulatedOrg
from agent.store import account as account_row
from agent.store import imports, keys
from agent.store.engine import Store
from agent.store.journal import Signature
from support.databases import sqlite_in
from support.receiver import running, served
from support.world import EVERYBODY, account, okta_user


def test_accounts_of_a_remote_opshelm_come_into_okta(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    with ExitStack() as stack:
        org = stack.enter_context(SimulatedOrg.start(users=2, seed=6, rate_window=1.0, time_scale=0.01))
        remote = stack.enter_context(served(sqlite_in(tmp_path / "remote")))
        settings = Settings(
            okta={"org_url": org.url, "app_id": org.app_id, "api_token": org.token, "budget_share": 1},
            directory={
                "backend": "scim",
                "base_url": remote.url,
                "api_key": remote.key,
                "owners": ["owner@example.com"],
            },
            database={"url": sqlite_in(tmp_path)},
        )
        store = Store.open(settings.database)
        stack.callback(store.close)
        directory = open_directory(settings, store)
        stack.callback(directory.close)
        okta = stack.enter_context(OktaOrg.connect(settings.okta))
        url = stack.enter_context(running(build(directory, store, settings)))
        now = datetime.now(UTC)
        _, key = store.write(
            lambda conn: keys.create(conn, Signature(actor="test", source="test", at=now), name="okta")
        )
        names = {"org_id": okta.org_id(), "app_id": org.app_id, "app_label": "OpsHelm", "actor": "test", "now": now}
        store.write(lambda conn: account_row.pin(conn, **names))
        org.provisioning(mode="on", scim_url=f"{url}/scim/v2", scim_key=key)
        for login in ("exact@example.com", "none@example.com", "owner@example.com"):
            account(remote.directory, login)
        for login in ("exact@example.com", "owner@example.com"):
            okta_user(org, login)

        importer = Importer(store, directory, okta, settings, lambda: datetime.now(UTC))
        apart = {m.account.user_name: m.apart for m in importer.survey().matches}
        assert apart == {"exact@example.com": None, "none@example.com": None, "owner@example.com": Apart.OWNER}
        planned = importer.plan(EVERYBODY, actor="test").plan
        assert planned is not None
        assert importer.apply(planned.id, actor="test").outcome == "applied"
        made = next(person for person in org.state() if person["login"] == "none@example.com")
        org.api("POST", f"/users/{made['okta_id']}/lifecycle/activate?sendEmail=false")
        org.wait_idle()

        survey = importer.survey()
        assert [m.account.user_name for m in survey.matches] == ["owner@example.com"]
        assert survey.assigned == ()
        with store.read() as conn:
            linked = {row.login for row in imports.in_state(conn, ImportState.LINKED)}
        assert linked == {"exact@example.com", "none@example.com"}
