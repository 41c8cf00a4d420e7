"""``serve``: the daemon."""

import sys
from typing import TYPE_CHECKING

import click

from agent.cli.command import Invocation, command, signature
from agent.cli.dashboard import new_link

if TYPE_CHECKING:
    from agent.daemon import Service


@command(
    "serve",
    examples=[
        "",
        "opshelm-agent --config /etc/opshelm-agent/agent.toml serve",
        "OPSHELM_SERVER__PORT=9000 opshelm-agent serve",
    ],
)
def serve(invocation: Invocation) -> int:
    """Run the daemon: receiver, dashboard and metrics, clock.

    Applies what passes the guard (schedule.apply). Before the first apply is approved it stores and holds the first plan.
    Without [okta] it serves the receiver alone. SIGHUP reads settings and secrets again; SIGTERM and Ctrl-C stop it cleanly.
    """
    from agent.daemon import serve as run_daemon

    if invocation.json:
        raise click.UsageError("serve answers nothing; its log is JSON already (log.format)")
    return run_daemon(invocation.loaded, config=invocation.config, greet=_greet)


def _greet(service: "Service") -> None:
    """On a terminal a new installation says where its pages are, with a one-time link. No log gets to see one."""
    from agent.store import account

    agent = service.agent
    new = not agent.store.ask(account.get).pinned
    if new and sys.stderr.isatty() and agent.settings.dashboard.enabled:
        address = new_link(agent.store, agent.settings, signature(), service.admin_address)
        click.echo(f"Dashboard, once within 10 minutes: {address}", err=True)
