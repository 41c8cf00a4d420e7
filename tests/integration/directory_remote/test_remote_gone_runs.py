"""Runs of the reconciler over a remote where somebody deleted accounts."""

from datetime import timedelta
from pathlib import Path

from remote_world import OWNER, RemoteWorld, remote_world
from remotes import Remote
from sloppy import KEY, Sloppy

from agent.directory.remote.reading import LAG


def started(world: RemoteWorld, sloppy: Sloppy) -> str:
    """Everybody is there and linked; the login of one person."""
    sloppy.add(OWNER)
    world.first_run()
    login: str = world.people()[3]["login"]
    world.ahead += LAG + timedelta(minutes=1)
    return login


def test_a_run_makes_an_account_again_that_was_deleted_at_the_remote(tmp_path: Path, sloppy: Sloppy) -> None:
    with remote_world(Remote(sloppy.url, KEY), tmp_path) as world:
        login = started(world, sloppy)
        del sloppy.users[world.account(login).id]
        report = world.reconcile()
        assert report.plan is not None
        done = [(action.kind.value, action.state.value) for action in report.plan.plan.actions]
        assert (report.outcome.value, done) == ("applied", [("create", "done")])
        assert world.account(login).managed
        assert world.reconcile().outcome.value == "in_step"
        world.remote.client.close()
