"""``init`` against a simulated org: what it writes, for whom, and that an agent starts on it; what is wrong is said before."""

import json
import stat
from pathlib import Path

import pytest

from agent.cli.root import run
from agent.settings import load
from agent.simulator import SimulatedOrg
from support.commands import folder

__all__ = ["folder"]
TOKEN = "simulated-token-of-init"


@pytest.fixture
def org() -> object:
    with SimulatedOrg.start(users=3, app_id="0oaINIT", token=TOKEN) as started:
        yield started


def said(folder: Path, org: SimulatedOrg, *more: str) -> list[str]:
    (folder / "token").write_text(f"{TOKEN}\n")
    known = ("--org-url", org.url, "--app-id", "0oaINIT", "--public-url", "https://scim.example.com")
    return ["init", "--dir", str(folder / "agent"), *known, "--api-token-file", str(folder / "token"), *more]


def test_all_of_it_is_there_and_private(
    folder: Path, org: SimulatedOrg, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSHELM_SECRETS_DIR", "")
    assert run([*said(folder, org), "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["base_url"] == "https://scim.example.com/scim/v2"
    assert found["key"].startswith("oha_")
    secrets = folder / "agent" / "secrets"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert [(file.name, stat.S_IMODE(file.stat().st_mode)) for file in secrets.iterdir()] == [
        ("okta__api_token", 0o600)
    ]
    monkeypatch.setenv("OPSHELM_SECRETS_DIR", str(secrets))
    settings = load(folder / "agent" / "agent.toml").settings
    assert settings.okta.api_token is not None
    assert settings.okta.api_token.get_secret_value() == TOKEN
    assert TOKEN not in (folder / "agent" / "agent.toml").read_text()
    assert (folder / "agent" / "opshelm-agent.db").exists()


def test_what_is_there_is_not_written_over(folder: Path, org: SimulatedOrg, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "agent").mkdir()
    (folder / "agent" / "agent.toml").write_text("# mine\n")
    assert run(said(folder, org)) == 2
    assert "--force" in capsys.readouterr().err
    assert (folder / "agent" / "agent.toml").read_text() == "# mine\n"


def test_a_wrong_token_writes_nothing(folder: Path, org: SimulatedOrg, capsys: pytest.CaptureFixture[str]) -> None:
    line = said(folder, org)
    (folder / "token").write_text("wrong")
    assert run(line) == 1
    assert "401" in capsys.readouterr().err
    assert not (folder / "agent").exists()


@pytest.mark.usefixtures("folder")
def test_without_a_terminal_it_says_which_options_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init"]) == 2
    err = capsys.readouterr().err
    assert all(name in err for name in ("--org-url", "--app-id", "--public-url", "--api-token-file"))
    assert [file.name for file in Path().iterdir()] == ["opshelm-agent.db"]


def test_what_goes_wrong_while_it_writes_leaves_all_as_it_was(
    folder: Path, org: SimulatedOrg, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSHELM_SECRETS_DIR", "")
    monkeypatch.setenv("OPSHELM_DATABASE__URL", "mysql://nowhere/agent")
    assert run(said(folder, org)) == 2
    assert "OPSHELM_DATABASE__URL" in capsys.readouterr().err
    assert not (folder / "agent").exists()
    secrets = folder / "agent" / "secrets"
    secrets.mkdir(parents=True)
    (secrets / "okta__api_token").write_text("the old one")
    (folder / "agent" / "agent.toml").write_text("# mine\n")
    assert run(said(folder, org, "--force")) == 2
    assert (folder / "agent" / "agent.toml").read_text() == "# mine\n"
    assert (secrets / "okta__api_token").read_text() == "the old one"
    assert sorted(one.name for one in (folder / "agent").rglob("*")) == ["agent.toml", "okta__api_token", "secrets"]
