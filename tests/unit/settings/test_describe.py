"""The example file, the docs table and config show are made from the classes and can't drift from them."""

import tomllib
from pathlib import Path

import pytest

from agent.settings import Loaded, Settings, SettingSource
from agent.settings.describe import MASK, all_settings, describe, example_file, plain

ROOT = Path(__file__).parents[3]


def uncommented() -> str:
    lines = example_file().splitlines()
    return "\n".join(
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line for line in lines
    )


def test_the_example_file_is_the_one_in_config() -> None:
    assert (ROOT / "config" / "agent.toml").read_text(encoding="utf-8") == example_file()


def test_the_example_file_as_it_is_changes_nothing() -> None:
    assert Settings(**tomllib.loads(example_file())) == Settings()


def test_the_example_file_holds_every_setting_with_its_default() -> None:
    values = tomllib.loads(uncommented())
    values["mapping"] = {}
    assert Settings(**values) == Settings()
    listed = {(section, key) for section, keys in values.items() for key in keys}
    assert listed == {(row.section, row.key) for row in all_settings() if row.key}


def test_the_docs_hold_the_table() -> None:
    lines = ["| setting | kind | default | environment | what it does |", "|---|---|---|---|---|"]
    for row in all_settings():
        default = "" if row.default in (None, [], {}) else f"`{row.toml}`"
        doc = row.doc.replace("|", "\\|")
        lines.append(f"| `{row.name}` | {row.kind} | {default} | `{row.env}` | {doc} |")
    assert "\n".join(lines) + "\n" in (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def test_every_setting_says_what_it_does() -> None:
    assert [row.name for row in all_settings() if not row.doc.endswith((".", "?", ")"))] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://agent:s3c/ret@db/agent", f"postgresql://agent:{MASK}@db/agent"),
        ("postgresql://agent:s3c@ret@db/agent", f"postgresql://agent:{MASK}@db/agent"),
        ("postgresql://agent:s3c?r#et@db/agent", f"postgresql://agent:{MASK}@db/agent"),
        ("postgresql://agent:s3c:ret /@@db:5432/agent", f"postgresql://agent:{MASK}@db:5432/agent"),
        ("postgresql://:s3cret@db/agent", f"postgresql://:{MASK}@db/agent"),
        ("postgresql+psycopg://a:s3c%2Fret@[::1]:5432/x", f"postgresql+psycopg://a:{MASK}@[::1]:5432/x"),
        ("postgresql://db/agent?user=a&password=s3cret", f"postgresql://db/agent?user=a&password={MASK}"),
        ("postgresql:///agent?PassWord=s3c/re@t&host=db", f"postgresql:///agent?PassWord={MASK}&host=db"),
        ("postgresql:///agent?p%61ssword=s3c&ret&host=db", f"postgresql:///agent?p%61ssword={MASK}&host=db"),
        ("postgresql://db/agent?sslpassword=s3cret", f"postgresql://db/agent?sslpassword={MASK}"),
        ("postgresql://agent:s3c@db/agent?password=ret", f"postgresql://agent:{MASK}@db/agent?password={MASK}"),
        ("postgresql://agent@db/agent?passfile=/etc/pass", "postgresql://agent@db/agent?passfile=/etc/pass"),
        ("sqlite:////var/lib/a:b@c.db", "sqlite:////var/lib/a:b@c.db"),
        ("https://proxy.example.com:3128", "https://proxy.example.com:3128"),
    ],
)
def test_a_password_in_an_address_is_masked_however_it_is_written(url: str, shown: str) -> None:
    assert plain(url) == shown


def test_secrets_and_passwords_in_addresses_are_masked() -> None:
    settings = Settings(
        okta={"api_token": "s3cret", "proxy": "http://user:s3cret@proxy.example.com"},
        database={"url": "postgresql://agent:s3cret@db.example.com/agent"},
    )
    rows = {row.name: row for row in describe(Loaded(settings=settings, file=None, origins={}))}
    assert rows["okta.api_token"].value == MASK
    assert rows["database.url"].value == f"postgresql://agent:{MASK}@db.example.com/agent"
    assert all("s3cret" not in str(row.value) for row in rows.values())


def test_each_value_tells_where_it_came_from() -> None:
    origins = {
        ("server", "port"): SettingSource(kind="file", place="agent.toml:3"),
        ("mapping", "x"): SettingSource(kind="environment"),
    }
    settings = Settings(server={"port": 1}, mapping={"x": "title"})
    rows = {row.name: row for row in describe(Loaded(settings=settings, file=None, origins=origins))}
    assert rows["server.port"].origin == SettingSource(kind="file", place="agent.toml:3")
    assert rows["mapping"].origin.kind == "environment"
    assert rows["server.host"].origin.kind == "default"
