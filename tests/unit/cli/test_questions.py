"""On a terminal a person is asked before much is let go; a program never is. And --output jsonl."""

import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.cli.command import MANY
from agent.model.codes import ActionKind, HeldCode, PlanStatus
from agent.model.plan import Action, Plan
from agent.settings import DatabaseSettings
from agent.store import plans, runs
from agent.store.engine import Store
from agent.store.runs import RunRequest

Command = Callable[..., tuple[int, str, str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def held(folder: Path, count: int) -> tuple[str, str]:
    """A plan of so many deactivations: its number and checksum."""
    okta = '[okta]\norg_url = "http://127.0.0.1:1"\napp_id = "0oa1"\napi_token = "t"\nmax_retries = 0\n'
    (folder / "agent.toml").write_text(okta)
    at, code = datetime.now(UTC), HeldCode.DEACTIVATIONS_PER_RUN
    actions = tuple(
        Action(n=n, kind=ActionKind.DEACTIVATE, login=f"{n}@example.com", held=code) for n in range(1, count + 1)
    )
    plan = Plan(actions=actions, population=100, source_size=9, created=at)

    def work(conn: Any) -> int:
        run = runs.start(conn, RunRequest(kind="sweep", trigger="cli", actor="test", dry=False), at)
        expires = at + timedelta(days=1)
        return plans.save(conn, run_id=run, kind="reconcile", plan=plan, expires=expires, status=PlanStatus.HELD).id

    store = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))
    try:
        return str(store.write(work)), plan.checksum[:12]
    finally:
        store.close()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a person on a terminal was asked; the answer is no."""
    questions: list[str] = []

    def confirm(question: str, **_: object) -> None:
        questions.append(question)
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr("click.confirm", confirm)
    return questions


def test_much_is_asked_about_with_its_counts(command: Command, folder: Path, asked: list[str]) -> None:
    plan_id, checksum = held(folder, MANY + 1)
    found = command("plans", "approve", plan_id, "--checksum", checksum)
    assert found[0] == 130, found
    assert asked == [f"Plan {plan_id} has 11 deactivate. Approve all of it?"]


@pytest.mark.parametrize(("count", "options"), [(MANY, []), (MANY + 1, ["--yes"]), (MANY + 1, ["--action", "1"])])
def test_little_what_was_named_and_yes_are_not(
    command: Command, folder: Path, asked: list[str], count: int, options: list[str]
) -> None:
    plan_id, checksum = held(folder, count)
    assert command("plans", "approve", plan_id, "--checksum", checksum, *options)[0] == 1  # no Okta there
    assert asked == []


def test_a_program_is_never_asked(command: Command, folder: Path) -> None:
    plan_id, checksum = held(folder, MANY + 1)
    assert command("plans", "approve", plan_id, "--checksum", checksum)[0] == 1


def test_jsonl_is_progress_and_then_the_document_each_in_a_line(command: Command, folder: Path) -> None:
    held(folder, 1)
    code, out, _ = command("reconcile", "--output", "jsonl")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert lines[0]["kind"] == "progress"
    assert lines[-1]["kind"] == "run"
    assert lines[-1]["run"]["outcome"] == "incomplete"
    assert {line["format_version"] for line in lines} == {"1.0"}
    code, out, _ = command("plans", "show", "99", "--output", "jsonl")
    assert (code, json.loads(out)["kind"]) == (1, "error")
    assert out.count("\n") == 1
