"""``init``: from nothing to an agent that can be started: settings file, secrets, database, key, and what to paste into Okta.

Asks on a terminal for what no option says, and checks each answer against Okta as it goes. Secrets come from files or a hidden
prompt, never from an option's value, which any user of the machine could read.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
from msgspec import Struct

from agent.cli import options
from agent.cli.command import Invocation, command, signature
from agent.model.errors import AgentError, ConfigError, UsageError
from agent.runs.wording import clean

if TYPE_CHECKING:
    from agent.okta_org.org import OktaOrg
    from agent.settings import Settings

_KEY_NAME = "okta"
_SECRETS = ("private_key", "api_token")
#: Beside agent.toml, which names none.
_DATABASE = "opshelm-agent.db"
#: Somebody waits on a terminal; a wrong address is to be said soon.
_TRIES = 1


class Answers(Struct, kw_only=True):
    """What was said so far; None is asked for."""

    org_url: str | None = None
    app_id: str | None = None
    client_id: str | None = None
    private_key: str | None = None
    api_token: str | None = None
    public_url: str | None = None
    #: As Okta tells it; "" while it wasn't asked.
    app_label: str = ""

    @property
    def credentials(self) -> bool:
        return bool(self.api_token or (self.client_id and self.private_key))

    def settings(self) -> "Settings":
        from agent.settings import Settings
        from agent.settings.sections import OktaSettings

        names = ("org_url", "app_id", "client_id", "private_key", "api_token")
        said = {name: getattr(self, name) for name in names if getattr(self, name)}
        if not self.credentials:
            # Which org it is, is asked before anybody signs.
            said["api_token"] = "none-yet"  # noqa: S105 - nothing is signed with it
        return Settings(okta=OktaSettings(**said, max_retries=_TRIES))


@command(
    "init",
    examples=[
        "",
        "opshelm-agent init --dir /etc/opshelm-agent",
        "--org-url https://example.okta.com --app-id 0oa1… --api-token-file F --public-url https://…",
    ],
)
@click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), default=".", help="Where all of it goes."
)
@click.option("--org-url", help="The Okta org, such as https://example.okta.com.")
@click.option("--app-id", help="Id of the OpsHelm app in Okta (0oa…).")
@click.option("--client-id", help="Of an OAuth service app; with --private-key-file.")
@click.option("--private-key-file", type=options.EXISTING_FILE, help="Its private key, PEM or JWK.")
@click.option("--api-token-file", type=options.EXISTING_FILE, help="An API token instead.")
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
    answers = Answers(private_key=_read(private_key_file), api_token=_read(api_token_file))
    for name, value in said.items():
        setattr(answers, name, value)
    found = _asked(invocation, answers, offline=offline)
    with _all_or_nothing(file):
        secrets = _write(file, answers)
        key = _make_key(invocation, file, secrets)
    base = f"{(answers.public_url or '').rstrip('/')}/scim/v2"
    body = {"config": str(file), "secrets": str(secrets), "base_url": base, "key": key, "app": found or None}
    invocation.answer("init", body, "\n".join(_what_next(file, secrets, base, key)))


def _read(file: Path | None) -> str | None:
    return None if file is None else file.read_text(encoding="utf-8").strip()


class _Question(Struct, frozen=True):
    """One thing that init has to know: asked for and looked at until it is right."""

    #: Fields of Answers; a wrong answer empties them.
    fields: tuple[str, ...]
    #: Asks for what is missing.
    ask: Callable[[Answers], None]
    #: What was found, for people; "" for nothing. An AgentError says what is wrong.
    look: Callable[[Answers], str]


def _asked(invocation: Invocation, answers: Answers, *, offline: bool) -> str:
    """Fill in what is missing and look at each thing as it comes; the app's name as Okta tells it, "" where it wasn't asked."""
    may_ask = sys.stdin.isatty() and not invocation.json
    missing = [name for name in ("org_url", "app_id", "public_url") if not getattr(answers, name)]
    if not may_ask and (missing or not answers.credentials):
        names = [f"--{name.replace('_', '-')}" for name in missing]
        names += [] if answers.credentials else ["--api-token-file, or --client-id and --private-key-file"]
        raise UsageError(f"no terminal to ask on; give {', '.join(names)}")
    for question in _QUESTIONS[:-1]:
        _settle(invocation, answers, question, may_ask=may_ask, look=not offline)
    _settle(invocation, answers, _QUESTIONS[-1], may_ask=may_ask, look=True)
    return answers.app_label


def _settle(invocation: Invocation, answers: Answers, question: _Question, *, may_ask: bool, look: bool) -> None:
    while True:
        question.ask(answers)
        try:
            found = question.look(answers) if look else ""
        except AgentError as error:
            if not may_ask:
                raise
            invocation.say(f"fail  {clean(error.detail)}\nOnce more:")
            for name in question.fields:
                setattr(answers, name, None)
        else:
            if found:
                invocation.say(f"ok    {clean(found)}")
            return


def _text(name: str, prompt: str) -> Callable[[Answers], None]:
    def ask(answers: Answers) -> None:
        if not getattr(answers, name):
            setattr(answers, name, str(click.prompt(prompt, err=True)).strip())

    return ask


def _look_at_org(answers: Answers) -> str:
    if "://" not in (answers.org_url or ""):
        answers.org_url = f"https://{answers.org_url}"
    with _okta(answers) as okta:
        return f"{answers.org_url} is the org {okta.org_id()}"


def _ask_credentials(answers: Answers) -> None:
    if answers.credentials:
        return
    answers.client_id = answers.client_id or click.prompt(
        "Client id of the OAuth service app (empty: an API token)", default="", show_default=False, err=True
    )
    if answers.client_id:
        path = click.prompt("File with its private key", type=options.EXISTING_FILE, err=True)
        answers.private_key = _read(Path(path))
    else:
        answers.api_token = click.prompt("API token (not shown)", hide_input=True, err=True).strip()


def _look_at_credentials(answers: Answers) -> str:
    with _okta(answers) as okta:
        owner, scopes = okta.whoami(), okta.token_scopes()
    return (
        f"the token of {owner.profile.get('login', owner.id)}"
        if owner
        else f"Okta grants {', '.join(sorted(scopes or ()))}"
    )


def _look_at_app(answers: Answers) -> str:
    with _okta(answers) as okta:
        answers.app_label = okta.app().label
    return f"the app is {answers.app_label}"


def _look_at_address(answers: Answers) -> str:
    from agent.settings.consistency import is_loopback

    parts = urlsplit(answers.public_url or "")
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ConfigError([f"{answers.public_url} is no address such as https://scim.example.com"])
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ConfigError(["The public address must begin with https://: Okta sends the key with every push"])
    return ""


_QUESTIONS = (
    _Question(("org_url",), _text("org_url", "Okta org (https://example.okta.com)"), _look_at_org),
    _Question(("client_id", "private_key", "api_token"), _ask_credentials, _look_at_credentials),
    _Question(("app_id",), _text("app_id", "Id of the OpsHelm app in Okta (0oa…)"), _look_at_app),
    # The last one: it needs no Okta.
    _Question(
        ("public_url",),
        _text("public_url", "Address that Okta reaches this agent by (https://scim.example.com)"),
        _look_at_address,
    ),
)


def _okta(answers: Answers) -> "OktaOrg":
    from agent.bootstrap import open_okta

    return open_okta(answers.settings())


@contextmanager
def _all_or_nothing(file: Path) -> Iterator[None]:
    """Whatever goes wrong within, Ctrl-C too, what was there is as before, and what wasn't is gone."""
    secrets, database = file.parent / "secrets", file.parent / _DATABASE
    kept = [one for one in (file, *(secrets / f"okta__{name}" for name in _SECRETS)) if one.exists()]
    new = [one for one in (file.parent, secrets) if not one.exists()]
    fresh = [] if database.exists() else [database.with_name(f"{_DATABASE}{end}") for end in ("", "-wal", "-shm")]
    for one in kept:
        one.rename(_aside(one))
    try:
        yield
    except BaseException:
        for one in (file, *(secrets / f"okta__{name}" for name in _SECRETS), *fresh):
            one.unlink(missing_ok=True)
        for one in kept:
            _aside(one).rename(one)
        for folder in reversed(new):
            with suppress(OSError):
                folder.rmdir()
        raise
    for one in kept:
        _aside(one).unlink()


def _aside(file: Path) -> Path:
    return file.with_name(f".{file.name}.before")


def _write(file: Path, answers: Answers) -> Path:
    """The secrets first: a settings file without them is no use."""
    secrets = file.parent / "secrets"
    secrets.mkdir(parents=True, mode=0o700, exist_ok=True)
    secrets.chmod(0o700)
    for name in _SECRETS:
        if text := getattr(answers, name):
            own = secrets / f"okta__{name}"
            with open(own, "x", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as opened:
                opened.write(text)
    rows = [("org_url", answers.org_url), ("app_id", answers.app_id), ("client_id", answers.client_id)]
    lines = ["[okta]", *(f"{name} = {json.dumps(value)}" for name, value in rows if value)]
    lines += ["", "[server]", f"public_url = {json.dumps(answers.public_url or '')}", ""]
    file.write_text("\n".join(lines), encoding="utf-8")
    return secrets


def _make_key(invocation: Invocation, file: Path, secrets: Path) -> str:
    """As every later command will read it, so that what is wrong is said now."""
    from agent.store import keys

    os.environ["OPSHELM_SECRETS_DIR"] = str(secrets)
    invocation.config = str(file)
    by = signature("init")
    with invocation.directory(make=True) as directory:
        _, secret = directory.store.write(lambda conn: keys.create(conn, by, name=_KEY_NAME))
    return secret


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
