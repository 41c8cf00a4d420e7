"""The pictures in the README and in docs/dashboard.md: ``PYTHONPATH=tests python -m support.screenshots docs/screenshots``.

Each page of an agent that has been in use for a while, as Debian's Chromium shows it, light and dark. ``--all``: every page at
both widths, to look at.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from agent.cli.demo_stage import Stage
from agent.store import holds, overview, runs
from support.stage import account, sign_in_link, used_stage

CHROMIUM = "/usr/bin/chromium"
WIDTHS = (360, 1440)
SCHEMES = ("light", "dark")
#: Those that the README and docs/dashboard.md show.
PICTURES = {"light": ("overview", "plan", "people", "person", "import"), "dark": ("person",)}


def pages_of(stage: Stage) -> dict[str, str]:
    """Every page with something on it: name → path."""
    blocked = account(stage, stage.org.state()[40]["login"])
    with stage.agent.store.read() as conn:
        held = next(hold for hold in holds.open_holds(conn) if hold.plan_id is not None)
    with stage.agent.store.read() as conn:
        run = runs.recent(conn, 1)[0].id
        held = overview.held_plans(conn)[0].id
    return {
        "overview": "/",
        "runs": "/runs",
        "run": f"/runs/{run}",
        "plans": "/plans",
        "plan": f"/plans/{held}",
        "holds": "/holds",
        "people": "/people",
        "nobody": "/people?search=nobody",
        "hostile": "/people?search=hostile",
        "person": f"/person?id={blocked.id}",
        "failures": "/failures",
        "import": "/imports",
        "journal": "/journal",
        "followed": "/journal?follow=1",
        "keys": "/keys",
        "settings": "/settings?origin=set",
        "check": "/check",
        "help": "/help",
    }


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def signed_in(
    browser: Browser, stage: Stage, *, width: int = 1440, scheme: str = "light", scripts: bool = True
) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,
        java_script_enabled=scripts,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto(sign_in_link(stage))
    if page.locator("form[action^='/sign-in/link'] button").count():
        page.locator("form[action^='/sign-in/link'] button").click()
    try:
        yield page
    finally:
        context.close()


def look_at_imports(page: Page, base: str) -> None:
    """Sort the accounts, so that the page of the import has something to show."""
    page.goto(f"{base}/imports")
    page.get_by_role("button", name="Look at both sides").click()
    page.get_by_role("navigation", name="Classes").wait_for(timeout=30_000)


def main(folder: Path, *, everything: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with used_stage(hostile=everything) as stage, chromium() as browser:
        with signed_in(browser, stage) as page:
            look_at_imports(page, stage.admin)
        paths = pages_of(stage)
        for scheme in SCHEMES:
            for width in WIDTHS if everything else WIDTHS[1:]:
                with signed_in(browser, stage, width=width, scheme=scheme) as page:
                    for name in paths if everything else PICTURES[scheme]:
                        page.goto(stage.admin + paths[name])
                        page.wait_for_load_state("networkidle" if name != "followed" else "load")
                        size = f"-{width}" if everything else ""
                        page.screenshot(path=folder / f"{name}-{scheme}{size}.png", full_page=everything)


if __name__ == "__main__":
    main(Path(sys.argv[1]), everything="--all" in sys.argv)
