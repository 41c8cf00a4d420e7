"""The last active owner stays, when several owners end at once at a remote, and each asker is told what helps."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from agent.directory.port import Written
from agent.model.codes import RefusalCode, Source
from agent.model.errors import Refused
from agent.store.engine import Store
from support.place import OWNERS, Place, okta_id, remote_place
from support.remotes import Held, Remote
from support.sloppy import KEY, Sloppy
from support.world import RAISED, World, open_world


def refusal(future: "Future[Written]") -> RefusalCode | None:
    error = future.exception(30)
    assert error is None or isinstance(error, Refused)
    return None if error is None else error.reason


@pytest.mark.parametrize("source", [Source.PUSH, Source.SWEEP])
def test_of_two_owners_deactivated_at_once_one_stays(sloppy_place: Place, sloppy: Sloppy, source: Source) -> None:
    owners = [sloppy_place.owner(name) for name in OWNERS]
    ends = [sloppy_place.begin_change(user, active=False, source=source) for user in owners]
    assert sorted(map(str, map(refusal, ends))) == sorted(["None", str(RefusalCode.LAST_OWNER)])
    assert sum(user["active"] for user in sloppy.users.values()) == 1


def test_an_owner_who_ends_while_the_others_are_read_is_no_other(sqlite_store: Store, sloppy: Sloppy) -> None:
    """A's end was under way when B's began, and is done before B has read who is left: A was read as active."""
    names = ("a@example.com", "b@example.com", "c@example.com")
    with remote_place(sqlite_store, Remote(sloppy.url, KEY), owners=names) as place:
        a, b, c = (place.post(name, okta=okta_id(n)).user for n, name in enumerate(names))
        place.change(c, active=False)
        ending = Held(place.directory, lambda method, path, _: method == "PATCH" and path.endswith(a.id))
        a_ends = place.begin_change(a, active=False)
        ending.wait()
        reading = Held(place.directory, lambda method, _, params: names[2] in params.get("filter", ""))
        b_ends = place.begin_change(b, active=False)
        reading.wait()
        ending.release()
        assert refusal(a_ends) is None
        reading.release()
        assert refusal(b_ends) is RefusalCode.LAST_OWNER
        assert still_active(sloppy, list(names)) == [names[1]]


@pytest.mark.parametrize(
    ("source", "words"), [(Source.PUSH, "then retry the task"), (Source.CLI, "in OpsHelm's dashboard first")]
)
def test_the_last_owner_s_refusal_says_what_whoever_asked_can_do(
    sloppy_place: Place, source: Source, words: str
) -> None:
    owner = sloppy_place.owner(OWNERS[0])
    with pytest.raises(Refused) as caught:
        sloppy_place.change(owner, active=False, source=source)
    assert caught.value.reason is RefusalCode.LAST_OWNER
    assert words in caught.value.detail
    assert ("retry the task" in caught.value.detail) is (source is Source.PUSH)


def still_active(sloppy: Sloppy, names: list[str]) -> list[str]:
    return [user["userName"] for user in sloppy.users.values() if user["userName"] in names and user["active"]]


def ended(world: World, names: list[str]) -> list[tuple[str, str | None]]:
    """What a run did with these people, whom Okta deactivated."""
    report = world.reconcile()
    assert report.plan is not None
    return sorted(
        (action.state.value, None if action.held is None else action.held.value)
        for action in report.plan.plan.actions
        if action.login in names
    )


@pytest.mark.parametrize("by_roles", [False, True])
def test_of_two_owners_in_one_plan_the_later_is_held_and_stays(tmp_path: Path, sloppy: Sloppy, by_roles: bool) -> None:
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        world.first_run()
        leavers = world.people()[:2]
        names = [person["login"] for person in leavers]
        world.directory.close()
        world.configure(guard=RAISED, directory={"owners": ()} if by_roles else {"owners": tuple(names)})
        if by_roles:
            for user in sloppy.users.values():
                user["roles"] = [{"value": "owner" if user["userName"] in names else "member"}]
        for person in leavers:
            world.org.set_user(person["okta_id"], status="DEPROVISIONED")
        assert ended(world, names) == [("done", None), ("held", "last_owner")]
        assert len(still_active(sloppy, names)) == 1
        # The next run keeps the plan that waits for a person.
        assert world.reconcile().outcome.value == "held"
        assert len(still_active(sloppy, names)) == 1
        world.remote.client.close()
