"""``check``: is everything set up as OpsHelm and Okta need it?"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from agent.cli.command import Invocation, command, signature
from agent.cli.render import clean, csv_text, fields

if TYPE_CHECKING:
    from agent.checks.check import Check
    from agent.checks.people import Exceptional

_PERSON = ("login", "email", "okta_id")


@command(
    "check",
    examples=[
        "opshelm-agent check",
        "opshelm-agent check --output json",
        "opshelm-agent check --csv > people.csv",
        "opshelm-agent check --create-event-hook",
        "opshelm-agent check --health",
    ],
)
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
    from agent.checks.check import failed

    if create_event_hook:
        _create_hook(invocation)
    found, exceptions = ([_health(invocation)], []) if health else _everything(invocation)
    people = [fields(one, *_PERSON) for one in exceptions]
    body = {
        "ok": not failed(found),
        "checks": [fields(one, "name", "state", "detail", "fix") for one in found],
        "emails": people,
    }
    invocation.answer("check", body, lambda: csv_text(_PERSON, people) if as_csv else "\n".join(_lines(found)))
    return int(failed(found))


def _everything(invocation: Invocation) -> "tuple[list[Check], list[Exceptional]]":
    from agent import bootstrap
    from agent.checks.everything import Everything

    looked = Everything(invocation.loaded, signature(), bootstrap)
    return list(looked.lines()), looked.exceptions


def _health(invocation: Invocation) -> "Check":
    from agent.checks import daemon

    return daemon.health(invocation.settings.server)


def _create_hook(invocation: Invocation) -> None:
    from agent.bootstrap import open_okta
    from agent.checks import hook

    with open_okta(invocation.settings) as okta:
        made = hook.create(okta, invocation.settings)
    invocation.say(f"Okta's event hook {made.id} is {made.verification_status}.")


def _lines(checks: "list[Check]") -> Iterator[str]:
    for one in checks:
        yield f"{one.state.value:<5} {one.name:<16} {clean(one.detail)}"
        if one.fix:
            yield f"{'':<5} {'':<16} → {one.fix}"
