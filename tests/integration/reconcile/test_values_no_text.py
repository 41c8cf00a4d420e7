"""Numbers, truth values and lists in Okta's profile: what a push has done, a sweep has nothing to add to."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.receiver.app import build
from agent.scim import library
from agent.store import keys
from agent.store.journal import Signature
from support.receiver import running
from support.world import open_world

# Before there are threads: one that compiles while another does fails on Python 3.11.
library.warm_up()


@pytest.mark.parametrize("style", ["oin", "wizard"])
def test_push_and_sweep_agree_about_values_that_are_no_text(tmp_path: Path, style: str) -> None:
    with open_world(tmp_path, 3, style=style) as w:
        w.pin()
        _, key = w.store.write(
            lambda conn: keys.create(conn, Signature(actor="test", source="test", at=datetime.now(UTC)), name="okta")
        )
        person = w.take()
        odd = {"title": ["x"], "costCenter": 12, "nickName": True, "displayName": "New", "manager": {"x": 1}}
        with running(build(w.directory, w.store, w.settings)) as url:
            w.org.provisioning(scim_url=f"{url}/scim/v2", scim_key=key, mode="on", push_waiting=True)
            w.org.wait_idle()
            before = w.account(person["login"]).profile
            w.org.api("POST", f"/users/{person['okta_id']}", {"profile": odd})
            w.org.wait_idle()
        pushed = w.account(person["login"]).profile
        assert (pushed.title, pushed.nick_name, pushed.display_name) == (before.title, "true", "New")
        assert pushed.enterprise is not None
        assert pushed.enterprise.cost_center == "12"
        report = w.reconcile()
        assert w.findings_for(report, person["okta_id"]) == {"no_text"}
        assert w.actions_for(report, person["okta_id"]) == []
        assert w.account(person["login"]).profile == pushed
