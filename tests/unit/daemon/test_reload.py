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
    assert reload.changed() is None


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
        assert reload.changed() is None
    assert changed is not None
    assert (changed.directory.backend, changed.directory.page_size) == ("sql", 7)
    assert lines[0]["sections"] == ["directory.backend"]


def test_the_newest_credentials_are_at_hand(reload: Reload, file: Path) -> None:
    file.write_text('[okta]\norg_url = "https://example.okta.com"\napp_id = "0oa1"\napi_token = "new"\n')
    token = reload.secrets().okta.api_token
    assert token is not None
    assert token.get_secret_value() == "new"


def test_what_changed_is_told_by_name_and_without_values(reload: Reload, file: Path) -> None:
    before = reload.current
    file.write_text('[guard]\npush_floor = 7\n[mapping]\nteam = ""\n')
    changed = reload.changed()
    assert changed is not None
    assert changed.changed_since(before) == ["guard.push_floor", "mapping"]
