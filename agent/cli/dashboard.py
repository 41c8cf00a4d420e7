"""``dashboard``: getting in to the pages on the admin port."""

from typing import TYPE_CHECKING

import click

from agent.cli.command import Invocation, group, signature

if TYPE_CHECKING:
    from agent.settings import Settings
    from agent.store.engine import Store
    from agent.store.journal import Signature


_SHORTEST = 12


@group("dashboard")
def dashboard() -> None:
    """The pages on the admin port: who gets in."""


@dashboard.command("link")
def link(invocation: Invocation) -> None:
    """An address that signs you in as admin, once, within ten minutes, from this machine alone."""
    settings = invocation.settings
    with invocation.store() as store:
        address = new_link(store, settings, signature())
    if settings.server.admin_host not in ("0.0.0.0", "::", "127.0.0.1", "::1", "localhost"):  # noqa: S104 - compared
        invocation.say(
            f"The pages listen on {settings.server.admin_host}, where no connection is local: sign in otherwise"
        )
    invocation.answer("dashboard_link", {"address": address}, address)


@dashboard.command("password")
def password(invocation: Invocation) -> None:
    """Ask for a password for emergencies, and print what goes into dashboard.password_hash. Kept nowhere."""
    from argon2 import PasswordHasher

    typed = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    if len(typed) < _SHORTEST:
        raise click.UsageError(f"at least {_SHORTEST} characters: whoever guesses it is admin")
    made = PasswordHasher().hash(typed)
    invocation.answer("dashboard_password", {"password_hash": made}, made)


def new_link(store: "Store", settings: "Settings", by: "Signature", admin: str | None = None) -> str:
    """``admin``: where the pages are, if not where the settings say."""
    from agent.store import sessions

    secret = sessions.new_secret()
    store.write(lambda conn: sessions.make_link(conn, secret, by))
    return f"{admin or _address(settings)}/sign-in/link/{secret}"


def _address(settings: "Settings") -> str:
    host, port = settings.server.admin_host, settings.server.admin_port
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
