"""Worlds with holds, on either database; and the agent's commands on them."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.holding import Commands, CommandsOf, Make, hold_world
from support.world import World


@pytest.fixture
def make(database_url: str) -> Iterator[Make]:
    with ExitStack() as stack:
        yield lambda users=40, **more: stack.enter_context(hold_world(database_url, users, **more))


@pytest.fixture
def make_sqlite(sqlite_url: str) -> Iterator[Make]:
    """For what does not depend on the database."""
    with ExitStack() as stack:
        yield lambda users=40, **more: stack.enter_context(hold_world(sqlite_url, users, **more))


@pytest.fixture
def commands_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandsOf:
    def of(w: World) -> Commands:
        monkeypatch.chdir(tmp_path)
        for name, value in {
            "OKTA__ORG_URL": w.org.url,
            "OKTA__APP_ID": w.org.app_id,
            "OKTA__API_TOKEN": w.org.token,
            "OKTA__BUDGET_SHARE": "1",
            "DATABASE__URL": w.store.settings.url,
        }.items():
            monkeypatch.setenv(f"OPSHELM_{name}", value)
        return Commands(capsys)

    return of
