"""F-18, F-19, F-20, F-25 to F-30, F-36, F-38, F-46: what a listing leaves out, and what Okta refuses, deactivates nobody.

One simulated org, whose listings lie while single reads stay true; the guard as it is by default.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.model.codes import ActionKind
from agent.receiver.app import build
from agent.reconcile import RunReport
from support.invariants import check, no_op
from support.pusher import Pusher, new_key
from support.receiver import PATCH_OP, deactivation, running
from support.world import World, open_world

PEOPLE, PAGE = 60, 20
GUARD: dict[str, Any] = {"guard": {}, "reconcile": {"page_size": PAGE}}
LISTING = "/api/v1/apps/*/users"


@pytest.fixture(scope="module")
def w(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with open_world(Path(tmp_path_factory.mktemp("listing")), PEOPLE, retries=1, window=1, **GUARD) as made:
        made.first_run()
        yield made


@pytest.fixture(scope="module")
def pusher(w: World) -> Iterator[Pusher]:
    with running(build(w.directory, w.store, w.settings)) as url:
        yield Pusher(f"{url}/scim/v2", new_key(str(w.store.settings.url)))


@pytest.fixture(autouse=True)
def true_again(w: World) -> Iterator[None]:
    yield
    w.org.listing()
    w.org.faults()
    assert w.reconcile().outcome == "in_step"
    check(w.store)


def deactivates_nobody(w: World) -> RunReport:
    report = no_op(w.store, w.reconcile)
    assert isinstance(report, RunReport)
    assert all(user.active for user in w.accounts().values())
    if report.plan is not None and report.plan.plan.held is None:
        kinds = {action.kind for action in report.plan.plan.actions if action.held is None}
        assert ActionKind.DEACTIVATE not in kinds
    return report


def test_f25_an_empty_listing_deactivates_nobody(w: World) -> None:
    w.org.listing(empty=True)
    report = deactivates_nobody(w)
    assert report.outcome in ("held", "disproved")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_f26_a_share_that_is_missing_from_the_listing_deactivates_nobody(w: World, share: float) -> None:
    w.org.listing(drop=share)
    report = deactivates_nobody(w)
    assert report.outcome in ("held", "disproved", "in_step")


@pytest.mark.parametrize("count", [1, PAGE // 2, PAGE])
def test_f18_half_a_page_that_is_missing_deactivates_nobody(w: World, count: int) -> None:
    w.org.listing(drop_ids=[person["okta_id"] for person in w.people()[PAGE : PAGE + count]])
    report = deactivates_nobody(w)
    # Fewer than five who are disproved are skipped one by one.
    assert report.outcome in (("in_step",) if count < 5 else ("disproved", "held"))


def test_f19_people_who_move_between_pages_are_neither_lost_nor_doubled(w: World) -> None:
    w.org.listing(churn=True)
    for _ in range(5):
        deactivates_nobody(w)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "body": {"errorCode": "E0000029", "errorSummary": "Invalid cursor"}},
        {"status": 410},
        {"status": 401},
        {"status": 403},
        {"status": 404},
        {"status": 429, "headers": {"X-Rate-Limit-Reset": "0"}},
        {"status": 500},
        {"status": 503, "body": ""},
        {"status": 200, "body": "<html>Sign in</html>"},
        {"status": 200, "body": {}},
        {"cut_after": 100},
    ],
    ids=str,
)
def test_f16_f17_f20_a_page_that_fails_ends_the_run_and_changes_nothing(w: World, fault: dict[str, Any]) -> None:
    w.org.faults({"method": "GET", "path": LISTING, "times": None, **fault})
    report = deactivates_nobody(w)
    assert (report.outcome, report.exit_code) in (("incomplete", 1), ("frozen", 1)), report.detail


@pytest.mark.parametrize("status", ["INACTIVE", "DELETED"])
def test_f28_an_app_that_is_not_active_freezes_the_run(w: World, status: str) -> None:
    w.org.set_app(status=status)
    try:
        report = deactivates_nobody(w)
        assert (report.outcome, report.exit_code) == ("frozen", 1)
    finally:
        w.org.set_app(status="ACTIVE")


def test_f29_another_org_freezes_runs_while_pushes_go_on(w: World, pusher: Pusher) -> None:
    person, org_id = w.people()[5], w.okta.org_id()
    w.org.call("PUT", "/simulator/org", {"id": "00oELSEWHERE"})
    try:
        report = deactivates_nobody(w)
        assert (report.outcome, "pins accept" in report.detail) == ("frozen", True)
        answer = pusher.send("PATCH", f"/Users/{w.account(person['login']).id}", deactivation())
        assert answer is not None
        assert (answer.status, w.account(person["login"]).active) == (200, False)
    finally:
        w.org.call("PUT", "/simulator/org", {"id": org_id})
    assert w.reconcile().outcome == "applied"


def test_f30_a_new_username_format_renames_nobody_unseen(w: World) -> None:
    before = w.accounts().keys()
    for person in w.people():
        w.org.set_app_user(person["okta_id"], credentials={"userName": f"x.{person['login']}"})
    report = deactivates_nobody(w)
    assert report.plan is not None
    assert {action.held for action in report.plan.plan.actions} == {"identity_changes"}
    assert w.accounts().keys() == before
    for person in w.people():
        w.org.set_app_user(person["okta_id"], credentials={"userName": person["login"]})


def test_f36_of_two_pushes_in_the_wrong_order_the_last_counts_until_the_next_sweep(w: World, pusher: Pusher) -> None:
    person = w.people()[6]
    w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Second"}})
    user_id = w.account(person["login"]).id
    for title in ("Second", "First"):
        body = {"schemas": [PATCH_OP], "Operations": [{"op": "replace", "path": "title", "value": title}]}
        answer = pusher.send("PATCH", f"/Users/{user_id}", body)
        assert answer is not None
        assert answer.status == 200
    assert w.account(person["login"]).profile.title == "First"
    assert w.reconcile().outcome == "applied"
    assert w.account(person["login"]).profile.title == "Second"


def test_f38_a_status_that_nobody_knows_is_left_alone_and_the_others_are_not(w: World) -> None:
    odd, changed = (person["okta_id"] for person in w.people()[:2])
    w.org.set_app_user(odd, status="FUTURE")
    w.org.api("POST", f"/users/{changed}", {"profile": {"title": "Captain"}})
    report = w.reconcile()
    assert report.outcome == "applied"
    assert w.findings_for(report, odd)
    w.org.set_app_user(odd, status="ACTIVE")


def test_f27_a_slow_bleed_is_stopped_by_the_daily_limit(tmp_path: Path) -> None:
    with open_world(tmp_path, PEOPLE, window=1, **GUARD) as bleeding:
        bleeding.first_run()
        outcomes = []
        for run in range(6):
            for person in bleeding.people()[run * 3 : run * 3 + 3]:
                bleeding.org.api("DELETE", f"/apps/{bleeding.org.app_id}/users/{person['okta_id']}")
            outcomes.append(bleeding.reconcile().outcome)
        # 20 % of 60 in 24 hours.
        assert outcomes == ["applied"] * 4 + ["held"] * 2
        assert sum(not user.active for user in bleeding.accounts().values()) == 12
        check(bleeding.store)


def test_f46_a_suspension_and_a_lost_push_are_seen_by_the_next_sweep(w: World) -> None:
    person, lost = w.people()[-1], w.people()[-2]
    w.org.api("POST", f"/users/{person['okta_id']}/lifecycle/suspend")
    w.org.api("POST", f"/users/{lost['okta_id']}", {"profile": {"title": "Mate"}})
    report = w.reconcile()
    assert w.findings_for(report, person["okta_id"]) == {"suspended_kept"}
    assert w.actions_for(report, lost["okta_id"]) == [("update", None)]
    w.org.api("POST", f"/users/{person['okta_id']}/lifecycle/unsuspend")
