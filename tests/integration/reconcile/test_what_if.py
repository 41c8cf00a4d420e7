"""A plan under other settings: made on a copy that is thrown away, so that nothing of it reaches the real database."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.cli.root import run
from support.world import World, open_world

Tried = Callable[..., tuple[int, str, str]]


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Any:
    with open_world(tmp_path, users=8, url=database_url) as w:
        w.first_run()
        (tmp_path / "agent.toml").write_text(
            f'[okta]\norg_url = "{w.org.url}"\napp_id = "{w.org.app_id}"\napi_token = "{w.org.token}"\n'
            f'[database]\nurl = "{database_url}"\n'
        )
        yield w


@pytest.fixture
def tried(world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Tried:
    def what_if(*settings: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        capsys.readouterr()
        given = [part for one in settings for part in ("--what-if", one)]
        code = run(["--config", str(tmp_path / "agent.toml"), "reconcile", *given, *options])
        return code, *capsys.readouterr()

    return what_if


def everything(w: World) -> list[Any]:
    with w.store.read() as conn:
        return [
            sorted(map(str, conn.exec_driver_sql(f"SELECT * FROM {name}").all()))
            for name in ("users", "account", "runs", "plans", "holds", "journal", "findings")
        ]


def test_another_policy_makes_another_plan_and_nothing_stays(world: World, tried: Tried) -> None:
    person = world.take()
    world.org.api("POST", f"/users/{person['okta_id']}/lifecycle/suspend")
    assert world.reconcile().outcome == "in_step"
    before = everything(world)
    code, said, _ = tried("policy.suspended=deactivate", options=("--detailed-exitcode",))
    assert code == 3
    assert f"deactivate  {person['login']}" in said
    assert "nothing of it can be approved" in said
    assert "checksum" not in said
    assert everything(world) == before
    assert tried("policy.suspended=keep", options=("--detailed-exitcode",))[0] == 0


def test_another_mapping_is_tried_without_touching_anybody_s_projection(world: World, tried: Tried) -> None:
    person = world.take()
    world.org.set_app_user(person["okta_id"], profile={"costCenter": "Rehearsed"})
    world.reconcile()
    before = everything(world)
    code, said, _ = tried("mapping.costCenter=nickName", options=("--output", "json"))
    assert code == 0
    found = json.loads(said)
    mine = next(action for action in found["actions"] if action["login"] == person["login"])
    assert mine["changes"]["nickName"] == {"before": None, "after": "Rehearsed"}
    assert found["what_if"] == ["mapping.costCenter=nickName"]
    assert everything(world) == before


def test_another_limit_shows_what_it_would_hold(world: World, tried: Tried) -> None:
    for person in (world.take(), world.take()):
        world.org.api("DELETE", f"/apps/{world.org.app_id}/users/{person['okta_id']}")
    assert "deactivations_per_run" not in tried("guard.deactivations_floor=3")[1]
    code, said, _ = tried("guard.deactivations_floor=1", options=("--detailed-exitcode",))
    assert code == 4
    assert "deactivations_per_run" in said


@pytest.mark.parametrize("wrong", ["policy", "database.url=sqlite://", "policy.suspended", "okta.api_token=x"])
def test_only_rules_can_be_tried(tried: Tried, wrong: str) -> None:
    code, _, said = tried(wrong)
    assert code == 2
    assert "NAME=VALUE" in said


def test_a_rehearsal_is_not_applied(tried: Tried) -> None:
    code, _, said = tried("policy.suspended=deactivate", options=("--apply",))
    assert code == 2
    assert "only plans" in said


def test_a_value_that_no_setting_takes_is_named(tried: Tried) -> None:
    code, _, said = tried("policy.suspended=perhaps")
    assert code == 2
    assert "policy.suspended" in said
