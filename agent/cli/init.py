"""``init``: from nothing to an agent that can be started: settings file, secrets, database, key, and what to paste into Okta.

Asks on a terminal for what no option says, and checks each answer against Okta as it goes. Secrets come from files or a hidden
prompt, never from an option's value, which any user of the machine could read.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from agent.cli.command import Invocation, command, signature
from agent.model.errors import AgentError, UsageError

if TYPE_CHECKING:
    from agent.settings import Settings

_KEY_NAME = "okta"


class Answers(Struct, kw_only=True):
    """What was said so far; None is asked for."""

    org_url: str | None = None
    app_id: str | None = None
    client_id: str | None = None
    private_key: str | None = None
    api_token: str | None = None
    public_url: str | None = None

    @property
    def credentials(self) -> bool:
        return bool(self.api_token or (self.client_id and self.private_key))

    def settings(self) -> "Settings":
        from agent.settings import Settings
        from agent.settings.sections import OktaSettings

        names = ("org_url", "app_id", "client_id", "private_key", "api_token")
        return Settings(okta=OktaSettings(**{name: getattr(self, name) for name in names if getattr(self, name)}))


_text_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@command(
    "init",
    examples=[
        "opshelm-agent init",
        "opshelm-agent init --dir /etc/opshelm-agent",
        "opshelm-agent init --org-url https://example.okta.com --app-id 0oa1… --api-token-file F --public-url https://…",
    ],
)
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), default=".", help="Where all of it goes."
)
@click.option("--org-url", help="The Okta org, such as https://example.okta.com.")
@click.option("--app-id", help="Id of the OpsHelm app in Okta (0oa…).")
@click.option("--client-id", help="Of an OAuth service app; with --private-key-file.")
@click.option("--private-key-file", type=_text_file, help="Its private key, PEM or JWK.")
@click.option("--api-token-file", type=_text_file, help="An API token instead.")
@click.option("--public-url", help="The address that Okta reaches the receiver by, such as https://scim.example.com.")
@click.option("--offline", is_flag=True, help="Don't ask Okta whether it is right.")
@click.option("--force", is_flag=True, help="Write over an agent.toml that is there.")
def init(
    invocation: Invocation,
    folder: Path,
    private_key_file: Path | None,
    api_token_file: Path | None,
    *,
    offline: bool,
    force: bool,
    **said: str | None,
) -> None:
    """Set the agent up: ask, check, write the files, make the key.

    Says what to paste into Okta.

    Writes agent.toml, the folder secrets (0700, its files 0600) and the database, and makes the key that Okta pushes with.
    """
    file = folder / "agent.toml"
    if file.exists() and not force:
        raise UsageError(f"There is {file} already. Another folder: --dir; to write over it: --force")
    answers = Answers(private_key=_read(private_key_file), api_token=_read(api_token_file), **said)
    found = _asked(invocation, answers, offline=offline)
    secrets = _write(file, answers)
    key = _make_key(invocation, file, secrets)
    base = f"{(answers.public_url or '').rstrip('/')}/scim/v2"
    body = {"config": str(file), "secrets": str(secrets), "base_url": base, "key": key, "app": found or None}
    invocation.answer("init", body, "\n".join(_what_next(file, secrets, base, key)))


def _read(file: Path | None) -> str | None:
    return None if file is None else file.read_text(encoding="utf-8").strip()


def _asked(invocation: Invocation, answers: Answers, *, offline: bool) -> str:
    """Fill in what is missing; the app's name as Okta tells it, "" where it wasn't asked."""
    may_ask = sys.stdin.isatty() and not invocation.json
    missing = [name for name in ("org_url", "app_id", "public_url") if not getattr(answers, name)]
    if not may_ask and (missing or not answers.credentials):
        names = [f"--{name.replace('_', '-')}" for name in missing]
        names += [] if answers.credentials else ["--api-token-file, or --client-id and --private-key-file"]
        raise UsageError(f"no terminal to ask on; give {', '.join(names)}")
    while True:
        if not answers.org_url:
            answers.org_url = _prompt("Okta org (https://example.okta.com)")
        if "://" not in answers.org_url:
            answers.org_url = f"https://{answers.org_url}"
        if not answers.app_id:
            answers.app_id = _prompt("Id of the OpsHelm app in Okta (0oa…)")
        if not answers.credentials:
            _ask_credentials(answers)
        try:
            label = "" if offline else _look(answers)
        except AgentError as error:
            if not may_ask:
                raise
            invocation.say(f"fail  {error.detail}\nOnce more:")
            answers.org_url = answers.app_id = answers.client_id = answers.private_key = answers.api_token = None
            continue
        if label:
            invocation.say(f"ok    Okta answers; the app is {label}")
        break
    while not (answers.public_url or "").startswith(("https://", "http://127.", "http://localhost")):
        if answers.public_url and not may_ask:
            raise UsageError("--public-url must begin with https://")
        answers.public_url = _prompt("Address that Okta reaches this agent by (https://scim.example.com)")
    return label


def _ask_credentials(answers: Answers) -> None:
    answers.client_id = answers.client_id or click.prompt(
        "Client id of the OAuth service app (empty: an API token)", default="", show_default=False, err=True
    )
    if answers.client_id:
        path = click.prompt("File with its private key", type=_text_file, err=True)
        answers.private_key = _read(Path(path))
    else:
        answers.api_token = click.prompt("API token (not shown)", hide_input=True, err=True)


def _prompt(text: str) -> str:
    return str(click.prompt(text, err=True)).strip()


def _look(answers: Answers) -> str:
    from agent.bootstrap import open_okta

    with open_okta(answers.settings()) as okta:
        okta.org_id()
        return okta.app().label


def _write(file: Path, answers: Answers) -> Path:
    """The secrets first: a settings file without them is no use."""
    secrets = file.parent / "secrets"
    secrets.mkdir(parents=True, mode=0o700, exist_ok=True)
    secrets.chmod(0o700)
    for name in ("private_key", "api_token"):
        _write_private(secrets / f"okta__{name}", getattr(answers, name))
    rows = [("org_url", answers.org_url), ("app_id", answers.app_id), ("client_id", answers.client_id)]
    lines = ["[okta]", *(f"{name} = {json.dumps(value)}" for name, value in rows if value)]
    lines += ["", "[server]", f"public_url = {json.dumps(answers.public_url or '')}", ""]
    file.write_text("\n".join(lines), encoding="utf-8")
    return secrets


def _write_private(file: Path, text: str | None) -> None:
    file.unlink(missing_ok=True)
    if text:
        with open(file, "x", encoding="utf-8", opener=_private) as opened:
            opened.write(text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _make_key(invocation: Invocation, file: Path, secrets: Path) -> str:
    """As every later command will read it, so that what is wrong is said now."""
    from agent.bootstrap import open_directory, open_store
    from agent.store import keys

    os.environ["OPSHELM_SECRETS_DIR"] = str(secrets)
    invocation.config = str(file)
    by = signature("init")
    store = open_store(invocation.settings, make=True)
    try:
        open_directory(invocation.settings, store).close()
        return store.write(lambda conn: keys.create(conn, by, name=_KEY_NAME, scope=keys.Scope.SCIM, expires=None))[1]
    finally:
        store.close()


def _what_next(file: Path, secrets: Path, base: str, key: str) -> Iterator[str]:
    yield f"Written: {file} and {secrets} (for you alone). The database is ready."
    yield ""
    yield "Paste into Okta (the app, Provisioning, Integration):"
    yield f"  Base URL   {base}"
    yield f"  API token  {key}"
    yield "The token is shown once. Where Okta asks for a header: Authorization: Bearer, then the token."
    yield ""
    yield "Then:"
    yield f"  export OPSHELM_SECRETS_DIR={secrets.resolve()}"
    yield f"  opshelm-agent --config {file} serve"
    yield f"  opshelm-agent --config {file} check     # in another terminal"
