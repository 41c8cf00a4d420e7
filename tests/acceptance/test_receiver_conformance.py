"""The public conformance tools pass without a failure, twice in a row, against a receiver that takes any userName."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.databases import sqlite_in
from support.receiver import Served, served

_TOOLS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    url = sqlite_in(Path(tmp_path_factory.mktemp("db")))
    with served(url, receiver={"username_is_email": False}, guard={"push_mode": "alarm"}) as running:
        yield running


def _run(*command: str) -> tuple[int, str]:
    done = subprocess.run(
        [str(_TOOLS / command[0]), *command[1:]], capture_output=True, text=True, timeout=120, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("time", ["first", "second"])
def test_scim2_cli_passes(receiver: Served, time: str) -> None:
    code, output = _run("scim2", "-u", receiver.url, "-h", f"Authorization: Bearer {receiver.key}", "test")
    assert code == 0, f"{time}: {output}"
    assert output.count("SUCCESS") > 90
    assert "SKIPPED" not in output


@pytest.mark.parametrize("time", ["first", "second"])
def test_scim_sanity_passes(receiver: Served, time: str) -> None:
    code, output = _run("scim-sanity", "probe", receiver.url, "--token", receiver.key, "--i-accept-side-effects")
    assert code == 0, f"{time}: {output}"
    assert "All tests passed" in output
