"""``failures``: what failed and isn't repaired, grouped by its cause, and having it tried again."""

from typing import TYPE_CHECKING, Any

import click

from agent.cli import options
from agent.cli.command import Invocation, group, signature
from agent.cli.render import csv_text
from agent.model.errors import NotFound
from agent.model.times import when
from agent.model.users import identity_key
from agent.runs.wording import fields

if TYPE_CHECKING:
    from agent.store.engine import Connection
    from agent.store.failed_people import FailedPerson

_PERSON = ("at", "login", "where", "detail", "okta_id", "directory_id", "plan_id")
_GROUP = ("id", "where", "people", "first", "last", "cause")
#: People that one command names or tries again.
_MOST = 100_000


@group("failures")
def failures() -> None:
    """What failed and isn't repaired yet.

    Okta's pushes, actions of runs, imports. What is the same but for names, ids and numbers is one group.
    """


@failures.command("list", examples=["", "--csv"])
@options.as_csv
def list_failures(invocation: Invocation, as_csv: bool) -> None:
    """The groups, the largest first; with --csv everybody."""
    from agent.store import failed_people

    if as_csv:
        everybody = invocation.read(lambda conn: failed_people.people(conn, limit=_MOST))
        click.echo(csv_text(_PERSON, [fields(one, *_PERSON) for one in everybody]))
        return
    found = invocation.read(failed_people.groups)
    columns = ["group", "where", "people", "last", "cause"]
    cells = [[one.id, one.where.value, one.people, when(one.last), one.cause] for one in found]
    body = {"groups": [fields(one, *_GROUP) for one in found]}
    invocation.answer_table("failures", body, columns, cells, "Nothing failed that isn't repaired.")


@failures.command("show", examples=["4f1d0c2b9a77"])
@click.argument("group_id", metavar="GROUP")
def show(invocation: Invocation, group_id: str) -> None:
    """Whom one group is about, in the words of whoever refused."""
    found = invocation.read(lambda conn: _chosen(conn, (), group_id, everybody=False))
    columns = ["login", "where", "at", "what"]
    cells = [[one.login, one.where.value, when(one.at), one.detail] for one in found]
    invocation.answer_table("failures", {"people": [fields(one, *_PERSON) for one in found]}, columns, cells, "")


@failures.command("retry", examples=["ann@example.com", "--group 4f1d0c2b9a77", "--all"])
@click.argument("logins", metavar="[LOGIN…]", nargs=-1)
@click.option("--group", "group_id", metavar="GROUP", help="All of this group.")
@click.option("--all", "everybody", is_flag=True, help="All of all groups.")
@options.reason
def retry(invocation: Invocation, logins: tuple[str, ...], group_id: str | None, everybody: bool, reason: str) -> None:
    """Have them looked at again; the daemon does it within seconds. Imports are tried again by import apply."""
    from agent.reconcile import look_queue

    if sum((bool(logins), group_id is not None, everybody)) != 1:
        raise click.UsageError("say whom: LOGIN…, --group GROUP or --all")
    by, page_size = signature(reason), invocation.settings.reconcile.page_size
    with invocation.store() as store:
        with store.read() as conn:
            chosen = _chosen(conn, logins, group_id, everybody=everybody)
        queued = store.write(lambda conn: look_queue.retry(conn, chosen, by, page_size=page_size))
    how = "a sweep, since they are many" if queued.sweep else "a look at each of them"
    invocation.answer(
        "retry",
        {"people": queued.people, "sweep": queued.sweep},
        f"{queued.people:,} asked for: {how}, within seconds where the daemon runs. Without it: opshelm-agent reconcile --apply",
    )


def _chosen(
    conn: "Connection", logins: tuple[str, ...], group_id: str | None, *, everybody: bool
) -> "list[FailedPerson]":
    """NotFound names whoever has nothing that failed."""
    from agent.store import failed_people

    found = failed_people.people(conn, group_id, limit=_MOST)
    if not everybody and group_id is None:
        wanted: dict[str, Any] = {identity_key(login): login for login in logins}
        found = [one for one in found if identity_key(one.login) in wanted]
        missing = wanted.keys() - {identity_key(one.login) for one in found}
        if missing:
            raise NotFound(
                f"Nothing failed of {', '.join(wanted[key] for key in sorted(missing))}. See: opshelm-agent failures list"
            )
    if not found:
        raise NotFound(
            f"There is no group {group_id} (any more). See: opshelm-agent failures list"
            if group_id
            else "Nothing failed that isn't repaired."
        )
    return found
