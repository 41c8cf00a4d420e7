"""``opshelm-agent simulate``: the simulated Okta org alone, for rehearsals. Starts nothing of the agent itself."""

from typing import Any

import click

from agent.cli.command import Invocation, command


@command(
    "simulate",
    examples=[
        "opshelm-agent simulate --users 500",
        'eval "$(opshelm-agent simulate --print-env)"   # in another terminal: point the agent there',
        "opshelm-agent simulate --scim-url http://127.0.0.1:8765/scim/v2 --scim-key oha_…",
    ],
)
@click.option("--port", default=8768, show_default=True, type=click.IntRange(0, 65535), help="Port on loopback.")
@click.option("--users", default=200, show_default=True, type=click.IntRange(0), help="People assigned to the app.")
@click.option("--seed", default=1, show_default=True, help="Same seed, same people.")
@click.option(
    "--app-style",
    type=click.Choice(["oin", "wizard"]),
    default="oin",
    show_default=True,
    help="Catalogue apps deactivate by PATCH, wizard apps by PUT.",
)
@click.option("--scim-url", help="Where to push, such as http://127.0.0.1:8765/scim/v2; without it nothing is pushed.")
@click.option("--scim-key", help="The API key for --scim-url.")
@click.option("--app-id", help="Instead of the simulation's own app id.")
@click.option("--token", help="Instead of the simulation's own API token.")
@click.option("--rate-limit", type=click.IntRange(1), help="Calls a minute on the apps bucket; default: headers only.")
@click.option("--print-env", is_flag=True, help="Print the export lines that point the agent here, and exit.")
def simulate(invocation: Invocation, port: int, print_env: bool, **org: Any) -> None:
    """Serve a simulated Okta org on loopback, for rehearsals.

    One app with N people assigned. What an administrator does is done through Okta's own API; a control API below
    /simulator loses pushes, makes faults and cuts listings. It has groups, filled by rules: OpsHelm Owners (for
    roles.owner), and one for each department.
    """
    if (org["scim_url"] is None) != (org["scim_key"] is None):
        raise click.UsageError("--scim-url and --scim-key belong together.")
    from agent.simulator import OrgSettings, environment, serve

    settings = OrgSettings(groups=True, **{name: value for name, value in org.items() if value not in (None, "")})
    host = "127.0.0.1"
    if print_env:
        click.echo("\n".join(environment(settings, host, port)))
        return

    def ready(url: str) -> None:
        invocation.say(f"A simulated Okta org with {settings.users} people at {url}. Ctrl-C ends it.")

    try:
        serve(settings, host, port, ready)
    except OSError as exc:
        raise click.ClickException(f"Port {port} can't be used: {exc.strerror}. Choose another with --port.") from exc
