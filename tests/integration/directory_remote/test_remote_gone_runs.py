"""Runs of the reconciler over a remote where somebody deleted accounts."""

from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.directory.remote.mirror import LAG
from support.remotes import QUICK, Remote
from support.sloppy import KEY, Reply, Sloppy
from support.world import OWNER, World, open_world


def started(world: World, sloppy: Sloppy) -> str:
    """Everybody is there and linked; the login of one person."""
    sloppy.add(OWNER)
    world.first_run()
    login: str = world.people()[3]["login"]
    world.ahead += LAG + timedelta(minutes=1)
    return login


def test_a_run_makes_an_account_again_that_was_deleted_at_the_remote(tmp_path: Path, sloppy: Sloppy) -> None:
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        login = started(world, sloppy)
        del sloppy.users[world.account(login).id]
        report = world.reconcile()
        assert report.plan is not None
        done = [(action.kind.value, action.state.value) for action in report.plan.plan.actions]
        assert (report.outcome.value, done) == ("applied", [("create", "done")])
        assert world.account(login).managed
        assert world.reconcile().outcome.value == "in_step"
        world.remote.client.close()


def test_an_account_that_is_deleted_right_after_the_agents_own_write_is_made_again_at_once(
    tmp_path: Path, sloppy: Sloppy
) -> None:
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        login = started(world, sloppy)
        user = sloppy.users[world.account(login).id]
        user["title"] = "Somebody else"
        assert world.reconcile().outcome.value == "applied"
        del sloppy.users[user["id"]]
        report = world.reconcile()
        assert report.plan is not None
        assert [action.kind.value for action in report.plan.plan.actions] == ["create"]
        assert world.account(login).managed
        assert world.reconcile().outcome.value == "in_step"
        world.remote.client.close()


def test_an_account_that_a_lagging_list_does_not_show_yet_is_not_made_again(tmp_path: Path, sloppy: Sloppy) -> None:
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        login = started(world, sloppy)
        user = sloppy.users[world.account(login).id]
        user["title"] = "Somebody else"
        assert world.reconcile().outcome.value == "applied"
        sloppy.stale = {user_id: one for user_id, one in sloppy.users.items() if user_id != user["id"]}
        made = sloppy.count("POST")
        assert world.reconcile().outcome.value == "in_step"
        assert sloppy.count("POST") == made
        world.remote.client.close()


@pytest.mark.parametrize(
    "answer",
    [Reply(200, {"id": ["odd"]}), Reply(500, {"detail": "broken"}), Reply(403, {"detail": "not that one"})],
    ids=["unreadable", "a 500", "a 403"],
)
def test_an_account_that_the_list_leaves_out_and_no_read_shows_ends_no_run(
    tmp_path: Path, sloppy: Sloppy, answer: Reply
) -> None:
    """It may well be there: it is neither made again nor touched, and everybody else is repaired."""
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        login = started(world, sloppy)
        user = sloppy.users[world.account(login).id]
        user["title"] = "Somebody else"
        assert world.reconcile().outcome.value == "applied"
        world.directory.transport.most_patience = 0.03
        sloppy.stale = {user_id: one for user_id, one in sloppy.users.items() if user_id != user["id"]}
        sloppy.scripted = lambda _, call: answer if call.path.endswith(f"/Users/{user['id']}") else None
        other = sloppy.users[world.account(world.people()[1]["login"]).id]
        other["title"] = "Somebody else"
        sloppy.stale = {**sloppy.stale, other["id"]: dict(other)}
        report = world.reconcile()
        assert report.plan is not None
        done = [(action.kind.value, action.state.value) for action in report.plan.plan.actions]
        assert (report.outcome.value, done) == ("applied", [("update", "done")])
        assert other["title"] != "Somebody else"
        world.remote.client.close()


@pytest.mark.parametrize("most", [1, 2])
def test_of_many_whom_a_lagging_list_leaves_out_nobody_is_read_one_by_one(
    tmp_path: Path, sloppy: Sloppy, most: int
) -> None:
    """They count as there: a list that is far behind must not cost a call for each, nor accounts made twice."""
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        world.restart(replace(QUICK, one_by_one=most))
        started(world, sloppy)
        late = [world.account(person["login"]).id for person in world.people()[:2]]
        for user_id in late:
            sloppy.users[user_id]["title"] = "Somebody else"
        assert world.reconcile().outcome.value == "applied"
        sloppy.stale = {user_id: one for user_id, one in sloppy.users.items() if user_id not in late}
        sloppy.calls.clear()
        assert world.reconcile().outcome.value == "in_step"
        read = {call.path.rpartition("/")[2] for call in sloppy.calls} & set(late)
        assert read == (set(late) if most == 2 else set())
        assert sloppy.count("POST") == 0
        world.remote.client.close()


@pytest.mark.parametrize("most", [1, 200])
def test_whom_a_list_leaves_out_and_a_read_finds_is_not_made_again(tmp_path: Path, sloppy: Sloppy, most: int) -> None:
    """It ends at some number, and calls that all. Too many to read: the listing isn't whole, and the run says so."""
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        world.restart(replace(QUICK, one_by_one=most))
        started(world, sloppy)
        left = [world.account(person["login"]).id for person in world.people()[:3]]
        sloppy.stale = {user_id: one for user_id, one in sloppy.users.items() if user_id not in left}
        made = sloppy.count("POST")
        for _ in range(2):
            report = world.reconcile()
            if most > 1:
                assert report.outcome.value == "in_step"
            else:
                assert report.outcome.value == "incomplete"
                assert "leaves out active accounts of Okta's people (3)" in report.detail
        assert sloppy.count("POST") == made
        sloppy.users[left[0]]["active"] = False
        del sloppy.users[left[1]]
        if most > 1:
            report = world.reconcile()
            assert report.plan is not None
            assert {action.kind.value for action in report.plan.plan.actions} == {"create", "reactivate"}
        world.remote.client.close()
