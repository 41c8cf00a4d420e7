"""Settings that change while the daemon runs: what is taken on, what needs a restart, what is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.daemon.reload import Reload
from agent.settings import load


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "agent.toml"
    path.write_text("")
    return path


@pytest.fixture
def reload(file: Path) -> Reload:
    return Reload(load(file), str(file))


def test_nothing_changed_is_nothing_to_do(reload: Reload) -> None:
    with capture_logs() as lines:
        assert reload.changed() is None
    assert lines == []


def test_a_change_is_taken_on_once(reload: Reload, file: Path) -> None:
    file.write_text("[guard]\npush_floor = 7\n")
    changed = reload.changed()
    assert changed is not None
    assert changed.guard.push_floor == 7
    reload.took(changed)
    assert reload.changed() is None


def test_what_could_not_be_taken_on_comes_again_until_it_holds(reload: Reload, file: Path) -> None:
    before = reload.in_force
    file.write_text("[guard]\npush_floor = 7\n")
    assert reload.secrets().guard.push_floor == 7, "Okta said 401 just now"
    first = reload.changed()
    assert first is not None
    assert reload.changed() == first, "it failed half-way"
    assert reload.in_force == before
    with capture_logs() as lines:
        reload.took(first)
    assert reload.in_force != before
    assert (lines[0]["sections"], lines[0]["in_force"]) == (["guard"], reload.in_force)
    assert reload.changed() is None


def test_the_digest_of_the_settings_tells_nothing_of_a_secret(reload: Reload, file: Path) -> None:
    digests = set()
    for token in ("one", "two"):
        file.write_text(f'[okta]\norg_url = "https://example.okta.com"\napp_id = "0oa1"\napi_token = "{token}"\n')
        changed = reload.changed()
        assert changed is not None
        reload.took(changed)
        digests.add(reload.in_force)
    assert len(digests) == 1


def test_wrong_settings_are_reported_once_and_change_nothing(reload: Reload, file: Path) -> None:
    file.write_text('[guard]\npush_floor = "s3cret"\n')
    with capture_logs() as lines:
        assert reload.changed() is None
        assert reload.changed() is None
    (line,) = lines
    assert line["log_level"] == "error"
    assert "agent.toml:2 guard.push_floor" in line["problems"][0]
    assert "s3cret" not in str(line)
    assert reload.secrets().guard.push_floor == 3


def test_a_file_that_is_gone_changes_nothing(reload: Reload, file: Path) -> None:
    file.unlink()
    with capture_logs() as lines:
        assert reload.changed() is None
    assert "does not exist" in lines[0]["problems"][0]


def test_what_needs_a_restart_says_so(reload: Reload, file: Path) -> None:
    file.write_text('[database]\nurl = "sqlite:///other.db"\n')
    with capture_logs() as lines:
        assert reload.changed() is None
    assert [(line["event"], line["sections"]) for line in lines] == [
        ("these settings changed and need a restart", ["database"])
    ]


def test_another_backend_needs_a_restart_and_is_not_taken_on(reload: Reload, file: Path) -> None:
    file.write_text('[directory]\nbackend = "scim"\nbase_url = "https://x.example.com"\napi_key = "k"\npage_size = 7\n')
    with capture_logs() as lines:
        changed = reload.changed()
        assert changed is not None
        reload.took(changed)
        assert reload.changed() is None
    assert (changed.directory.backend, changed.directory.page_size) == ("sql", 7)
    assert lines[0]["sections"] == ["directory.backend"]


def test_the_newest_credentials_are_at_hand(reload: Reload, file: Path) -> None:
    file.write_text('[okta]\norg_url = "https://example.okta.com"\napp_id = "0oa1"\napi_token = "new"\n')
    token = reload.secrets().okta.api_token
    assert token is not None
    assert token.get_secret_value() == "new"


def test_what_changed_is_told_by_name_and_without_values(reload: Reload, file: Path) -> None:
    before = reload.secrets()
    file.write_text('[guard]\npush_floor = 7\n[mapping]\nteam = ""\n')
    changed = reload.changed()
    assert changed is not None
    assert changed.changed_since(before) == ["guard.push_floor", "mapping"]


def test_who_may_sign_in_is_taken_on_and_whether_there_are_pages_is_not(reload: Reload, file: Path) -> None:
    file.write_text('[dashboard]\nenabled = false\nclient_id = "0oa9"\nadmins = ["Identity"]\n')
    with capture_logs() as lines:
        changed = reload.changed()
    assert changed is not None
    assert (changed.dashboard.admins, changed.dashboard.enabled) == (("Identity",), True)
    assert lines[0]["sections"] == ["dashboard.enabled"]
