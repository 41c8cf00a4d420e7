"""How things stand: counted from runs, plans and windows, on both databases, as page and as metrics."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import SecretStr

from agent.daemon.housekeeping import Housekeeping
from agent.dashboard import overview, status
from agent.dashboard.activity import Activity
from agent.dashboard.app import build
from agent.dashboard.metrics import OktaCollector, StatusCollector
from agent.model.codes import ActionKind, ActionState, HeldCode, PlanStatus
from agent.model.holds import ChangeKind, Reason
from agent.model.plan import Action, Plan
from agent.okta_org.limits import RateBudget
from agent.settings import OktaSettings, Settings
from agent.store import account, alarms, holds, journal, plans, runs, windows
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.runs import RunEnd, RunRequest
from support.dashboard import Browser, Ticking, app, parts, plain

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SECRET_NAME = "ann.secret@example.com"


def sweep(store: Store, outcome: str, plan: Plan | None, state: PlanStatus = PlanStatus.READY) -> int:
    """A run with its plan; the plan's id."""

    def work(conn: Any) -> int:
        run = runs.start(
            conn, RunRequest(kind="sweep", trigger="cli", actor="test", dry=False), NOW - timedelta(minutes=5)
        )
        stored = (
            0
            if plan is None
            else plans.save(conn, run_id=run, kind="reconcile", plan=plan, expires=NOW, status=state).id
        )
        runs.finish(conn, run, RunEnd(outcome=outcome, exit_code=0, counts={"people": 9}), NOW)
        account.good_sweep(conn, at=NOW - timedelta(minutes=4), people=9)
        return stored

    return store.write(work)


def plan(*kinds: ActionKind, held: HeldCode | None = None) -> Plan:
    actions = tuple(Action(n=n, kind=kind, login=SECRET_NAME) for n, kind in enumerate(kinds, 1))
    return Plan(actions=actions, population=9, source_size=9, created=NOW - timedelta(hours=2), held=held)


def read(store: Store) -> status.StatusPage:
    with store.read() as conn:
        return status.read(conn, Settings(), NOW)


def metrics(store: Store) -> str:
    registry = CollectorRegistry()
    registry.register(StatusCollector(lambda: read(store)))
    return generate_latest(registry).decode()


def page(store: Store, settings: Settings | None = None) -> str:
    """The overview as it reads."""
    return plain(Browser(app(store, settings), store).sign_in().text("/"))


def test_a_loop_that_stands_still_makes_the_agent_unready_and_is_named(store: Store) -> None:
    client = Browser(app(store, daemon=Ticking(events=321.0)), store)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"], answer.json()["loops"]) == (503, "overdue", ["events"])
    text = client.text("/metrics")
    assert 'opshelm_agent_loop_last_tick_seconds{loop="events"} 321.0' in text
    assert 'opshelm_agent_loop_last_tick_seconds{loop="sweep"} 12.0' in text
    assert 'opshelm_agent_loop_overdue{loop="events"} 1.0' in text
    assert 'opshelm_agent_settings_since_timestamp_seconds{digest="0123456789ab"}' in text


def test_the_settings_in_force_are_named_where_readiness_is_asked(store: Store) -> None:
    client = Browser(app(store), store)
    assert client.get("/readyz").json() == {
        "status": "ok",
        "settings": "0123456789ab",
        "since": f"{NOW:%Y-%m-%dT%H:%M:%SZ}",
    }


def test_limits_are_shown_as_the_settings_in_force_say(store: Store) -> None:
    agent = parts(store)
    client = Browser(build(agent, "http://127.0.0.1:8765", Ticking()), store)
    limit = 'opshelm_agent_deactivations{what="limit",window="24h"}'
    assert f"{limit} 1.0" in client.text("/metrics")
    agent.settings = Settings(guard={"window_cap": 0})
    assert f"{limit} 0.0" in client.text("/metrics")


def test_without_the_dashboard_metrics_and_health_stay(store: Store) -> None:
    def statuses(*, enabled: bool) -> dict[str, int]:
        browser = Browser(app(store, Settings(dashboard={"enabled": enabled})), store).sign_in()
        paths = ("/", "/sign-in", "/static/dashboard.css", "/metrics", "/healthz", "/readyz")
        return {path: browser.get(path).status_code for path in paths}

    assert set(statuses(enabled=True).values()) == {200}
    there = {"/metrics": 200, "/healthz": 200, "/readyz": 200}
    assert statuses(enabled=False) == {"/": 404, "/sign-in": 404, "/static/dashboard.css": 404, **there}


def test_before_the_first_sweep_drift_is_unknown_and_not_zero(store: Store) -> None:
    found = read(store)
    assert found.drift is None
    assert "Drift unknown" in page(store)
    assert "opshelm_agent_drift" not in metrics(store)


def test_what_a_sweep_left_undone_is_drift(store: Store) -> None:
    plan_id = sweep(store, "partial", plan(ActionKind.DEACTIVATE, ActionKind.UPDATE, ActionKind.CREATE))
    store.write(lambda conn: plans.mark(conn, plan_id, [2], ActionState.DONE, NOW))
    found = read(store)
    assert found.drift == {ActionKind.DEACTIVATE: 1, ActionKind.CREATE: 1}
    assert found.leavers_active == 1
    assert found.slowest_action == timedelta(hours=2)
    text = metrics(store)
    assert 'opshelm_agent_drift{kind="deactivate"} 1.0' in text
    assert 'opshelm_agent_drift{kind="update"} 0.0' in text
    assert "opshelm_agent_leavers_active 1.0" in text
    assert "opshelm_agent_last_good_sweep_age_seconds 240.0" in text
    assert "≠ 2 differ" in str(overview.drift_chip(found)).replace("</span>", "")


def test_a_later_sweep_with_nothing_to_do_ends_the_drift(store: Store) -> None:
    sweep(store, "drift", plan(ActionKind.UPDATE))
    sweep(store, "in_step", None)
    store.write(lambda conn: account.pin(conn, org_id="00o1", app_id="0oa1", app_label="", actor="x", now=NOW))
    found = read(store)
    assert found.drift == {}
    assert "In step with Okta" in overview.drift_chip(found)


def test_a_sweep_that_failed_says_nothing_about_drift(store: Store) -> None:
    sweep(store, "drift", plan(ActionKind.UPDATE))
    sweep(store, "incomplete", None)
    assert read(store).drift == {ActionKind.UPDATE: 1}


def test_a_held_plan_is_counted_with_its_age_until_it_is_decided(store: Store) -> None:
    plan_id = sweep(store, "held", plan(ActionKind.DEACTIVATE, held=HeldCode.FIRST_RUN), PlanStatus.HELD)
    sweep(store, "in_step", None)
    (header,) = read(store).held_plans
    assert (header.id, header.held, header.actions, header.deactivations) == (plan_id, HeldCode.FIRST_RUN, 1, 1)
    text = metrics(store)
    assert 'opshelm_agent_held{code="first_run"} 1.0' in text
    assert "opshelm_agent_held_oldest_age_seconds 7200.0" in text
    assert f"Plan {plan_id} (first_run): 1 actions, 1 of them deactivations" in page(store)
    store.write(lambda conn: plans.set_status(conn, plan_id, PlanStatus.REJECTED))
    assert read(store).held_plans == []
    assert "opshelm_agent_held_oldest_age_seconds 0.0" in metrics(store)


def test_what_an_operator_blocks_is_neither_drift_nor_a_plan_that_waits(store: Store) -> None:
    blocked = Action(n=1, kind=ActionKind.REACTIVATE, login=SECRET_NAME, held=HeldCode.BLOCKED, state=ActionState.HELD)
    made = Plan(actions=(blocked,), population=9, source_size=9, created=NOW)
    sweep(store, "held", made, PlanStatus.HELD)
    found = read(store)
    assert (found.drift, found.held_plans) == ({}, [])
    other = Action(n=2, kind=ActionKind.UPDATE, login="bob", held=HeldCode.OWNER_IDENTITY, state=ActionState.HELD)
    waits = sweep(
        store, "held", Plan(actions=(blocked, other), population=9, source_size=9, created=NOW), PlanStatus.HELD
    )
    found = read(store)
    assert found.drift == {ActionKind.UPDATE: 1}
    assert [header.id for header in found.held_plans] == [waits]


@pytest.mark.parametrize("no", [HeldCode.REJECTED, HeldCode.UNDONE, HeldCode.BLOCKED])
def test_a_plan_waits_for_nobody_once_all_in_it_have_got_a_no_but_a_held_listing_does(
    store: Store, no: HeldCode
) -> None:
    ended = Action(n=1, kind=ActionKind.DEACTIVATE, login="ann", held=no, state=ActionState.HELD)
    made = Plan(actions=(ended,), population=9, source_size=9, created=NOW - timedelta(days=1))
    sweep(store, "held", made, PlanStatus.HELD)
    assert read(store).held_plans == []
    Housekeeping(store, Settings, lambda: NOW).tick()
    assert open_alarms(store) == []
    sweep(store, "held", replace(made, held=HeldCode.SOURCE_DROP), PlanStatus.HELD)
    assert len(read(store).held_plans) == 1, "each sweep is held until somebody approves the listing"


def test_nobody_is_named_in_the_metrics(store: Store) -> None:
    sweep(store, "held", plan(ActionKind.DEACTIVATE, held=HeldCode.FIRST_RUN), PlanStatus.HELD)
    store.write(lambda conn: alarms.raise_alarm(conn, "last_owner", "id-1", f"{SECRET_NAME} is the last owner", NOW))
    assert "last_owner" in metrics(store)
    assert SECRET_NAME not in metrics(store)
    assert f"{SECRET_NAME} is the last owner" in page(store), "the page has an alarm's whole text"


def test_a_pause_is_on_every_page_escaped(store: Store) -> None:
    store.write(lambda conn: account.pause(conn, actor="operator x", reason="<b>move</b>", now=NOW))
    browser = Browser(app(store), store).sign_in()
    for path in ("/", "/help"):
        shown = browser.text(path)
        assert "Applies are paused by operator x" in plain(shown)
        assert "&lt;b&gt;move&lt;/b&gt;" in shown


def test_a_database_that_can_not_be_read_is_a_metric() -> None:
    registry = CollectorRegistry()
    registry.register(StatusCollector(lambda: None))
    assert generate_latest(registry).decode().splitlines()[-1] == "opshelm_agent_up 0.0"


@pytest.mark.parametrize("known", [True, False])
def test_oktas_limits_are_shown_as_far_as_they_are_known(known: bool) -> None:
    registry = CollectorRegistry()
    budget = RateBudget(limit=50, remaining=12, waited=3.5, refused=1) if known else RateBudget()
    registry.register(OktaCollector(lambda: {"apps": budget}))
    text = generate_latest(registry).decode()
    assert ('opshelm_agent_okta_remaining{bucket="apps"} 12.0' in text) is known
    assert f'opshelm_agent_okta_waited_seconds_total{{bucket="apps"}} {3.5 if known else 0.0}' in text


def test_green_is_a_good_sweep_within_its_interval_that_found_nothing_and_nothing_held(store: Store) -> None:
    def shown(at: datetime = NOW) -> tuple[bool, str]:
        okta = OktaSettings(org_url="https://acme.okta.com", app_id="0oa1", api_token=SecretStr("t"))
        with store.read() as conn:
            found = status.read(conn, Settings(okta=okta, schedule={"reconcile": timedelta(hours=1)}), at)
        return found.in_step, overview.drift_chip(found)

    sweep(store, "in_step", None)
    assert not shown()[0], "nothing is pinned"
    store.write(lambda conn: account.pin(conn, org_id="00o1", app_id="0oa1", app_label="", actor="x", now=NOW))
    assert shown()[0]
    late, text = shown(NOW + timedelta(hours=3))
    assert (late, "Drift unknown since" in text) == (False, True)
    ann = Reason(
        directory_id="a1",
        okta_id=None,
        login=SECRET_NAME,
        kind=ChangeKind.DEACTIVATE,
        code=HeldCode.PUSH_BURST,
        detail="",
        wish="",
    )
    store.write(lambda conn: holds.find(conn, [ann], NOW, by="push"))
    held, text = shown()
    assert (held, "In step but for what is held" in text) == (False, True)
    assert "opshelm_agent_in_step 0.0" in metrics(store)


def test_a_silenced_alarm_has_its_label(store: Store) -> None:
    store.write(lambda conn: alarms.raise_alarm(conn, "push_burst", "guard", "", NOW))
    assert 'opshelm_agent_alarms_open{acked="no",code="push_burst"} 1.0' in metrics(store)
    by = Signature(actor="operator ann", source="cli", at=NOW, reason="known")
    (raised,) = open_alarms(store)
    store.write(lambda conn: alarms.ack(conn, raised.id, by))
    assert 'opshelm_agent_alarms_open{acked="yes",code="push_burst"} 1.0' in metrics(store)


def test_alarms_of_a_window_end_with_it_and_come_again_with_the_next(store: Store) -> None:
    at = [NOW]
    keeper = Housekeeping(store, lambda: Settings(guard={"push_floor": 2, "push_percent": 0.1}), lambda: at[0])

    for later in (timedelta(), timedelta(hours=3)):
        at[0] = NOW + later

        def work(inside: Any) -> None:
            for n in range(2):
                windows.record(inside, directory_id=f"a{n}", source="push", exempt=False, managed=True, now=at[0])
            alarms.raise_alarm(inside, "push_burst", "guard", "full", at[0])

        store.write(work)
        keeper.tick()
        assert [alarm.raised for alarm in open_alarms(store)] == [at[0]]
        at[0] += timedelta(minutes=61)
        keeper.tick()
        assert open_alarms(store) == []


def open_alarms(store: Store) -> list[alarms.Alarm]:
    with store.read() as conn:
        return alarms.open_alarms(conn)


def test_a_held_run_whose_leavers_have_their_rows_is_not_counted_beside_them(store: Store) -> None:
    sweep(store, "held", plan(ActionKind.DEACTIVATE, held=HeldCode.SOURCE_DROP), PlanStatus.HELD)
    drop = {"kind": ChangeKind.DEACTIVATE, "code": HeldCode.SOURCE_DROP, "detail": "", "wish": "", "okta_id": None}
    rows = [Reason(directory_id=f"a{n}", login=f"a{n}", **drop) for n in range(3)]
    store.write(lambda conn: holds.find(conn, rows, NOW - timedelta(days=1), by="run 1"))
    assert 'opshelm_agent_held{code="source_drop"} 3.0' in metrics(store)
    Housekeeping(store, Settings, lambda: NOW).tick()
    assert [(alarm.code, alarm.subject) for alarm in open_alarms(store)] == [("held", "source_drop")]


def test_thirty_days_are_counted_once_and_on_from_there(store: Store) -> None:
    def push(n: int, source: str, at: datetime) -> None:
        entry = journal.Entry(kind=journal.Kind.APPLIED, verb="update", actor="x", source=source, directory_id=f"a{n}")
        store.write(lambda conn: journal.append(conn, entry, at))

    def counted() -> list[tuple[int, int, int, float | None]]:
        with store.read() as conn:
            drawing = days.read(conn, NOW)
        return [(day.pushes, day.repairs, day.holds, day.seconds) for day in drawing.days[-2:]]

    days = Activity()
    push(1, "push", NOW - timedelta(days=1))
    push(2, "push", NOW - timedelta(days=31))
    push(3, "sweep", NOW)
    sweep(store, "in_step", None)
    assert counted() == [(1, 0, 0, None), (0, 1, 0, 300.0)]
    push(4, "push", NOW)
    push(5, "cli", NOW)
    ann = {"directory_id": "a1", "okta_id": None, "login": "ann", "kind": ChangeKind.UPDATE, "detail": "", "wish": ""}
    store.write(lambda conn: holds.find(conn, [Reason(code=HeldCode.NAME_TAKEN, **ann)], NOW, by="run 1"))
    assert counted() == [(1, 0, 0, None), (1, 1, 1, 300.0)]
    assert counted() == [(1, 0, 0, None), (1, 1, 1, 300.0)]
