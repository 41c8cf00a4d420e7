"""A dead holder is noticed by who only tries now and then, as the daemon does: each try waits for nothing."""

from datetime import timedelta

import pytest

from agent.store import lease
from agent.store.engine import Store

#: A holder's heart beats every third of it: not before a test is over.
TTL = timedelta(seconds=60)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lease, "time", made)
    return made


def test_tries_without_waiting_take_over_after_the_ttl(store: Store, clock: Clock) -> None:
    dead = lease.acquire(store, lease.RECONCILE, "dead:1", TTL)
    assert dead is not None
    assert lease.acquire(store, lease.RECONCILE, "me:2", TTL) is None
    clock.now += 59
    assert lease.busy(store, lease.RECONCILE, TTL) == "dead:1"
    assert lease.acquire(store, lease.RECONCILE, "me:2", TTL) is None
    clock.now += 2
    assert lease.busy(store, lease.RECONCILE, TTL) is None
    taken = lease.acquire(store, lease.RECONCILE, "me:2", TTL)
    assert taken is not None
    taken.release()
    dead.release()


def test_a_heartbeat_between_two_tries_keeps_it(store: Store, clock: Clock) -> None:
    held = lease.acquire(store, lease.RECONCILE, "alive:1", TTL)
    assert held is not None
    for _ in range(3):
        assert lease.acquire(store, lease.RECONCILE, "me:2", TTL) is None
        clock.now += 50
        held.heartbeat()
    assert lease.busy(store, lease.RECONCILE, TTL) == "alive:1"
    held.release()
    assert lease.busy(store, lease.RECONCILE, TTL) is None
