"""``config show``, ``config example``, ``config apply`` and ``config ask-again``."""

import click

from agent.cli import options
from agent.cli.command import Invocation, group, signature


@group("config")
def config() -> None:
    """What the agent is set to, and a file to start from."""


@config.command("show", examples=["", "--origin", "--output json"])
@click.option("--origin", is_flag=True, help="Say for each value where it came from.")
def show(invocation: Invocation, origin: bool) -> None:
    """Every setting as it holds now, secrets masked. Fails (2) with every mistake when the settings are wrong."""
    from agent.settings.describe import describe, text

    rows = describe(invocation.loaded)
    columns = ["setting", "value", *(["origin", "place"] if origin else [])]
    cells = [[row.name, text(row.value), *([row.origin.kind, row.origin.place] if origin else [])] for row in rows]
    body = {
        "file": str(invocation.loaded.file) if invocation.loaded.file else None,
        "settings": [line.row for line in rows],
    }
    invocation.answer_table("config", body, columns, cells, "")


@config.command("example", examples=["> agent.toml"])
def example(invocation: Invocation) -> None:
    """A settings file with every setting, its default and why."""
    from agent.settings.describe import example_file

    text = example_file()
    invocation.answer("config_example", {"text": text}, text.rstrip("\n"))


@config.command("apply", examples=['--reason "jobTitle instead of title, ticket 4711"'])
@options.reason
def apply(invocation: Invocation, reason: str) -> None:
    """Make the mapping in these settings that of the database, for every agent on it. What else is set needs no such step."""
    from agent.bootstrap import apply_mapping
    from agent.store import account

    with invocation.store() as store:
        version, rebuilt = apply_mapping(invocation.settings, store, signature(reason))
        now = store.ask(account.get).mapping_version
    body = {"version": now, "changed": version is not None, "accounts": rebuilt}
    done = (
        f"The database has the mapping of these settings now (version {now}); {rebuilt:,} accounts were looked at. An agent "
        "that runs with another one takes nothing until it has read these settings (it does so by itself within seconds)."
    )
    invocation.answer("mapping", body, done if version else f"The database has this mapping already (version {now}).")


@config.command("ask-again", examples=["", "title locale"])
@click.argument("attribute", nargs=-1)
def ask_again(invocation: Invocation, attribute: tuple[str, ...]) -> None:
    """Try once more what a remote OpsHelm didn't keep of an account: the next write that has it says what holds now."""
    from agent.store import unkept

    asked = invocation.write(lambda conn: unkept.ask_again(conn, attribute))
    text = f"Tried again with the next write: {', '.join(asked)}" if asked else "There is nothing to be tried again."
    invocation.answer("ask_again", {"attributes": asked}, text)
