"""No path takes the last active owner away, and two at once don't race past the check."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, delete

from agent.directory.rules import AccountChange
from agent.model.codes import RefusalCode, Source
from agent.model.errors import Refused
from agent.model.users import DirectoryUser, Role
from agent.settings import DatabaseSettings, Settings
from agent.store import account
from agent.store.engine import Store
from agent.store.tables import users
from support.place import ROOMY, Place


def _left(owner: DirectoryUser) -> DirectoryUser:
    return replace(owner, active=False, role=Role.MEMBER)


@pytest.mark.parametrize("source", list(Source))
def test_no_source_deactivates_the_last_owner(world: Place, source: Source) -> None:
    (owner,) = world.managed(role=Role.OWNER)
    assert world.refused(lambda: world.change(owner, source=source, active=False)) is RefusalCode.LAST_OWNER
    assert world.get(owner) == owner
    assert world.alarms() == {"last_owner"}


def test_no_delete_takes_the_last_owner(world: Place) -> None:
    (owner,) = world.managed(role=Role.OWNER)
    assert world.refused(lambda: world.delete(owner)) is RefusalCode.LAST_OWNER


def test_nor_a_suspension_nor_a_change_of_role(world: Place) -> None:
    (owner,) = world.managed(role=Role.OWNER)
    suspend = {"source": Source.SWEEP, "active": False, "suspended": True}
    assert world.refused(lambda: world.change(owner, **suspend)) is RefusalCode.LAST_OWNER
    assert world.refused(lambda: world.act(owner, role=Role.MEMBER)) is RefusalCode.LAST_OWNER


def test_an_approval_does_not_lift_it(world: Place) -> None:
    (owner,) = world.managed(role=Role.OWNER)
    force = {"source": Source.SWEEP, "active": False, "exempt": True}
    assert world.refused(lambda: world.change(owner, **force)) is RefusalCode.LAST_OWNER


@pytest.mark.parametrize("fields", [{}, {"protected": True}])
def test_local_and_protected_owners_count(world: Place, fields: dict[str, bool]) -> None:
    (owner,) = world.managed(role=Role.OWNER)
    world.local(role=Role.OWNER, **fields)
    assert world.change(owner, active=False).changed


def test_inactive_owners_do_not_count(world: Place) -> None:
    owner, suspended = world.managed(2, role=Role.OWNER)
    world.change(suspended, source=Source.SWEEP, active=False, suspended=True)
    assert world.refused(lambda: world.change(owner, active=False)) is RefusalCode.LAST_OWNER


def test_without_any_owner_nothing_is_blocked(world: Place) -> None:
    (user,) = world.managed()
    assert world.change(user, active=False).changed


def test_the_detail_says_what_to_do(world: Place) -> None:
    (owner,) = world.managed(role=Role.OWNER)
    with pytest.raises(Refused, match=r"owner handover --to OTHER --deactivate person1@example\.com"):
        world.change(owner, active=False)
    with pytest.raises(Refused, match="retry the task"):
        world.change(owner, active=False)


def test_of_two_last_owners_exactly_one_goes_in_one_process(world: Place) -> None:
    owners = world.managed(2, role=Role.OWNER)
    futures = [world.directory.change(AccountChange(owner.id, _left, world.context()), world.now) for owner in owners]
    outcomes = [future.exception(10) for future in futures]
    assert sorted(isinstance(outcome, Refused) for outcome in outcomes) == [False, True]
    assert world.account().active_owners == 1


def test_of_two_last_owners_exactly_one_goes_in_two_agents(database: DatabaseSettings) -> None:
    stores = [Store.open(database), Store.open(database)]
    worlds = [Place(store, Settings(guard=ROOMY)) for store in stores]
    for _ in range(5):
        owners = worlds[0].managed(2, role=Role.OWNER)
        barrier = threading.Barrier(2)

        def leave(pair: tuple[Place, str], barrier: threading.Barrier = barrier) -> bool:
            world, user_id = pair
            barrier.wait(60)
            off = world.directory.change(AccountChange(user_id, _left, world.context()), world.now)
            return off.exception(20) is None

        with ThreadPoolExecutor(2) as pool:
            left = list(pool.map(leave, zip(worlds, [owner.id for owner in owners], strict=True)))
        assert sorted(left) == [False, True]
        assert worlds[1].account().active_owners == 1
        # The next two come before the one who stayed goes.
        keeper = worlds[0].local(role=Role.OWNER)
        worlds[0].act(owners[left.index(False)], active=False, role=Role.MEMBER)
        worlds[0].store.write(lambda conn, user=keeper: _forget(conn, user.id))
    for store in stores:
        store.close()


def _forget(conn: Connection, user_id: str) -> None:
    """An owner vanishes without a trace, as only a test can make it."""
    conn.execute(delete(users).where(users.c.id == user_id))
    account.count(conn, active_owners=-1, visible=-1)
