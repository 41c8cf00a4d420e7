"""``check``: is everything set up as OpsHelm and Okta need it?"""

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import click

from agent.cli.command import Invocation, command, now, signature
from agent.cli.render import clean, csv_text, fields

if TYPE_CHECKING:
    from agent.checks.check import Check
    from agent.checks.people import Exceptional
    from agent.store.account import Account
    from agent.store.engine import Store

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

    looked = _Look(invocation)
    if create_event_hook:
        looked.create_hook()
    found = list(looked.health() if health else looked.everything())
    people = [fields(one, *_PERSON) for one in looked.exceptions]
    body = {
        "ok": not failed(found),
        "checks": [fields(one, "name", "state", "detail", "fix") for one in found],
        "emails": people,
    }
    invocation.answer("check", body, lambda: csv_text(_PERSON, people) if as_csv else "\n".join(_lines(found)))
    return int(failed(found))


class _Look:
    """Goes through all parts; ``exceptions`` are the people whose e-mail is not their username."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation
        self._settings = invocation.settings
        self.exceptions: list[Exceptional] = []

    def health(self) -> "Iterator[Check]":
        from agent.checks import daemon

        yield daemon.health(self._settings.server)

    def create_hook(self) -> None:
        from agent.bootstrap import open_okta
        from agent.checks import hook

        with open_okta(self._settings) as okta:
            made = hook.create(okta, self._settings)
        self._invocation.say(f"Okta's event hook {made.id} is {made.verification_status}.")

    def everything(self) -> "Iterator[Check]":
        from agent.checks import daemon, database, round_trip
        from agent.checks.check import CheckState, fail, ok
        from agent.model.errors import AgentError, NoDatabase
        from agent.store import account

        settings, file = self._settings, self._invocation.loaded.file
        yield ok("settings", f"from {file}" if file else "no file; environment and defaults")
        try:
            with self._invocation.store() as store:
                yield from database.checks(store, settings, now())
                yield from self._remote(store)
                with store.read() as conn:
                    row = account.get(conn)
                yield from daemon.in_force(settings)
                receiver = list(daemon.checks(settings.server))
                up = any(line.state is CheckState.OK for line in receiver)
                yield from receiver
                yield from round_trip.checks(store, settings.server, signature(), receiver_up=up)
        except NoDatabase:
            raise
        except AgentError as exc:
            yield fail("database", exc.detail, "check database.url, the folder's rights and that the server runs")
            return
        yield from self._okta(row)

    def _remote(self, store: "Store") -> "Iterator[Check]":
        if self._settings.directory.backend != "scim":
            return
        from agent.bootstrap import open_directory
        from agent.checks import remote

        with closing(open_directory(self._settings, store)) as directory:
            yield from remote.checks(directory, now())

    def _okta(self, row: "Account") -> "Iterator[Check]":
        from agent.bootstrap import open_okta
        from agent.checks.check import fail, warn
        from agent.checks.okta import OktaChecks
        from agent.model.errors import AgentError

        if not self._settings.okta.configured:
            yield warn(
                "okta", "not set: the agent is a receiver alone", "set okta.org_url, okta.app_id and okta.api_token"
            )
            return
        try:
            with open_okta(self._settings) as okta:
                looked = OktaChecks(okta, self._settings, row, now())
                yield from looked.lines()
                self.exceptions = looked.exceptions
        except AgentError as exc:
            yield fail("okta", exc.detail, "check [okta]")


def _lines(checks: "list[Check]") -> Iterator[str]:
    for one in checks:
        yield f"{one.state.value:<5} {one.name:<16} {clean(one.detail)}"
        if one.fix:
            yield f"{'':<5} {'':<16} → {one.fix}"
