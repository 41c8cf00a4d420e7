"""``import`` as an operator meets it: text, JSON, CSV, exit codes; run in this process, against a simulated org."""

import io
import json
import os
import signal
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from agent.cli.root import run
from agent.model.users import Role
from agent.store import account
from support.world import World, open_import_world


class Terminal:
    """Runs commands on the box's database."""

    def __init__(self, b: World, folder: Path) -> None:
        self.b, self.folder = b, folder

    def text(self, *args: str, code: int = 0) -> str:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            assert run(["import", *args]) == code, err.getvalue() + out.getvalue()
        return out.getvalue() + err.getvalue()

    def json(self, *args: str, code: int = 0) -> Any:
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(io.StringIO()):
            assert run(["import", *args, "--output", "json"]) == code, out.getvalue()
        return json.loads(out.getvalue())


@pytest.fixture
def t(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with open_import_world(tmp_path) as b:
        monkeypatch.chdir(tmp_path)
        for name, value in {
            "OKTA__ORG_URL": b.org.url,
            "OKTA__APP_ID": b.org.app_id,
            "OKTA__API_TOKEN": b.org.token,
            "OKTA__BUDGET_SHARE": "1",
            "DATABASE__URL": b.store.settings.url,
        }.items():
            monkeypatch.setenv(f"OPSHELM_{name}", value)
        b.pin()
        yield Terminal(b, tmp_path)


def fill(b: World) -> None:
    b.colleague("exact@example.com")
    b.okta_user("exact@example.com")
    b.colleague("none@example.com", "No", "Body")
    b.colleague("lee@example.com", "Ann", "Lee")
    b.okta_user("a.lee@corp.example.com", "Ann", "Lee")
    b.colleague("off@example.com")
    b.okta_user("off@example.com", status="SUSPENDED")
    owner = b.colleague("owner@example.com")
    b.acts().set_role(owner.id, Role.OWNER)
    b.okta_user("owner@example.com")


def test_list_plan_apply_and_list_again(t: Terminal) -> None:
    fill(t.b)
    listed = t.text("list")
    for line in (
        "exact – to be assigned: 1",
        "none – to be created and assigned: 1",
        "apart – only with --user: 1",
        "held – a person decides: 2",
        "Next: opshelm-agent import plan --all",
    ):
        assert line in listed
    document = t.json("list")
    assert document["kind"] == "imports"
    assert document["counts"] == {
        "exact": 3,
        "partial": 1,
        "none": 1,
        "apart": 1,
        "held": 2,
        "linking": 0,
        "unassigned": 0,
    }
    planned = t.text("plan", "--all")
    assert "+ create in Okta none@example.com" in planned
    assert 'profile.lastName    "Body"' in planned
    assert "1 create in Okta (STAGED), 2 assign in Okta" in planned
    assert "Nothing was done." in planned
    applied = t.json("apply", "1")
    assert applied["run"]["outcome"] == "applied"
    assert {action["state"] for action in applied["plan"]["actions"]} == {"done"}
    t.b.org.wait_idle()
    again = t.json("list")
    assert [(row["login"], row["state"], row["late"]) for row in again["linking"]] == [
        ("none@example.com", "linking, awaits activation", False)
    ]
    assert "applied once" in t.text("apply", "1", code=2)


def test_a_class_a_person_and_a_limit(t: Terminal) -> None:
    fill(t.b)
    assert logins(t.json("plan", "--class", "none")) == ["none@example.com"]
    assert logins(t.json("plan", "--class", "exact")) == ["exact@example.com"]
    assert logins(t.json("plan", "--user", "OWNER@example.com")) == ["owner@example.com"]
    assert logins(t.json("plan", "--all", "--limit", "1")) == ["exact@example.com"]
    lee = t.b.state_of("a.lee@corp.example.com")["okta_id"]
    assert "held" in t.text("plan", "--user", "lee@example.com")
    decided = t.json("plan", "--user", "lee@example.com", "--create")["plan"]["actions"]
    assert [action["kind"] for action in decided] == ["okta_create", "okta_assign"]
    chosen = t.json("plan", "--user", "lee@example.com", "--okta-id", lee)["plan"]["actions"]
    assert [(a["kind"], a["held"]) for a in chosen] == [("okta_assign", "link_needs_decision")]


def logins(document: Any) -> list[str]:
    return sorted({action["login"] for action in document["plan"]["actions"]})


def test_accounts_are_chosen_in_a_csv_file(t: Terminal) -> None:
    fill(t.b)
    exported = t.text("list", "--csv").splitlines()
    assert exported[0].split(",")[0] == "login"
    assert exported[0].split(",")[-1] == "decide"
    chosen = [exported[0]]
    for line in exported[1:]:
        if line.startswith(("none@", "owner@")):
            chosen.append(line)
        elif line.startswith("lee@"):
            chosen.append(f"{line}new")
    (t.folder / "accounts.csv").write_text("\n".join(chosen), encoding="utf-8-sig")
    planned = t.json("plan", "--csv", "accounts.csv")
    kinds = sorted((action["login"], action["kind"]) for action in planned["plan"]["actions"])
    assert kinds == [
        ("lee@example.com", "okta_assign"),
        ("lee@example.com", "okta_create"),
        ("none@example.com", "okta_assign"),
        ("none@example.com", "okta_create"),
        ("owner@example.com", "okta_assign"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("login\nnobody@example.com\nneither@example.com\n", "nobody@example.com"),
        ("name\nx\n", "one of them is login"),
        ("login,decide\n,new\n", "accounts.csv:2: no login"),
        ("login\n", "names nobody"),
        ("login\ngone@example.com\n", "would reactivate"),
    ],
)
def test_a_csv_file_that_makes_no_sense_is_one_line_each(t: Terminal, content: str, said: str) -> None:
    t.b.colleague("gone@example.com", active=False)
    (t.folder / "accounts.csv").write_text(content)
    assert said in t.text("plan", "--csv", "accounts.csv", code=2)


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("--all", "--class", "none"),
        ("--all", "--user", "a@example.com"),
        ("--class", "partial"),
        ("--user", "a@example.com", "--user", "b@example.com", "--create"),
        ("--user", "a@example.com", "--create", "--okta-id", "00u1"),
        ("--all", "--okta-id", "00u1"),
    ],
)
def test_options_that_contradict_are_a_usage_error(t: Terminal, args: tuple[str, ...]) -> None:
    t.text("plan", *args, code=2)


def test_exit_codes_tell_drift_and_holds_when_asked(t: Terminal) -> None:
    fill(t.b)
    assert t.json("plan", "--all", "--detailed-exitcode", code=3)["plan"]["status"] == "ready"
    t.json("plan", "--user", "off@example.com", "--detailed-exitcode", code=4)
    t.json("apply", "2", code=4)
    t.b.colleague("x@example.com")
    assert t.json("plan", "--class", "none", "--limit", "1")["plan"]["id"] == 3


def test_nobody_to_import_says_so(t: Terminal) -> None:
    for text in (t.text("list"), t.text("plan", "--all")):
        assert "Nobody to import: Okta's app knows every active OpsHelm account." in text
    assert t.json("plan", "--all")["plan"] is None


def test_sigterm_lets_an_apply_finish_the_account_it_is_at(t: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(t.b)
    t.json("plan", "--all")
    monkeypatch.setattr(
        "agent.imports.carrier.crash_point",
        lambda name: name == "import.assign_intended" and os.kill(os.getpid(), signal.SIGTERM),
    )
    stopped = t.json("apply", "1", code=1)
    assert (stopped["run"]["outcome"], stopped["run"]["counts"]["done"]) == ("stopped", 1)
    monkeypatch.undo()


def test_a_paused_apply_and_one_that_is_frozen_are_runs(t: Terminal) -> None:
    fill(t.b)
    t.json("plan", "--all")
    t.b.store.write(lambda conn: account.pause(conn, actor="operator", reason="test", now=t.b.now()))
    paused = t.json("apply", "1", code=1)
    assert (paused["run"]["outcome"], paused["plan"]["status"]) == ("paused", "ready")
    assert "Go on: opshelm-agent import apply 1" in t.text("apply", "1", code=1)
    t.b.org.set_app(status="INACTIVE")
    t.b.store.write(account.resume)
    assert t.json("apply", "1", code=1)["run"]["outcome"] == "frozen"
    assert "Activate it" in t.text("apply", "1", code=1)
    assert t.json("plan", "--all", code=1)["run"]["outcome"] == "frozen"


def test_an_import_plan_is_no_reconcile_plan(t: Terminal) -> None:
    fill(t.b)
    checksum = t.json("plan", "--all")["plan"]["checksum"]
    err = io.StringIO()
    with redirect_stderr(err), redirect_stdout(io.StringIO()):
        assert run(["plans", "apply", "1", "--checksum", checksum]) == 2
    assert "import apply 1" in err.getvalue()
