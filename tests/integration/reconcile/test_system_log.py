"""Polling the System Log against the simulated org: what is repaired, what is remembered, what costs one sweep."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.model.errors import OktaDenied, OktaRejected
from agent.model.okta import LogEvent, LogTarget
from agent.okta_org.caller import OktaCaller
from agent.reconcile import system_log
from agent.reconcile.look_queue import Queued
from agent.reconcile.system_log import CURSOR, SystemLogReader
from agent.settings import ScheduleSettings
from agent.store import alarms, attention, runs
from agent.store import events as kept
from agent.store.engine import Connection
from support.world import World, open_world

#: No agent waits for another's turn.
EAGER = {"schedule": ScheduleSettings(events=timedelta(milliseconds=1))}


@pytest.fixture
def w(tmp_path: Path) -> Iterator[World]:
    with open_world(tmp_path, users=30, **EAGER) as made:
        made.first_run()
        yield made


@pytest.fixture
def w_any(tmp_path: Path, database_url: str) -> Iterator[World]:
    with open_world(tmp_path, users=12, url=database_url, **EAGER) as made:
        made.first_run()
        yield made


def log_of(w: World, okta: Any = None) -> SystemLogReader:
    return SystemLogReader(w.store, okta or w.okta, w.settings, w.now)


def put_cursor(w: World, value: str) -> None:
    """As another agent does it."""

    def work(conn: Connection) -> bool:
        known = kept.cursor(conn, CURSOR)
        return kept.move_cursor(conn, CURSOR, known and known.value, value, w.now())

    assert w.store.write(work)


def waiting(w: World) -> set[tuple[str, str | None]]:
    with w.store.read() as conn:
        return {(row.reason, row.okta_id) for row in attention.due(conn, w.now() + timedelta(hours=1), 1000)}


def look(w: World) -> Any:
    report = w.reconciler.look(apply=True)
    assert report is not None
    return report


def as_wanted(w: World) -> None:
    """The directory is as Okta says, for everybody."""
    accounts = w.accounts()
    for person in w.people():
        if person["wanted"] in ("active", "inactive"):
            assert accounts[person["login"]].active is (person["wanted"] == "active"), person
    assert w.reconcile(apply=False).outcome == "in_step"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls to Okta, each by what it asks."""
    noted: list[str] = []
    fetch = OktaCaller.fetch

    def note(caller: OktaCaller, call: Any, allowance: Any) -> Any:
        noted.append(call.what)
        return fetch(caller, call, allowance)

    monkeypatch.setattr(OktaCaller, "fetch", note)
    return noted


def test_a_change_whose_push_is_lost_is_found_in_the_log(w_any: World) -> None:
    w, log = w_any, log_of(w_any)
    log.poll()
    changed, leaver = w.take(), w.take()
    w.org.api("POST", f"/users/{changed['okta_id']}", {"profile": {"title": "Captain"}})
    w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{leaver['okta_id']}")
    assert log.poll().people == 2
    assert waiting(w) == {("event", changed["okta_id"]), ("event", leaver["okta_id"])}
    assert look(w).outcome == "applied"
    assert (w.account(changed["login"]).profile.title, w.account(leaver["login"]).active) == ("Captain", False)
    assert (log.poll().anything, waiting(w)) == (False, set())


def test_before_the_pins_nothing_is_read(tmp_path: Path, calls: list[str]) -> None:
    with open_world(tmp_path, users=3) as made:
        assert log_of(made).poll().anything is False
        assert calls == []


def test_the_log_begins_where_the_last_sweep_did(w: World) -> None:
    person = w.take()
    w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Between"}})
    assert log_of(w).poll().people >= 1
    assert ("event", person["okta_id"]) in waiting(w)


def test_suspending_and_unsuspending_are_noticed(w: World) -> None:
    log, person = log_of(w), w.take()
    log.poll()
    w.org.api("POST", f"/users/{person['okta_id']}/lifecycle/suspend")
    log.poll()
    assert w.findings_for(look(w), person["okta_id"]) == {"suspended_kept"}
    w.org.api("POST", f"/users/{person['okta_id']}/lifecycle/unsuspend")
    log.poll()
    assert w.findings_for(look(w), person["okta_id"]) == set()


def test_suspending_deactivates_where_the_policy_says_so_and_unsuspending_gives_back(w: World) -> None:
    w.configure(guard=w.settings.guard, policy={"suspended": "deactivate"}, **EAGER)
    log, person = log_of(w), w.take()
    log.poll()
    for verb, active in (("suspend", False), ("unsuspend", True)):
        w.org.api("POST", f"/users/{person['okta_id']}/lifecycle/{verb}")
        log.poll()
        look(w)
        assert w.account(person["login"]).active is active


def test_a_failed_push_is_healed_and_told_in_oktas_words(w: World) -> None:
    log, person = log_of(w), w.take()
    w.org.set_app_user(person["okta_id"], externalId=w.account(person["login"]).id)
    log.poll()
    w.org.provisioning(mode="on", scim_url="http://127.0.0.1:1/scim/v2", scim_key="x", time_scale=0.0001)
    w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Unpushed"}})
    w.org.wait_idle()
    w.org.provisioning(mode="off")
    log.poll()
    with w.store.read() as conn:
        [failure] = kept.open_failures(conn)
        [alarm] = [a for a in alarms.open_alarms(conn) if a.code == "push_failed"]
    assert failure.okta_id == person["okta_id"]
    assert failure.reason.rstrip(".") in alarm.detail
    told = {step.name: step for step in w.reconciler.explain(person["login"]).steps}
    assert (told["push"].status.value, failure.reason.rstrip(".") in told["push"].detail) == ("failure", True)
    report = look(w)
    [finding] = [f for f in report.findings if f.code.value == "sync_error"]
    assert failure.reason.rstrip(".") in finding.detail
    assert w.account(person["login"]).profile.title == "Unpushed"
    with w.store.read() as conn:
        assert kept.open_failures(conn) == []
        assert "push_failed" not in {a.code for a in alarms.open_alarms(conn)}
    healed = {step.name: step for step in w.reconciler.explain(person["login"]).steps}["push"]
    assert (healed.status.value, "repaired" in healed.detail) == ("warning", True)


def test_a_staged_app_user_waits_for_the_end_of_its_settle_time(w: World) -> None:
    log = log_of(w)
    log.poll()
    w.org.provisioning(mode="on", scim_url="http://127.0.0.1:1/scim/v2", scim_key="x", time_scale=0.0001)
    made = w.org.api(
        "POST",
        "/users?activate=true",
        {"profile": {"login": "new@example.com", "email": "new@example.com", "firstName": "N", "lastName": "W"}},
    )
    w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": made["id"], "scope": "USER"})
    w.org.wait_idle()
    w.org.provisioning(mode="off")
    log.poll()
    assert look(w).outcome == "in_step"
    assert waiting(w) == {("settle", made["id"])}
    w.ahead = w.settings.reconcile.settle + timedelta(seconds=1)
    assert look(w).outcome == "applied"
    assert w.account("new@example.com").active


def test_a_storm_costs_one_sweep_and_ends_in_step(w: World, calls: list[str]) -> None:
    log = log_of(w)
    log.poll()
    for person in w.people()[:5]:
        w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Stormy"}})
    calls.clear()
    w.org.events(count=10_000, duplicate=0.3, shuffle=True)
    while log.poll().fresh:
        pass
    assert waiting(w) == {("sweep", None)}
    assert look(w).outcome == "applied"
    assert w.reconciler.look(apply=True) is None
    assert calls.count("list the app's users") == 1
    assert len(calls) < 60, calls
    assert waiting(w) == set()
    as_wanted(w)


def test_a_cursor_that_okta_refuses_costs_one_sweep(w: World) -> None:
    log = log_of(w)
    log.poll()
    bad = msgspec.json.encode({"app_id": w.org.app_id, "next": f"{w.org.url}/api/v1/logs?after=nonsense"}).decode()
    put_cursor(w, bad)
    w.change(w.take()["login"], title="Drifted")
    assert log.poll().sweep
    assert waiting(w) == {("sweep", None)}
    assert look(w).outcome == "applied"
    assert (waiting(w), log.poll().sweep) == (set(), False)


@pytest.mark.parametrize("why", ["old", "another app", "no json"])
def test_a_cursor_that_says_nothing_any_more_costs_one_sweep(w: World, why: str) -> None:
    log_of(w).poll()
    if why == "old":
        w.ahead = system_log.OLDEST + timedelta(hours=1)
    else:
        value = "{" if why == "no json" else '{"app_id":"0oaOTHER","next":"x"}'
        put_cursor(w, value)
    assert log_of(w).poll().sweep


def test_a_sweep_clears_what_was_named_before_it_and_keeps_what_came_meanwhile(w: World) -> None:
    log, first, second = log_of(w), w.take(), w.take()
    log.poll()
    w.org.api("POST", f"/users/{first['okta_id']}", {"profile": {"title": "Before"}})
    log.poll()
    pages = w.okta.app_user_pages

    def meanwhile(*args: Any) -> Any:
        yield from pages(*args)
        now = w.now()
        w.store.write(lambda conn: attention.add_events(conn, [second["okta_id"]], now))

    w.okta.app_user_pages = meanwhile  # type: ignore[method-assign]
    assert w.reconcile().outcome == "applied"
    assert waiting(w) == {("event", second["okta_id"])}


def test_who_is_named_again_while_being_looked_at_is_looked_at_again(w: World) -> None:
    person = w.take()

    def name() -> None:
        w.store.write(lambda conn: attention.add_events(conn, [person["okta_id"]], w.now()))

    read = w.okta.person

    def slow(okta_id: str) -> Any:
        found = read(okta_id)
        name()
        return found

    name()
    w.okta.person = slow  # type: ignore[method-assign]
    look(w)
    assert waiting(w) == {("event", person["okta_id"])}
    w.okta.person = read  # type: ignore[method-assign]
    look(w)
    assert waiting(w) == set()


def test_a_look_waits_while_another_agent_is_at_work(w: World) -> None:
    from agent.store import lease

    person = w.take()
    w.store.write(lambda conn: attention.add_events(conn, [person["okta_id"]], w.now()))
    with lease.held(w.store, lease.RECONCILE, "another:1", timedelta(minutes=1)):
        assert w.reconciler.look(apply=True) is None
        with w.store.read() as conn:
            assert runs.recent(conn, 1)[0].trigger != "event"
    assert look(w).outcome == "in_step"


class Log:
    """Stands for Okta's log: what each call answers is given."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.late: list[LogEvent] = []
        self.asked: list[str] = []
        self.refuse: Exception | None = None
        self.before_answer: Any = None

    @contextmanager
    def run(self, _on_wait: Any = None) -> Iterator[None]:
        yield

    def log_events(
        self,
        *,
        since: datetime | None = None,
        cursor: str | None = None,
        filter: str = "",  # noqa: A002 - Okta's name
        limit: int = 0,
    ) -> Any:
        if self.refuse is not None:
            raise self.refuse
        self.asked.append("cursor" if cursor else "since")
        if self.before_answer is not None:
            self.before_answer()
        found = self.late if since is not None and not cursor else []
        return found, f"{self.url}/api/v1/logs?after={len(self.asked)}"


def told(w: World, person: dict[str, Any], uuid: str = "late") -> LogEvent:
    targets = [LogTarget(id=w.org.app_id, type="AppInstance"), LogTarget(id=person["okta_id"], type="User")]
    return LogEvent(
        uuid=uuid, event_type="application.user_membership.update", published=datetime.now(UTC), target=targets
    )


def test_an_event_told_late_behind_the_cursor_is_met_by_the_overlap_and_once(w: World) -> None:
    okta, person = Log(w.org.url), w.take()
    log = log_of(w, okta)
    log.poll()
    okta.late = [told(w, person)]
    assert log.poll().people == 0  # the cursor is beyond it
    w.ahead = system_log.OVERLAP_EVERY
    assert log.poll().people == 1
    w.ahead = 2 * system_log.OVERLAP_EVERY
    assert log.poll().people == 0
    assert waiting(w) == {("event", person["okta_id"])}


def test_of_two_agents_that_read_the_same_page_one_keeps_it(w: World) -> None:
    okta, person = Log(w.org.url), w.take()
    log = log_of(w, okta)
    log.poll()
    other = msgspec.json.encode({"app_id": w.org.app_id, "next": f"{w.org.url}/api/v1/logs?after=other"}).decode()
    okta.before_answer = lambda: put_cursor(w, other)
    okta.late = [told(w, person)]
    assert log.poll().people == 0
    with w.store.read() as conn:
        cursor = kept.cursor(conn, CURSOR)
    assert cursor is not None
    assert cursor.value == other


def test_who_has_just_been_polled_by_another_agent_is_not_polled_again(w: World) -> None:
    w.configure(guard=w.settings.guard, schedule=ScheduleSettings(events=timedelta(seconds=30)))
    okta = Log(w.org.url)
    log_of(w, okta).poll()
    asked = len(okta.asked)
    log_of(w, okta).poll()
    assert len(okta.asked) == asked
    w.ahead = timedelta(seconds=20)
    log_of(w, okta).poll()
    assert len(okta.asked) > asked


def test_a_crash_between_reading_and_keeping_loses_nothing(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    log, person = log_of(w), w.take()
    log.poll()
    w.org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Crash"}})

    def dies(*_: Any, **__: Any) -> Queued:
        raise ZeroDivisionError

    monkeypatch.setattr(system_log, "queue", dies)
    with pytest.raises(ZeroDivisionError):
        log.poll()
    monkeypatch.undo()
    assert log_of(w).poll().people == 1


def test_a_log_that_may_not_be_read_is_an_alarm_until_it_may(w: World) -> None:
    okta = Log(w.org.url)
    log = log_of(w, okta)
    okta.refuse = OktaDenied("Okta refused to read the System Log.", status=403)
    with pytest.raises(OktaDenied):
        log.poll()
    with w.store.read() as conn:
        assert "events_unread" in {alarm.code for alarm in alarms.open_alarms(conn)}
    okta.refuse = None
    log.poll()
    with w.store.read() as conn:
        assert "events_unread" not in {alarm.code for alarm in alarms.open_alarms(conn)}


def test_a_refusal_without_a_cursor_is_no_gap(w: World) -> None:
    okta = Log(w.org.url)
    okta.refuse = OktaRejected("400", status=400)
    with pytest.raises(OktaRejected):
        log_of(w, okta).poll()
    assert waiting(w) == set()
