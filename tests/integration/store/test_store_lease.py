"""One holder at a time, on the taker's own clock; who lost it writes nothing more."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import Connection, update

from agent.model.errors import FenceLost, LeaseHeld
from agent.settings import DatabaseSettings
from agent.store import lease
from agent.store.engine import Store
from agent.store.tables import lease as table

LONG = timedelta(minutes=10)


class Clock:
    """A monotonic clock that a test moves; waiting for a stop that doesn't come moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def is_set(self) -> bool:
        return False

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(lease, "time", clock)
    return clock


def acquire(store: Store, holder: str, *, ttl: timedelta = LONG, **patience) -> lease.Lease | None:
    return lease.acquire(store, "reconcile", holder, ttl, lease.Patience(**patience))


def test_one_holder_at_a_time(store: Store) -> None:
    first = acquire(store, "a")
    assert first is not None
    assert acquire(store, "b") is None
    assert store.ask(lambda conn: lease.current_holder(conn, "reconcile")) == "a"
    first.release()
    second = acquire(store, "b")
    assert second is not None
    assert second.fence > first.fence
    second.release()


def test_leases_of_two_names_do_not_meet(store: Store) -> None:
    with lease.held(store, "reconcile", "a", LONG) as one, lease.held(store, "seal", "a", LONG) as two:
        assert one.fence != two.fence


def test_held_says_who_holds_it(store: Store) -> None:
    with (
        lease.held(store, "reconcile", "host-a", LONG),
        pytest.raises(LeaseHeld, match="host-a"),
        lease.held(store, "reconcile", "host-b", LONG),
    ):
        pass


def test_a_heartbeat_that_stands_still_is_taken_over(store: Store, clock: Clock) -> None:
    frozen = acquire(store, "a")
    assert frozen is not None
    taken = acquire(store, "b", seconds=LONG.total_seconds() + 5, stop=clock)
    assert taken is not None
    with pytest.raises(FenceLost):
        frozen.heartbeat()
    with pytest.raises(FenceLost):
        store.write(lambda conn: lease.check(conn, frozen.fence))
    store.write(lambda conn: lease.check(conn, taken.fence))
    frozen.release()
    assert store.ask(lambda conn: lease.current_holder(conn, "reconcile")) == "b", "who lost it releases nothing"
    taken.release()


def test_who_lets_go_of_it_has_lost_it_for_what_comes_later_in_the_same_transaction(store: Store) -> None:
    held = acquire(store, "a")
    assert held is not None
    begun, go_on = threading.Event(), threading.Event()

    def hold_up(_: Connection) -> None:
        begun.set()
        go_on.wait(30)

    def look(conn: Connection) -> None:
        lease.check(conn, held.fence)

    busy = store.submit(hold_up)
    begun.wait(30)
    before = store.submit(look)
    letting_go = threading.Thread(target=held.release)
    letting_go.start()
    while store._queue.qsize() < 2:  # noqa: SLF001 - nothing else tells what waits
        letting_go.join(0.01)
    after = store.submit(look)
    go_on.set()
    letting_go.join(30)
    busy.result(30)
    before.result(30)
    with pytest.raises(FenceLost):
        after.result(30)


def test_a_heartbeat_that_moves_keeps_it(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    alive = acquire(store, "a")
    assert alive is not None

    def wait(seconds: float) -> None:
        clock.now += seconds * 100
        alive.heartbeat()

    monkeypatch.setattr(clock, "wait", wait)
    assert acquire(store, "b", seconds=3 * LONG.total_seconds(), stop=clock) is None
    alive.release()


def test_waiting_is_said_once_and_ends_when_it_is_free(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = acquire(store, "a")
    assert first is not None
    told: list[str] = []
    pauses = iter([False, False, True])

    def wait(seconds: float) -> None:
        clock.now += seconds
        if next(pauses):
            first.release()

    monkeypatch.setattr(clock, "wait", wait)
    second = acquire(store, "b", seconds=60, told=told.append, stop=clock)
    assert second is not None
    assert told == ["a"]
    second.release()


def test_a_wait_for_it_ends_when_the_process_is_asked_to_stop(store: Store) -> None:
    first, stop = acquire(store, "a"), threading.Event()
    assert first is not None
    assert acquire(store, "b", seconds=3600, told=lambda _who: stop.set(), stop=stop) is None
    first.release()


def test_the_heartbeat_goes_by_itself(store: Store) -> None:
    with lease.held(store, "reconcile", "a", timedelta(seconds=0.03)):
        seen = threading.Event()

        def beat() -> int:
            with store.read() as conn:
                return conn.execute(table.select()).one().heartbeat

        before = beat()
        for _ in range(1000):
            if beat() > before:
                seen.set()
                break
            seen.wait(0.01)
        assert seen.is_set()


def test_of_many_takers_one_gets_it(database: DatabaseSettings) -> None:
    stores = [Store.open(database) for _ in range(4)]
    barrier = threading.Barrier(4)
    got: list[lease.Lease | None] = []

    def take(number: int) -> None:
        barrier.wait(60)
        got.append(acquire(stores[number], str(number)))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    winners = [won for won in got if won is not None]
    assert len(got) == 4
    assert len(winners) == 1
    winners[0].release()
    for store in stores:
        store.close()


def test_a_stale_fence_stops_a_guarded_write(store: Store) -> None:
    from agent.model.codes import Source
    from agent.settings import Settings
    from support.place import ROOMY, Place

    world = Place(store, Settings(guard=ROOMY))
    (user,) = world.managed()
    held = acquire(store, "a")
    assert held is not None
    assert world.change(user, source=Source.SWEEP, fence=held.fence, title="a").changed
    store.write(lambda conn: conn.execute(update(table).values(fence=held.fence + 1)).rowcount)
    before = len(world.journal())
    with pytest.raises(FenceLost):
        world.change(user, source=Source.SWEEP, fence=held.fence, title="b")
    assert len(world.journal()) == before
    held.release()
