"""A run is taken back at a remote OpsHelm too: by calls, and its accounts are as they were there."""

from pathlib import Path
from typing import Any

from agent.reconcile.undo import UndoRequest
from agent.runs.stored_plans import PlanDecision
from agent.store import holds
from agent.store.history import RowSelection
from agent.store.journal import Signature
from support.remotes import Remote
from support.sloppy import KEY, Sloppy
from support.world import World, open_world

_KEPT = ("userName", "active", "title", "name", "emails", "externalId")


def at_the_remote(sloppy: Sloppy) -> dict[str, Any]:
    return {key: {name: user.get(name) for name in _KEPT} for key, user in sloppy.users.items()}


def undo(w: World, run_id: int) -> str:
    by = Signature(actor="operator", source="cli", at=w.now())
    plan = w.reconciler.undo(UndoRequest(selection=RowSelection(run_id=run_id), reason="wrong"), by).plan
    assert plan is not None
    return w.reconciler.apply_plan(plan.id, plan.checksum, PlanDecision(approve=True), by=by, wait=0).outcome.value


def test_a_run_at_a_remote_is_taken_back_and_stays_so(tmp_path: Path, sloppy: Sloppy) -> None:
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as world:
        world.first_run()
        assert world.reconcile().outcome == "in_step"
        before = at_the_remote(sloppy)
        retitled, gone = world.take(), world.take()
        world.org.set_app_user(retitled["okta_id"], profile={"title": "Wrong"})
        world.org.api("DELETE", f"/apps/{world.org.app_id}/users/{gone['okta_id']}")
        run = world.reconcile()
        assert run.outcome == "applied"
        assert at_the_remote(sloppy) != before
        assert undo(world, run.run_id) == "applied"
        assert at_the_remote(sloppy) == before
        assert world.reconcile().outcome == "held"
        assert at_the_remote(sloppy) == before
        with world.store.read() as conn:
            assert {hold.login for hold in holds.open_holds(conn)} == {retitled["login"], gone["login"]}
        world.remote.client.close()
