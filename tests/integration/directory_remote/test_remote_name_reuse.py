"""A leaver's userName goes to somebody new while OpsHelm is reached over SCIM, which can't give an account another id."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from agent.directory.port import Draft, WriteContext
from agent.model.codes import Source
from agent.model.errors import NotFound
from agent.model.users import DirectoryUser, Origin
from agent.settings import DirectorySettings, PolicySettings
from agent.settings.consistency import inconsistencies
from support.remotes import ours
from support.world import open_world


def test_the_leavers_account_steps_aside_and_somebody_new_gets_another(tmp_path: Path) -> None:
    with ours(tmp_path / "remote") as remote, open_world(tmp_path, users=4, remote=remote) as w:
        w.first_run()
        old, login = w.people()[0], w.people()[0]["login"]
        account = w.account(login)
        w.org.api("DELETE", f"/apps/{w.org.app_id}/users/{old['okta_id']}")
        w.org.api("POST", f"/users/{old['okta_id']}", {"profile": {"login": "gone@example.com"}})
        w.reconcile()
        new = w.okta_user(login, "Newt", "Hire")
        w.org.api("POST", f"/apps/{w.org.app_id}/users", {"id": new})
        w.org.set_app_user(new, externalId=account.id, status="PROVISIONED")  # as Okta has linked them
        assert w.reconcile().outcome == "held"

        assert not w.directory.gives_ids
        left = w.acts().release_name(account.id)
        assert (left.id, left.okta_id, left.origin, left.hidden) == (account.id, None, Origin.RELEASED, True)
        assert left.user_name.startswith(f"{login}#released-")
        w.reconcile()
        mine = w.account(login)
        assert (mine.okta_id, mine.active, mine.id != account.id) == (new, True, True)
        assert w.directory.get(account.id) == left
        pushed = WriteContext(actor="key:1", source=Source.PUSH)
        with pytest.raises(NotFound):
            w.directory.modify(account.id, _titled, pushed, w.now()).result()
        assert w.reconcile().outcome == "in_step"


def _titled(user: DirectoryUser) -> Draft:
    return Draft(user_name=user.user_name, profile=replace(user.profile, title="Chief"), active=True)


def test_the_settings_say_so() -> None:
    sections = {"directory": DirectorySettings(backend="scim"), "policy": PolicySettings(name_reuse="new_account")}
    found = [message for key, message in inconsistencies(sections, {}) if key == ("policy", "name_reuse")]
    assert len(found) == 1
    assert "remote" in found[0]
