"""Whoever follows sees each push, run, repair and hold once, as it happens."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.store import happenings
from agent.store.happenings import FollowedTo, Happening
from support.world import World, open_world


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    with open_world(tmp_path, users=6, url=database_url) as w:
        w.first_run()
        yield w


def seen(w: World, place: FollowedTo) -> tuple[list[Happening], FollowedTo]:
    with w.store.read() as conn:
        return happenings.newer(conn, place)


def test_everything_is_told_once_in_its_order(world: World) -> None:
    with world.store.read() as conn:
        place = happenings.now(conn)
    assert seen(world, place)[0] == []
    person = world.take()
    world.org.set_app_user(person["okta_id"], profile={"title": "New"})
    run = world.reconcile()
    found, place = seen(world, place)
    told = [(one.what, one.verb, one.login) for one in found]
    assert told == [("run", "begun", ""), ("repair", "update", person["login"]), ("run", "applied", "")]
    assert found[0].detail.startswith(f"run {run.run_id}, sweep")
    assert seen(world, place)[0] == []
    world.reconcile(person["login"])
    assert [(one.what, one.verb) for one in seen(world, place)[0]] == [("look", "begun"), ("look", "in_step")]


def test_a_hold_is_told_when_it_opens_and_when_it_ends(world: World) -> None:
    world.configure(guard={"deactivations_floor": 1})
    leavers = [world.take(), world.take()]
    with world.store.read() as conn:
        place = happenings.now(conn)
    for person in leavers:
        world.org.api("DELETE", f"/apps/{world.org.app_id}/users/{person['okta_id']}")
    world.reconcile()
    found, place = seen(world, place)
    opened = {(one.login, one.verb) for one in found if one.what == "hold"}
    assert opened == {(person["login"], "deactivate deactivations_per_run") for person in leavers}
    world.configure(guard={"deactivations_floor": 5})
    world.reconcile()
    found, _ = seen(world, place)
    ended = {(one.login, one.verb) for one in found if one.what == "hold"}
    assert ended == {(person["login"], "deactivate deactivations_per_run: done") for person in leavers}
