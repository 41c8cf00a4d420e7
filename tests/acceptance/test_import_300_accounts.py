"""300 accounts of all classes into Okta, with everything going wrong: faults on every call, and a kill -9 twice.

Real processes: the daemon that Okta pushes to, and the commands. One Okta user a person, nothing activated unasked, and all
linked once those created STAGED are activated.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.directory.sql import SqlDirectory
from agent.imports import Importer
from agent.imports.planner import Choice
from agent.model.matching import ImportState, MatchClass
from agent.model.users import Role
from agent.okta_org.org import OktaOrg
from agent.settings import DatabaseSettings, Settings
from agent.simulator.server import SimulatedOrg
from agent.store import account as account_row
from agent.store import imports as store_imports
from agent.store import keys
from agent.store.engine import Store
from agent.store.journal import Signature
from support.processes import Daemon, agent, document
from support.world import account, okta_user

EXACT, NONE, PARTIAL, EMAIL_ONLY, OWNERS, EACH_STATUS, INACTIVE = 110, 130, 20, 10, 5, 5, 10
EVERYBODY = Choice(classes=frozenset({MatchClass.EXACT, MatchClass.NONE}))
STATUSES = ("DEPROVISIONED", "SUSPENDED", "STAGED")
#: On every call that an import makes; used up by the first calls, so it is set anew for each run.
FAULTS: list[dict[str, Any]] = [
    {"method": "POST", "path": "/api/v1/users", "status": 500, "times": 1},
    {"method": "POST", "path": "/api/v1/users", "effect": "after", "times": 2},
    {"method": "POST", "path": "/api/v1/users", "status": 429, "times": 1},
    {"method": "POST", "path": "/api/v1/users", "status": 503, "effect": "after", "times": 1},
    {"method": "POST", "path": "/api/v1/users", "cut_after": 20, "times": 1},
    {"method": "POST", "path": "/api/v1/apps/*/users", "status": 502, "times": 1, "body": "<html>bad gateway</html>"},
    {"method": "POST", "path": "/api/v1/apps/*/users", "effect": "after", "times": 2},
    {"method": "POST", "path": "/api/v1/apps/*/users", "status": 429, "times": 1},
    {"method": "POST", "path": "/api/v1/apps/*/users", "status": 500, "effect": "after", "times": 1},
    {"method": "GET", "path": "/api/v1/users/*", "status": 500, "times": 2},
    {"method": "GET", "path": "/api/v1/apps/*/users/*", "status": 503, "times": 2},
    {"method": "GET", "path": "/api/v1/apps/*/users", "status": 429, "times": 1},
    {"method": "GET", "path": "/api/v1/users", "cut_after": 50, "times": 1},
]
#: Done, and the answer is lost: these alone cost no waiting.
LOST = [fault for fault in FAULTS if fault.get("effect") == "after" or "cut_after" in fault]


class Import:
    """The org, the daemon's folder, and the same store and importer in this process, for what needs no process of its own."""

    def __init__(self, folder: Path, org: SimulatedOrg, store: Store, okta: OktaOrg, settings: Settings) -> None:
        self.folder, self.org, self.store = folder, org, store
        self.directory = SqlDirectory(store, settings)
        self.importer = Importer(store, self.directory, okta, settings, lambda: datetime.now(UTC))
        self.env = {
            "OPSHELM_OKTA__ORG_URL": org.url,
            "OPSHELM_OKTA__APP_ID": org.app_id,
            "OPSHELM_OKTA__API_TOKEN": org.token,
            "OPSHELM_OKTA__BUDGET_SHARE": "1",
            "OPSHELM_DATABASE__URL": f"sqlite:///{folder}/agent.db",
            "OPSHELM_SCHEDULE__RECONCILE": "off",
            "OPSHELM_SCHEDULE__EVENTS": "off",
            "OPSHELM_RECONCILE__LEASE_TTL": "1s",
            "OPSHELM_IMPORTS__MAX_PER_RUN": "300",
        }

    def run(self, *args: str, crash_at: str = "") -> Any:
        env = {**self.env, **({"OPSHELM_CRASH_AT": crash_at} if crash_at else {})}
        return agent("import", *args, "--output", "json", cwd=self.folder, env=env, timeout=240)

    def apply(self, plan_id: int) -> None:
        """With everything going wrong, as often as it ends for Okta's sake."""
        for _ in range(3):
            self.org.faults(*FAULTS)
            done = self.run("apply", str(plan_id))
            assert done.returncode in (0, 1, 5), done.stderr
            if done.returncode != 1:
                return
        raise AssertionError(done.stderr)

    def killed(self, plan_id: int, at: str) -> None:
        self.org.faults(*LOST)
        done = self.run("apply", str(plan_id), crash_at=at)
        assert done.returncode == -signal.SIGKILL, done.stderr + done.stdout[:2000]

    def import_here(self, choice: Choice) -> bool:
        """In this process, and without faults; False: nobody is left."""
        planned = self.importer.plan(choice, actor="test").plan
        if planned is not None:
            assert self.importer.apply(planned.id, actor="test").outcome == "applied"
        return planned is not None


@pytest.fixture
def imports(tmp_path: Path) -> Iterator[Import]:
    with ExitStack() as stack:
        org = stack.enter_context(SimulatedOrg.start(users=20, seed=6, rate_window=1.0, time_scale=0.01))
        org.provisioning(mode="off")
        settings = Settings(
            okta={"org_url": org.url, "app_id": org.app_id, "api_token": org.token, "budget_share": 1},
            imports={"max_per_run": 300},
        )
        store = Store.open(DatabaseSettings(url=f"sqlite:///{tmp_path}/agent.db"))
        stack.callback(store.close)
        okta = stack.enter_context(OktaOrg.connect(settings.okta))
        made = Import(tmp_path, org, store, okta, settings)
        bind(made, okta)
        _, key = store.write(
            lambda conn: keys.create(conn, Signature(actor="test", source="test", at=datetime.now(UTC)), name="okta")
        )
        daemon = stack.enter_context(Daemon(tmp_path, made.env))
        org.provisioning(mode="on", scim_url=daemon.url, scim_key=key)
        yield made


def bind(imports: Import, okta: OktaOrg) -> None:
    """As the first apply of a reconcile does it; imports have to wait for that."""
    names = {"org_id": okta.org_id(), "app_id": imports.org.app_id, "app_label": "OpsHelm", "actor": "test"}
    imports.store.write(lambda conn: account_row.pin(conn, **names, now=datetime.now(UTC)))


def fill(imports: Import) -> dict[str, list[str]]:
    """The accounts by class, as userNames; and the Okta users that go with them."""
    directory, org = imports.directory, imports.org
    people: dict[str, list[str]] = {
        "exact": [f"exact{n}@example.com" for n in range(EXACT)],
        "none": [f"none{n}@example.com" for n in range(NONE)],
        "partial": [f"partial{n}@example.com" for n in range(PARTIAL)],
        "email": [f"mail{n}@example.com" for n in range(EMAIL_ONLY)],
        "owner": [f"owner{n}@example.com" for n in range(OWNERS)],
        "status": [f"{status.lower()}{n}@example.com" for status in STATUSES for n in range(EACH_STATUS)],
        "inactive": [f"inactive{n}@example.com" for n in range(INACTIVE)],
    }
    acts = directory.operator(actor="test", reason="test", now=datetime.now(UTC))
    for kind, names in people.items():
        for n, login in enumerate(names):
            made = account(directory, login, kind.capitalize(), f"Number{n}", active=kind != "inactive")
            if kind == "owner":
                acts.set_role(made.id, Role.OWNER)
    for login in (*people["exact"], *people["owner"], *people["inactive"]):
        okta_user(org, login)
    for n in range(PARTIAL):
        okta_user(org, f"p.number{n}@corp.example.com", "Partial", f"Number{n}")
    for login in people["email"]:
        okta_user(org, f"{login.partition('@')[0]}@corp.example.com", email=login)
    for login in people["status"]:
        okta_user(org, login, status=next(status for status in STATUSES if login.startswith(status.lower())))
    return people


@pytest.mark.slow
def test_300_accounts_come_into_okta_once_each(imports: Import) -> None:
    people, org = fill(imports), imports.org
    before = {person["okta_id"]: person for person in org.state()}

    plan = document(imports.run("plan", "--all"))["plan"]
    assert {action["login"] for action in plan["actions"]} == {*people["exact"], *people["none"]}
    imports.killed(plan["id"], "import.create_answered:40")
    imports.killed(plan["id"], "import.assign_answered:30")
    imports.apply(plan["id"])
    org.faults()
    named = [login for kind in ("email", "owner") for login in people[kind]]
    ids = {imports.directory.find(user_name_key=login): "" for login in named}
    assert imports.import_here(Choice(named={user.id: said for user, said in ids.items() if user}))
    while imports.import_here(EVERYBODY):
        """Who failed while Okta gave no answer is in the next plan."""
    org.wait_idle()

    state = org.state()
    made = [person for person in state if person["okta_id"] not in before]
    assert sorted(person["login"] for person in made) == sorted(people["none"])
    assert max(Counter(person["login"].lower() for person in state).values()) == 1
    assert {person["user_status"] for person in made} == {"STAGED"}
    assert {p["okta_id"]: p["user_status"] for p in state if p not in made} == {
        i: p["user_status"] for i, p in before.items()
    }
    assert assigned(state) == assigned(before.values()) | {*people["none"], *people["exact"], *named}
    waiting = imports.importer.survey().assigned
    assert {one.account.user_name for one in waiting} == set(people["none"])
    assert all(one.waits for one in waiting)

    for person in made:
        org.api("POST", f"/users/{person['okta_id']}/lifecycle/activate?sendEmail=false")
    org.wait_idle()
    assert imports.importer.survey().assigned == ()
    every_link_is_one_to_one(imports, [*people["none"], *people["exact"], *named])
    with imports.store.read() as conn:
        assert {row.state for row in store_imports.in_state(conn, *ImportState)} == {ImportState.LINKED}


def assigned(people: Any) -> set[str]:
    """The userNames that the app has."""
    return {person["app_user"]["credentials"]["userName"] for person in people if person["app_user"]}


def every_link_is_one_to_one(imports: Import, wanted: list[str]) -> None:
    """Okta's externalId is the account's id, for each of them, and every account is managed; nobody's is there twice."""
    accounts = {user.user_name: user for page in imports.directory.everyone() for user in page}
    app_users = [person["app_user"] for person in imports.org.state() if person["app_user"]]
    found = {app_user["credentials"]["userName"]: app_user["externalId"] for app_user in app_users}
    assert {login: found[login] for login in wanted} == {login: accounts[login].id for login in wanted}
    assert all(accounts[login].managed and accounts[login].active for login in wanted)
    assert len(accounts) == 300
