"""Plans and holds decided on pages: the same as by command, for all or some, with the number typed, under the signed-in name."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from agent.store import holds, plans, seal
from agent.store.sessions import DashboardRole, How
from support.dashboard import Browser, app, plain
from support.world import World, open_world

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    with ExitStack() as stack:
        yield lambda users=10, **more: stack.enter_context(open_world(tmp_path, users=users, **{"guard": {}, **more}))


def signed_in(w: World, role: DashboardRole = DashboardRole.OPERATOR, **parts: Any) -> Browser:
    given = {"directory": w.directory, "reconciler": w.reconciler, **parts}
    return Browser(app(w.store, w.settings, **given), w.store).sign_in(role, "ann@example.com")


def held_leavers(w: World, count: int) -> tuple[int, list[str]]:
    """More people leave than the guard lets pass; the plan that waits, and who they are."""
    leavers = w.people()[:count]
    for person in leavers:
        w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{person['okta_id']}")
    report = w.reconcile()
    assert (report.outcome, report.plan is not None) == ("held", True), report
    assert report.plan
    return report.plan.id, [person["login"] for person in leavers]


def active(w: World, logins: list[str]) -> list[bool]:
    return [w.account(login).active for login in logins]


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, name
    return found[1]


def boxes(page: str, name: str) -> list[str]:
    return re.findall(rf'type="checkbox" name="{name}" value="(\d+)"', page)


def ended(browser: Browser, answer: Any) -> str:
    """Where a decision leads to, once it is done."""
    assert answer.status_code == 303, plain(answer.text)
    return plain(browser.text(answer.headers["location"]))


def test_a_first_plan_is_approved_with_its_number(make: Make) -> None:
    w = make(users=6)
    report = w.reconcile()
    browser = signed_in(w)
    path = f"/plans/{report.plan.id}"
    page = browser.text(path)
    assert "6 create, 0 deactivate of" in plain(page)
    checksum = hidden(page, "checksum")
    refused = browser.send(f"{path}/approve", path, checksum=checksum, which="all", count="5")
    assert refused.status_code == 409
    assert "makes 6 links, creates, reactivations and deactivations, and you typed 5" in plain(refused.text)
    assert w.accounts() == {}
    assert "applied" in ended(browser, browser.send(f"{path}/approve", path, checksum=checksum, which="all", count="6"))
    assert len(w.accounts()) == 6


def test_of_a_held_plan_some_actions_are_approved_and_the_rest_waits(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    plan_id, leavers = held_leavers(w, 8)
    browser, path = signed_in(w), f"/plans/{plan_id}"
    page = browser.text(path)
    assert "8 deactivate of 30 (26.7 %; limit 5 people)" in plain(page)
    ticked = boxes(page, "action")[:3]
    form = {"checksum": hidden(page, "checksum"), "which": "some", "action": ticked}
    assert "you typed no number" in plain(browser.send(f"{path}/approve", path, **form).text)
    assert "held" in ended(browser, browser.send(f"{path}/approve", path, **form, count="3"))
    assert sum(active(w, leavers)) == 5
    [entry] = [one for one in seal.export(w.store.read) if one["verb"] == "plan approve" and one["plan_id"] == plan_id]
    assert (entry["actor"], entry["source"]) == ("ann@example.com", "dashboard")


def test_a_plan_that_another_has_reviewed_is_not_approved(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    plan_id, leavers = held_leavers(w, 8)
    browser, path = signed_in(w), f"/plans/{plan_id}"
    answer = browser.send(f"{path}/approve", path, checksum="0" * 64, which="all", count="8")
    assert answer.status_code == 409
    assert "The checksum is not that of plan" in plain(answer.text)
    assert all(active(w, leavers))


def test_what_moved_since_the_review_is_stale_and_says_so(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    plan_id, leavers = held_leavers(w, 8)
    w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": w.account(leavers[0]).okta_id})
    browser, path = signed_in(w), f"/plans/{plan_id}"
    page = browser.text(path)
    form = {"checksum": hidden(page, "checksum"), "which": "all", "count": "8"}
    ended(browser, browser.send(f"{path}/approve", path, **form))
    assert active(w, leavers) == [True] + [False] * 7
    after = plain(browser.text(f"{path}?state=stale"))
    assert leavers[0] in after
    assert "it has moved since the plan was made" in after


def test_a_plan_is_rejected_with_a_reason(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    plan_id, leavers = held_leavers(w, 8)
    browser, path = signed_in(w), f"/plans/{plan_id}"
    assert browser.send(f"{path}/reject", path).status_code == 409
    assert browser.send(f"{path}/reject", path, reason="wrong group").status_code == 303
    assert "reject: wrong group, by ann@example.com" in plain(browser.text(path))
    w.reconcile()
    assert all(active(w, leavers))


def test_a_viewer_sees_no_form_and_decides_nothing(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    plan_id, leavers = held_leavers(w, 8)
    browser, path = signed_in(w, DashboardRole.VIEWER), f"/plans/{plan_id}"
    assert "Approve" not in plain(browser.text(path)).replace("Approves", "")
    assert browser.send(f"{path}/reject", reason="x").status_code == 403
    assert browser.send("/holds/decide", what="reject", which="all", reason="x").status_code == 403
    assert all(active(w, leavers))


def test_a_plan_as_csv_and_json_has_all_its_actions(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    plan_id, leavers = held_leavers(w, 8)
    browser = signed_in(w)
    rows = list(csv.DictReader(io.StringIO(browser.text(f"/plans/{plan_id}.csv"))))
    assert sorted(row["login"] for row in rows) == sorted(leavers)
    body = browser.get(f"/plans/{plan_id}.json").json()
    assert (body["kind"], len(body["plan"]["actions"])) == ("plan", 8)
    assert [one["id"] for one in browser.get("/plans.json?show=waits").json()["plans"]] == [plan_id]
    assert f"{plan_id} ! held" in plain(browser.text("/plans"))


def test_holds_are_listed_by_code_and_one_is_rejected(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    _, leavers = held_leavers(w, 8)
    browser = signed_in(w)
    page = browser.text("/holds?code=deactivations_per_run")
    assert "8 open, oldest first" in plain(page)
    assert plain(browser.text(f"/holds?login={leavers[2]}")).count("deactivate") < plain(page).count("deactivate")
    number = boxes(browser.text(f"/holds?login={leavers[2]}"), "hold")
    assert len(number) == 1
    no_reason = browser.send("/holds/decide", "/holds", what="reject", which="some", hold=number)
    assert "Say why" in plain(no_reason.text)
    done = browser.send("/holds/decide", "/holds", what="reject", which="some", hold=number, reason="stays")
    assert "1 rejected." in ended(browser, done)
    with w.store.read() as conn:
        hold = holds.one(conn, int(number[0]))
    assert (hold.decision, hold.decided_by, hold.reason) == ("rejected", "ann@example.com", "stays")
    assert "rejected by ann@example.com" in plain(browser.text(f"/holds/{number[0]}"))


def test_all_holds_that_fit_a_filter_are_approved_with_their_number(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    _, leavers = held_leavers(w, 8)
    browser = signed_in(w)
    form = {"what": "approve", "which": "all", "f_code": "deactivations_per_run", "f_login": leavers[0]}
    assert "makes 1 deactivations" in plain(browser.send("/holds/decide", "/holds", **form, count="8").text)
    assert all(active(w, leavers))
    assert "applied" in ended(browser, browser.send("/holds/decide", "/holds", **form, count="1"))
    assert active(w, leavers) == [False] + [True] * 7


def test_a_rejection_is_lifted_without_okta_too(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    held_leavers(w, 8)
    browser = signed_in(w, reconciler=None)
    done = browser.send("/holds/decide", "/holds", what="reject", which="all", reason="not today")
    assert "8 rejected. Okta was not asked again" in ended(browser, done)
    assert "8 lifted." in ended(browser, browser.send("/holds/decide", "/holds", what="lift", which="all"))
    assert "Nothing waits" in plain(browser.text("/holds"))


def test_without_okta_an_approval_says_so(make: Make) -> None:
    w = make(users=30)
    w.first_run()
    plan_id, leavers = held_leavers(w, 8)
    browser, path = signed_in(w, reconciler=None), f"/plans/{plan_id}"
    form = {"checksum": hidden(browser.text(path), "checksum"), "which": "all", "count": "8"}
    assert "knows no Okta" in plain(browser.send(f"{path}/approve", path, **form).text)
    assert all(active(w, leavers))
    with w.store.read() as conn:
        assert plans.is_held(conn, plan_id)


def test_where_two_have_to_approve_one_is_not_enough_however_often(make: Make) -> None:
    w = make(users=30, dashboard={"second_person": True})
    w.first_run()
    plan_id, leavers = held_leavers(w, 8)
    path = f"/plans/{plan_id}"
    ann = signed_in(w)
    page = ann.text(path)
    form = {"checksum": hidden(page, "checksum"), "which": "some", "action": boxes(page, "action")[:3], "count": "3"}
    for _ in range(2):
        assert ann.send(f"{path}/approve", path, **form).headers["location"] == path
    assert all(active(w, leavers))
    assert "somebody else has to approve the same" in plain(ann.text(path))
    bob = Browser(app(w.store, w.settings, directory=w.directory, reconciler=w.reconciler), w.store)
    bob.sign_in(DashboardRole.OPERATOR, "bob@example.com")
    assert "ann@example.com has approved 3" in plain(bob.text(path))
    other = {**form, "action": boxes(page, "action")[3:5], "count": "2"}
    assert bob.send(f"{path}/approve", path, **other).headers["location"] == path, "not the same"
    assert all(active(w, leavers))
    ended(bob, bob.send(f"{path}/approve", path, **form))
    assert active(w, leavers).count(False) == 3
    [entry] = [one for one in seal.export(w.store.read) if one["verb"] == "plan approve" and one["plan_id"] == plan_id]
    assert entry["actor"] == "bob@example.com, after ann@example.com"


def test_whoever_knows_the_password_is_one_person_by_whatever_name(make: Make) -> None:
    hashed = {"second_person": True, "password_hash": "$argon2id$x"}
    w = make(users=30, dashboard=hashed)
    w.first_run()
    _, leavers = held_leavers(w, 8)
    pages = app(w.store, w.settings, directory=w.directory, reconciler=w.reconciler)
    form = {"what": "approve", "which": "all", "count": "8"}
    for name in ("ann (password)", "bob (password)"):
        one = Browser(pages, w.store).sign_in(DashboardRole.ADMIN, name, how=How.PASSWORD)
        assert one.send("/holds/decide", "/holds", **form).headers["location"] == "/holds"
    assert all(active(w, leavers))
    ann = Browser(pages, w.store).sign_in(DashboardRole.OPERATOR, "ann@example.com")
    ended(ann, ann.send("/holds/decide", "/holds", **form))
    assert active(w, leavers).count(False) == 8


def test_an_account_is_linked_only_to_somebody_whom_okta_knows(make: Make) -> None:
    w = make(users=3)
    w.first_run()
    person, browser = w.people()[0], signed_in(w, DashboardRole.ADMIN)
    account = w.account(person["login"])
    here, nobody = f"/person?id={account.id}", person["okta_id"][:-3] + "xyz"
    refused = browser.send("/person/link", here, id=account.id, okta_id=nobody)
    assert (refused.status_code, f"Okta has no user {nobody}" in refused.text) == (409, True)
    assert browser.send("/person/unlink", here, id=account.id, reason="a test").status_code == 303
    assert browser.send("/person/link", here, id=account.id, okta_id=person["okta_id"]).status_code == 303
    assert w.account(person["login"]).okta_id == person["okta_id"]
