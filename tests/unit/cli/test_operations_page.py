"""docs/operations.md has each alarm, each kind of JSON, each control call of the simulator, and names real commands."""

import re
from pathlib import Path

import click

from agent.cli.root import cli

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def alarms() -> list[str]:
    """Those of docs/codes.md, which another test holds to the source."""
    section = (
        (ROOT / "docs" / "codes.md").read_text(encoding="utf-8").partition("\n## Alarms\n")[2].partition("\n## ")[0]
    )
    return re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)


def test_every_alarm_has_its_heading_and_no_other_has_one() -> None:
    section = TEXT.partition("\n## When an alarm opens\n")[2].partition("\n## ")[0]
    assert sorted(re.findall(r"^### (\w+)$", section, flags=re.MULTILINE)) == sorted(alarms())


def test_every_kind_of_json_has_its_row() -> None:
    section = TEXT.partition("\n## The JSON of every command\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.+?) \|", section, flags=re.MULTILINE))))
    kinds = set()
    for file in (ROOT / "agent" / "cli").glob("*.py"):
        kinds |= set(re.findall(r'\.answer(?:_table)?\(\s*"(\w+)"', file.read_text(encoding="utf-8")))
    assert kinds - told == set()
    assert told - kinds == set()


def test_every_control_call_of_the_simulator_is_told() -> None:
    source = (ROOT / "agent" / "simulator" / "control.py").read_text(encoding="utf-8")
    assert set(re.findall(r'routes\("(/simulator/[^"]+)"', source)) == set(re.findall(r"`(/simulator/[^`]+)`", TEXT))


def test_every_command_that_is_named_exists() -> None:
    for name, inner in re.findall(r"`opshelm-agent (?:--config \S+ )?([a-z]+)(?: ([a-z-]+))?", TEXT):
        found = cli.get_command(click.Context(cli), name)
        assert found is not None, name
        if isinstance(found, click.Group) and inner:
            assert inner in found.commands, f"{name} {inner}"
