"""Two accounts of a remote whose userNames differ in case alone: nobody guesses which of them is meant, and others go on."""

from datetime import timedelta

import pytest

from agent.model.errors import Unreadable
from support.place import Place, okta_id
from support.sloppy import Sloppy
from support.world import World


def test_a_run_takes_neither_and_goes_on_with_the_others(world: World, sloppy: Sloppy) -> None:
    new = world.okta_user("twin@example.com")
    world.org.api("POST", f"/apps/{world.org.app_id}/users", {"id": new})
    first, second = sloppy.add("twin@example.com"), sloppy.add("Twin@example.com")
    world.ahead += timedelta(hours=1)
    other = world.people()[2]
    world.change(other["login"], title="Drifted")
    before = {user_id: dict(sloppy.users[user_id]) for user_id in (first, second)}
    report = world.reconcile()
    assert report.plan is not None
    assert [a.login for a in report.plan.plan.actions] == [other["login"]]
    told = {(f.code.value, f.directory_id) for f in report.findings}
    assert {("duplicate_listed", first), ("duplicate_listed", second)} <= told
    assert before == {user_id: sloppy.users[user_id] for user_id in (first, second)}
    # Somebody renames one of them: the other one is the person's.
    sloppy.users[second]["userName"] = "other@example.com"
    assert world.reconcile().outcome.value == "applied"
    assert world.account("twin@example.com").id == first
    assert world.reconcile().outcome.value == "in_step"


@pytest.mark.parametrize("listed", [False, True])
def test_a_push_is_told_so(sloppy_place: Place, sloppy: Sloppy, listed: bool) -> None:
    sloppy.add("twin@example.com")
    sloppy.add("Twin@example.com")
    if listed:
        list(sloppy_place.directory.everyone())
    with pytest.raises(Unreadable, match="Several accounts"):
        sloppy_place.directory.find(user_name_key="twin@example.com")
    with pytest.raises(Unreadable, match="Several accounts"):
        sloppy_place.post("twin@example.com", okta=okta_id(1))
    assert len(sloppy.users) == 2
    assert sloppy_place.post("ann@example.com", okta=okta_id(2)).created


@pytest.mark.parametrize("names", [("twin@example.com", "Twin@example.com"), ("Twin@example.com", "twin@example.com")])
def test_the_one_that_is_linked_is_meant(sloppy_place: Place, sloppy: Sloppy, names: tuple[str, str]) -> None:
    mine = sloppy_place.post(names[0], okta=okta_id(1)).user
    sloppy.add(names[1])
    list(sloppy_place.directory.everyone())
    for _ in range(2):
        found = sloppy_place.directory.find(user_name_key="twin@example.com")
        assert found is not None
        assert found.id == mine.id
        sloppy_place.restart()


def test_one_of_them_may_be_renamed_in_case_alone(sloppy_place: Place, sloppy: Sloppy) -> None:
    """The row of the one that is not meant stays without its name."""
    mine = sloppy_place.post("twin@example.com", okta=okta_id(1)).user
    other = sloppy.add("Twin@example.com")
    list(sloppy_place.directory.everyone())
    for name in ("TWIN@example.com", "tWIN@example.com"):
        sloppy.users[other]["userName"] = name
        list(sloppy_place.directory.everyone())
        found = sloppy_place.directory.find(user_name_key="twin@example.com")
        assert found is not None
        assert found.id == mine.id
