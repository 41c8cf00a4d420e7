"""``keys``, ``config``, ``journal``, ``findings``, ``runs``: their answers, as text and as documents."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.model.codes import FindingCode
from agent.model.csv_text import cell as spreadsheet_cell
from agent.model.plan import Finding
from agent.settings import DatabaseSettings
from agent.store import runs, seal
from agent.store.engine import Store
from agent.store.runs import RunEnd, RunRequest

Command = Callable[..., tuple[int, str, str]]
Document = Callable[..., Any]


def write(folder: Path, work: Callable[[Any], Any]) -> Any:
    store = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))
    try:
        return store.write(work)
    finally:
        store.close()


def test_a_new_key_is_the_key_and_a_newline(command: Command) -> None:
    code, out, err = command("keys", "create", "okta")
    assert (code, err) == (0, "")
    assert out == out.strip() + "\n"
    assert out.startswith("oha_")
    assert len(out) > 40


def test_a_key_is_shown_once(command: Command) -> None:
    secret = command("keys", "create", "okta")[1].strip()
    listed = command("keys", "list", "--output", "json")[1] + command("keys", "list")[1]
    assert secret not in listed
    assert secret[:10] in listed


def test_a_key_as_a_document(document: Document) -> None:
    made = document("keys", "create", "prometheus", "--scope", "metrics", "--expires", "30d")
    assert (made["format_version"], made["kind"], made["scope"]) == ("1.0", "key", "metrics")
    assert made["key"].startswith(made["prefix"])
    assert datetime.fromisoformat(made["expires_at"]) > datetime.now(UTC)
    assert {"id", "key", "prefix", "scope", "expires_at"} <= made.keys()


def test_rolling_keeps_the_old_key_for_its_grace(document: Document) -> None:
    document("keys", "create", "okta")
    document("keys", "roll", "okta", "--grace", "2h")
    assert [key["state"] for key in document("keys", "list")["keys"]] == ["in its grace", "alive"]
    assert document("keys", "revoke", "okta", "--yes")["keys"] == 2
    assert [key["state"] for key in document("keys", "list")["keys"]] == ["revoked", "revoked"]


def test_the_last_key_is_not_revoked_without_a_word(command: Command, document: Document) -> None:
    command("keys", "create", "okta")
    command("keys", "create", "prometheus", "--scope", "metrics")
    code, out, err = command("keys", "revoke", "okta")
    assert (code, out) == (2, "")
    assert "the last key that Okta can push with" in err
    assert document("keys", "list")["keys"][0]["state"] == "alive"
    assert command("keys", "revoke", "prometheus")[0] == 0
    command("keys", "create", "spare")
    assert command("keys", "revoke", "okta")[0] == 0
    assert command("keys", "revoke", "spare", "--yes")[0] == 0


def test_on_a_terminal_the_last_key_is_asked_about(
    command: Command, document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("keys", "create", "okta")
    for said, code, state in (("n\n", 130, "alive"), ("y\n", 0, "revoked")):
        terminal = io.StringIO(said)
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr("sys.stdin", terminal)
        assert command("keys", "revoke", "okta")[0] == code
        assert document("keys", "list")["keys"][0]["state"] == state


@pytest.mark.parametrize(
    ("expires", "state", "says"),
    [("13d", "warn", "the last key that Okta can push with ends at"), ("15d", "ok", "1 live for Okta")],
)
def test_check_tells_two_weeks_before_the_last_key_ends(
    command: Command, document: Document, expires: str, state: str, says: str
) -> None:
    command("keys", "create", "okta", "--expires", expires)
    (line,) = [one for one in json.loads(command("check", "--output", "json")[1])["checks"] if one["name"] == "keys"]
    assert line["state"] == state
    assert says in line["detail"]


@pytest.mark.parametrize(
    "arguments", [["create", "okta"], ["roll", "nobody"], ["revoke", "nobody"], ["create", "x", "--scope", "root"]]
)
def test_mistakes_with_keys_are_usage_errors(command: Command, arguments: list[str]) -> None:
    command("keys", "create", "okta")
    code, out, err = command("keys", *arguments)
    assert (code, out) == (2, "")
    assert err


def test_no_keys_says_what_to_do(command: Command) -> None:
    assert "opshelm-agent keys create okta" in command("keys", "list")[1]


def test_config_show_masks_and_names_the_place(command: Command, document: Document, folder: Path) -> None:
    (folder / "agent.toml").write_text(
        '[okta]\norg_url = "https://example.okta.com"\napp_id = "0oa1"\napi_token = "s3cret-token"\n'
    )
    code, out, err = command("config", "show", "--origin")
    assert code == 0
    assert "s3cret-token" not in out + err
    row = next(line for line in out.splitlines() if line.startswith("okta.api_token"))
    assert row.split() == ["okta.api_token", "********", "file", "agent.toml:4"]
    settings = {row["name"]: row for row in document("config", "show")["settings"]}
    assert settings["okta.app_id"] == {
        "name": "okta.app_id",
        "value": "0oa1",
        "origin": "file",
        "place": "agent.toml:3",
        "env": "OPSHELM_OKTA__APP_ID",
    }


def test_config_example_is_the_file_in_config(command: Command) -> None:
    shipped = Path(__file__).parents[3] / "config" / "agent.toml"
    assert command("config", "example")[1] == shipped.read_text(encoding="utf-8")


def test_a_wrong_setting_stops_every_command_with_2(command: Command, folder: Path) -> None:
    (folder / "agent.toml").write_text('[server]\nport = "s3cret"\nprt = 1\n')
    for arguments in (["config", "show"], ["keys", "list"], ["reconcile"], ["check"], ["serve"]):
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert err.splitlines() == [
            "error: agent.toml:2 server.port: must be an integer, unable to parse string as an integer",
            "error: agent.toml:3 server.prt: unknown key, did you mean port?",
        ]


def test_config_may_stand_before_and_behind_the_command(command: Command, folder: Path) -> None:
    (folder / "other.toml").write_text("[server]\nport = 1234\n")
    for arguments in (["--config", "other.toml", "config", "show"], ["config", "show", "--config", "other.toml"]):
        assert "1234" in command(*arguments)[1]


def test_what_needs_okta_says_so_without_it(command: Command) -> None:
    code, _, err = command("reconcile")
    assert code == 2
    assert "okta.org_url: missing" in err


@pytest.mark.parametrize("option", ["--first-run", "--allow-empty"])
def test_what_lifts_a_guard_needs_apply(command: Command, option: str) -> None:
    code, _, err = command("reconcile", option, "5")
    assert code == 2
    assert "go with --apply" in err


def test_the_journal_is_exported_and_verified(command: Command, document: Document, folder: Path) -> None:
    command("users", "add", "ann@example.com")
    command("pause", "--reason", "=1+1")
    lines = [json.loads(line) for line in command("journal", "export")[1].splitlines()]
    assert [line["verb"] for line in lines] == ["create", "pause"]
    assert [row["verb"] for row in document("journal", "export", "--user", "ann@example.com")["rows"]] == ["create"]
    assert "'=1+1" in command("journal", "export", "--csv")[1]
    verified = document("journal", "verify")
    assert (verified["ok"], verified["unsealed"]) == (True, 2)


def test_a_changed_journal_fails_the_check(command: Command, folder: Path) -> None:
    command("users", "add", "ann@example.com")
    write(folder, lambda conn: seal.seal_in(conn, datetime.now(UTC)))
    write(folder, lambda conn: conn.exec_driver_sql("UPDATE journal SET actor = 'nobody'"))
    code, out, _ = command("journal", "verify")
    assert code == 1
    assert "row 1 of block 1 was changed" in out


def test_findings_come_from_the_last_sweep_and_are_safe_in_a_spreadsheet(
    command: Command, document: Document, folder: Path
) -> None:
    assert command("findings")[1] == "No findings.\n"
    found = Finding(code=FindingCode.LEFT_ALONE, login="=cmd()@example.com", detail="status FUTURE")

    def work(conn: Any) -> None:
        run = runs.start(conn, RunRequest(kind="sweep", trigger="cli", actor="test", dry=True), datetime.now(UTC))
        runs.add_findings(conn, run, [found])
        runs.finish(conn, run, RunEnd(outcome="in_step", exit_code=0, counts={"people": 3}), datetime.now(UTC))

    write(folder, work)
    assert document("findings")["findings"][0]["code"] == "left_alone"
    assert command("findings", "--csv")[1].splitlines()[1].startswith("left_alone,'=cmd()@example.com,")
    assert document("runs", "list")["runs"][0]["counts"] == {"people": 3}
    assert "in_step" in command("runs", "show", "1")[1]


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_cell_that_would_be_a_formula_is_text(cell: str) -> None:
    assert spreadsheet_cell(cell) == f"'{cell}"
    assert spreadsheet_cell("plain") == "plain"


def test_a_key_without_a_name_is_refused(command: Command) -> None:
    assert command("keys", "create", " ")[0] == 2
    assert command("keys", "list")[1].startswith("No keys.")


def test_what_an_error_repeats_can_t_reach_the_terminal(command: Command) -> None:
    code, _, err = command("users", "show", "ann\u202e\x1b[31m@example.com")
    assert code == 1
    assert "ann\\u202e\\x1b[31m@example.com" in err


def test_a_grace_beyond_all_calendars_is_a_usage_error(command: Command) -> None:
    code, _, err = command("keys", "roll", "okta", "--grace", "99999999999999h")
    assert code == 2
    assert "100 years" in err


def test_a_key_lives_for_some_time(command: Command) -> None:
    """Without an end it would live for ever, which nobody asked for."""
    code, _, err = command("keys", "create", "okta", "--expires", "0s")
    assert (code, "must live for some time" in err) == (2, True)
