"""``guard``, ``pause``, ``resume``, ``pins``: the brakes."""

from datetime import timedelta
from pathlib import Path

import click

from agent.cli import options
from agent.cli.command import Invocation, command, group, now, signature, sure, width
from agent.cli.files import whole
from agent.cli.people import find
from agent.cli.reconcile import changed_settings
from agent.model.errors import NotFound
from agent.model.replay import replay
from agent.model.times import when
from agent.runs.wording import clean, fields


@group("guard")
def guard() -> None:
    """Limits on deactivations: look, announce more, refuse."""


@guard.command("show", examples=["", "--output json"])
def show(invocation: Invocation) -> None:
    """Limits and how full they are, announcements, refused pushes, what is held."""
    from agent.cli import guard_view
    from agent.dashboard import status

    at = now()
    found = invocation.read(lambda conn: status.read(conn, invocation.settings, at))
    invocation.answer("guard", {"guard": guard_view.as_json(found)}, lambda: guard_view.as_text(found))


@guard.command(
    "allow",
    examples=[
        '--count 40 --for 2h --reason "office in Oslo closes, ticket 4711"',
        '--user ann@example.com --reason "left today"',
    ],
)
@click.option("--count", type=click.IntRange(1, 100_000), help="How many deactivations, of anybody.")
@click.option("--user", metavar="LOGIN", help="Of this person alone.")
@click.option(
    "--for", "lasts", type=options.DURATION, default="2h", show_default=True, help="Until it lapses; at most 7d."
)
@options.required_reason
def allow(invocation: Invocation, count: int | None, user: str | None, lasts: timedelta, reason: str) -> None:
    """Announce deactivations: they pass the limits and don't fill them. Refused pushes are looked at again at once."""
    from agent.store import brakes

    if (count is None) == (user is None):
        raise click.UsageError("give either --count N or --user LOGIN")
    at = now()
    until = brakes.allowance_end(at, lasts)
    by = signature(reason, at)
    with invocation.directory() as directory:
        person = find(directory, user) if user else None
        number = directory.store.write(
            lambda conn: brakes.allow(conn, by, count=count or 1, until=until, person=person)
        )
    whom = person.user_name if person else "anybody"
    announced = "one deactivation" if count in (1, None) else f"{count:,} deactivations"
    invocation.answer(
        "allowance",
        {"allowance": {"id": number, "count": count or 1, "user": user, "until": until}},
        f"Announced: {announced} of {whom} until {when(until)}.",
    )


@guard.command("reject", examples=['--user ann@example.com --reason "group removed by mistake"'])
@click.option("--user", metavar="LOGIN", required=True)
@options.reason
def reject(invocation: Invocation, user: str, reason: str) -> None:
    """Refuse a waiting pushed deactivation for good: Okta's retry gets 409. Then correct the person in Okta."""
    from agent.store import brakes

    by = signature(reason)
    with invocation.directory() as directory:
        person = find(directory, user)
        directory.store.write(lambda conn: brakes.reject(conn, by, person))
    invocation.answer(
        "rejected",
        {"user": person.user_name, "directory_id": person.id},
        f"Rejected. Okta's retry for {person.user_name} gets 409; correct the assignment in Okta.",
    )


@guard.command(
    "replay",
    examples=[
        "--since 30d --set guard.deactivations_percent=5",
        "--set guard.push_floor=2 --set guard.push_mode=hold --output json",
        "--since 90d --svg replay.svg",
    ],
)
@click.option("--since", type=options.DURATION, default="30d", show_default=True, help="How far back.")
@click.option(
    "--set", "changed", metavar="NAME=VALUE", multiple=True, help="Another limit, of [guard]. May be repeated."
)
@click.option("--svg", metavar="FILE", type=options.FILE, help="The days as a picture, in this file.")
def replay_history(invocation: Invocation, since: timedelta, changed: tuple[str, ...], svg: Path | None) -> None:
    """What the runs and pushes of the past would have met under other limits. Changes nothing, and asks nobody.

    Which runs would have held what, which pushes would have been refused, how many people had waited, and how long. Other
    policies make other plans: reconcile --what-if policy.NAME=VALUE.
    """
    from agent.cli import replay_view
    from agent.store import judgements

    settings = changed_settings(invocation, "--set", changed, ["guard"])
    until = now()
    with invocation.store() as store, store.read() as conn:
        oldest = judgements.oldest(conn)
        if oldest is None:
            raise NotFound(
                "Nothing was judged yet: there was no run with anything to limit, and no pushed deactivation"
            )
        begins = max(oldest, until - since)
        found = replay(judgements.history(conn, begins), settings.guard)
    told = dict(one.partition("=")[::2] for one in changed)
    asked = replay_view.Asked(begins, until, told)
    if svg is not None:
        with whole(svg) as picture:
            picture.write(replay_view.as_svg(asked, found).encode())
    invocation.answer(
        "replay", {"replay": replay_view.as_json(asked, found)}, lambda: replay_view.as_text(asked, found, width())
    )


@command("pause", examples=['--reason "Okta migration tonight"'])
@options.reason
def pause(invocation: Invocation, reason: str) -> None:
    """Stop the agent's own applies. The receiver goes on: what Okta pushes is done."""
    from agent.store import brakes

    by = signature(reason)
    run = invocation.write(lambda conn: brakes.pause(conn, by))
    told = "Paused. Pushes are still applied. End: opshelm-agent resume"
    if run is not None:
        told += f"\nRun {run.run_id} ({run.kind}) is under way: {run.done:,} actions were done, {run.sent:,} are being written, and it does no more."
    under_way = fields(run, "run_id", "kind", "done", "sent") if run else None
    invocation.answer("paused", {"paused": True, "reason": by.reason, "under_way": under_way}, told)


@command("resume")
def resume(invocation: Invocation) -> None:
    """Let the agent apply again."""
    from agent.store import brakes

    by = signature()
    invocation.write(lambda conn: brakes.resume(conn, by))
    invocation.answer("paused", {"paused": False}, "Resumed. The next run applies what passes the guard.")


@group("pins")
def pins() -> None:
    """The Okta org and app that this account belongs to."""


@pins.command("show")
def show_pins(invocation: Invocation) -> None:
    """What is pinned. The first apply pins; a run against anything else changes nothing."""
    from agent.store import account

    row = invocation.read(account.get)
    body = fields(row, "org_id", "app_id", "app_label", "pinned_at", "pinned_by")
    text = (
        f"org {row.org_id}\napp {row.app_id} {clean(row.app_label or '')}\npinned {when(row.pinned_at)} by {row.pinned_by}"
        if row.pinned
        else "Nothing is pinned yet. The first apply pins: opshelm-agent reconcile, then plans approve ID --count N"
    )
    invocation.answer("pins", {"pins": body if row.pinned else None}, text)


@pins.command("accept", examples=['--reason "moved to the new org, change 4711"'])
@options.reason
@options.yes
def accept_pins(invocation: Invocation, reason: str, *, yes: bool) -> None:
    """After a planned move: pin the org and app that the settings name, as Okta shows them now."""
    from agent.store import brakes

    by = signature(reason)
    with invocation.okta() as okta, invocation.store() as store:
        org_id, app = okta.org_id(), okta.app()
        sure(f"From now on org {org_id} and app {app.label} ({app.id}) decide who has access. Pin them?", yes=yes)
        before = store.write(
            lambda conn: brakes.accept_pins(conn, by, org_id=org_id, app_id=app.id, app_label=app.label)
        )
    pinned = {"org_id": org_id, "app_id": app.id, "app_label": app.label, "pinned_at": by.at, "pinned_by": by.actor}
    invocation.answer(
        "pins", {"pins": pinned}, f"org {before.org_id or 'none'} → {org_id}\napp {before.app_id or 'none'} → {app.id}"
    )
