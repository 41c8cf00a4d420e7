"""The set of commands, their help, and what all of them share."""

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from agent.cli.root import cli, run

#: Design of the command line; a name that is missing here or there is a mistake.
COMMANDS = """
alarms ack;
alarms list;
alarms show;
check;
completion;
config apply;
config ask-again;
config example;
config show;
dashboard link;
dashboard password;
db accept-restore;
db backup;
db init;
demo;
events follow;
explain;
failures list;
failures retry;
failures show;
findings;
guard allow;
guard reject;
guard replay;
guard show;
holds approve;
holds lift;
holds list;
holds reject;
holds show;
init;
journal export;
journal list;
journal verify;
keys create;
keys list;
keys revoke;
keys roll;
notify test;
owner handover;
pause;
pins accept;
pins show;
plans apply;
plans approve;
plans list;
plans reject;
plans show;
reconcile;
rehearse export;
report access;
report changes;
report key;
report verify;
resume;
runs list;
runs show;
runs undo;
serve;
simulate;
status;
users add;
users deactivate;
users link;
users list;
users protect;
users reactivate;
users release-name;
users rename;
users role;
users set;
users show;
users unlink;
users unprotect
"""


def leaves() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        found = cli.get_command(context, name)
        if isinstance(found, click.Group):
            yield from ((f"{name} {inner}", command) for inner, command in found.commands.items())
        elif found is not None:
            yield name, found


LEAVES = dict(leaves())


def test_the_commands_are_those_of_the_design() -> None:
    wanted = {" ".join(name.split()) for name in COMMANDS.replace("\n", " ").split(";")}
    assert {name for name in LEAVES if not name.startswith("import")} == wanted


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_helps_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(), "--help"]) == 0
    out = capsys.readouterr().out
    assert "Usage: opshelm-agent" in out
    assert "--output" in out
    assert "Examples:" in out or "\nExample:" in out


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_every_short_help_fits_a_narrow_terminal(name: str) -> None:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    assert not found.get_short_help_str(62).endswith("..."), found.help


def test_a_misspelt_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["recncile"]) == 2
    assert "Did you mean 'reconcile'?" in capsys.readouterr().err


def test_a_misspelt_option_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["reconcile", "--aply"]) == 2
    assert "--apply" in capsys.readouterr().err


def test_a_usage_error_is_one_document_where_json_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plans", "show", "x", "--output", "json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["format_version"], found["kind"], found["code"]) == ("1.0", "error", "usage")
    assert "'x' is not a valid number" in found["detail"]


@pytest.mark.parametrize("wait", ["nan", "inf", "-inf", "-1", "1e9", "soon"])
@pytest.mark.parametrize("command", [["reconcile"], ["import", "apply", "1"]])
def test_only_a_number_of_seconds_can_be_waited(
    capsys: pytest.CaptureFixture[str], command: list[str], wait: str
) -> None:
    assert run([*command, "--wait", wait]) == 2
    assert "'--wait'" in capsys.readouterr().err


def test_without_arguments_it_helps(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Commands:" in capsys.readouterr().err


def test_the_exit_codes_stand_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "Exit codes:" in out
    assert all(f"{code} " in out for code in range(6))


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys\nfrom agent.cli.root import run\nrun(['--help'])\n"
        "print([m for m in ('pydantic', 'sqlalchemy', 'starlette', 'okta', 'structlog', 'rich', 'httpx', 'alembic')"
        " if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
