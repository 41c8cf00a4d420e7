"""``serve``: the daemon."""

import click

from agent.cli.command import Invocation, command


@command(
    "serve",
    examples=[
        "opshelm-agent serve",
        "opshelm-agent --config /etc/opshelm-agent/agent.toml serve",
        "OPSHELM_SERVER__PORT=9000 opshelm-agent serve",
    ],
)
def serve(invocation: Invocation) -> int:
    """Run the daemon: receiver, status page and metrics, clock.

    Applies what passes the guard (schedule.apply). Before the first apply is approved it stores and holds the first plan.
    Without [okta] it serves the receiver alone. SIGHUP reads settings and secrets again; SIGTERM and Ctrl-C stop it cleanly.
    """
    from agent.daemon import serve as run_daemon

    if invocation.json:
        raise click.UsageError("serve answers nothing; its log is JSON already (log.format)")
    return run_daemon(invocation.loaded, config=invocation.config)
