"""``guard replay``: what was judged, judged again by other limits. With the same ones: test_hold_machine."""

from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

from agent.model.codes import HeldCode
from agent.model.holds import ChangeKind
from agent.model.replay import Replayed, replay
from agent.settings.sections import GuardSettings
from agent.store import brakes, judgements
from support.holding import CommandsOf, HoldWorld, Make


def again(w: HoldWorld, **limits: object) -> Replayed:
    with w.store.read() as conn:
        return replay(judgements.history(conn, w.now() - timedelta(days=30)), GuardSettings(**limits))  # type: ignore[arg-type]


def waits(replayed: Replayed) -> tuple[list[str], list[str]]:
    return sorted(wait.login for wait in replayed.then), sorted(wait.login for wait in replayed.now)


def leave(w: HoldWorld, count: int) -> list[str]:
    w.lost()
    people = [person for person in w.people() if w.account(person["login"]).active][:count]
    w.unassign(*people)
    return sorted(person["login"] for person in people)


def test_lower_limits_hold_whom_the_sweep_let_go_until_somebody_decides(make: Make) -> None:
    w = make()
    gone = leave(w, 4)
    assert w.reconcile().outcome == "applied"
    w.reconcile()
    found = again(w, deactivations_percent=0, deactivations_floor=3)
    assert waits(found) == ([], gone)
    assert {(wait.kind, wait.code, wait.until) for wait in found.now} == {
        (ChangeKind.DEACTIVATE, HeldCode.DEACTIVATIONS_PER_RUN, None)
    }
    # By the sweep that let them go, and by the next one, in which there was nothing to do in truth.
    held = [(one.then, one.now) for one in found.judgements if one.now]
    assert held == [({}, {HeldCode.DEACTIVATIONS_PER_RUN: 4})] * 2


def test_higher_limits_let_go_whom_the_sweep_held_and_ask_nobody_twice(make: Make) -> None:
    w = make()
    gone = leave(w, 8)
    for _ in range(3):
        assert w.reconcile().outcome == "held"
    found = again(w, deactivations_percent=50, window_percent=50)
    assert waits(found) == (gone, [])
    assert [one.now for one in found.judgements if one.run_id is not None] == [{}] * len(found.judgements)


def test_whoever_the_window_stops_goes_with_the_first_sweep_after_it(make: Make) -> None:
    """Four left at once, and were let go; by the other limits all wait, since three had gone within the day."""
    w = make()
    before, gone = leave(w, 3), []
    assert w.reconcile().outcome == "applied"
    gone = leave(w, 4)
    assert w.reconcile().outcome == "applied"
    w.ahead += timedelta(hours=25)
    assert w.reconcile().outcome == "in_step"
    found = again(w, window_percent=0, window_floor=5)
    assert set(waits(found)[1]) >= set(gone)
    assert set(waits(found)[1]).isdisjoint(before)
    assert {wait.done for wait in found.now} == {True}
    assert min(wait.until - wait.since for wait in found.now if wait.until) > timedelta(hours=24)


def test_pushes_are_judged_one_by_one(make: Make) -> None:
    w = make()
    people = w.people()[:4]
    w.lost()
    for person in people:
        w.unassign(person)
        assert w.push(person, active=False).status_code == 200
    found = again(w, push_percent=0, push_floor=2)
    assert [sum(one.now.values()) for one in found.judgements if one.run_id is None] == [0, 0, 1, 1]
    assert waits(found) == ([], sorted(person["login"] for person in people[2:]))


def test_later_sweeps_fill_no_window_with_whom_other_limits_hold_still(make: Make) -> None:
    w = make(guard={"push_percent": 50})
    gone = leave(w, 4)
    for _ in range(4):
        w.reconcile()
    first, second = [person for person in w.people() if w.account(person["login"]).active][:2]
    for person in (first, second):
        w.unassign(person)
        assert w.push(person, active=False).status_code == 200
    found = again(w, deactivations_percent=0, deactivations_floor=3, push_percent=0, push_floor=1)
    assert waits(found) == ([], sorted([*gone, second["login"]]))


def test_a_refused_push_would_have_passed_and_its_retries_are_nothing_new(make: Make) -> None:
    w = make(guard={"push_percent": 0, "push_floor": 1})
    people = w.people()[:2]
    w.lost()
    answers = [w.push(person, active=False).status_code for person in (*people, people[1], people[1])]
    assert answers == [200, 429, 429, 429]
    found = again(w)
    assert waits(found) == ([people[1]["login"]], [])
    assert [len(one.now) for one in found.judgements if one.run_id is None] == [0, 0, 0, 0]


def test_who_is_wanted_again_waits_no_longer(make: Make) -> None:
    w = make()
    w.lost()
    person = w.people()[0]
    w.unassign(person)
    assert w.reconcile().outcome == "applied"
    w.assign(person)
    assert w.reconcile().outcome == "applied"
    (wait,) = again(w, deactivations_floor=0, deactivations_percent=0).now
    assert (wait.login, wait.done) == (person["login"], False)
    assert wait.until is not None


def test_an_announcement_counts_then_as_now(make: Make) -> None:
    w = make()
    gone = leave(w, 8)
    until = w.now() + timedelta(hours=2)
    w.store.write(lambda conn: brakes.allow(conn, w.by(), count=8, until=until))
    assert w.reconcile().outcome == "applied"
    assert waits(again(w)) == ([], [])
    assert len(gone) == 8


def test_what_is_held_again_and_again_is_kept_once(make: Make) -> None:
    w = make()
    leave(w, 8)
    for _ in range(5):
        w.reconcile()
    with w.store.read() as conn:
        kept = conn.exec_driver_sql("SELECT count(*), count(actions) FROM judgements WHERE digest IS NOT NULL").one()
    assert kept[0] >= 5
    assert kept[1] <= 2


def test_the_command_tells_both_and_draws_the_days(make: Make, commands_of: CommandsOf, tmp_path: Path) -> None:
    w = make()
    run = commands_of(w)
    code, _, err = run("guard", "replay", "--set", "policy.suspended=deactivate")
    assert (code, "[guard]" in err) == (2, True)
    leave(w, 4)
    w.reconcile()
    code, out, err = run("guard", "replay")
    assert (code, "held just as it was" in out) == (0, True), (out, err)
    limits = ("--set", "guard.deactivations_percent=0", "--set", "guard.deactivations_floor=3")
    code, out, err = run("guard", "replay", *limits, "--svg", str(tmp_path / "days.svg"))
    assert (code, "4 deactivations_per_run" in out) == (0, True), (out, err)
    told = run.document("guard", "replay", *limits)["replay"]
    assert (told["then"]["runs_held"], told["now"]["runs_held"]) == (0, 1)
    assert (told["then"]["people_who_waited"], told["now"]["still_wait"]) == (0, 4)
    assert ET.parse(tmp_path / "days.svg").getroot().tag.endswith("svg")
    code, _, err = run("guard", "replay", "--svg", str(tmp_path / "nowhere" / "days.svg"))
    assert (code, "can't be written" in err) == (2, True)


def test_a_history_without_anything_to_limit_says_so(make_sqlite: Make, commands_of: CommandsOf) -> None:
    w = make_sqlite(0)
    code, _, err = commands_of(w)("guard", "replay")
    assert (code, "Nothing was judged yet" in err) == (1, True), err
