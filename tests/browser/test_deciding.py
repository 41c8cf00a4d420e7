"""In a real browser: from the first run to the first push, a held plan approved in part, and a hold rejected; also without scripts."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from agent.cli.demo_stage import Stage, new_key
from agent.model.holds import Decision
from agent.runs.frame import RunReport
from agent.store import holds
from agent.store.runs import Asker
from support.screenshots import signed_in
from support.stage import new_stage

pytestmark = pytest.mark.browser


@pytest.fixture
def fresh() -> Iterator[Stage]:
    """An installation that nobody has used."""
    with new_stage() as made:
        yield made


def sweep(stage: Stage) -> RunReport:
    return stage.reconciler.run(apply=True, by=Asker(trigger="test", actor="test"), wait=10)


def provision(stage: Stage) -> None:
    """Okta pushes everybody."""
    stage.org.provisioning(scim_url=stage.scim, scim_key=new_key(stage.agent), push_waiting=True)
    stage.org.wait_idle()


def leavers(stage: Stage, count: int) -> list[str]:
    """So many people leave while Okta's pushes are lost, and a sweep finds them: they are held."""
    provision(stage)
    assert sweep(stage).outcome == "in_step"
    stage.org.provisioning(mode="off")
    people = stage.org.state()[:count]
    for person in people:
        stage.org.api("DELETE", f"/apps/{stage.org.app_id}/users/{person['okta_id']}")
    assert sweep(stage).outcome == "held"
    return [person["login"] for person in people]


def active(stage: Stage, logins: list[str]) -> int:
    everybody = {user.user_name: user.active for page in stage.agent.directory.everyone() for user in page}
    return sum(everybody[login] for login in logins)


def test_from_the_first_run_to_the_first_push(fresh: Stage, browser: Browser) -> None:
    with signed_in(browser, fresh) as page:
        steps = page.locator("ol.steps li")
        expect(steps.filter(has_text="Okta has a key to push with")).to_contain_text("to do")
        provision(fresh)
        # The page ticks them off by itself.
        expect(steps.filter(has_text="Okta has a key to push with")).to_contain_text("done")
        expect(steps.filter(has_text="The first push has arrived")).to_contain_text("done")
        fresh.org.provisioning(mode="off")
        fresh.org.api("POST", f"/users/{fresh.org.state()[0]['okta_id']}", {"profile": {"title": "Captain"}})
        assert sweep(fresh).outcome == "held"
        page.get_by_role("link", name=re.compile("first_run")).first.click()
        page.get_by_label("all 1 that wait").check()
        page.get_by_label(re.compile("^Type how many")).fill("0")
        page.get_by_role("button", name="Approve and apply").click()
        expect(page.locator("main")).to_contain_text("applied")
        page.goto(fresh.admin)
        expect(page.locator(".chips").first).to_contain_text("In step with Okta")
        expect(steps).to_have_count(0)


def test_a_held_plan_is_approved_in_part_and_a_hold_rejected(fresh: Stage, browser: Browser) -> None:
    gone = leavers(fresh, 8)
    with signed_in(browser, fresh) as page:
        page.goto(f"{fresh.admin}/plans?show=waits")
        page.locator("tbody th a").first.click()
        boxes = page.locator("tbody input[type=checkbox]")
        expect(boxes).to_have_count(8)
        for n in range(3):
            boxes.nth(n).check()
        page.get_by_label(re.compile("^Type how many deactivations")).fill("8")
        page.get_by_role("button", name="Approve and apply").click()
        expect(page.locator("main")).to_contain_text("makes 3 deactivations, and you typed 8")
        assert active(fresh, gone) == 8
        page.go_back()
        page.get_by_label(re.compile("^Type how many deactivations")).fill("3")
        page.get_by_role("button", name="Approve and apply").click()
        expect(page.locator("main")).to_contain_text("3 done")
        assert active(fresh, gone) == 5
        page.get_by_role("link", name="Holds").click()
        page.locator("tbody input[type=checkbox]").first.check()
        page.get_by_label(re.compile("^Why")).fill("stays another month")
        page.get_by_role("button", name="Reject").click()
        expect(page.locator("main")).to_contain_text("1 rejected.")
        with fresh.agent.store.read() as conn:
            (rejected,) = holds.open_holds(conn, decision=Decision.REJECTED)
        assert (rejected.decided_by, rejected.reason) == ("ann.admin@example.com", "stays another month")


def test_without_scripts_a_hold_is_rejected(fresh: Stage, browser: Browser) -> None:
    gone = leavers(fresh, 8)
    with signed_in(browser, fresh) as signed:
        cookies = signed.context.cookies()
        context = browser.new_context(java_script_enabled=False)
        context.add_cookies([{**cookie} for cookie in cookies])  # type: ignore[list-item]
        page = context.new_page()
        page.goto(f"{fresh.admin}/holds")
        page.locator("tbody input[type=checkbox]").first.check()
        page.get_by_label(re.compile("^Why")).fill("stays")
        page.get_by_role("button", name="Reject").click()
        expect(page.locator("main")).to_contain_text("1 rejected.")
        context.close()
    assert active(fresh, gone) == 8


def test_a_page_that_nobody_sees_asks_for_nothing(fresh: Stage, browser: Browser) -> None:
    with signed_in(browser, fresh) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        with page.expect_request(f"{fresh.admin}/"):
            pass
        page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
        before = len(asked)
        page.evaluate("document.querySelectorAll('[data-live]').forEach((part) => htmx.trigger(part, 'seen'))")
        assert len(asked) == before
        page.evaluate("Object.defineProperty(document, 'hidden', {value: false, configurable: true})")
        with page.expect_request(f"{fresh.admin}/"):
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
