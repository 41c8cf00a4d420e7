"""``serve`` with Okta, as a process: pushes arrive, lost ones are repaired by the clock, keys end, a stop ends between batches."""

# ruff: noqa: F811 - fixtures are arguments by the same name

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.model.codes import ActionState
from agent.settings import DatabaseSettings
from agent.simulator import SimulatedOrg
from agent.store import plans, runs
from agent.store.engine import Store
from support.commands import command, document, folder  # noqa: F401 - fixtures
from support.listeners import WebhookReceiver
from support.processes import Daemon

Command = Callable[..., tuple[int, str, str]]
#: How long a revoked key may still be believed: 5 s, and what a busy machine adds.
REVOKED_WITHIN = 30.0


def settings(folder: Path, org: SimulatedOrg, more: str = "") -> None:
    text = f'[okta]\norg_url = "{org.url}"\napp_id = "{org.app_id}"\napi_token = "{org.token}"\n{more}'
    (folder / "agent.toml").write_text(text)


def user(url: str, key: str, login: str) -> tuple[int, dict[str, Any]]:
    query = urllib.parse.quote(f'userName eq "{login}"')
    request = urllib.request.Request(f"{url}/Users?filter={query}", headers={"Authorization": f"Bearer {key}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())["Resources"][0]
    except urllib.error.HTTPError as error:
        return error.code, {}


def test_pushes_arrive_and_lost_ones_are_repaired(folder: Path, command: Command) -> None:
    with SimulatedOrg.start(users=30) as org, WebhookReceiver() as watch:
        beat = f'[notify]\nheartbeat_url = "{watch.url}/beat"\n'
        settings(folder, org, f'[schedule]\nreconcile = "1s"\n{beat}')
        key = command("keys", "create", "okta")[1].strip()
        with Daemon(folder) as daemon:
            assert (
                daemon.wait_for("run ended")["outcome"] == "held"
            )  # nothing is pinned, and everybody is to be created
            org.provisioning(scim_url=daemon.url, scim_key=key, push_waiting=True)
            org.wait_idle()
            daemon.wait_for_outcome("in_step")  # a first plan without actions pins at once
            leaver, changed = org.state()[:2]
            org.provisioning(mode="off")
            org.api("DELETE", f"/apps/{org.app_id}/users/{leaver['okta_id']}")
            org.api("POST", f"/users/{changed['okta_id']}", {"profile": {"title": "Captain"}})
            daemon.wait_for_outcome("applied")
            while not {"/beat/start", "/beat/4", "/beat"} <= {one.path for one in watch.got}:
                assert watch.wait(len(watch.got) + 1, 30), watch.got
            # The two may have been seen by two sweeps.
            daemon.wait_for_outcome("in_step", after="applied")
            assert user(daemon.url, key, leaver["login"])[1]["active"] is False
            assert user(daemon.url, key, changed["login"])[1]["title"] == "Captain"

            assert command("keys", "revoke", "okta", "--yes")[0] == 0
            deadline = time.monotonic() + REVOKED_WITHIN
            while user(daemon.url, key, leaver["login"])[0] == 200:
                assert time.monotonic() < deadline, "the revoked key still works"
            assert daemon.stop() == 0
            assert not [line for line in daemon.events if "@example" in json.dumps(line)]
            assert key not in json.dumps(daemon.events)


@pytest.mark.slow
def test_a_stop_lets_the_running_batch_finish_and_leaves_nothing_in_between(folder: Path, command: Command) -> None:
    people = 300
    with SimulatedOrg.start(users=people) as org:
        settings(folder, org, "[reconcile]\nbatch = 1\n")
        assert command("reconcile", "--apply", "--first-run", str(people))[0] == 0
        for person in org.state():
            org.api("POST", f"/users/{person['okta_id']}", {"profile": {"title": "Captain"}})
        store = Store.open(DatabaseSettings(url=f"sqlite:///{folder}/opshelm-agent.db"))
        try:
            with Daemon(folder) as daemon:
                while not states(store):
                    time.sleep(0.005)
                assert daemon.stop() == 0
            ended = states(store)
            with store.read() as conn:
                last = runs.recent(conn, 1)[0]
        finally:
            store.close()
    assert len(ended) == people
    assert set(ended) <= {ActionState.DONE, ActionState.PENDING}
    assert ended.count(ActionState.DONE) > 0
    assert last.ended is not None
    assert last.outcome == ("stopped" if ActionState.PENDING in ended else "applied")


def states(store: Store) -> list[ActionState]:
    """Of the newest plan's actions, once the first is done."""
    with store.read() as conn:
        newest = plans.recent(conn, 1)[0].plan.actions
    found = [action.state for action in newest if action.changes.get("title")]
    return found if newest[0].kind == "update" and ActionState.DONE in found else []
