"""``config apply``: the one step by which a database's mapping changes."""

from pathlib import Path
from typing import Any

import pytest

from support.commands import Command


@pytest.mark.parametrize("line", [("users", "list"), ("users", "add", "bob@example.com")])
def test_a_command_with_another_mapping_is_refused_and_told_the_way(
    command: Command, folder: Path, line: tuple[str, ...]
) -> None:
    assert command("users", "add", "ann@example.com")[0] == 0
    (folder / "agent.toml").write_text('[mapping]\nnickName = ""\n')
    code, out, err = command(*line)
    assert (code, out) == (2, "")
    assert "nickName is compared with nickName there, with nothing here" in err
    assert "opshelm-agent config apply" in err


def test_it_makes_the_settings_mapping_the_databases(command: Command, document: Any, folder: Path) -> None:
    assert command("users", "add", "ann@example.com")[0] == 0
    (folder / "agent.toml").write_text('[mapping]\nnickName = ""\n')
    applied = document("config", "apply", "--reason", "ticket 4711")
    assert (applied["version"], applied["changed"], applied["accounts"]) == (2, True, 1)
    assert command("users", "list")[0] == 0
    assert document("config", "apply")["changed"] is False
    (folder / "agent.toml").unlink()
    assert command("users", "list")[0] == 2
