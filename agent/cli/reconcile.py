"""``reconcile``: one run, dry unless --apply."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from agent.cli import options
from agent.cli.command import Invocation, asked_to_stop, command, operator
from agent.model.guard import typed

if TYPE_CHECKING:
    from agent.bootstrap import Agent
    from agent.settings import Settings


class _Given(TypedDict):
    users: tuple[str, ...]
    first_run: int | None
    allow_empty: int | None
    wait: float


#: Sections in which another value can make another plan.
_RULES = ("policy", "roles", "guard", "mapping", "reconcile", "receiver")


@command(
    "reconcile",
    examples=[
        "                        # look, change nothing",
        "--apply",
        "--user ann@example.com --apply",
        "--apply --first-run 204  # the very first apply: pins org and app",
        "--detailed-exitcode      # 3: drift, 4: something is held",
        "--what-if policy.suspended=deactivate --what-if mapping.costCenter=title",
    ],
)
@click.option("--apply", "apply_", is_flag=True, help="Carry out what passes the guard. Without it nothing is changed.")
@click.option(
    "--user", "users", metavar="LOGIN", multiple=True, help="Only this person, read directly; may be repeated."
)
@click.option("--first-run", metavar="N", type=click.IntRange(0), help="Approve the first apply, of at most N actions.")
@click.option(
    "--allow-empty", metavar="N", type=click.IntRange(0), help="Okta lists (nearly) nobody: up to N deactivations."
)
@options.wait
@click.option(
    "--what-if",
    metavar="NAME=VALUE",
    multiple=True,
    help="Plan as if a setting of [policy], [guard], [mapping], [reconcile] or [receiver] were this; never applied. May be repeated.",
)
@click.option("--detailed-exitcode", is_flag=True, help="After a dry run: 3 for drift, 4 for holds.")
def reconcile(
    invocation: Invocation, *, apply_: bool, what_if: tuple[str, ...], detailed_exitcode: bool, **given: Unpack[_Given]
) -> int:
    """Compare OpsHelm with Okta; with --apply repair it.

    Shows the plan: what would be done, or what was done.

    Reads all assigned users of the Okta app, or those named by --user: a userName in OpsHelm, else an Okta login.
    """
    from agent.cli.answers import answer_rehearsal, answer_run
    from agent.store.runs import Asker

    grant = typed(first_run=given["first_run"], allow_empty=given["allow_empty"])
    if not apply_ and grant.lifted:
        raise click.UsageError("--first-run and --allow-empty go with --apply")
    if what_if and apply_:
        raise click.UsageError("--what-if only plans. To have it so: change the settings file, then reconcile")
    with _opened(invocation, what_if) as agent:
        reconciler = agent.need_reconciler()
        with invocation.progress() as progress, asked_to_stop(agent.ask_to_stop):
            report = reconciler.run(
                apply=apply_,
                users=given["users"],
                grant=grant,
                by=Asker(trigger="cli", actor=operator()),
                wait=given["wait"],
                progress=progress,
            )
        if what_if:
            return answer_rehearsal(invocation, report, what_if, agent.settings.guard, detailed=detailed_exitcode)
        return answer_run(invocation, report, dry=not apply_, detailed=detailed_exitcode)


def _opened(invocation: Invocation, what_if: Sequence[str]) -> "AbstractContextManager[Agent]":
    from agent.bootstrap import open_rehearsal

    if not what_if:
        return invocation.agent()
    return open_rehearsal(invocation.settings, changed_settings(invocation, "--what-if", what_if, _RULES))


def changed_settings(invocation: Invocation, option: str, given: Sequence[str], sections: Sequence[str]) -> "Settings":
    """The settings with NAME=VALUE in place of what is in force, of these sections alone."""
    from agent.settings import load

    changed: dict[str, dict[str, str]] = {}
    for one in given:
        name, equals, value = one.partition("=")
        section, _, key = name.strip().partition(".")
        if not equals or not key or section not in sections:
            raise click.UsageError(
                f"{option} {one}: no NAME=VALUE of {', '.join(f'[{section}]' for section in sections)}"
            )
        changed.setdefault(section, {})[key] = value.strip()
    return load(invocation.config, changed).settings
