"""What an operator does on the pages of people, import, keys, journal and check, in a real browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from agent.cli.demo_stage import Stage
from agent.model.users import identity_key
from support.stage import EXACT, account

pytestmark = pytest.mark.browser


def test_a_person_is_found_as_one_types_blocked_and_unblocked(stage: Stage, page: Page) -> None:
    login = stage.org.state()[45]["login"]
    page.goto(f"{stage.admin}/people")
    page.get_by_label("Search").press_sequentially(login[:12])
    expect(page.locator("#list tbody tr")).to_have_count(1)
    page.get_by_role("link", name=login).click()
    page.get_by_text("Deactivate and block").click()
    page.locator("form[action='/person/block'] input[name=reason]").fill("laptop stolen")
    page.get_by_role("button", name="Block").click()
    expect(page.get_by_role("status").first).to_contain_text("Deactivated and blocked")
    assert not account(stage, login).active
    expect(page.locator("table", has_text="What happened").locator("tbody tr").first).to_contain_text("ann.admin")
    page.get_by_text("Unblock and give access back").click()
    page.get_by_role("button", name="Unblock").click()
    expect(page.get_by_role("status").first).to_contain_text("Active again")
    assert account(stage, login).active


def test_an_import_is_confirmed_and_carried_out(reviewed: Stage, page: Page) -> None:
    page.goto(f"{reviewed.admin}/imports?class=exact")
    page.get_by_role("button", name="Confirm all 1 exact").click()
    page.get_by_role("button", name="Bring them into Okta").click(timeout=30_000)
    expect(page.locator("#desk > .done")).to_contain_text("applied", timeout=30_000)
    reviewed.org.wait_idle()
    logins = {identity_key(person["login"]) for person in reviewed.org.state()}
    assert identity_key(EXACT) in logins


def test_a_key_is_rolled_and_copied(stage: Stage, page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{stage.admin}/keys")
    row = page.locator("tr", has_text="okta").filter(has_text="alive").first
    row.get_by_text("Roll or revoke").click()
    row.locator("input[name=grace]").fill("7d")
    row.get_by_role("button", name=re.compile("Roll oha_")).click()
    secret = page.locator("#secret").inner_text()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("[data-copied]")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.goto(f"{stage.admin}/keys")
    expect(page.locator("tbody")).to_contain_text("in its grace")
    assert secret not in page.content()


def test_a_followed_journal_shows_what_comes(stage: Stage, page: Page) -> None:
    page.goto(f"{stage.admin}/journal?follow=1&verb=keys")
    before = page.locator("#rows tbody tr").count()
    other = page.context.new_page()
    other.goto(f"{stage.admin}/keys")
    other.locator("form[action='/keys/create'] input[name=name]").fill("followed")
    other.get_by_role("button", name="Make it").click()
    other.locator("#secret").wait_for()
    other.close()
    expect(page.locator("#rows tbody tr")).to_have_count(before + 1, timeout=15_000)


def test_check_shows_its_lines(stage: Stage, page: Page) -> None:
    page.goto(f"{stage.admin}/check")
    page.get_by_role("button", name="Check now").click()
    expect(page.get_by_role("status")).to_have_text("That was all.", timeout=60_000)
    expect(page.locator("tbody tr").first).to_contain_text("settings")
    assert page.locator("tbody tr").count() > 8


def test_failures_of_one_cause_are_tried_again(stage: Stage, page: Page) -> None:
    page.goto(f"{stage.admin}/failures")
    page.get_by_role("link", name=re.compile("Too Many Requests")).click()
    page.get_by_label("Choose all of this page").check()
    page.get_by_role("button", name="Try the chosen ones again").click()
    expect(page.get_by_role("status")).to_contain_text("5 people are looked at again")
