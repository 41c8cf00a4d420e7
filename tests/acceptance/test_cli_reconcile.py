"""``reconcile``, ``plans``, ``explain``, ``pins`` against a simulated org: documents, texts and exit codes."""

# ruff: noqa: F811 - fixtures are arguments by the same name

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.bootstrap import open_directory, open_store
from agent.directory.port import Draft, WriteContext
from agent.model.codes import Source
from agent.model.users import DirectoryUser
from agent.settings import load
from agent.simulator import SimulatedOrg
from support.commands import command, document, folder  # noqa: F401 - fixtures
from support.processes import agent, database
from support.processes import document as parsed

Command = Callable[..., tuple[int, str, str]]
PEOPLE = 30


@pytest.fixture(scope="module")
def org() -> Iterator[SimulatedOrg]:
    with SimulatedOrg.start(users=PEOPLE) as running:
        yield running


@pytest.fixture
def settings(org: SimulatedOrg, folder: Path) -> Path:
    file = folder / "agent.toml"
    file.write_text(f'[okta]\norg_url = "{org.url}"\napp_id = "{org.app_id}"\napi_token = "{org.token}"\n')
    return file


@pytest.fixture
def pinned(settings: Path, command: Command) -> Path:
    """Everybody has an account, and the first apply is over."""
    assert command("reconcile", "--apply", "--first-run", str(PEOPLE))[0] == 0
    return settings


def run(command: Command, *args: str) -> tuple[int, Any]:
    code, out, _ = command("reconcile", "--output", "json", *args)
    return code, json.loads(out)


def switch_off(config: Path, login: str) -> None:
    """As somebody does it in OpsHelm's dashboard, which the agent doesn't hear of."""
    settings = load(str(config)).settings
    with closing(open_store(settings)) as store, closing(open_directory(settings, store)) as directory:
        user = directory.find(user_name_key=login)
        assert user is not None

        def change(before: DirectoryUser) -> Draft:
            return Draft(user_name=before.user_name, profile=before.profile, active=False)

        context = WriteContext(actor="operator", source=Source.DASHBOARD)
        directory.modify(user.id, change, context, datetime.now(UTC)).result()


def change_title(org: SimulatedOrg, number: int, title: str) -> str:
    person = org.state()[number]
    org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": title}})
    return str(person["login"])


def test_the_first_apply_is_held_and_an_approval_carries_it_out(settings: Path, command: Command) -> None:
    code, found = run(command)
    assert (code, found["run"]["outcome"]) == (0, "held")
    assert run(command, "--detailed-exitcode")[0] == 4
    code, found = run(command, "--apply")
    plan = found["plan"]
    assert (code, found["run"]["exit_code"], plan["status"], plan["held"]) == (4, 4, "held", "first_run")
    assert json.loads(command("pins", "show", "--output", "json")[1])["pins"] is None
    approve = ["plans", "approve", str(plan["id"]), "--checksum", plan["checksum"]]
    code, _, err = command(*approve)
    assert code == 4  # a first run needs the typed count
    assert "--count" in err
    assert command(*approve, "--count", str(PEOPLE - 1))[0] == 4
    assert command("plans", "approve", str(plan["id"]), "--checksum", "0" * 64, "--count", "99")[0] == 2
    code, out, _ = command(*approve, "--count", str(PEOPLE))
    assert code == 0, out
    assert "applied" in out
    assert "Nothing was changed" not in out
    assert "Approve:" not in out
    assert command(*approve, "--count", str(PEOPLE))[0] == 2  # once
    assert json.loads(command("pins", "show", "--output", "json")[1])["pins"]["app_label"]
    assert run(command, "--detailed-exitcode")[0] == 0


def test_a_document_has_the_documented_fields(settings: Path, command: Command) -> None:
    _, found = run(command)
    assert (found["format_version"], found["kind"]) == ("1.0", "run")
    assert {"id", "outcome", "exit_code", "counts"} <= found["run"].keys()
    assert {"id", "status", "checksum", "population", "actions"} <= found["plan"].keys()
    first = found["plan"]["actions"][0]
    assert {"n", "kind", "state", "held", "login", "directory_id", "okta_id", "changes"} <= first.keys()
    assert first["changes"]["userName"]["after"] == first["login"]
    assert isinstance(found["findings"], list)


def test_a_dry_run_tells_drift_only_when_asked(pinned: Path, command: Command, org: SimulatedOrg) -> None:
    login = change_title(org, 3, "Captain")
    assert run(command)[0] == 0
    code, found = run(command, "--detailed-exitcode")
    assert (code, found["run"]["exit_code"], found["run"]["outcome"]) == (3, 3, "drift")
    (action,) = found["plan"]["actions"]
    assert (action["kind"], action["login"], action["changes"]["title"]["after"]) == ("update", login, "Captain")
    code, out, err = command("reconcile")
    assert code == 0
    assert f"~ update      {login}" in out
    assert "1 update, 0 deactivate of 30 (0.0 %; limit" in out
    assert "Nothing was changed." in out
    assert err == ""


def test_one_person_is_repaired_alone(pinned: Path, command: Command, org: SimulatedOrg) -> None:
    login, other = change_title(org, 4, "Pilot"), change_title(org, 5, "Pilot")
    assert f"Carry it out: opshelm-agent reconcile --user {login} --apply" in command("reconcile", "--user", login)[1]
    code, found = run(command, "--user", login, "--apply")
    assert (code, found["run"]["outcome"]) == (0, "applied")
    _, found = run(command)
    assert [action["login"] for action in found["plan"]["actions"]] == [other]


def test_a_stored_plan_is_applied_by_its_checksum(pinned: Path, command: Command, org: SimulatedOrg) -> None:
    change_title(org, 6, "Navigator")
    _, found = run(command)
    plan = found["plan"]
    code, out, _ = command("plans", "apply", str(plan["id"]), "--checksum", plan["checksum"], "--output", "json")
    assert code == 0
    assert json.loads(out)["run"]["outcome"] == "applied"
    assert json.loads(command("plans", "show", str(plan["id"]), "--output", "json")[1])["plan"]["status"] == "applied"


def test_explain_shows_the_rule_and_what_has_happened(pinned: Path, command: Command, org: SimulatedOrg) -> None:
    login = change_title(org, 7, "Cook")
    code, out, _ = command("explain", login)
    assert code == 0
    assert "OpsHelm has" in out
    assert "rule:" in out
    assert '→ "Cook"' in out
    assert "create" in out
    found = json.loads(command("explain", login, "--output", "json")[1])
    assert found["kind"] == "explanation"
    assert found["directory"]["userName"] == login
    assert found["actions"][0]["changes"]["title"]["after"] == "Cook"
    assert run(command)[1]["plan"] is not None  # nothing was changed


@pytest.mark.parametrize(
    "arguments", [["reconcile", "--user", "nobody@example.com"], ["explain", "nobody@example.com"]]
)
def test_somebody_whom_neither_side_knows_is_an_error(pinned: Path, command: Command, arguments: list[str]) -> None:
    before = command("runs", "list")[1]
    code, _, err = command(*arguments)
    assert code == 1
    assert "nobody@example.com" in err
    assert "Traceback" not in err
    assert command("runs", "list")[1] == before, "a typing error is no run that failed"


@pytest.mark.parametrize("spelt", ["right", "wrong", "half"])
def test_a_misspelt_login_gets_a_suggestion(pinned: Path, command: Command, org: SimulatedOrg, spelt: str) -> None:
    login = str(org.state()[2]["login"])
    name, _, domain = login.partition("@")
    given = {"right": login, "wrong": f"{name[:-2]}x{name[-1]}@{domain}", "half": name}[spelt]
    code, _, err = command("reconcile", "--user", given, "--apply")
    assert code == (0 if spelt == "right" else 1)
    assert (f"Did you mean {login}" in err) == (spelt != "right"), err


def test_runs_that_find_nothing_leave_no_plans_to_read_through(pinned: Path, command: Command) -> None:
    def listed() -> list[int]:
        return [plan["id"] for plan in json.loads(command("plans", "list", "--output", "json")[1])["plans"]]

    before = listed()
    assert len(before) == 1
    for arguments in ([], ["--apply"]):
        code, found = run(command, *arguments)
        assert (code, found["run"]["outcome"], found["plan"]["actions"]) == (0, "in_step", [])
        assert {"id", "status", "checksum", "population", "actions"} <= found["plan"].keys()
    assert listed() == before


def test_paused_applies_end_with_1_and_dry_runs_go_on(pinned: Path, command: Command, org: SimulatedOrg) -> None:
    change_title(org, 8, "Mate")
    command("pause", "--reason", "migration")
    code, found = run(command, "--apply")
    assert (code, found["run"]["outcome"]) == (1, "paused")
    assert run(command)[0] == 0
    command("resume")
    assert run(command, "--apply")[0] == 0


def test_paused_counts_before_held(settings: Path, command: Command) -> None:
    command("pause", "--reason", "migration")
    code, found = run(command, "--apply")
    assert (code, found["run"]["outcome"], found["plan"]["held"]) == (1, "paused", "first_run")


def test_applying_a_plan_says_that_the_held_part_of_it_waits(pinned: Path, command: Command, org: SimulatedOrg) -> None:
    switch_off(pinned, str(org.state()[9]["login"]))
    pinned.write_text(pinned.read_text() + "[guard]\ncreates_floor = 0\ncreates_percent = 0\n")
    plan = run(command)[1]["plan"]
    assert [action["held"] for action in plan["actions"]] == ["creates_per_run"]
    apply = ["plans", "apply", str(plan["id"]), "--checksum", plan["checksum"], "--output", "json"]
    code, out, _ = command(*apply)
    assert (code, json.loads(out)["run"]["outcome"]) == (4, "held")


def test_explain_names_the_plan_that_somebody_waits_in_and_the_command_that_lets_them_go(
    pinned: Path, command: Command, org: SimulatedOrg
) -> None:
    login = str(org.state()[9]["login"])
    switch_off(pinned, login)
    pinned.write_text(pinned.read_text() + "[guard]\ncreates_floor = 0\ncreates_percent = 0\n")
    plan = run(command, "--apply")[1]["plan"]
    code, out, _ = command("explain", login)
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("warning  plan")]
    assert f"plan {plan['id']} waits for a person (creates_per_run: 1 of " in line
    approve = line.rpartition("opshelm-agent ")[2].split()
    assert command(*approve)[0] == 0
    assert "plan " not in command("explain", login)[1]


def test_another_org_freezes_until_the_pins_are_moved(pinned: Path, command: Command) -> None:
    with SimulatedOrg.start(users=PEOPLE, seed=2) as other:
        pinned.write_text(f'[okta]\norg_url = "{other.url}"\napp_id = "{other.app_id}"\napi_token = "{other.token}"\n')
        code, found = run(command, "--apply")
        assert (code, found["run"]["outcome"]) == (1, "frozen")
        code, out, _ = command("check")
        assert code == 1
        assert "fail  pins" in out
        assert command("pins", "accept", "--reason", "moved")[0] == 0
        assert run(command)[1]["run"]["outcome"] != "frozen"


def test_check_is_content_with_a_good_set_up(pinned: Path, command: Command) -> None:
    code, out, _ = command("check", "--output", "json")
    states = {one["name"]: one["state"] for one in json.loads(out)["checks"]}
    assert code == 0
    assert {
        states[name] for name in ("settings", "database", "okta", "app", "create users", "pins", "clock", "lease")
    } == {"ok"}


def test_a_refused_token_is_one_line_without_it(settings: Path, command: Command) -> None:
    settings.write_text(settings.read_text().replace("simulated-token", "s3cret-token"))
    code, out, err = command("reconcile")
    assert code == 1
    assert "incomplete" in out
    assert "s3cret-token" not in out + err


def test_as_a_process_stdout_is_the_document_alone(settings: Path) -> None:
    database(settings.parent)
    done = agent("reconcile", "--apply", "--first-run", "50", "--output", "json", cwd=settings.parent)
    assert done.returncode == 0, done.stderr
    assert parsed(done)["run"]["counts"]["create"] == PEOPLE
    assert "Traceback" not in done.stderr
