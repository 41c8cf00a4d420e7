"""Sources of settings, their order, and what a mistake in each looks like."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from agent.model.errors import ConfigError
from agent.settings import Settings, find_file, load

SECRET = "hunter2-never-shown"


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OPSHELM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "agent.toml") -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def problems(config: str | Path | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(config)
    assert caught.value.exit_code == 2
    return caught.value.problems


def okta(**changes: str) -> str:
    values = {"org_url": "https://example.okta.com", "app_id": "0oa1", "api_token": SECRET, **changes}
    return "[okta]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items() if value)


def defaults() -> Settings:
    return Settings(database={"url": f"sqlite:///{Path.cwd()}/opshelm-agent.db"})


def test_without_any_source_the_defaults_hold() -> None:
    loaded = load()
    assert loaded.settings == defaults()
    assert loaded.file is None
    assert loaded.origins == {}


@pytest.mark.parametrize("named", ["agent.toml", "/etc/agent.toml"])
@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("sqlite:///agent.db", "sqlite:///{}/agent.db"),
        ("sqlite:///data/agent.db", "sqlite:///{}/data/agent.db"),
        ("sqlite:////var/lib/agent.db", "sqlite:////var/lib/agent.db"),
        ("postgresql:///agent", "postgresql:///agent"),
    ],
)
def test_a_relative_database_is_beside_the_settings_file(url: str, wanted: str, named: str, tmp_path: Path) -> None:
    file = tmp_path / named.removeprefix("/")
    write(f'[database]\nurl = "{url}"\n', str(file))
    assert load(file).settings.database.url == wanted.format(file.parent)


def test_environment_beats_secret_beats_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(okta(app_id="0oaFILE", key_id="from-file"))
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "okta__app_id").write_text("0oaSECRET\n")
    (secrets / "okta__api_token").write_text("from-secret\n")
    monkeypatch.setenv("OPSHELM_SECRETS_DIR", str(secrets))
    monkeypatch.setenv("OPSHELM_OKTA__APP_ID", "0oaENV")
    loaded = load()
    assert loaded.settings.okta.app_id == "0oaENV"
    assert loaded.settings.okta.api_token is not None
    assert loaded.settings.okta.api_token.get_secret_value() == "from-secret"
    assert loaded.settings.okta.key_id == "from-file"
    kinds = {key[1]: (origin.kind, origin.place) for key, origin in loaded.origins.items()}
    assert kinds == {
        "org_url": ("file", "agent.toml:2"),
        "app_id": ("environment", "OPSHELM_OKTA__APP_ID"),
        "api_token": ("secret", "okta__api_token"),
        "key_id": ("file", "agent.toml:5"),
    }


def test_a_changed_secret_is_seen_by_the_next_load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write(okta(api_token=""))
    (tmp_path / "okta__api_token").write_text("old")
    monkeypatch.setenv("OPSHELM_SECRETS_DIR", str(tmp_path))
    before = load().settings.okta.api_token
    (tmp_path / "okta__api_token").write_text("new")
    after = load().settings.okta.api_token
    assert before
    assert after
    assert (before.get_secret_value(), after.get_secret_value()) == ("old", "new")


def test_files_are_searched_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_file() is None
    write("", "config/agent.toml")
    assert find_file() == Path("config/agent.toml")
    write("")
    assert find_file() == Path("agent.toml")
    monkeypatch.setenv("OPSHELM_CONFIG", str(write("", "named.toml")))
    assert find_file() == Path("named.toml")
    assert find_file(write("", "given.toml")) == Path("given.toml")


def test_a_named_file_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems("nowhere.toml") == ["nowhere.toml does not exist (named by --config)"]
    monkeypatch.setenv("OPSHELM_CONFIG", "gone.toml")
    assert problems() == ["gone.toml does not exist (named by OPSHELM_CONFIG)"]


def test_a_folder_in_the_place_of_the_file_is_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("folder").mkdir()
    monkeypatch.setenv("OPSHELM_CONFIG", "folder")
    assert problems() == ["folder is a folder; name the file in it (named by OPSHELM_CONFIG)"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('[okta]\napi_token = "' + SECRET, "agent.toml:2 is not valid TOML"),
        (f"[okta]\norg_url = {SECRET}\n", "agent.toml:2 is not valid TOML"),
        ("[okta\n", "agent.toml:1 is not valid TOML"),
        ("[okta]\napp_id = \n[server]\n", "agent.toml:2 is not valid TOML"),
        ("a = 1\na = 2\n", "agent.toml:2 is not valid TOML"),
    ],
)
def test_half_written_toml_names_file_and_line(text: str, place: str) -> None:
    write(text)
    (line,) = problems()
    assert line.startswith(place)
    assert SECRET not in line


def test_a_file_that_is_no_text_is_said() -> None:
    Path("agent.toml").write_bytes(b"\xff\xfe")
    assert problems() == ["agent.toml is not UTF-8 text"]


def test_all_mistakes_come_at_once_with_their_places_and_without_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        f"""[okta]
org_url = "https://example.okta.com/{SECRET}"
tokn = "{SECRET}"

[server]
port = "{SECRET}"

[receivr]
x = "{SECRET}"
"""
    )
    monkeypatch.setenv("OPSHELM_POLICY__SUSPENDED", SECRET)
    monkeypatch.setenv("OPSHELM_OKTA_API_TOKEN", SECRET)
    found = problems()
    assert found == [
        "agent.toml:3 okta.tokn: unknown key, did you mean api_token?",
        "agent.toml:6 server.port: must be an integer, unable to parse string as an integer",
        "OPSHELM_POLICY__SUSPENDED: must be 'keep' or 'deactivate'",
        "agent.toml:8 receivr: unknown section, did you mean receiver?",
        "agent.toml:2 okta.org_url: must be the bare address, with nothing behind the host",
        "agent.toml:1 okta.app_id: missing; it is the 0oa… in the address of the app's page in Okta's admin console",
        "OPSHELM_OKTA_API_TOKEN: unknown variable, did you mean OPSHELM_OKTA__API_TOKEN?",
    ]


def test_a_wrong_value_hides_no_other_mistake_of_its_section_and_makes_none() -> None:
    write(
        okta(org_url="http://example.okta.com", client_id="0oa2") + "max_retries = 99\n"
        "[server]\nport = 'x'\nadmin_port = 8765\npublic_url = 'scim.example.com'\n"
        "[mapping]\ntitle = 7\ndepartment = 'nonsense'\n"
        "[guard]\npush_floor = 'x'\nwindow_floor = 500\n"
    )
    assert [line.partition(" ")[2].partition(":")[0] for line in problems()] == [
        "okta.max_retries",
        "server.port",
        "guard.push_floor",
        "mapping.title",
        "okta.org_url",
        "okta.api_token",
        "okta.private_key",
        "server.public_url",
        "guard.window_floor",
        "mapping.department",
    ]


def test_what_follows_from_a_wrong_value_is_no_second_mistake() -> None:
    write("[okta]\norg_url = 'https://example.okta.com'\napp_id = '0oa1'\nclient_id = 7\nprivate_key = '{}'\n")
    assert problems() == ["agent.toml:4 okta.client_id: must be a string"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[server]\nport = true\n", "agent.toml:2 server.port: must be a number"),
        ("[server]\nport = 70000\n", "agent.toml:2 server.port: must be less than or equal to 65535"),
        ("server = 3\n", "agent.toml:1 server: must be a table, [server]"),
        ('server.port = "x"\n', "agent.toml:1 server.port: must be an integer, unable to parse string as an integer"),
        ('[schedule]\nreconcile = "12x"\n', "schedule.reconcile: must be a duration such as"),
        ("[schedule]\nreconcile = 0\n", "schedule.reconcile: must be more than 0"),
        ('[reconcile]\nsettle = "-5m"\n', "reconcile.settle: must be a duration such as"),
        ("[reconcile]\nsettle = -5\n", "reconcile.settle: must be between 0 and 100 years"),
        ('[reconcile]\nsettle = "99999999999999h"\n', "reconcile.settle: must be between 0 and 100 years"),
        ("[okta]\nscopes = 7\n", "okta.scopes: must be a tuple"),
        ("[mapping]\ntitle = 7\n", "mapping.title: must be a string"),
        ('[mapping]\ntitle = "nonsense"\n', "agent.toml:2 mapping.title: is no SCIM path"),
        ('[database]\nurl = "mysql://x"\n', "agent.toml:2 database.url: must be sqlite:///PATH or postgresql://"),
        ('[database]\nurl = "sqlite://"\n', "database.url: must be sqlite:///PATH"),
        ('[database]\nurl = "postgresql+asyncpg://h/n"\n', "database.url: must begin with postgresql://"),
        ('[database]\nurl = "postgresql://host"\n', "database.url: must be sqlite:///PATH or"),
        ("[server]\nport = 9000\nadmin_port = 9000\n", "agent.toml:3 server.admin_port: must differ from server.port"),
        ('[server]\npublic_url = "scim.example.com"\n', "server.public_url: must be an address such as"),
        ('[server]\ntrusted_proxies = ["proxy"]\n', "server.trusted_proxies: must be IP addresses or networks"),
        ("[guard]\npush_floor = 200\n", "agent.toml:2 guard.push_floor: must not be more than guard.push_cap"),
        ('[notify]\nwebhook_url = "hooks.example.com"\n', "agent.toml:2 notify.webhook_url: must begin with https://"),
        ('[notify]\nwebhook_secret = "s"\n', "notify.webhook_url: missing, but notify.webhook_secret is set"),
        ('[notify]\nsmtp_host = "mail"\nmail_to = ["a@b"]\n', "notify.mail_from: missing, but notify.smtp_host is set"),
        ('[notify]\nmail_to = ["a@b"]\n', "notify.smtp_host: missing, but notify.mail_to is set"),
        ('[notify]\nwebhook = "https://x"\n', "agent.toml:2 notify.webhook: unknown key"),
        ('[dashboard]\nadmins = ["x"]\n', "dashboard.client_id: missing, but dashboard.admins is set"),
        ('[dashboard]\nclient_id = "0oa9"\n', "dashboard.admins: missing, but dashboard.client_id is set"),
        ('[dashboard]\npublic_url = "http://agent.example.com"\n', "dashboard.public_url: must begin with https://"),
        ('[dashboard]\npassword_hash = "secret"\n', "dashboard.password_hash: must be what opshelm-agent dashboard"),
        ('[directory]\nbackend = "scim"\n', 'directory.base_url: missing, but directory.backend is "scim"'),
        (
            '[directory]\nbase_url = "https://169.254.169.254/scim"\n',
            "directory.base_url: must not be a link-local address",
        ),
        (
            '[directory]\nbase_url = "https://key@h.example.com/scim"\n',
            "directory.base_url: must end with its path, without a user",
        ),
        (
            '[directory]\nbase_url = "https://h.example.com/scim?tenant=1"\n',
            "directory.base_url: must end with its path, without a user",
        ),
        (
            '[directory]\nbase_url = "https://h.example.com/scim#x"\n',
            "directory.base_url: must end with its path, without a user",
        ),
        ('[directory]\nbackend = "ldap"\n', "directory.backend: must be 'sql' or 'scim'"),
        ('[directory]\nca_file = "nowhere.pem"\n', "agent.toml:2 directory.ca_file: no such file"),
        ('[okta]\napp_id = "0oa1"\n', "okta.org_url: missing, but okta.app_id is set"),
        (okta(app_id=""), "okta.app_id: missing"),
        (okta(api_token=""), "okta.api_token: missing; set okta.api_token, or okta.client_id with okta.private_key"),
        (okta(client_id="0oa2"), "okta.api_token: set together with okta.client_id; keep one"),
        (okta(api_token="", client_id="0oa2"), "okta.private_key: missing, but okta.client_id is set"),
        (okta(private_key="-----BEGIN"), "okta.client_id: missing, but okta.private_key is set"),
        (okta(api_token="", client_id="0oa2", private_key=SECRET), "okta.private_key: must be a private key as PEM"),
        (okta(org_url="http://example.okta.com"), "okta.org_url: must begin with https://; plain http is for loopback"),
        (okta(org_url="https://example-admin.okta.com"), "okta.org_url: must be the org's own address, without -admin"),
        (okta(org_url="https://example.okta.com/api"), "okta.org_url: must be the bare address"),
        (okta(org_url="example.okta.com"), "okta.org_url: must be an address such as"),
        (okta(org_url="https://[oops"), "okta.org_url: must be an address such as"),
    ],
)
def test_each_wrong_setting_is_named(text: str, line: str) -> None:
    write(text)
    found = problems()
    assert any(line in problem for problem in found), found
    assert all(SECRET not in problem for problem in found)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8768", "http://localhost:8768", "http://[::1]:8768", "https://example.okta.com"]
)
def test_plain_http_to_okta_is_for_loopback(url: str) -> None:
    write(okta(org_url=url))
    assert load().settings.okta.configured


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ('"90s"', 90),
        ('"15m"', 900),
        ('"1h"', 3600),
        ('"2d"', 172800),
        ("45", 45),
        ('"45"', 45),
        ('"1h30m"', 5400),
        ("1.5", 1.5),
    ],
)
def test_durations_are_written_as_people_do(written: str, seconds: float) -> None:
    write(f"[schedule]\nreconcile = {written}\n")
    assert load().settings.schedule.reconcile == timedelta(seconds=seconds)


def test_off_turns_a_schedule_off(monkeypatch: pytest.MonkeyPatch) -> None:
    write('[schedule]\nreconcile = "off"\n')
    monkeypatch.setenv("OPSHELM_SCHEDULE__EVENTS", "off")
    schedule = load().settings.schedule
    assert (schedule.reconcile, schedule.events) == (None, None)


def test_lists_and_the_mapping_can_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSHELM_DIRECTORY__OWNERS", "ann@example.com, bob@example.com")
    monkeypatch.setenv("OPSHELM_IMPORTS__GROUPS", '["00g1", "00g2"]')
    monkeypatch.setenv("OPSHELM_MAPPING", '{"jobTitle": "title"}')
    settings = load().settings
    assert settings.directory.owners == ("ann@example.com", "bob@example.com")
    assert settings.imports.groups == ("00g1", "00g2")
    assert settings.mapping == {"jobTitle": "title"}


@pytest.mark.parametrize(("name", "value"), [("OPSHELM_MAPPING", "{"), ("OPSHELM_IMPORTS__GROUPS", "[")])
def test_a_broken_list_in_the_environment_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    (line,) = problems()
    assert line.startswith(f"{name}: must be a ")


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSHELM_OKTA__ORG_URL", "")
    monkeypatch.setenv("OPSHELM_OKTA__API_TOKEN", "")
    assert not load().settings.okta.configured


def test_variables_that_a_container_platform_sets_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSHELM_AGENT_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("OPSHELM_AGENT_PORT_8765_TCP", "tcp://10.0.0.1:8765")
    assert load().origins == {}


def test_an_empty_section_is_as_good_as_none() -> None:
    write("[notify]\n[dashboard]\n")
    assert load().settings == defaults()


def test_a_misspelt_section_in_the_environment_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSHELM_OKTTA__APP_ID", SECRET)
    assert problems() == ["OPSHELM_OKTTA__APP_ID: unknown variable, did you mean OPSHELM_OKTA__APP_ID?"]


def test_a_secrets_folder_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPSHELM_SECRETS_DIR", "nowhere")
    assert problems() == ["OPSHELM_SECRETS_DIR: nowhere is not a folder of readable text files"]


def test_a_misspelt_secret_file_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "okta__api_tokn").write_text(SECRET)
    monkeypatch.setenv("OPSHELM_SECRETS_DIR", str(tmp_path))
    assert problems() == ["secret file okta__api_tokn: unknown key, did you mean api_token?"]


def test_what_was_typed_is_not_blamed_on_the_file() -> None:
    write("[guard]\nplan_expiry = '8h'\n")
    with pytest.raises(ConfigError) as found:
        load(None, {"guard": {"nope": "1", "window_cap": "-1"}})
    assert sorted(line.partition(":")[0] for line in found.value.problems) == ["guard.nope", "guard.window_cap"]
