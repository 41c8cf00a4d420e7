"""Commands in this process, in a folder of their own, with a database that nobody has used."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.cli.root import run
from support.databases import sqlite_in

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in list(os.environ):
        if name.startswith("OPSHELM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    sqlite_in(tmp_path, "opshelm-agent.db")
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield tmp_path
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def command(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """Exit code, stdout, stderr of one command."""

    def invoke(*args: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(args)
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


@pytest.fixture
def document(command: Command) -> Callable[..., Any]:
    """The JSON document of a command that must succeed."""

    def invoke(*args: str) -> Any:
        code, out, err = command("--output", "json", *args)
        assert code == 0, (out, err)
        return json.loads(out)

    return invoke
