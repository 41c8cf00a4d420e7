"""One agent in use and one Chromium for all tests here; each test has a page of its own, signed in as admin."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from agent.cli.demo_stage import Stage
from support.screenshots import chromium, look_at_imports, signed_in
from support.stage import used_stage

# A machine that is busy with other tests shows a page when it comes to it.
expect.set_options(timeout=60_000)


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with used_stage() as made:
        yield made


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="session")
def reviewed(stage: Stage, browser: Browser) -> Stage:
    """Somebody has looked at whom the import is about."""
    with signed_in(browser, stage) as page:
        look_at_imports(page, stage.admin)
    return stage


@pytest.fixture
def page(stage: Stage, browser: Browser) -> Iterator[Page]:
    with signed_in(browser, stage) as made:
        yield made
