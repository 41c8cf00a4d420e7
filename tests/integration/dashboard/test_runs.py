"""The runs page: what ran, found by filters, as page, CSV and JSON; and one run, live while it goes on."""

import csv
import io
import threading
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.model.codes import ActionKind, ActionState, FindingCode
from agent.model.plan import Action, Finding, Plan
from agent.runs.frame import Frame, Outcome, RunReport
from agent.settings import Settings
from agent.store import plans, runs
from agent.store.engine import Store
from agent.store.runs import RunEnd, RunProgress, RunRequest
from support.dashboard import Browser, app, plain

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"


def run(store: Store, outcome: str | None, *, at: datetime = NOW, trigger: str = "schedule", detail: str = "") -> int:
    def work(conn: Any) -> int:
        made = runs.start(conn, RunRequest(kind="sweep", trigger=trigger, actor="daemon", dry=False), at)
        if outcome is not None:
            end = RunEnd(outcome=outcome, exit_code=0, counts={"people": 9}, detail=detail)
            runs.finish(conn, made, end, at + timedelta(seconds=65))
        return made

    return store.write(work)


def pages(store: Store) -> Browser:
    return Browser(app(store), store).sign_in()


def listed(browser: Browser, query: str) -> list[int]:
    return [one["id"] for one in browser.get(f"/runs.json?{query}").json()["runs"]]


def test_runs_are_found_by_outcome_trigger_and_day(store: Store) -> None:
    old = run(store, "applied", at=NOW - timedelta(days=3))
    missed, failed = run(store, "lease_held"), run(store, "partial", trigger="cli")
    held, going = run(store, "held"), run(store, None)
    browser = pages(store)
    assert listed(browser, "") == [going, held, failed, missed, old]
    assert listed(browser, "outcome=missed") == [missed], "missed is no failure"
    assert listed(browser, "outcome=failed") == [failed]
    assert listed(browser, "outcome=well") == [old]
    assert listed(browser, "outcome=running") == [going]
    assert listed(browser, "trigger=cli") == [failed]
    assert listed(browser, "until=2026-02-27") == [old]
    assert listed(browser, "since=2026-03-01&until=2026-03-01&outcome=held") == [held]
    assert browser.get("/runs?since=yesterday").status_code == 409
    assert "No run fits this filter" in browser.text("/runs?trigger=nobody")


def test_what_runs_say_is_shown_in_words_and_harms_nobody(store: Store) -> None:
    number = run(store, "partial", detail=HOSTILE, trigger="=cmd()")
    browser = pages(store)
    page = browser.text(f"/runs/{number}")
    assert "partial: some actions failed" in plain(page)
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    (row,) = csv.DictReader(io.StringIO(browser.get("/runs.csv").text))
    assert (row["id"], row["trigger"], row["detail"]) == (str(number), "'=cmd()", HOSTILE)


def test_a_run_shows_its_plan_and_its_people_what_failed_first(store: Store) -> None:
    def work(conn: Any) -> tuple[int, int]:
        made = runs.start(conn, RunRequest(kind="sweep", trigger="cli", actor="x", dry=False), NOW)
        names = ("ann@example.org", HOSTILE, "=cmd()")
        actions = tuple(Action(n=n, kind=ActionKind.UPDATE, login=name) for n, name in enumerate(names, 1))
        noticed = (Finding(code=FindingCode.LEFT_BUT_LOCAL, login="bob@example.com", detail="is local"),)
        plan = Plan(actions=actions, population=9, source_size=9, created=NOW, findings=noticed)
        stored = plans.save(conn, run_id=made, kind="reconcile", plan=plan, expires=NOW).id
        plans.mark(conn, stored, [1], ActionState.DONE, NOW)
        plans.mark(conn, stored, [3], ActionState.FAILED, NOW, error="the remote said no")
        runs.finish(conn, made, RunEnd(outcome="partial", exit_code=5, counts={"update": 3}), NOW)
        return made, stored

    number, plan = store.write(work)
    browser = pages(store)
    page = browser.text(f"/runs/{number}")
    assert plain(page).index("=cmd()") < plain(page).index("ann@example.org"), "what failed comes first"
    assert "the remote said no" in page
    assert "bob@example.com" in page
    assert HOSTILE not in page
    people = list(csv.DictReader(io.StringIO(browser.get(f"/runs/{number}.csv").text)))
    assert [one["login"] for one in people] == ["'=cmd()", "ann@example.org", HOSTILE]
    assert browser.get(f"/runs/{number}.json").json()["run"]["plan_id"] == plan
    assert browser.get("/runs/99").status_code == 404
    assert browser.get(f"/runs/{10**30}").status_code == 404


def test_a_run_that_goes_on_tells_how_far_it_is(store: Store) -> None:
    number = run(store, None)
    told = RunProgress(
        at=NOW, what="people read", done=1200, total=8400, rate=37.2, waits=14, waits_for="Okta's limit (apps)"
    )
    store.write(lambda conn: runs.tell(conn, number, told))
    page = plain(pages(store).text(f"/runs/{number}"))
    assert "people read 1,200/8,400 · 37/s · waiting 14 s for Okta's limit (apps)" in page
    browser = pages(store)
    assert "hx-trigger" in browser.text(f"/runs/{number}")
    part = {"hx-request": "true"}
    assert browser.get(f"/runs/{number}", **part).status_code == 200
    store.write(lambda conn: runs.finish(conn, number, RunEnd(outcome="applied", exit_code=0), NOW))
    assert browser.get(f"/runs/{number}", **part).status_code == 286, "which ends the asking"


def test_a_run_keeps_how_far_it_is_and_forgets_it_at_its_end(store: Store) -> None:
    seen: list[Any] = []

    def work(current: Any) -> RunReport:
        current.progress.step("people read", 500, 900)
        current.progress.wait(30, "apps")
        store.write(lambda _: None)  # whatever was submitted before is written
        with store.read() as conn:
            now = runs.get(conn, current.id)
        seen.append(now and now.progress)
        return RunReport(run_id=current.id, outcome=Outcome.IN_STEP)

    class Okta:
        def run(self, _on_wait: Any) -> Any:
            return nullcontext()

    frame = Frame(
        store=store, okta=Okta(), clock=lambda: NOW, lease_ttl=Settings().reconcile.lease_ttl, stop=threading.Event()
    )
    report = frame.run(RunRequest(kind="sweep", trigger="cli", actor="x", dry=True), work)
    (told,) = seen
    assert (told.what, told.done, told.total, told.waits, told.waits_for) == ("people read", 500, 900, 30, "apps")
    with store.read() as conn:
        ended = runs.get(conn, report.run_id)
    assert ended is not None
    assert ended.progress is None
