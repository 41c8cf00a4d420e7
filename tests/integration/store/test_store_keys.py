"""API keys: shown once, two alive during a roll, ended at once by a revoke."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from agent.daemon.housekeeping import Housekeeping
from agent.model.errors import UsageError
from agent.settings import Settings
from agent.store import alarms, keys
from agent.store.engine import Store
from agent.store.journal import Signature
from agent.store.tables import journal, metadata

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
GRACE = timedelta(hours=24)


def create(store: Store, name: str = "okta", **more) -> tuple[keys.ApiKey, str]:
    return store.write(
        lambda conn: keys.create(conn, Signature(actor="operator", source="test", at=NOW), name=name, **more)
    )


def roll(store: Store, now: datetime = NOW) -> tuple[keys.ApiKey, str]:
    return store.write(
        lambda conn: keys.roll(conn, Signature(actor="operator", source="test", at=now), name="okta", grace=GRACE)
    )


def find(store: Store, secret: str) -> keys.ApiKey | None:
    with store.read() as conn:
        return keys.find(conn, keys.digest(secret))


def works(store: Store, secret: str, now: datetime = NOW) -> bool:
    key = find(store, secret)
    return key is not None and key.valid(now)


def test_a_key_is_found_by_its_digest_alone(store: Store) -> None:
    made, secret = create(store)
    assert secret.startswith("oha_")
    assert len(secret) >= 47
    assert find(store, secret) == made
    assert find(store, secret[:-1] + ("a" if secret[-1] != "a" else "b")) is None


def test_the_secret_is_kept_nowhere(store: Store) -> None:
    _, secret = create(store)
    with store.read() as conn:
        for table in metadata.sorted_tables:
            for row in conn.execute(select(table)):
                assert secret not in str(row)


def test_a_key_is_told_from_others_by_its_beginning_and_its_end(store: Store) -> None:
    made, secret = create(store)
    assert made.shown == f"{secret[:10]}…{secret[-4:]}"
    with store.read() as conn:
        assert [key.shown for key in keys.list_all(conn)] == [made.shown]


def test_a_live_name_is_not_made_twice(store: Store) -> None:
    create(store)
    with pytest.raises(UsageError, match="keys roll okta"):
        create(store)


def test_a_roll_keeps_the_old_one_for_its_grace(store: Store) -> None:
    _, old = create(store)
    _, new = roll(store)
    assert works(store, old)
    assert works(store, new)
    ended = NOW + GRACE + keys.SLACK
    assert works(store, old, ended - timedelta(seconds=1))
    assert not works(store, old, ended)
    assert works(store, new, ended)


def test_at_most_two_are_alive(store: Store) -> None:
    _, first = create(store)
    _, second = roll(store)
    _, third = roll(store)
    assert [works(store, secret) for secret in (first, second, third)] == [False, True, True]


def test_a_roll_keeps_the_scope(store: Store) -> None:
    create(store, scope=keys.KeyScope.METRICS)
    assert roll(store)[0].scope is keys.KeyScope.METRICS


def test_a_revoke_ends_all_of_that_name_at_once(store: Store) -> None:
    secrets = [create(store)[1], roll(store)[1]]
    other = create(store, "other")[1]
    count = store.write(lambda conn: keys.revoke(conn, Signature(actor="operator", source="test", at=NOW), name="okta"))
    assert count == 2
    assert [works(store, secret) for secret in (*secrets, other)] == [False, False, True]
    with pytest.raises(UsageError, match="no live key"):
        store.write(lambda conn: keys.revoke(conn, Signature(actor="operator", source="test", at=NOW), name="okta"))


def test_an_expired_key_ends_with_slack_for_clocks(store: Store) -> None:
    _, secret = create(store, expires=NOW + timedelta(hours=1))
    assert works(store, secret, NOW + timedelta(hours=1, seconds=59))
    assert not works(store, secret, NOW + timedelta(hours=1, seconds=60))


def test_late_use_of_an_old_key_is_an_alarm(store: Store) -> None:
    _, old = create(store)
    roll(store)
    for hours, expected in ((17, set()), (19, {"old_key_in_use"})):
        at = NOW + timedelta(hours=hours)
        key = find(store, old)
        assert key is not None
        store.write(lambda conn, key=key, at=at: keys.touch(conn, key, at))
        with store.read() as conn:
            assert {alarm.code for alarm in alarms.open_alarms(conn)} == expected
    key = find(store, old)
    assert key is not None
    assert key.last_used == NOW + timedelta(hours=19)


def test_the_end_of_the_last_key_is_an_alarm_until_there_is_another(store: Store) -> None:
    keeper_at = NOW

    def open_codes(days: float) -> set[str]:
        nonlocal keeper_at
        keeper_at = NOW + timedelta(days=days)
        keeper.tick()
        with store.read() as conn:
            return {alarm.code for alarm in alarms.open_alarms(conn)}

    keeper = Housekeeping(store, Settings, lambda: keeper_at)
    assert open_codes(0) == set(), "no key, and nobody wants one yet"
    create(store, expires=NOW + timedelta(days=365))
    create(store, name="metrics", scope=keys.KeyScope.METRICS, expires=NOW + timedelta(days=1))
    assert open_codes(350) == set()
    assert open_codes(352) == {"last_key_ends"}
    assert open_codes(366) == {"last_key_ends"}
    create(store, name="next", expires=NOW + timedelta(days=1000))
    assert open_codes(366) == set()


def test_what_is_done_with_keys_is_journalled(store: Store) -> None:
    create(store)
    roll(store)
    store.write(lambda conn: keys.revoke(conn, Signature(actor="operator", source="test", at=NOW), name="okta"))
    with store.read() as conn:
        rows = conn.execute(select(journal.c.verb, journal.c.actor, journal.c.source).order_by(journal.c.id)).all()
    assert [row.verb for row in rows] == ["keys create", "keys roll", "keys revoke", "keys revoke"]
    assert {(row.actor, row.source) for row in rows} == {("operator", "test")}
