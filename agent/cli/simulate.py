"""``opshelm-agent simulate``: the simulated Okta org alone, for rehearsals. Starts nothing of the agent itself.

From an export it also makes the database that the agent looks at then.
"""

from pathlib import Path
from typing import Any

import click

from agent.cli import options
from agent.cli.command import Invocation, command, now


@command(
    "simulate",
    examples=[
        "--users 500",
        'eval "$(opshelm-agent simulate --print-env)"   # in another terminal: point the agent there',
        "--scim-url http://127.0.0.1:8765/scim/v2 --scim-key oha_…",
        "--from-export shape.jsonl.gz    # people as they are in the real org (rehearse export)",
    ],
)
@click.option(
    "--from-export",
    metavar="FILE",
    type=options.EXISTING_FILE,
    help="An anonymised export instead of --users, --seed and --app-id; also fills --database.",
)
@click.option(
    "--database",
    metavar="FILE",
    type=options.FILE,
    help="With --from-export: where the agent's side goes, a new SQLite file; default: FILE.db beside the export.",
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
def simulate(invocation: Invocation, *, database: Path | None, port: int, print_env: bool, **org: Any) -> None:
    """Serve a simulated Okta org on loopback, for rehearsals.

    One app with N people assigned. What an administrator does is done through Okta's own API; a control API below
    /simulator loses pushes, makes faults and cuts listings. It has groups, filled by rules: OpsHelm Owners (for
    roles.owner), and one for each department.
    """
    if (org["scim_url"] is None) != (org["scim_key"] is None):
        raise click.UsageError("--scim-url and --scim-key belong together.")
    if database is not None and org["from_export"] is None:
        raise click.UsageError("--database goes with --from-export.")
    from agent.simulator import OrgSettings, environment, serve

    settings = OrgSettings(
        groups=org["from_export"] is None, **{name: value for name, value in org.items() if value not in (None, "")}
    )
    host, people = "127.0.0.1", f"{settings.users} people"
    lines = []
    if settings.from_export is not None:
        file, people = settings.from_export, f"the people of {settings.from_export}"
        settings.app_id = _app_id(file)
        database = database or file.with_name(f"{file.name.partition('.')[0]}.db")
        lines = [f"export OPSHELM_DATABASE__URL=sqlite:///{database.absolute()}"]
    if print_env:
        click.echo("\n".join([*environment(settings, host, port), *lines]))
        return
    if settings.from_export is not None and database is not None:
        _fill(settings.from_export, database)
        invocation.say(f"{database} holds the directory: {lines[0]}")

    def ready(url: str) -> None:
        invocation.say(f"A simulated Okta org with {people} at {url}. Ctrl-C ends it.")

    try:
        serve(settings, host, port, ready)
    except OSError as exc:
        raise click.ClickException(f"Port {port} can't be used: {exc.strerror}. Choose another with --port.") from exc


def _app_id(file: Path) -> str:
    from agent.simulator import exported

    try:
        return str(exported.header(file)["app"]["id"])
    except (ValueError, KeyError, OSError) as exc:
        raise click.UsageError(f"{file} is no export: {exc}. Make one: opshelm-agent rehearse export FILE") from exc


def _fill(file: Path, database: Path) -> None:
    from agent.reconcile import export
    from agent.settings import DatabaseSettings
    from agent.simulator import exported
    from agent.store.engine import Store

    if database.exists():
        raise click.UsageError(f"{database} is there already. Remove it, or name another with --database.")
    store = Store.open(DatabaseSettings(url=f"sqlite:///{database.absolute()}"), make=True)
    try:
        with exported.opened(file) as lines:
            export.load(store, lines, now())
    except BaseException:
        store.close()
        database.unlink(missing_ok=True)
        raise
    store.close()
