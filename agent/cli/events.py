"""``events follow``: what happens, as it happens."""

import sys
import time

import click
import msgspec

from agent.cli.command import Invocation, encode_line, group
from agent.model.times import when
from agent.runs.wording import clean

#: Seconds between two looks.
_EVERY = 0.5


@group("events")
def events() -> None:
    """What happens, as it happens."""


@events.command("follow", examples=["", "--output jsonl | jq 'select(.what == \"hold\")'"])
@click.option(
    "--what", metavar="WHAT", multiple=True, help="Only these: push, repair, import, decision, run, look, hold."
)
def follow(invocation: Invocation, what: tuple[str, ...]) -> None:
    """Pushes, looks, runs, repairs, holds and decisions of all agents on the database, one line each, until Ctrl-C."""
    from agent.store import happenings

    with invocation.store() as store:
        with store.read() as conn:
            place = happenings.now(conn)
        invocation.say("Following; Ctrl-C ends it.")
        while True:
            with store.read() as conn:
                found, place = happenings.newer(conn, place)
            for one in found:
                if what and one.what not in what:
                    continue
                line = (
                    when(one.at),
                    f"{one.what:<8}",
                    one.verb,
                    one.login,
                    f"by {one.by}" if one.by else "",
                    one.detail,
                )
                told = encode_line(msgspec.structs.asdict(one)) if invocation.json else "  ".join(filter(None, line))
                click.echo(told if invocation.json else clean(told))
            sys.stdout.flush()
            time.sleep(_EVERY)
