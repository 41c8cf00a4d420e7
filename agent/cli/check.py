"""``check``: is everything set up as OpsHelm and Okta need it?"""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import click

from agent.cli.command import Invocation, command, now, pass_invocation

if TYPE_CHECKING:
    from agent.checks.check import Check
    from agent.store.account import Account
    from agent.store.engine import Store


@command(
    "check",
    examples=["opshelm-agent check", "opshelm-agent check --output json", "opshelm-agent check --health"],
)
@click.option(
    "--health", is_flag=True, help="Only whether the daemon is ready, for a container's health check."
)
@pass_invocation
def check(invocation: Invocation, health: bool) -> int:
    """Look whether everything is set up right.

    Settings, database, keys, owners, Okta's credentials and app, pins, clock, receiver, lease: ok, warn or fail, a
    line each, with the fix. Exit code 1 if anything fails; warnings are 0. Changes nothing.
    """
    from agent.checks.check import failed

    found = list(_health(invocation) if health else _all(invocation))
    body = {
        "ok": not failed(found),
        "checks": [{"name": c.name, "state": c.state.value, "detail": c.detail, "fix": c.fix} for c in found],
    }
    invocation.answer("check", body, "\n".join(_lines(found)))
    return int(failed(found))


def _health(invocation: Invocation) -> "Iterator[Check]":
    from agent.checks import daemon

    yield daemon.health(invocation.settings.server)


def _all(invocation: Invocation) -> "Iterator[Check]":
    from agent.checks import daemon, database
    from agent.checks.check import fail, ok
    from agent.model.errors import AgentError
    from agent.store import account

    settings, file = invocation.settings, invocation.loaded.file
    yield ok("settings", f"from {file}" if file else "no file; environment and defaults")
    try:
        with invocation.store() as store:
            yield from database.checks(store, settings, now())
            yield from _remote(invocation, store)
            with store.read() as conn:
                row = account.get(conn)
    except AgentError as exc:
        yield fail("database", exc.detail, "check database.url, the folder's rights and that the server runs")
        return
    yield from _okta(invocation, row)
    yield from daemon.checks(settings.server)


def _remote(invocation: Invocation, store: "Store") -> "Iterator[Check]":
    if invocation.settings.directory.backend != "scim":
        return
    from agent.bootstrap import open_remote
    from agent.checks import remote

    with closing(open_remote(invocation.settings, store)) as directory:
        yield from remote.checks(directory, now())


def _okta(invocation: Invocation, row: "Account") -> "Iterator[Check]":
    from agent.bootstrap import open_okta
    from agent.checks import okta as okta_checks
    from agent.checks.check import fail, warn
    from agent.model.errors import AgentError

    if not invocation.settings.okta.configured:
        yield warn(
            "okta",
            "not set: the agent is a receiver alone",
            "set okta.org_url, okta.app_id and okta.api_token",
        )
        return
    try:
        with open_okta(invocation.settings) as okta:
            yield from okta_checks.checks(okta, row)
    except AgentError as exc:
        yield fail("okta", exc.detail, "check [okta]")


def _lines(checks: "list[Check]") -> Iterator[str]:
    from agent.cli.render import clean

    for one in checks:
        yield f"{one.state.value:<5} {one.name:<16} {clean(one.detail)}"
        if one.fix:
            yield f"{'':<5} {'':<16} → {one.fix}"
