"""300 accounts of all classes into Okta, with everything going wrong: faults on every call, and a kill -9 three times.

Real processes: the daemon that Okta pushes to, and the commands. One Okta user a person, nothing activated unasked, and all
linked once those created STAGED are activated.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from importing import account, okta_user
from processes import Daemon, agent, document

from agent.directory.sql import SqlDirectory
from agent.settings import DatabaseSettings, Settings
from agent.simulator.server import SimulatedOrg
from agent.store.engine import Store

EXACT, NONE, PARTIAL, EMAIL_ONLY, OWNERS, EACH_STATUS, INACTIVE = 110, 130, 20, 10, 5, 5, 10
STATUSES = ("DEPROVISIONED", "SUSPENDED", "STAGED")
#: On every call that an import makes; used up by the first calls, so it is set anew for each run.
FAULTS: list[dict[str, Any]] = [
    {"method": "POST", "path": "/api/v1/users", "status": 500, "times": 1},
    {"method": "POST", "path": "/api/v1/users", "effect": "after", "times": 2},
    {"method": "POST", "path": "/api/v1/users", "status": 429, "times": 1},
    {"method": "POST", "path": "/api/v1/users", "status": 503, "effect": "after", "times": 1},
    {"method": "POST", "path": "/api/v1/users", "cut_after": 20, "times": 1},
    {
        "method": "POST",
        "path": "/api/v1/apps/*/users",
        "status": 502,
        "times": 1,
        "body": "<html>bad gateway</html>",
    },
    {"method": "POST", "path": "/api/v1/apps/*/users", "effect": "after", "times": 2},
    {"method": "POST", "path": "/api/v1/apps/*/users", "status": 429, "times": 1},
    {"method": "POST", "path": "/api/v1/apps/*/users", "status": 500, "effect": "after", "times": 1},
    {"method": "GET", "path": "/api/v1/users/*", "status": 500, "times": 2},
    {"method": "GET", "path": "/api/v1/apps/*/users/*", "status": 503, "times": 2},
    {"method": "GET", "path": "/api/v1/apps/*/users", "status": 429, "times": 1},
    {"method": "GET", "path": "/api/v1/users", "cut_after": 50, "times": 1},
]


class Import:
    """The org, the daemon's folder, and the people of each class."""

    def __init__(self, folder: Path, org: SimulatedOrg) -> None:
        self.folder, self.org = folder, org
        self.env = {
            "OPSHELM_OKTA__ORG_URL": org.url, "OPSHELM_OKTA__APP_ID": org.app_id, "OPSHELM_OKTA__API_TOKEN": org.token,
            "OPSHELM_OKTA__BUDGET_SHARE": "1", "OPSHELM_DATABASE__URL": f"sqlite:///{folder}/agent.db",
            "OPSHELM_SCHEDULE__RECONCILE": "off", "OPSHELM_SCHEDULE__EVENTS": "off", "OPSHELM_RECONCILE__LEASE_TTL": "1s",
            "OPSHELM_IMPORTS__MAX_PER_RUN": "300",
        }  # fmt: skip

    def run(self, *args: str, crash_at: str = "") -> Any:
        env = {**self.env, **({"OPSHELM_CRASH_AT": crash_at} if crash_at else {})}
        return agent(*args, "--output", "json", cwd=self.folder, env=env, timeout=240)

    def ok(self, *args: str) -> Any:
        done = self.run(*args)
        assert done.returncode == 0, done.stderr + done.stdout[:2000]
        return document(done)

    def plan(self, *whom: str) -> int:
        return int(self.ok("import", "plan", *whom)["plan"]["id"])

    def apply(self, plan_id: int) -> None:
        """With everything going wrong; what could not be done is planned again, as an operator would."""
        self.org.faults(*FAULTS)
        done = self.run("import", "apply", str(plan_id))
        assert done.returncode in (0, 1, 5), done.stderr
        if done.returncode == 1:
            self.apply(plan_id)

    def killed(self, plan_id: int, at: str) -> None:
        self.org.faults(*FAULTS)
        done = self.run("import", "apply", str(plan_id), crash_at=at)
        assert done.returncode == -signal.SIGKILL, done.stderr + done.stdout[:2000]


@pytest.fixture
def imports(tmp_path: Path) -> Iterator[Import]:
    with SimulatedOrg.start(users=20, seed=6, rate_window=1.0, time_scale=0.01) as org:
        org.provisioning(mode="off")
        made = Import(tmp_path, org)
        key = agent("keys", "create", "okta", cwd=tmp_path, env=made.env).stdout.strip()
        made.ok("reconcile", "--apply", "--first-run", "20")
        with Daemon(tmp_path, made.env) as daemon:
            org.provisioning(mode="on", scim_url=daemon.url, scim_key=key)
            yield made


def fill(imports: Import) -> dict[str, list[str]]:
    """The accounts by class, as userNames; and the Okta users that go with them."""
    store = Store.open(DatabaseSettings(url=imports.env["OPSHELM_DATABASE__URL"]))
    directory, org = SqlDirectory(store, Settings()), imports.org
    people: dict[str, list[str]] = {
        "exact": [f"exact{n}@example.com" for n in range(EXACT)],
        "none": [f"none{n}@example.com" for n in range(NONE)],
        "partial": [f"partial{n}@example.com" for n in range(PARTIAL)],
        "email": [f"mail{n}@example.com" for n in range(EMAIL_ONLY)],
        "owner": [f"owner{n}@example.com" for n in range(OWNERS)],
        "status": [f"{status.lower()}{n}@example.com" for status in STATUSES for n in range(EACH_STATUS)],
        "inactive": [f"inactive{n}@example.com" for n in range(INACTIVE)],
    }
    try:
        for kind, names in people.items():
            for n, login in enumerate(names):
                account(directory, login, f"{kind.capitalize()}", f"Number{n}", active=kind != "inactive")
        promoted = [directory.find(user_name_key=login) for login in people["owner"]]
        for user in promoted:
            assert user is not None
            store.write(
                lambda conn, user=user: conn.exec_driver_sql(
                    f"UPDATE users SET role='owner' WHERE id='{user.id}'"
                )
            )
        for login in (*people["exact"], *people["owner"], *people["inactive"]):
            okta_user(org, login)
        for n in range(PARTIAL):
            okta_user(org, f"p.number{n}@corp.example.com", "Partial", f"Number{n}")
        for login in people["email"]:
            okta_user(org, f"{login.partition('@')[0]}@corp.example.com", email=login)
        for login in people["status"]:
            okta_user(
                org,
                login,
                status=next(status for status in STATUSES if login.startswith(status.lower())),
            )
    finally:
        store.close()
    return people


def test_300_accounts_come_into_okta_once_each(imports: Import) -> None:
    people = fill(imports)
    org = imports.org
    before = {person["okta_id"]: person for person in org.state()}
    listed = imports.ok("import", "list")
    assert listed["counts"] == {
        "exact": EXACT + EMAIL_ONLY + OWNERS + len(people["status"]), "partial": PARTIAL, "none": NONE,
        "apart": EMAIL_ONLY + OWNERS, "held": PARTIAL + len(people["status"]), "linking": 0, "unassigned": 0,
    }  # fmt: skip

    plan = imports.plan("--all")
    imports.killed(plan, "import.create_answered:10")
    imports.killed(plan, "import.assign_answered:25")
    imports.killed(plan, "import.created:20")
    imports.apply(plan)
    named = [login for kind in ("email", "owner") for login in people[kind]]
    imports.apply(imports.plan(*(part for login in named for part in ("--user", login))))
    org.faults()
    for _ in range(3):  # Who failed for good while Okta gave no answer is in the next plan.
        left = imports.ok("import", "plan", "--all")["plan"]
        if left is None:
            break
        imports.ok("import", "apply", str(left["id"]))
    org.wait_idle()

    state = org.state()
    made = [person for person in state if person["okta_id"] not in before]
    assert sorted(person["login"] for person in made) == sorted(people["none"])
    assert max(Counter(person["login"].lower() for person in state).values()) == 1
    assert {person["user_status"] for person in made} == {"STAGED"}
    old = {person["okta_id"]: person["user_status"] for person in state if person["okta_id"] in before}
    assert old == {okta_id: person["user_status"] for okta_id, person in before.items()}
    assert assigned(state) == assigned(before.values()) | set(people["none"]) | set(people["exact"]) | set(
        named
    )
    waiting = imports.ok("import", "list")
    assert [row for row in waiting["linking"] if row["state"] != "linking, awaits activation"] == []
    assert {row["login"] for row in waiting["linking"]} == set(people["none"])

    for person in made:
        org.api("POST", f"/users/{person['okta_id']}/lifecycle/activate?sendEmail=false")
    org.wait_idle()
    ended = imports.ok("import", "list")
    assert ended["linking"] == []
    assert ended["counts"]["exact"] == len(people["status"])
    assert ended["counts"]["none"] == 0
    linked_to_one_account(imports, [*people["none"], *people["exact"], *named])
    assert imports.ok("journal", "verify")["ok"] is True


def assigned(people: Any) -> set[str]:
    """The userNames that the app has."""
    return {person["app_user"]["credentials"]["userName"] for person in people if person["app_user"]}


def linked_to_one_account(imports: Import, wanted: list[str]) -> None:
    """Okta's externalId is the account's id, for each of them; every account is managed and nobody's twice."""
    store = Store.open(DatabaseSettings(url=imports.env["OPSHELM_DATABASE__URL"]))
    try:
        directory = SqlDirectory(store, Settings())
        accounts = {user.user_name: user for page in directory.everyone() for user in page}
    finally:
        store.close()
    found = {
        p["app_user"]["credentials"]["userName"]: p["app_user"]["externalId"]
        for p in imports.org.state()
        if p["app_user"]
    }
    assert {login: found[login] for login in wanted} == {login: accounts[login].id for login in wanted}
    assert all(accounts[login].managed and accounts[login].active for login in wanted)
    assert len(accounts) == len({user.id for user in accounts.values()}) == 20 + 300
