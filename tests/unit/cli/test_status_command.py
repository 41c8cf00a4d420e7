"""``status``: one screen, the next command, and an exit code that says whether anybody is needed."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.checks import daemon
from agent.model.check import ok
from agent.model.codes import HeldCode
from agent.model.holds import ENDS_ACCESS, ChangeKind, Reason
from agent.settings import DatabaseSettings
from agent.store import account, alarms, holds, runs
from agent.store.engine import Store
from agent.store.runs import RunEnd, RunProgress, RunRequest

Command = Callable[..., tuple[int, str, str]]
Document = Callable[..., Any]
NOW = datetime.now(UTC)


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    opened = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def port(folder: Path) -> None:
    (folder / "agent.toml").write_text("[server]\nadmin_port = 1\n")


@pytest.fixture
def fine(store: Store, document: Document, monkeypatch: pytest.MonkeyPatch) -> Store:
    """All is as it should be: a key, pins, a good sweep, a daemon that answers."""
    document("keys", "create", "okta")
    store.write(lambda conn: account.pin(conn, org_id="o", app_id="a", app_label="OpsHelm", actor="t", now=NOW))
    run(store, 0, "in_step", at=NOW)
    store.write(lambda conn: account.good_sweep(conn, at=NOW, people=9))
    monkeypatch.setattr(daemon, "health", lambda _server: ok("health", "ready"))
    return store


def run(store: Store, exit_code: int, outcome: str, *, at: datetime, detail: str = "") -> int:
    def work(conn: Any) -> int:
        number = runs.start(conn, RunRequest(kind="sweep", trigger="cli", actor="test", dry=False), at)
        runs.finish(conn, number, RunEnd(outcome=outcome, exit_code=exit_code, detail=detail), at)
        return number

    return store.write(work)


def hold(conn: Any) -> None:
    reason = Reason(
        directory_id="d1",
        okta_id="00u1",
        login="ann@example.com",
        kind=ChangeKind.DEACTIVATE,
        code=HeldCode.LAST_OWNER,
        detail="the last owner",
        wish=ENDS_ACCESS,
    )
    holds.find(conn, [reason], NOW, by="run 1")


@pytest.mark.usefixtures("fine")
def test_where_nothing_waits_it_says_so_and_ends_with_0(command: Command, folder: Path) -> None:
    code, out, _ = command("status")
    assert code == 0
    assert f"database   {folder}/opshelm-agent.db" in out
    assert "drift      = in step" in out
    assert "Nothing waits for a person." in out


def test_a_new_installation_is_led_through_its_first_steps(command: Command) -> None:
    code, out, _ = command("status")
    assert code == 1
    assert "drift      ? unknown: no good sweep yet" in out
    assert "opshelm-agent serve" in out
    assert "opshelm-agent keys create okta" in out


def test_a_sweep_before_anything_is_pinned_is_not_called_overdue(command: Command, store: Store) -> None:
    run(store, 0, "in_step", at=NOW)
    store.write(lambda conn: account.good_sweep(conn, at=NOW, people=9))
    _, out, _ = command("status")
    assert "drift      ? unknown: nothing is pinned yet" in out


def test_each_thing_that_waits_has_its_command(command: Command, fine: Store) -> None:
    fine.write(hold)
    fine.write(lambda conn: alarms.raise_alarm(conn, "last_owner", "guard", "ann is the last owner", NOW))
    assert command("pause", "--reason", "migration")[0] == 0
    code, out, _ = command("status")
    assert code == 1
    assert "PAUSED     by operator" in out
    assert "ann is the last owner" in out
    for what in ("resume", "holds list --code last_owner", "alarms show 1"):
        assert f"opshelm-agent {what}" in out


def test_the_last_error_is_told_until_the_same_has_gone_well(command: Command, document: Document, fine: Store) -> None:
    number = run(fine, 1, "incomplete", at=NOW, detail="Okta did not answer page 3.")
    code, out, _ = command("status")
    assert code == 1
    assert f"run {number} (sweep" in out
    assert "Okta did not answer page 3." in out
    run(fine, 0, "applied", at=NOW + timedelta(minutes=1))
    assert document("status")["last_error"] is None


@pytest.mark.usefixtures("fine")
def test_programs_get_the_same(document: Document) -> None:
    found = document("status")
    assert found["in_step"] is True
    assert found["daemon"] == {"state": "ok", "detail": "ready"}
    assert found["next"] == []


@pytest.mark.usefixtures("fine")
def test_a_run_under_way_is_told_and_whoever_waited_for_it_in_vain_is_no_error(
    command: Command, document: Document, store: Store
) -> None:
    request = RunRequest(kind="sweep", trigger="approve", actor="test", dry=False)
    number = store.write(lambda conn: runs.start(conn, request, NOW))
    told = RunProgress(at=NOW, what="asking Okta", done=39, total=120, waits=58, waits_for="Okta's limit on app-user")
    store.write(lambda conn: runs.tell(conn, number, told))
    run(store, 1, "lease_held", at=NOW)
    code, out, _ = command("status")
    assert f"under way  run {number} (sweep, approve) since" in out
    assert "asking Okta 39/120, waiting 58 s for Okta's limit on app-user" in out
    assert (code, "last error" in out) == (0, False)
    shown = document("status")["under_way"]
    assert (shown["id"], shown["progress"]["done"]) == (number, 39)
