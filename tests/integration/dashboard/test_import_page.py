"""The page of the import, over real requests and a simulated org: sorted, confirmed, planned, carried out."""

import csv
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.model.errors import OktaError
from agent.store import imports, runs
from agent.store.sessions import DashboardRole
from support.dashboard import Browser, app, plain
from support.world import World, open_import_world

EXACT, PARTIAL, NONE = "exact@example.com", "pat@example.com", "none@example.com"


@pytest.fixture
def b(tmp_path: Path) -> Iterator[World]:
    with open_import_world(tmp_path) as made:
        made.pin()
        made.colleague(EXACT, "Cleo", "Exact")
        made.colleague(PARTIAL, "Pat", "Partial")
        made.colleague(NONE, "Nora", "<script>")
        made.okta_user(EXACT, "Cleo", "Exact")
        for login in ("pat1@example.org", "pat2@example.org"):
            made.okta_user(login, "Pat", "Partial", email=PARTIAL)
        yield made


def browser(b: World, role: DashboardRole = DashboardRole.OPERATOR, **parts: Any) -> Browser:
    given = {"directory": b.directory, "reconciler": b.reconciler, "importer": lambda: b.importer, **parts}
    return Browser(app(b.store, b.settings, **given), b.store).sign_in(role, name="ann@example.com")


def done(pages: Browser, path: str = "/imports") -> str:
    """The page, once what was begun is over."""
    end = time.monotonic() + 30
    while "hx-trigger" in (text := pages.text(path)):
        assert time.monotonic() < end, plain(text)
    return text


def look(pages: Browser) -> str:
    assert pages.send("/imports/look", "/imports").status_code == 303
    return done(pages)


def test_nobody_is_sorted_before_somebody_looks(b: World) -> None:
    assert "Nobody has looked since this agent started" in plain(browser(b).text("/imports"))


def test_every_account_is_in_its_class_with_the_reason(b: World) -> None:
    pages = browser(b)
    exact = plain(look(pages))
    assert "exact (1) partial (1) none (1)" in exact
    assert "login equals the userName" in exact
    partial = pages.text("/imports?class=partial")
    assert PARTIAL in plain(partial)
    assert "none of them: a new Okta user" in partial
    assert "Confirm all" not in partial
    rows = {row["login"]: row["class"] for row in csv.DictReader(io.StringIO(pages.get("/imports.csv").text))}
    assert rows == {EXACT: "exact", PARTIAL: "partial", NONE: "none"}


def test_a_class_is_confirmed_planned_and_carried_out_under_the_signed_in_name(b: World) -> None:
    pages = browser(b)
    look(pages)
    pages.send("/imports/plan", "/imports", **{"class": "exact"})
    planned = done(pages)
    assert "1 to assign" in plain(planned)
    assert b.account(EXACT).okta_id is None
    number = planned.partition('name="plan" value="')[2].partition('"')[0]
    pages.send("/imports/apply", "/imports", plan=number)
    assert "✓ applied" in plain(done(pages))
    b.org.wait_idle()
    assert b.account(EXACT).managed
    with b.store.read() as conn:
        asked = [(run.kind, run.trigger, run.actor) for run in runs.recent(conn, 2)]
    assert asked == [("import", "dashboard", "ann@example.com")] * 2


def test_of_a_partial_match_a_person_says_who_it_is(b: World) -> None:
    pages, account = browser(b), b.account(PARTIAL)
    look(pages)
    refused = pages.send("/imports/plan", "/imports", **{"class": "partial"})
    assert refused.status_code == 409
    assert pages.send("/imports/plan", "/imports", shown="partial").status_code == 409
    pat = str(b.org.api("GET", "/users/pat2@example.org")["id"])
    decided = {"shown": "partial", "account": account.id, f"who {account.id}": pat}
    pages.send("/imports/plan", "/imports", **decided)
    planned = done(pages)
    assert "1 to assign" in plain(planned)
    number = planned.partition('name="plan" value="')[2].partition('"')[0]
    pages.send("/imports/apply", "/imports", plan=number)
    done(pages)
    b.org.wait_idle()
    assert b.account(PARTIAL).managed
    with b.store.read() as conn:
        row = imports.get(conn, account.id)
    assert row is not None
    assert row.okta_id == pat


def test_a_viewer_begins_nothing(b: World) -> None:
    pages = browser(b, DashboardRole.VIEWER)
    assert "/imports/look" not in pages.text("/imports")
    for act in ("look", "plan", "apply"):
        assert pages.send(f"/imports/{act}", "/help", plan="1", **{"class": "exact"}).status_code == 403
    assert "Nobody has looked" in plain(pages.text("/imports"))


@pytest.mark.parametrize(
    ("error", "said"), [(OktaError("Okta is down."), "Okta is down."), (ZeroDivisionError(), "the log has it")]
)
def test_what_goes_wrong_is_said_and_the_next_look_is_free(b: World, error: Exception, said: str) -> None:
    class Broken:
        def survey(self, progress: Any) -> None:
            progress.step("reading Okta users", 12)
            raise error

    pages = browser(b, importer=Broken)
    assert said in plain(look(pages))
    assert said in plain(look(pages))


def test_one_thing_is_done_at_a_time(b: World) -> None:
    go = threading.Event()

    class Slow:
        def survey(self, progress: Any) -> Any:
            progress.step("reading Okta users", 1200, 8400)
            assert go.wait(30)
            raise OktaError("over")

    pages = browser(b, importer=Slow)
    pages.send("/imports/look", "/imports")
    shown = pages.text("/imports")
    try:
        assert 'hx-trigger="every 2s, seen"' in shown
        second = pages.send("/imports/look", "/imports")
        assert (second.status_code, "is under way" in second.text) == (409, True)
    finally:
        go.set()
    done(pages)


def test_without_okta_there_is_nothing_to_import_into(b: World) -> None:
    pages = browser(b, reconciler=None)
    answer = pages.send("/imports/look", "/imports")
    assert (answer.status_code, "There is no Okta to import into" in answer.text) == (409, True)


def test_where_two_have_to_approve_an_import_needs_both(b: World) -> None:
    b.settings = b.settings.model_copy(
        update={"dashboard": b.settings.dashboard.model_copy(update={"second_person": True})}
    )
    ann = browser(b)
    look(ann)
    ann.send("/imports/plan", "/imports", **{"class": "exact"})
    number = done(ann).partition('name="plan" value="')[2].partition('"')[0]
    for _ in range(2):
        ann.send("/imports/apply", "/imports", plan=number)
    assert "somebody else has to approve the same" in plain(done(ann))
    assert b.account(EXACT).okta_id is None
    bob = Browser(ann.client.app, b.store).sign_in(DashboardRole.OPERATOR, "bob@example.com")
    assert "ann@example.com has approved it" in plain(bob.text("/imports"))
    bob.send("/imports/apply", "/imports", plan=number)
    assert "✓ applied" in plain(done(bob))
    with b.store.read() as conn:
        assert runs.recent(conn, 1)[0].actor == "bob@example.com, after ann@example.com"
    assert bob.send("/imports/apply", "/imports", plan=number).status_code == 409


def test_after_a_restart_the_page_says_that_nobody_has_looked_and_keeps_the_plan(b: World) -> None:
    pages = browser(b)
    look(pages)
    pages.send("/imports/plan", "/imports", **{"class": "exact"})
    done(pages)
    again = plain(browser(b).text("/imports"))
    assert "Nobody has looked since this agent started" in again
    assert "a look from before is gone" in again
    assert "1 to assign" in again
    assert "Bring them into Okta" in again
