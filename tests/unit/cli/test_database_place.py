"""Which database a command works on: the one beside its settings file, and never a new one that nobody asked for."""

from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from support.commands import Command

#: Each with the least that it can be called with.
NEED_ONE = """
alarms ack 1 --reason r; alarms list; alarms show 1; check; config apply --reason r; db accept-restore --reason r; db backup copy.db; explain ann@example.com; failures list; failures show g; failures retry --all; findings; guard allow --count 1 --for 1h --reason r;
guard reject --user ann@example.com --reason r; guard show; holds approve ann@example.com; holds lift ann@example.com; holds list; holds reject ann@example.com --reason r;
holds show ann@example.com; import list; import plan --all; import apply 1; journal export; journal list; journal verify;
keys create okta; keys list; keys revoke okta; keys roll okta; owner handover --to ann@example.com --deactivate bob@example.com;
pause --reason r; pins accept --reason r; pins show; plans apply 1 --checksum c; plans approve 1 --checksum c; plans list;
plans reject 1 --reason r; plans show 1; reconcile; reconcile --apply; resume; report access; report changes --since 1d; report key; runs list; runs show 1; status; users add ann@example.com;
users deactivate ann@example.com --reason r; users link ann@example.com --okta-id 00u1; users list; users protect ann@example.com;
users reactivate ann@example.com --reason r; users rename ann@example.com bob@example.com --reason r; users set ann@example.com title=x;
users release-name ann@example.com --reason r; users role ann@example.com owner; users show ann@example.com;
users unlink ann@example.com; users unprotect ann@example.com
"""
COMMANDS = [" ".join(one.split()) for one in NEED_ONE.replace("\n", " ").split(";")]
OKTA = '[okta]\norg_url = "http://127.0.0.1:1"\napp_id = "0oa1"\napi_token = "t"\n'


@pytest.fixture
def empty(folder: Path) -> Path:
    (folder / "opshelm-agent.db").unlink()
    (folder / "agent.toml").write_text(OKTA)
    return folder


@pytest.mark.parametrize("line", COMMANDS)
def test_without_a_database_a_command_says_where_there_is_none(empty: Path, command: Command, line: str) -> None:
    code, out, err = command(*line.split())
    said = "ok    settings         from agent.toml\n" if line == "check" else ""
    assert (code, out) == (2, said)
    assert f"There is no database at {empty}/opshelm-agent.db" in err
    assert "opshelm-agent db init" in err
    assert [file.name for file in empty.iterdir()] == ["agent.toml"]


def test_db_init_makes_one_and_leaves_one_that_is_there(empty: Path, command: Command) -> None:
    ready = f"The database at {empty}/opshelm-agent.db is ready.\n"
    assert command("db", "init")[:2] == (0, ready)
    assert command("keys", "create", "okta")[0] == 0
    assert command("db", "init")[:2] == (0, ready)
    assert "okta" in command("keys", "list")[1]
    assert (empty / "opshelm-agent.db").stat().st_mode & 0o777 == 0o600


def test_a_file_without_tables_is_no_database(empty: Path, command: Command) -> None:
    file = empty / "opshelm-agent.db"
    file.touch()
    code, _, err = command("users", "list")
    assert code == 2
    assert f"The database at {file} has no tables of the agent" in err
    engine = create_engine(f"sqlite:///{file}")
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_a_relative_path_belongs_to_the_settings_file_wherever_one_is(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "agent.toml").write_text('[database]\nurl = "sqlite:///opshelm-agent.db"\n')
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert command("--config", "../agent.toml", "pause", "--reason", "fire")[0] == 0
    assert list(elsewhere.iterdir()) == []
    monkeypatch.chdir(folder)
    assert "paused" in command("check")[1]


def test_check_says_where_the_database_is(folder: Path, command: Command) -> None:
    assert f"sqlite at {folder}/opshelm-agent.db, schema up to date" in command("check")[1]
