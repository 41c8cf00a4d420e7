"""Commands in this process, in a folder of their own, with a database that a template saves from being migrated."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from agent.cli.root import run
from agent.settings import DatabaseSettings
from agent.store.engine import Store

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("migrated") / "agent.db"
    Store.open(DatabaseSettings(url=f"sqlite:///{file}")).close()
    return file


@pytest.fixture
def folder(tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name in list(os.environ):
        if name.startswith("OPSHELM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(migrated, tmp_path / "opshelm-agent.db")
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
