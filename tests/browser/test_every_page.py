"""Every page in a real browser: nothing that axe objects to, nothing that the policy forbids, and all of it by keyboard."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from agent.cli.demo_stage import Stage
from support.screenshots import SCHEMES, WIDTHS, pages_of, signed_in
from support.stage import HOSTILE

pytestmark = pytest.mark.browser

#: axe-core 4.14.1, as it comes.
AXE = Path(__file__).with_name("axe.min.js").read_text(encoding="utf-8")
#: Opens what is folded, marks what the keyboard must reach, and says how many there are.
_MARK = """() => {
  document.querySelectorAll("details").forEach((e) => { e.open = true; });
  const seen = (e) => e.getClientRects().length > 0 && getComputedStyle(e).visibility !== "hidden";
  const all = [...document.querySelectorAll("a[href], button:not([disabled]), input:not([type=hidden]), select, textarea, summary, [tabindex='0']")];
  // Of a group of radio buttons one is reached by Tab, the others by arrows.
  const wanted = all.filter((e) => seen(e) && !(e.type === "radio" && !e.checked));
  wanted.forEach((e, n) => { e.dataset.n = n; });
  return wanted.length;
}"""


@contextmanager
def listening(page: Page) -> Iterator[list[str]]:
    """What a page must not do: errors, alerts, and what the content security policy had to stop."""
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("console", lambda line: said.append(line.text) if line.type == "error" else None)
    page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    yield said
    assert said == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_no_page_breaks_a_rule_of_axe_or_of_its_own_policy(
    reviewed: Stage, browser: Browser, scheme: str, width: int
) -> None:
    found: dict[str, Any] = {}
    with signed_in(browser, reviewed, width=width, scheme=scheme) as page, listening(page):
        for name, path in pages_of(reviewed).items():
            page.goto(reviewed.admin + path)
            if name == "person":
                page.get_by_text("result", exact=True).wait_for()
            page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
            page.evaluate(AXE)
            violations = page.evaluate("axe.run().then(found => found.violations)")
            found |= {f"{name}: {v['id']}": [node["html"] for node in v["nodes"]] for v in violations}
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if wide > 0:
                found[f"{name}: wider than the screen"] = wide
    assert found == {}


def test_the_keyboard_alone_reaches_everything(reviewed: Stage, page: Page) -> None:
    missed: dict[str, list[str]] = {}
    # What is asked for again meanwhile would take the marks away.
    page.route("**/*", lambda route: route.abort() if "hx-request" in route.request.headers else route.continue_())
    for name, path in pages_of(reviewed).items():
        page.goto(reviewed.admin + path)
        count = page.evaluate(_MARK)
        reached = set()
        # A field for a time has several stops of its own.
        for _ in range(count + 30):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.dataset.n ?? ''"))
        left = [str(n) for n in range(count) if str(n) not in reached]
        if left:
            missed[name] = [page.locator(f"[data-n='{n}']").evaluate("e => e.outerHTML.slice(0, 120)") for n in left]
    assert missed == {}


def test_a_followed_part_stands_still_while_somebody_is_in_it(reviewed: Stage, page: Page) -> None:
    asked: list[str] = []
    page.goto(f"{reviewed.admin}/journal?follow=1")
    page.locator("#rows a").first.focus()
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("htmx.trigger('#rows', 'seen')")
    assert page.evaluate("document.activeElement.isConnected && document.activeElement !== document.body")
    page.evaluate("document.activeElement.blur()")
    with page.expect_response("**/journal?**"):
        page.evaluate("htmx.trigger('#rows', 'seen')")
    assert len(asked) == 1


def test_names_that_are_markup_or_formulas_are_shown_as_they_are(reviewed: Stage, page: Page) -> None:
    with listening(page):
        for path in ("/people?search=hostile", "/journal?person=hostile@example.com", "/failures"):
            page.goto(reviewed.admin + path)
            assert page.get_by_text("<script>alert(", exact=False).count() > 0, path
        page.goto(f"{reviewed.admin}/people?search=hostile")
        page.get_by_role("link", name="hostile@example.com").click()
        assert page.get_by_text(HOSTILE).count() > 0


def test_search_and_help_have_a_key(reviewed: Stage, page: Page) -> None:
    page.goto(f"{reviewed.admin}/people")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "search"
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.get_by_role("heading", name="Help").wait_for()


def test_times_are_relative_local_or_in_utc_as_one_chooses(reviewed: Stage, page: Page) -> None:
    page.goto(f"{reviewed.admin}/runs")
    time = page.locator("tbody time").first
    assert re.search(r"( ago|^in )", time.inner_text())
    page.locator(".times input[value=utc]").check()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", time.inner_text())
    page.locator(".times input[value=local]").check()
    moment = time.get_attribute("datetime")
    assert time.inner_text() == page.evaluate("moment => new Date(moment).toLocaleString()", moment)
    page.goto(f"{reviewed.admin}/journal")
    assert page.locator(".times input[value=local]").is_checked(), "it is remembered"


def test_without_scripts_every_page_is_there(reviewed: Stage, browser: Browser) -> None:
    with signed_in(browser, reviewed, scripts=False) as page:
        for name, path in pages_of(reviewed).items():
            answer = page.goto(reviewed.admin + path)
            assert answer is not None
            assert answer.status == 200, name
        page.goto(f"{reviewed.admin}/people")
        page.get_by_label("Search").fill("zoe.owner")
        page.get_by_role("button", name="Show").click()
        assert page.locator("#list tbody tr").count() == 1
