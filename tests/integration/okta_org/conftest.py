import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from agent.okta_org import OktaOrg
from agent.settings import OktaSettings
from support.scripted import APP, TOKEN, Scripted


class Waits(list[float]):
    """Stands for sleeping: time passes at once, and is counted."""

    async def sleep(self, seconds: float) -> None:
        self.append(seconds)
        await asyncio.sleep(0)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def server():
    scripted = Scripted()
    yield scripted
    scripted.close()
    assert scripted.unscripted == []


@pytest.fixture
def connect(server, waits) -> Callable[..., OktaOrg]:
    """Connect to the scripted server; keyword arguments are settings."""
    opened: list[OktaOrg] = []

    def connect(*, credentials=None, **changed) -> OktaOrg:
        settings = {
            "org_url": server.url,
            "app_id": APP,
            "api_token": TOKEN,
            "connect_timeout": timedelta(seconds=5),
            "read_timeout": timedelta(seconds=5),
            "max_retries": 2,
            **changed,
        }
        org = OktaOrg(
            OktaSettings(**settings),
            credentials=credentials,
            clock=lambda: sum(waits),
            sleep=waits.sleep,
            jitter=lambda: 0.5,
        )
        opened.append(org)
        return org

    yield connect
    for org in opened:
        org.close()


@pytest.fixture
def org(connect) -> OktaOrg:
    return connect()
