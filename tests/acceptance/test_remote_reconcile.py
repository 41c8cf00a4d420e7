"""The whole reconcile with a remote OpsHelm: a second receiver of ours, scim2-server, SCIMMY. The same drift, the same end."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import test_reconcile_property as drift

from agent.model.codes import ActionState
from agent.model.users import Origin
from agent.store.journal import Signature
from support.remotes import Remote, node_missing, ours, scim2_server, scimmy
from support.sloppy import KEY, Call, Reply, sloppy_server
from support.world import OWNER, World, open_world


def no_account(w: World, _: random.Random, person: dict[str, Any], __: list[dict[str, Any]]) -> None:
    w.vanish(person["login"])


#: Roles are nothing that SCIM gives, so nobody becomes an owner here.
DRIFTS = [d for d in drift.DRIFTS if d not in (drift.no_account, drift.owner_renamed)]


@contextmanager
def remote_of(kind: str, folder: Path) -> Iterator[Remote]:
    if kind == "ours":
        with ours(folder / "remote") as remote:
            yield remote
    elif kind == "scim2":
        with scim2_server() as remote:
            yield remote
    else:
        missing = node_missing()
        if missing:
            pytest.skip(f"unmet need: {missing}")
        with scimmy(folder / "scimmy") as remote:
            yield remote


@pytest.mark.parametrize("kind", ["ours", "scim2", pytest.param("scimmy", marks=pytest.mark.slow)])
def test_one_reconcile_brings_any_drift_in_step_but_for_what_is_held(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A hidden account at a receiver of ours is still there for its own uniqueness rule: deleted is not gone.
    drifts = DRIFTS if kind == "ours" else [*DRIFTS, no_account]
    monkeypatch.setattr(drift, "DRIFTS", drifts)
    rnd = random.Random(7)
    with remote_of(kind, tmp_path) as remote, open_world(tmp_path, remote=remote, users=60, seed=7) as w:
        w.first_run()
        w.local(OWNER)
        w.local("kept@example.org")
        before = {name: user for name, user in w.accounts().items() if user.origin is Origin.LOCAL}
        assert set(before) == {OWNER, "kept@example.org"}
        held = drift.seed_drift(w, rnd, w.people(), 50)
        report = w.reconcile()
        assert report.exit_code == (4 if held else 0), (report.outcome, report.detail)
        assert report.plan is not None
        actions = report.plan.plan.actions
        assert [a for a in actions if not a.held and a.state is not ActionState.DONE] == []
        assert {a.okta_id: a.held.value for a in actions if a.held} == held
        assert drift.differences(w, held) == []
        accounts = w.accounts()
        assert {name: accounts[name] for name in before} == before
        rows = w.journal_rows()
        again = w.reconcile()
        assert again.plan is not None
        # The older plan goes on waiting with what it holds.
        open_ = [a for a in again.plan.plan.actions if a.state not in (ActionState.DONE, ActionState.STALE)]
        assert {a.okta_id for a in open_} == set(held)
        assert w.journal_rows() == rows


def test_a_listing_that_contradicts_itself_freezes_the_run(tmp_path: Path) -> None:
    with sloppy_server() as server, open_world(tmp_path, remote=Remote(server.url, KEY), users=12) as w:
        w.first_run()
        server.shape_list = lambda body: body | {"totalResults": 40}
        w.org.set_app_user(w.people()[0]["okta_id"], status="INACTIVE")
        writes = sum(call.writes for call in server.calls)
        report = w.reconcile()
        assert (report.outcome, report.exit_code) == ("incomplete", 1)
        assert "ended after" in report.detail
        assert sum(call.writes for call in server.calls) == writes
        w.remote.client.close()


def test_one_unreadable_account_is_reported_and_the_others_are_repaired(tmp_path: Path) -> None:
    with sloppy_server() as server, open_world(tmp_path, remote=Remote(server.url, KEY), users=6) as w:
        w.first_run()
        people = w.people()
        broken, leaver = w.account(people[0]["login"]), w.account(people[1]["login"])
        server.users[broken.id]["emails"] = "nonsense"
        for person in people[:2]:
            w.org.set_app_user(person["okta_id"], status="INACTIVE")
        report = w.reconcile()
        assert {f.code.value for f in report.findings} >= {"unreadable"}
        assert (server.users[leaver.id]["active"], server.users[broken.id]["active"]) == (False, True)
        # Nothing else happens to it: no second account under its name.
        assert len(server.users) == 6
        w.remote.client.close()


def test_without_known_owners_deactivations_are_held_and_all_else_goes_on(tmp_path: Path) -> None:
    with sloppy_server() as server, open_world(tmp_path, remote=Remote(server.url, KEY), users=6) as w:
        w.first_run()
        w.settings = w.settings.model_copy(update={"directory": w.settings.directory.model_copy(update={"owners": ()})})
        w.directory.renew(w.settings, Signature(actor="test", source="test", at=w.now()))
        people = w.people()
        w.org.set_app_user(people[0]["okta_id"], status="INACTIVE")
        w.org.set_app_user(people[1]["okta_id"], profile={"title": "Chief"})
        report = w.reconcile()
        assert report.exit_code == 4
        assert w.actions_for(report, people[0]["okta_id"]) == [("deactivate", "owners_unknown")]
        assert w.account(people[0]["login"]).active
        assert w.account(people[1]["login"]).profile.title == "Chief"
        w.remote.client.close()


def test_actions_that_the_remote_refuses_or_fakes_fail_alone(tmp_path: Path) -> None:
    with sloppy_server() as server, open_world(tmp_path, remote=Remote(server.url, KEY), users=6) as w:
        w.first_run()
        people = w.people()
        refused, faked, good = (w.account(person["login"]) for person in people[:3])
        for person in people[:3]:
            w.org.set_app_user(person["okta_id"], profile={"title": "Chief"})

        def hook(_: object, call: Call) -> Reply | None:
            if call.method != "PATCH":
                return None
            if refused.id in call.path:
                return Reply(400, {"detail": "no titles today", "status": "400"})
            return Reply(200, server.users[faked.id]) if faked.id in call.path else None

        server.scripted = hook
        report = w.reconcile()
        assert (report.outcome, report.exit_code) == ("partial", 5)
        assert report.plan is not None
        states = {a.directory_id: (a.state.value, a.error) for a in report.plan.plan.actions}
        assert states[good.id][0] == "done"
        assert states[refused.id][0] == states[faked.id][0] == "failed"
        assert "no titles today" in states[refused.id][1]
        assert "not_done" in states[faked.id][1]
        w.remote.client.close()


def test_a_link_by_an_operator_wins_over_the_remotes_external_id(tmp_path: Path) -> None:
    with sloppy_server() as server, open_world(tmp_path, remote=Remote(server.url, KEY), users=3) as w:
        person = w.people()[0]
        user_id = server.add("ann.smith@example.com", externalId="HR-1")
        w.acts().link(user_id, person["okta_id"])
        w.first_run()
        assert len(server.users) == 3
        assert server.users[user_id]["externalId"] == "HR-1"
        assert w.account(person["login"]).id == user_id
        w.remote.client.close()
