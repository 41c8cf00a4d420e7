"""What keeps the agent from starting is one clear line and an exit code, never a traceback and never a secret."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def any_port(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    for name in ("PORT", "ADMIN_PORT"):
        monkeypatch.setenv(f"OPSHELM_SERVER__{name}", "0")
    monkeypatch.setenv("OPSHELM_SERVER__HOST", "127.0.0.1")


def one_line(answer: tuple[int, str, str], code: int) -> str:
    assert (answer[0], answer[1]) == (code, ""), answer
    (line,) = answer[2].splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("setting", ["PORT", "ADMIN_PORT"])
def test_a_port_in_use(command: Command, monkeypatch: pytest.MonkeyPatch, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv(f"OPSHELM_SERVER__{setting}", str(port))
        line = one_line(command("serve"), 1)
    assert f"127.0.0.1:{port} (server.{setting.lower()}) can't be used: Address already in use" in line


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all/agent.db", "sqlite:///folder", "postgresql://127.0.0.1:1/agent"]
)
def test_a_database_that_cannot_be_opened(
    command: Command, monkeypatch: pytest.MonkeyPatch, folder: Path, url: str
) -> None:
    (folder / "folder").mkdir()
    monkeypatch.setenv("OPSHELM_DATABASE__URL", url)
    one_line(command("serve"), 1)


def test_a_postgresql_that_cannot_be_reached(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("OPSHELM_DATABASE__URL", f"postgresql://agent:s3cret@127.0.0.1:{port}/agent")
    line = one_line(command("serve"), 1)
    assert f"PostgreSQL at 127.0.0.1:{port} can't be reached: Connection refused." in line
    assert "Check host and port in database.url" in line
    assert "s3cret" not in line


def test_a_database_file_that_is_none_is_left_as_it_is(command: Command, folder: Path) -> None:
    file = folder / "opshelm-agent.db"
    file.write_text("these are no tables" * 100)
    one_line(command("serve"), 1)
    assert file.read_text() == "these are no tables" * 100


def test_check_reports_a_database_that_cannot_be_opened(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSHELM_DATABASE__URL", "sqlite:////proc")
    code, out, _ = command("check")
    assert code == 1
    assert "fail  database" in out


def test_health_is_bad_where_nothing_serves(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("OPSHELM_SERVER__ADMIN_PORT", str(port))
    code, out, _ = command("check", "--health")
    assert code == 1
    assert "does not answer" in out


@pytest.mark.parametrize(
    "key", ["-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----", '{"kty": "s3cret"}', "{s3cret"]
)
def test_a_private_key_that_is_none(command: Command, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    given = {"ORG_URL": "http://127.0.0.1:1", "APP_ID": "0oa1", "CLIENT_ID": "0oa2", "PRIVATE_KEY": key}
    for name, value in given.items():
        monkeypatch.setenv(f"OPSHELM_OKTA__{name}", value)
    line = one_line(command("serve"), 2)
    assert "okta.private_key" in line
    assert "s3cret" not in line


def test_serve_gives_no_document(command: Command) -> None:
    code, out, err = command("serve", "--output", "json")
    assert code == 2
    assert "serve answers nothing" in out + err
