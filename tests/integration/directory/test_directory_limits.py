"""The limits that a pushed deactivation meets, what fills them, and what an operator does about it."""

import pytest

from agent.model.codes import RefusalCode, Source
from agent.model.errors import Refused
from agent.model.guard import push_limit, window_limit
from agent.settings import GuardSettings
from agent.store import brakes, windows
from agent.store.journal import Signature
from support.place import Place


def off(world: Place, user, source: Source = Source.PUSH, **more) -> bool:
    """Whether the deactivation passed."""
    try:
        world.change(user, source=source, active=False, **more)
    except Refused as refused:
        if refused.retry_after is None:
            raise
        return False
    return True


def passed(world: Place, users, source: Source = Source.PUSH, **more) -> int:
    return sum(off(world, user, source, **more) for user in users)


@pytest.mark.parametrize("people", [1, 2, 5, 12, 20, 50])
def test_a_pushed_burst_stops_at_the_limit(guarded_world: Place, people: int) -> None:
    users = guarded_world.managed(people)
    assert passed(guarded_world, users) == push_limit(people, GuardSettings())


def test_a_burst_is_429_with_numbers_and_the_next_step(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    passed(guarded_world, users[:3])
    with pytest.raises(Refused) as caught:
        guarded_world.change(users[3], active=False)
    refused = caught.value
    assert (refused.reason, refused.retry_after) == (RefusalCode.PUSH_BURST, 300)
    assert "4 of 12 people" in refused.detail
    assert "the limit is 3" in refused.detail
    assert "guard allow" in refused.detail
    assert guarded_world.get(users[3]) == users[3]


def test_a_refused_push_is_listed_journalled_and_an_alarm(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    passed(guarded_world, users[:5])
    off(guarded_world, users[3])
    pushes = {push.directory_id: push.tries for push in guarded_world.refused_pushes()}
    assert pushes == {users[3].id: 2, users[4].id: 1}
    assert "push_burst" in guarded_world.alarms()
    assert [row.verb for row in guarded_world.journal("refused")] == ["deactivate"] * 3


def test_refused_pushes_fill_no_window(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    passed(guarded_world, users)
    assert guarded_world.counts().last_hour == 3


def test_the_window_opens_again_after_an_hour(guarded_world: Place) -> None:
    users = guarded_world.managed(50)
    assert passed(guarded_world, users[:6]) == 5
    guarded_world.later(minutes=61)
    assert off(guarded_world, users[5])
    assert users[5].id not in {push.directory_id for push in guarded_world.refused_pushes()}


def test_a_slow_bleed_stops_at_the_daily_limit(guarded_world: Place) -> None:
    users = guarded_world.managed(50)
    done = 0
    for start in range(0, 50, 5):
        done += passed(guarded_world, users[start : start + 5])
        guarded_world.later(minutes=61)
    assert done == window_limit(50, GuardSettings()) == 10
    with pytest.raises(Refused) as caught:
        guarded_world.change(users[49], active=False)
    assert (caught.value.reason, caught.value.retry_after) == (RefusalCode.DEACTIVATIONS_24H, 300)


def test_push_and_reconcile_share_the_day(guarded_world: Place) -> None:
    users = guarded_world.managed(50)
    assert passed(guarded_world, users[:10], Source.SWEEP) == 10
    guarded_world.later(minutes=61)
    assert not off(guarded_world, users[10])
    assert not off(guarded_world, users[11], Source.SWEEP)


def test_a_sweep_fills_the_hour_but_is_not_stopped_by_it(guarded_world: Place) -> None:
    users = guarded_world.managed(50)
    assert passed(guarded_world, users[:6], Source.SWEEP) == 6
    assert not off(guarded_world, users[6])


def test_single_reconciles_share_the_hour_s_limit(guarded_world: Place) -> None:
    users = guarded_world.managed(50)
    assert passed(guarded_world, users[:4], Source.SINGLE) == 4
    assert passed(guarded_world, users[4:6]) == 1
    assert not off(guarded_world, users[6], Source.SINGLE)


@pytest.mark.parametrize("source", [Source.CLI, Source.DASHBOARD])
def test_an_operator_s_own_act_counts_nowhere(guarded_world: Place, source: Source) -> None:
    users = guarded_world.managed(12)
    assert passed(guarded_world, users[:6], source) == 6
    assert guarded_world.counts().last_day == 0


def test_what_was_approved_counts_nowhere(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    assert passed(guarded_world, users[:6], Source.SWEEP, exempt=True) == 6
    assert guarded_world.counts().last_day == 0


def test_the_denominator_does_not_shrink_with_the_fault(guarded_world: Place) -> None:
    users = guarded_world.managed(50)
    passed(guarded_world, users[:10], Source.SWEEP)
    counts = guarded_world.counts()
    assert (counts.population, guarded_world.account().managed_active) == (50, 40)
    guarded_world.later(hours=25)
    assert guarded_world.counts().population == 40


def test_it_is_the_change_of_state_that_counts(guarded_world: Place) -> None:
    (user, *_) = guarded_world.managed(12)
    off(guarded_world, user)
    for _ in range(5):
        guarded_world.change(user, active=False, title="x")
        guarded_world.change(user, active=False)
    assert guarded_world.counts().last_hour == 1


def test_creates_updates_and_reactivations_are_never_held(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    passed(guarded_world, users)
    assert guarded_world.change(users[5], title="x").changed
    assert guarded_world.change(users[0], active=True).changed
    assert guarded_world.post("new@example.com").created


def test_alarm_mode_lets_through_and_says_so(world: Place) -> None:
    loud = world.with_settings(guard=GuardSettings(push_mode="alarm"))
    users = loud.managed(12)
    assert passed(loud, users) == 12
    assert {"push_burst", "deactivations_24h"} <= loud.alarms()


def test_an_alarm_at_half_the_limit(guarded_world: Place) -> None:
    users = guarded_world.managed(100)
    passed(guarded_world, users[:5])
    assert guarded_world.alarms() == set()
    off(guarded_world, users[5])
    assert guarded_world.alarms() == {"push_burst_half"}


def by(world: Place) -> Signature:
    return Signature(actor="o", source="cli", reason="lay-off", at=world.now)


def test_an_allowance_is_used_first_and_fills_no_window(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    until = guarded_world.now.replace(hour=23)

    def announce(conn) -> int:
        return windows.allow(conn, by(guarded_world), count=4, until=until)

    guarded_world.store.write(announce)
    assert passed(guarded_world, users[:4]) == 4
    assert guarded_world.counts().last_hour == 0
    assert passed(guarded_world, users[4:]) == 3


def test_an_allowance_for_a_person_is_that_person_s(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    passed(guarded_world, users[:3])
    until = guarded_world.now.replace(hour=23)
    guarded_world.store.write(
        lambda conn: windows.allow(conn, by(guarded_world), count=1, until=until, directory_id=users[4].id)
    )
    assert not off(guarded_world, users[3])
    assert off(guarded_world, users[4])


def test_an_allowance_ends(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    until = guarded_world.now.replace(hour=13)
    guarded_world.store.write(lambda conn: windows.allow(conn, by(guarded_world), count=9, until=until))
    guarded_world.later(hours=2)
    assert passed(guarded_world, users) == 3


def test_a_rejected_push_is_409_until_okta_wants_the_person_active(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    passed(guarded_world, users[:4])
    by = Signature(actor="operator o", source="cli", at=guarded_world.now)
    guarded_world.store.write(lambda conn: brakes.reject(conn, by, users[3]))
    guarded_world.later(hours=2)
    assert guarded_world.refused(lambda: guarded_world.change(users[3], active=False)) is RefusalCode.REJECTED
    guarded_world.change(users[3])
    assert guarded_world.refused_pushes() == []
    assert off(guarded_world, users[3])


def test_many_pushed_renames_are_an_alarm(guarded_world: Place) -> None:
    users = guarded_world.managed(12)
    for number, user in enumerate(users[:3]):
        guarded_world.change(user, user_name=f"new{number}@example.com")
    assert guarded_world.alarms() == set()
    guarded_world.change(users[3], user_name="new3@example.com")
    assert guarded_world.alarms() == {"identity_changes"}


class TestClock:
    def test_rows_from_the_future_count_as_now(self, guarded_world: Place) -> None:
        users = guarded_world.managed(50)
        guarded_world.later(days=1)
        passed(guarded_world, users[:5])
        guarded_world.later(days=-1)
        assert guarded_world.counts().last_hour == 5
        assert not off(guarded_world, users[5])
        off(guarded_world, users[6], Source.SWEEP)
        guarded_world.later(minutes=61)
        assert guarded_world.counts().last_hour == 0
        assert off(guarded_world, users[5])

    def test_old_rows_are_forgotten_without_losing_count(self, guarded_world: Place) -> None:
        users = guarded_world.managed(50)
        passed(guarded_world, users[:4])
        guarded_world.later(days=8)
        passed(guarded_world, users[4:6])
        before = guarded_world.counts()
        from datetime import timedelta

        week = guarded_world.now - timedelta(days=7)
        guarded_world.store.write(lambda conn: windows.forget(conn, week))
        assert guarded_world.counts() == before
