"""``keys``: what Okta and Prometheus sign in with."""

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from agent.cli import options
from agent.cli.command import Invocation, group, now, signature
from agent.model.errors import UsageError
from agent.runs.wording import fields

if TYPE_CHECKING:
    from agent.store.keys import ApiKey


@group("keys")
def keys() -> None:
    """API keys for Okta (scim) and Prometheus (metrics)."""


@keys.command("create", examples=["okta", "prometheus --scope metrics", "okta --expires 365d --output json"])
@click.argument("name")
@click.option("--scope", type=click.Choice(["scim", "metrics"]), default="scim", show_default=True)
@click.option("--expires", type=options.DURATION, help="How long it lives, such as 365d; for ever if not given.")
def create(invocation: Invocation, name: str, scope: str, expires: timedelta | None) -> None:
    """Make a key and show it, once. On stdout stands the key and nothing else."""
    from agent.store import keys as store_keys

    if not name.strip():
        raise UsageError("A key needs a name, such as okta")
    by = signature()
    ends = None if expires is None else by.at + expires
    kind = store_keys.KeyScope(scope)
    key, secret = invocation.write(lambda conn: store_keys.create(conn, by, name=name, scope=kind, expires=ends))
    _show_secret(invocation, key, secret)


@keys.command("list")
def list_keys(invocation: Invocation) -> None:
    """All keys: how each begins and ends, scope, who made it, last use. The keys themselves are not kept."""
    from agent.store import keys as store_keys

    at = now()
    found = invocation.read(store_keys.list_all)
    rows = [
        [k.id, k.name, k.shown, k.scope.value, k.state(at), k.created, k.created_by, k.expires, k.last_used]
        for k in found
    ]
    columns = ["id", "name", "key", "scope", "state", "created", "by", "expires", "last used"]
    empty = "No keys. Okta needs one: opshelm-agent keys create okta"
    invocation.answer_table("keys", {"keys": [_json(key, at) for key in found]}, columns, rows, empty)


@keys.command("roll", examples=["okta", "okta --grace 7d"])
@click.argument("name")
@click.option(
    "--grace", type=options.DURATION, default="24h", show_default=True, help="How long the old key still works."
)
def roll(invocation: Invocation, name: str, grace: timedelta) -> None:
    """Make a new key of that name; the old one goes on for the grace time, and its use near the end is an alarm."""
    from agent.store import keys as store_keys

    by = signature()
    key, secret = invocation.write(lambda conn: store_keys.roll(conn, by, name=name, grace=grace))
    _show_secret(invocation, key, secret)


@keys.command("revoke", examples=["okta", "okta --id 3", "okta --yes"])
@click.argument("name")
@click.option("--id", "key_id", metavar="N", type=options.ROW_ID, help="Only this one of the keys with that name.")
@click.option("--yes", is_flag=True, help="Also the last one that Okta can push with. On a terminal you are asked.")
def revoke(invocation: Invocation, name: str, key_id: int | None, *, yes: bool) -> None:
    """End a key at once; every process refuses it within 5 s."""
    from agent.store import keys as store_keys

    def end(*, last_too: bool) -> int:
        by = signature()
        return invocation.write(lambda conn: store_keys.revoke(conn, by, name=name, key_id=key_id, last_too=last_too))

    try:
        ended = end(last_too=yes)
    except store_keys.LastKey:
        if not sys.stdin.isatty():
            raise
        click.confirm(f"{name} is the last key that Okta can push with. Revoke it?", abort=True, err=True)
        ended = end(last_too=True)
    invocation.answer(
        "revoked", {"name": name, "keys": ended}, f"Revoked {ended} key{'s' if ended > 1 else ''} {name}."
    )


def _show_secret(invocation: Invocation, key: "ApiKey", secret: str) -> None:
    body = {**fields(key, "id", "name"), "key": secret, **fields(key, "prefix", "scope"), "expires_at": key.expires}
    invocation.answer("key", body, secret)


def _json(key: "ApiKey", at: datetime) -> dict[str, Any]:
    return {
        **fields(key, "id", "name", "prefix", "last_four", "scope"),
        "state": key.state(at),
        "created_at": key.created,
        "created_by": key.created_by,
        "expires_at": key.expires,
        "last_used_at": key.last_used,
    }
