"""``completion bash|zsh|fish``, and what completes ids and logins: the newest of the database, or nothing where none can be read."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from agent.cli.command import PROGRAM, Invocation, command

if TYPE_CHECKING:
    from agent.store.engine import Connection

#: What a Tab may show.
_MOST = 50


@command(
    "completion",
    examples=['eval "$(opshelm-agent completion bash)"', 'eval "$(opshelm-agent completion zsh)"', "fish | source"],
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(invocation: Invocation, shell: str) -> None:
    """Print what makes a shell complete commands, ids and logins."""
    from click.shell_completion import get_completion_class

    from agent.cli.root import cli

    made = get_completion_class(shell)
    assert made is not None  # the choice has click's own
    text = made(cli, {}, PROGRAM, "_OPSHELM_AGENT_COMPLETE").source()
    invocation.answer("completion", {"shell": shell, "text": text}, text)


_Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _from_database(read: "Callable[[Connection, str], list[str]]") -> _Complete:
    def complete(ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
        """Quiet whatever happens: the shell is in the middle of a line."""
        try:
            found = ctx.ensure_object(Invocation).read(lambda conn: read(conn, begun))
            return [one for one in found if one.startswith(begun)][:_MOST]
        except Exception:  # noqa: BLE001 - no settings, no database, no such table
            return []

    return complete


def _plans(conn: "Connection", _begun: str) -> list[str]:
    from agent.store import overview

    return [str(plan.id) for plan in overview.headers(conn, limit=_MOST)]


def _runs(conn: "Connection", _begun: str) -> list[str]:
    from agent.store import runs

    return [str(run.id) for run in runs.recent(conn, _MOST)]


def _logins(conn: "Connection", begun: str) -> list[str]:
    from agent.store import people

    return [person.user_name for person in people.page(conn, search=begun, limit=_MOST).people]


plan_ids, run_ids, logins = (_from_database(read) for read in (_plans, _runs, _logins))
