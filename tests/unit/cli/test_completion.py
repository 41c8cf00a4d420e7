"""``completion``: what each shell loads, and ids and logins of the database behind it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from agent.cli.root import cli
from agent.model.codes import ActionKind
from agent.model.plan import Action, Plan
from agent.settings import DatabaseSettings
from agent.store import plans, runs
from agent.store.engine import Store
from agent.store.runs import RunRequest
from support.commands import Command


def completed(args: list[str], begun: str) -> list[str]:
    made = ShellComplete(cli, {}, "opshelm-agent", "_OPSHELM_AGENT_COMPLETE")
    return [item.value for item in made.get_completions(args, begun)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_text(command: Command, shell: str) -> None:
    code, out, _ = command("completion", shell)
    assert code == 0
    assert "_OPSHELM_AGENT_COMPLETE" in out


def test_logins_come_of_the_database(document: Callable[..., Any]) -> None:
    for login in ("ann@example.com", "anton@example.com", "bob@example.com"):
        document("users", "add", login)
    assert completed(["users", "show"], "an") == ["ann@example.com", "anton@example.com"]
    assert completed(["explain"], "b") == ["bob@example.com"]


def test_plans_and_runs_come_of_the_database(folder: Path) -> None:
    at = datetime.now(UTC)
    action = Action(n=1, kind=ActionKind.UPDATE, login="ann@example.com")

    def work(conn: Any) -> tuple[int, int]:
        run = runs.start(conn, RunRequest(kind="sweep", trigger="cli", actor="test", dry=False), at)
        plan = Plan(actions=(action,), population=1, source_size=1, created=at)
        return run, plans.save(conn, run_id=run, kind="reconcile", plan=plan, expires=at + timedelta(days=1)).id

    store = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))
    run, plan = store.write(work)
    store.close()
    assert completed(["plans", "show"], "") == [str(plan)]
    assert completed(["runs", "show"], str(run)[0]) == [str(run)]


@pytest.mark.usefixtures("folder")
def test_commands_are_completed_and_no_id_is_made_up() -> None:
    assert completed([], "comp") == ["completion"]
    assert completed(["plans", "show"], "") == []


def test_without_settings_a_tab_stays_quiet(folder: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "agent.toml").write_text("nonsense")
    assert completed(["users", "show"], "a") == []
    assert isinstance(cli, click.Group)
    assert capsys.readouterr() == ("", "")
