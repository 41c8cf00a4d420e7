"""Commands on a real terminal: init asks, looks at each answer and asks again; status --watch is drawn anew until Ctrl-C."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.simulator import SimulatedOrg
from support.processes import agent, database, document
from support.terminal import Terminal

TOKEN = "simulated-token-of-init"


@pytest.fixture(scope="module")
def org() -> Iterator[SimulatedOrg]:
    with SimulatedOrg.start(users=3, app_id="0oaINIT", token=TOKEN) as started:
        yield started


def test_init_asks_looks_at_each_answer_and_asks_again_what_was_wrong(org: SimulatedOrg, tmp_path: Path) -> None:
    folder = tmp_path / "agent"
    with Terminal("init", "--dir", str(folder), cwd=tmp_path) as terminal:
        terminal.expect("Okta org")
        terminal.type("ftp://nowhere.example.com")
        assert "https://" in terminal.expect("Once more:")
        terminal.expect("Okta org")
        terminal.type("http://127.0.0.1:9")
        assert "refused" in terminal.expect("Once more:")
        terminal.expect("Okta org")
        terminal.type(org.url)
        terminal.expect("ok    ")
        # The org stands; the credentials alone are asked for again.
        for token, then in (("wrong", "fail"), (TOKEN, "ok    the token of ")):
            terminal.expect("Client id")
            terminal.type("")
            terminal.expect("API token (not shown)")
            terminal.type(token)
            terminal.expect(then)
        terminal.expect("Id of the OpsHelm app")
        terminal.type("0oaNOBODY")
        terminal.expect("fail")
        terminal.expect("Id of the OpsHelm app")
        terminal.type("0oaINIT")
        terminal.expect("ok    the app is ")
        for wrong in ("scim.example.com", "http://scim.example.com"):
            terminal.expect("Address that Okta reaches")
            terminal.type(wrong)
            terminal.expect("fail")
        terminal.expect("Address that Okta reaches")
        terminal.type("https://scim.example.com")
        terminal.expect("Base URL   https://scim.example.com/scim/v2")
        assert terminal.end() == 0
    assert TOKEN not in terminal.shown
    assert [(one.name, stat.S_IMODE(one.stat().st_mode)) for one in (folder / "secrets").iterdir()] == [
        ("okta__api_token", 0o600)
    ]
    assert 'app_id = "0oaINIT"' in (folder / "agent.toml").read_text()


@pytest.mark.slow
def test_a_private_key_that_is_none_is_asked_for_again(org: SimulatedOrg, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key at all")
    with Terminal("init", "--org-url", org.url, cwd=tmp_path) as terminal:
        terminal.expect("Client id")
        terminal.type("0oaSERVICE")
        terminal.expect("File with its private key")
        terminal.type("nowhere.pem")
        terminal.expect("does not exist")
        terminal.expect("File with its private key")
        terminal.type("key.pem")
        assert "private_key" in terminal.expect("Once more:")
        terminal.expect("Client id")
        assert terminal.interrupt() == 130
    assert [one.name for one in tmp_path.iterdir()] == ["key.pem"]


@pytest.mark.slow
@pytest.mark.parametrize("answers", [1, 4])
def test_ctrl_c_at_a_question_leaves_nothing_behind(org: SimulatedOrg, tmp_path: Path, answers: int) -> None:
    talk = [
        ("Okta org", org.url),
        ("Client id", ""),
        ("API token (not shown)", TOKEN),
        ("Id of the OpsHelm app", "0oaINIT"),
        ("Address that Okta reaches", ""),
    ]
    with Terminal("init", cwd=tmp_path) as terminal:
        for question, answer in talk[:answers]:
            terminal.expect(question)
            terminal.type(answer)
        terminal.expect(talk[answers][0])
        assert terminal.interrupt() == 130
        assert terminal.shown.rstrip().endswith("error: interrupted")
    assert list(tmp_path.iterdir()) == []


def test_status_watch_is_drawn_anew_until_ctrl_c(tmp_path: Path) -> None:
    database(tmp_path)
    with Terminal("status", "--watch", cwd=tmp_path) as terminal:
        terminal.expect("opshelm-agent serve")
        paused = agent("pause", "--reason", "a test", cwd=tmp_path)
        assert paused.returncode == 0, paused.stderr
        terminal.expect("PAUSED     by operator")
        terminal.expect("opshelm-agent resume")
        assert terminal.interrupt() == 130
    assert "Traceback" not in terminal.shown


@pytest.mark.slow
def test_pinning_is_asked_about_and_no_changes_nothing(org: SimulatedOrg, tmp_path: Path) -> None:
    database(tmp_path)
    known = {"ORG_URL": org.url, "APP_ID": org.app_id, "API_TOKEN": TOKEN}
    env = {f"OPSHELM_OKTA__{name}": value for name, value in known.items()}
    with Terminal("pins", "accept", "--reason", "moved", cwd=tmp_path, env=env) as terminal:
        terminal.expect("Pin them? [y/N]")
        terminal.type("n")
        assert terminal.end() == 130
    shown = agent("--output", "json", "pins", "show", cwd=tmp_path, env=env)
    assert document(shown)["pins"] is None
