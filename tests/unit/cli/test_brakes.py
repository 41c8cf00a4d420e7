"""``guard``, ``pause``, ``resume``, ``pins``, ``plans reject``: the brakes, each with its journal row."""

import json
import os
import pwd
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.model.codes import ActionKind, HeldCode, PlanStatus
from agent.model.holds import ENDS_ACCESS, ChangeKind, Decision, Reason
from agent.model.plan import Action, Plan
from agent.settings import DatabaseSettings
from agent.store import account, attention, holds, plans, runs, seal, windows
from agent.store.engine import Store
from agent.store.runs import RunRequest

Command = Callable[..., tuple[int, str, str]]
Document = Callable[..., Any]


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))
    yield opened
    opened.close()


def verbs(store: Store) -> list[tuple[str, str]]:
    return [(row["verb"], row["reason"]) for row in seal.export(store.read)]


def held_plan(store: Store) -> int:
    at = datetime.now(UTC)
    action = Action(n=1, kind=ActionKind.DEACTIVATE, login="ann@example.com", held=HeldCode.LAST_OWNER)
    plan = Plan(actions=(action,), population=10, source_size=9, created=at)

    def work(conn: Any) -> int:
        run = runs.start(conn, RunRequest(kind="sweep", trigger="cli", actor="test", dry=False), at)
        return plans.save(
            conn, run_id=run, kind="reconcile", plan=plan, expires=at + timedelta(days=1), status=PlanStatus.HELD
        ).id

    return store.write(work)


def refused_push(store: Store, document: Document, login: str) -> str:
    user = document("users", "add", login)["user"]
    at = datetime.now(UTC)
    reason = Reason(
        directory_id=user["id"],
        okta_id="00u1",
        login=login,
        kind=ChangeKind.DEACTIVATE,
        code=HeldCode.PUSH_BURST,
        detail="4 of 12 people",
        wish=ENDS_ACCESS,
    )
    store.write(lambda conn: holds.find(conn, [reason], at, by="push", pushed=True))
    return str(user["id"])


def decision(store: Store, directory_id: str) -> Decision:
    with store.read() as conn:
        (hold,) = holds.open_holds(conn, people=[directory_id])
    return hold.decision


def test_pausing_is_kept_with_who_and_why_and_can_be_ended(command: Command, store: Store) -> None:
    assert command("pause", "--reason", "Okta migration")[0] == 0
    with store.read() as conn:
        row = account.get(conn)
    assert row.paused
    assert row.paused_reason == "Okta migration"
    assert command("pause", "--reason", "again")[0] == 2
    assert command("resume")[0] == 0
    assert command("resume")[0] == 2
    with store.read() as conn:
        assert not account.get(conn).paused
    assert verbs(store) == [("pause", "Okta migration"), ("resume", "")]


def test_guard_show_tells_limits_brakes_and_what_waits(command: Command, document: Document, store: Store) -> None:
    refused_push(store, document, "ann@example.com")
    plan_id = held_plan(store)
    document("pause", "--reason", "migration")
    document("guard", "allow", "--count", "3", "--for", "1h", "--reason", "lay-off")
    found = document("guard", "show")["guard"]
    assert found["limits"]["day"] == {"used": 0, "limit": 1}
    assert found["paused"]["reason"] == "migration"
    assert [(a["count"], a["used"]) for a in found["allowances"]] == [(3, 0)]
    assert [push["login"] for push in found["refused_pushes"]] == ["ann@example.com"]
    assert [plan["id"] for plan in found["held_plans"]] == [plan_id]
    out = command("guard", "show")[1]
    assert all(
        text in out
        for text in ("PAUSED by", "announced: 3 more", "refused push: ann@example.com", f"held plan {plan_id}")
    )


def test_an_announcement_has_the_refused_looked_at_at_once(document: Document, store: Store) -> None:
    directory_id = refused_push(store, document, "ann@example.com")
    document("guard", "allow", "--count", "5", "--reason", "lay-off")
    with store.read() as conn:
        waiting = attention.due(conn, datetime.now(UTC), 10)
    assert [(item.directory_id, item.reason) for item in waiting] == [(directory_id, attention.ALLOWED)]
    assert ("guard allow", "lay-off") in verbs(store)


def test_an_announcement_for_one_person_doesn_t_free_another(document: Document, store: Store) -> None:
    ann, bob = (refused_push(store, document, f"{name}@example.com") for name in ("ann", "bob"))
    document("guard", "allow", "--user", "ann@example.com", "--reason", "left")
    with store.read() as conn:
        at = datetime.now(UTC)
        assert [item.directory_id for item in attention.due(conn, at, 10)] == [ann]
        assert not windows.allowed(conn, bob, at)
        assert windows.allowed(conn, ann, at)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--count", "1", "--user", "ann@example.com"],
        ["--count", "0"],
        ["--count", "1", "--for", "8d"],
        ["--count", "1", "--for", "0s"],
        ["--count", "1", "--for", "x"],
    ],
)
def test_an_announcement_that_makes_no_sense_is_refused(command: Command, options: list[str]) -> None:
    assert command("guard", "allow", *options, "--reason", "x")[0] == 2


def test_a_rejected_push_is_marked_and_an_announcement_takes_that_back(
    command: Command, document: Document, store: Store
) -> None:
    directory_id = refused_push(store, document, "ann@example.com")
    document("guard", "reject", "--user", "ann@example.com", "--reason", "wrong group")
    assert decision(store, directory_id) is Decision.REJECTED
    document("guard", "allow", "--user", "ann@example.com", "--reason", "it was right")
    assert decision(store, directory_id) is Decision.APPROVED


def test_only_a_waiting_push_can_be_rejected(command: Command, document: Document) -> None:
    document("users", "add", "ann@example.com")
    code, _, err = command("guard", "reject", "--user", "ann@example.com", "--reason", "x")
    assert code == 1
    assert "No deactivation of ann@example.com is waiting" in err


def test_without_a_first_apply_nothing_is_pinned(command: Command, document: Document) -> None:
    assert document("pins", "show")["pins"] is None
    assert "Nothing is pinned yet" in command("pins", "show")[1]


def test_a_rejected_plan_can_t_be_applied_and_isn_t_rejected_twice(
    command: Command, document: Document, store: Store
) -> None:
    plan_id = held_plan(store)
    assert document("plans", "reject", str(plan_id), "--reason", "wrong group")["plan"]["status"] == "rejected"
    with store.read() as conn:
        stored = plans.get(conn, plan_id)
    assert stored is not None
    assert stored.status is PlanStatus.REJECTED
    assert command("plans", "reject", str(plan_id), "--reason", "x")[0] == 2
    assert ("plan reject", "wrong group") in verbs(store)


def test_plans_are_listed_and_shown(command: Command, document: Document, store: Store) -> None:
    plan_id = held_plan(store)
    (row,) = document("plans", "list")["plans"]
    shown = document("plans", "show", str(plan_id))["plan"]
    assert (row["id"], row["status"], row["checksum"]) == (plan_id, "held", shown["checksum"])
    assert shown["actions"][0]["held"] == "last_owner"
    out = command("plans", "show", str(plan_id))[1]
    assert "! deactivate  ann@example.com" in out
    assert f"checksum {shown['checksum']}" in out


@pytest.mark.parametrize("what", ["plans", "runs"])
def test_what_does_not_exist_is_said(command: Command, what: str) -> None:
    code, out, err = command(what, "show", "99", "--output", "json")
    assert code == 1
    assert json.loads(out)["code"] == "not_found"
    assert f"{what} list" in err


def test_a_restored_copy_is_trusted_again_only_on_purpose(
    command: Command, document: Document, store: Store, folder: Path
) -> None:
    assert command("db", "accept-restore", "--reason", "x")[0] == 2
    document("db", "backup", str(folder / "copy.db"))
    (folder / "agent.toml").write_text(f'[database]\nurl = "sqlite:///{folder}/copy.db"\n')
    assert "this database is a copy" in document("guard", "show")["guard"]["distrust"]
    document("db", "accept-restore", "--reason", "disk lost")
    assert document("guard", "show")["guard"]["distrust"] is None


def test_a_backup_overwrites_nothing(command: Command, folder: Path) -> None:
    (folder / "copy.db").write_text("mine")
    assert command("db", "backup", str(folder / "copy.db"))[0] == 2
    assert (folder / "copy.db").read_text() == "mine"


@pytest.mark.parametrize("command_line", ["plans show", "runs show", "import apply"])
def test_a_number_that_no_database_gives_is_a_usage_error(command: Command, command_line: str) -> None:
    code, _, err = command(*command_line.split(), "9" * 30)
    assert code == 2
    assert "is not in the range" in err


def test_brakes_work_without_a_reason(command: Command, document: Document) -> None:
    assert command("pause")[0] == 0  # stopping comes first
    assert document("guard", "show")["guard"]["paused"]["reason"] == ""


def test_the_operators_name_is_the_systems_and_sudo_user_is_told_beside_it(
    command: Command, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    monkeypatch.setenv("SUDO_USER", "ann")
    command("pause")
    monkeypatch.setenv("SUDO_USER", "not a name\n")
    command("resume")
    me = pwd.getpwuid(os.getuid()).pw_name
    paused, resumed = [row["actor"] for row in seal.export(store.read)]
    assert paused.startswith(f"operator {me}@")
    assert paused.endswith(" (SUDO_USER ann)")
    assert "SUDO_USER" not in resumed
