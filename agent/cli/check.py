"""``check``: is everything set up as OpsHelm and Okta need it?"""

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from agent.cli.command import Invocation, command, signature
from agent.cli.render import csv_text
from agent.model.check import Check, failed
from agent.runs.wording import clean, fields

if TYPE_CHECKING:
    from agent.checks.everything import Everything

_PERSON = ("login", "email", "okta_id")


@command("check", examples=["", "--output json", "--csv > people.csv", "--create-event-hook", "--health"])
@click.option("--health", is_flag=True, help="Only whether the daemon is ready, for a container's health check.")
@click.option("--csv", "as_csv", is_flag=True, help="Only the people whose e-mail is not their username, as CSV.")
@click.option(
    "--create-event-hook", is_flag=True, help="First make the event hook in Okta, or verify the one that is there."
)
def check(invocation: Invocation, health: bool, as_csv: bool, create_event_hook: bool) -> int:
    """Look whether everything is set up right.

    Settings, database, keys, owners, Okta's credentials and what they may do, the app against OpsHelm's requirements, people's
    e-mails, the mapping, pins, clock, the receiver from outside, lease: ok, warn or fail, a line each, with the fix.

    Exit code 1 if anything fails; warnings are 0. Changes nothing but for --create-event-hook, and an API key that lives for
    one request.
    """
    if create_event_hook:
        from agent.checks import hook

        with invocation.okta() as okta:
            made = hook.create(okta, invocation.settings)
        invocation.say(f"Okta's event hook {made.id} is {made.verification_status}.")
    live = not invocation.json and not as_csv
    found: list[Check] = []
    looked = None if health else _everything(invocation)
    for line in [_health(invocation)] if looked is None else looked.lines():
        found.append(line)
        if live:
            # As it comes: a check may take a while, and which one hangs is what one wants to know.
            invocation.answer("check", {}, "\n".join(_lines([line])))
            sys.stdout.flush()
    exceptions = [] if looked is None else looked.exceptions
    people = [fields(one, *_PERSON) for one in exceptions]
    body = {
        "ok": not failed(found),
        "checks": [fields(one, "name", "state", "detail", "fix") for one in found],
        "emails": people,
    }
    if not live:
        invocation.answer("check", body, lambda: csv_text(_PERSON, people))
    return int(failed(found))


def _everything(invocation: Invocation) -> "Everything":
    from agent import bootstrap
    from agent.checks.everything import Everything

    return Everything(invocation.loaded, signature(), bootstrap)


def _health(invocation: Invocation) -> Check:
    from agent.checks import daemon

    return daemon.health(invocation.settings.server)


def _lines(checks: "list[Check]") -> Iterator[str]:
    for one in checks:
        yield f"{one.state.value:<5} {one.name:<16} {clean(one.detail)}"
        if one.fix:
            yield f"{'':<5} {'':<16} → {one.fix}"
