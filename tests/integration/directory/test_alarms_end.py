"""Every alarm that the agent can raise ends with its cause: those that housekeeping ends here, the others where they are raised."""

import re
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from agent.daemon.housekeeping import Housekeeping
from agent.model.users import Role
from agent.settings import Settings
from agent.store import alarms, connect, keys
from agent.store.journal import Signature
from support.place import Place

ROOT = Path(__file__).parents[3]
#: What ends it: from then on housekeeping closes it at its next tick.
Ends = Callable[[], object]


def deactivated(world: Place, count: int) -> None:
    for user in world.managed(12)[:count]:
        try:
            world.change(user, active=False)
        except Exception as refused:
            assert "stays active" in str(refused)


def push_burst(world: Place) -> Ends:
    deactivated(world, 4)
    return lambda: world.later(minutes=61)


def push_burst_half(world: Place) -> Ends:
    deactivated(world, 2)
    return lambda: world.later(minutes=61)


def deactivations_24h(world: Place) -> Ends:
    users = world.managed(12)
    for n, user in enumerate(users[:6]):
        if n == 5:
            world.refused(lambda user=user: world.change(user, active=False))
        else:
            world.change(user, active=False)
        world.later(minutes=61)
    return lambda: world.later(hours=24)


def identity_changes(world: Place) -> Ends:
    for n, user in enumerate(world.managed(12)[:4]):
        world.change(user, user_name=f"new{n}@example.com")
    return lambda: world.later(hours=25)


def held(world: Place) -> Ends:
    """The push comes again when the hour has room, and its hold is over."""
    deactivated(world, 4)
    (refused,) = world.refused_pushes()
    world.later(hours=5)
    user = next(u for page in world.directory.everyone() for u in page if u.id == refused.directory_id)
    return lambda: world.change(user, active=False)


def last_owner(world: Place) -> Ends:
    (owner,) = world.managed(role=Role.OWNER)
    world.refused(lambda: world.change(owner, active=False))
    return lambda: world.managed(role=Role.OWNER)


def handed_over(world: Place) -> Ends:
    (owner,), (other,) = world.managed(1, role=Role.OWNER), world.managed(1)
    world.refused(lambda: world.change(owner, active=False))
    return lambda: world.acts().handover(other.id, owner.id)


def old_key_in_use(world: Place) -> Ends:
    by = Signature(actor="test", source="test", at=world.now)

    def work(conn) -> None:
        keys.create(conn, by, name="okta")
        keys.roll(conn, by, name="okta", grace=timedelta(hours=24))
        (old,) = (key for key in keys.list_all(conn) if key.grace_from is not None)
        world.later(hours=23)
        keys.touch(conn, old, world.now)

    world.store.write(work)
    return lambda: world.later(hours=2)


HERE = {
    made.__name__: made
    for made in (push_burst, push_burst_half, deactivations_24h, identity_changes, held, last_owner, old_key_in_use)
}
#: Of the others, the test that shows how each opens and ends.
ELSEWHERE = {
    "clock_step": "test_a_step_of_the_clock_is_said_and_an_alarm_until_an_hour_was_good",
    "loop_overdue": "test_a_loop_that_stands_still_is_said_and_an_alarm_until_it_goes_on",
    "sweep_overdue": "test_f47_no_good_sweep_for_three_intervals_is_an_alarm",
    "disk_low": "test_little_room_under_the_database_is_an_alarm_until_there_is_more",
    "disk_full": "test_each_channel_is_told_of_a_full_disk_once_and_of_its_end",
    "failed_actions": "test_too_many_failures_hold_their_kind_for_an_hour",
    "remote_certificate": "test_f40_a_listing_raises_the_alarm_before_the_certificate_ends",
    "last_key_ends": "test_the_end_of_the_last_key_is_an_alarm_until_there_is_another",
    "push_failed": "test_a_failed_push_is_healed_and_told_in_oktas_words",
    "events_unread": "test_a_log_that_may_not_be_read_is_an_alarm_until_it_may",
    "role_group": "test_a_group_that_can_not_be_read_whole_demotes_nobody",
    "import_linking": "test_it_is_an_alarm_only_after_its_time_and_over_when_it_is_linked",
}


def test_a_last_owners_alarm_ends_when_that_person_is_no_owner_any_more(guarded_world: Place) -> None:
    keeper = Housekeeping(guarded_world.store, Settings, lambda: guarded_world.now)
    ends = handed_over(guarded_world)
    keeper.tick()
    assert "last_owner" in guarded_world.alarms()
    ends()
    keeper.tick()
    assert "last_owner" not in guarded_world.alarms()


@pytest.mark.parametrize("code", list(HERE))
def test_it_is_open_while_its_cause_lasts_and_no_longer(guarded_world: Place, code: str) -> None:
    world = guarded_world
    keeper = Housekeeping(world.store, Settings, lambda: world.now)
    ends = HERE[code](world)
    keeper.tick()
    assert code in world.alarms()
    ends()
    keeper.tick()
    assert code not in world.alarms()


def test_each_has_such_a_test_and_a_rule_for_whoever_is_paged() -> None:
    documented = (ROOT / "docs" / "codes.md").read_text().partition("\n## Alarms\n")[2].partition("\n## ")[0]
    assert sorted([*HERE, *ELSEWHERE]) == sorted(re.findall(r"^\| `(\w+)` \|", documented, re.MULTILINE))
    tests = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in ELSEWHERE.values() if f"def {name}(" not in tests] == []
    rules = re.findall(r"expr: (.+)", (ROOT / "config" / "alerts.yaml").read_text())
    assert any(rule.startswith('opshelm_agent_alarms_open{acked="no"') for rule in rules), "the rule for all of them"


def test_what_a_machine_that_is_gone_has_raised_ends_after_an_hour(guarded_world: Place) -> None:
    world = guarded_world
    keeper = Housekeeping(world.store, Settings, lambda: world.now)
    for code, subject in (("loop_overdue", "sweep at gone"), ("clock_step", "gone"), ("disk_low", "gone")):
        world.store.write(lambda c, code=code, subject=subject: alarms.raise_alarm(c, code, subject, "", world.now))
    world.later(minutes=59)
    keeper.tick()
    assert {"loop_overdue", "clock_step", "disk_low"} <= world.alarms()
    world.later(minutes=2)
    keeper.tick()
    assert world.alarms().isdisjoint({"loop_overdue", "clock_step", "disk_low"})
    # Of this machine none ends so: where its clock was set back just now, the time of a look may be of before.
    own = socket.gethostname()
    world.store.write(lambda conn: alarms.raise_alarm(conn, "clock_step", own, "", world.now))
    world.later(hours=5)
    keeper.tick()
    assert "clock_step" in world.alarms()


def test_a_disk_with_room_just_above_the_limit_keeps_its_alarm(
    guarded_world: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = guarded_world
    keeper = Housekeeping(world.store, Settings, lambda: world.now)
    for free, told in ((300, False), (200, True), (300, True), (330, False)):
        monkeypatch.setattr(connect, "room", lambda _, free=free: free * 1_000_000)
        for _ in range(3):
            keeper.tick()
            world.later(minutes=50)
        assert ("disk_low" in world.alarms()) is told, free
