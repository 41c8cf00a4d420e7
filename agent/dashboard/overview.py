"""The first page: how things stand, what waits for a person, what is alarmed, and on a new installation the first steps."""

from collections import Counter
from datetime import datetime

from markupsafe import Markup
from msgspec import Struct
from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard import status, words
from agent.dashboard.activity import Activity
from agent.dashboard.site import OVER, Site, Visit
from agent.dashboard.status import StatusPage
from agent.model.errors import UsageError
from agent.model.holds import Decision
from agent.model.times import when
from agent.runs.frame import Outcome
from agent.store import brakes


class Waiting(Struct, frozen=True, kw_only=True):
    """Something that waits for a person."""

    since: datetime
    what: str
    link: str


class SetupStep(Struct, frozen=True, kw_only=True):
    """One of the first steps on a new installation."""

    done: bool
    what: str
    how: str


def routes(site: Site, counted: Activity) -> list[Route]:
    return [
        *site.page("/", lambda site, visit: overview(site, visit, counted)),
        *site.page("/help", lambda site, visit: site.render(visit, "help.html")),
        *site.page("/work/{number:int}", work),
        *site.act("/pause", pause),
        *site.act("/resume", resume),
    ]


def overview(site: Site, visit: Visit, counted: Activity) -> Response:
    with site.store.read() as conn:
        found = status.read(conn, site.settings, visit.now)
        drawing = None if visit.partial else counted.read(conn, visit.now)
    steps = first_steps(site, found)
    return site.render(
        visit,
        "overview_now.html" if visit.partial else "overview.html",
        status=found,
        activity=drawing,
        drift=drift_chip(found),
        health=health_chip(found),
        waiting=waiting(found),
        steps=[] if all(step.done for step in steps) else steps,
        receiver=site.receiver,
        place=site.store.place,
    )


def work(site: Site, visit: Visit) -> Response:
    """What a form has begun, live until it ends."""
    found = site.desk.find(visit.number("number"))
    template, ended = "work_now.html" if visit.partial else "work.html", found.ended
    code = OVER if visit.partial and ended is not None else 200
    return site.render(visit, template, code=code, work=found, ended=ended)


def drift_chip(found: StatusPage) -> Markup:
    """In step, so many differ, or unknown: what is not known is never green."""
    last = found.account.last_good_sweep
    if found.drift is None or last is None:
        return words.mark(words.WAITS, "?", "Drift unknown: no good sweep yet")
    if count := sum(found.drift.values()):
        return words.mark(words.BAD, "≠", f"{count:,} differ")
    if not found.account.pinned:
        return words.mark(words.WAITS, "?", "Drift unknown: nothing is pinned yet")
    if not found.fresh:
        return words.mark(words.WAITS, "?", f"Drift unknown since {when(last)}")
    if found.in_step:
        return words.mark(words.GOOD, "=", "In step with Okta")
    return words.mark(words.WAITS, "!", "In step but for what is held")


def health_chip(found: StatusPage) -> Markup:
    """How the last run ended, and whether an alarm is open."""
    loud = sum(alarm.acked_at is None for alarm in found.alarms)
    if loud:
        return words.mark(words.BAD, "!", f"{loud:,} {'alarm' if loud == 1 else 'alarms'}")
    run = found.last_run
    if run is None:
        return words.mark(words.WAITS, "?", "Health unknown: no run yet")
    if run.exit_code in (0, 3, 4) or run.outcome == Outcome.LEASE_HELD:
        return words.mark(words.GOOD, "✓", "Healthy: the last run ended well")
    return words.mark(words.BAD, "✗", f"Last run: {run.outcome}")


def waiting(found: StatusPage) -> list[Waiting]:
    """Oldest first."""
    rows = [
        Waiting(
            since=plan.created,
            what=f"Plan {plan.id}{f' ({plan.held.value})' if plan.held else ''}: {plan.actions:,} actions, {plan.deactivations:,} of them deactivations",
            link=f"/plans/{plan.id}",
        )
        for plan in found.held_plans
    ]
    waits = [hold for hold in found.holds if hold.decision is Decision.WAITING]
    counts = Counter(hold.code for hold in waits)
    rows += [
        Waiting(
            since=min(hold.since for hold in waits if hold.code is code),
            what=f"{count:,} {'person' if count == 1 else 'people'} held: {code.value}",
            link=f"/holds?code={code.value}",
        )
        for code, count in counts.items()
    ]
    return sorted(rows, key=lambda row: row.since)


def first_steps(site: Site, found: StatusPage) -> list[SetupStep]:
    settings = site.settings
    to_push = f"in Okta: base URL {site.receiver}/scim/v2, the key, then assign somebody"
    steps = (
        (True, "The database is there", site.store.place),
        (settings.okta.configured, "The agent knows Okta", "[okta] in agent.toml, then opshelm-agent check"),
        (found.scim_keys > 0, "Okta has a key to push with", "opshelm-agent keys create okta"),
        (found.account.visible > 0, "The first push has arrived", to_push),
        (found.account.pinned, "The first plan is approved, which pins org and app", "Plans, on this site"),
    )
    return [SetupStep(done=done, what=what, how=how) for done, what, how in steps]


def pause(site: Site, visit: Visit) -> Response:
    reason = visit.said("reason")
    if not reason:
        raise UsageError("Say why: whoever meets the pause at night has to know. Nothing was changed.")
    site.store.write(lambda conn: brakes.pause(conn, visit.by(reason)))
    return site.go("/")


def resume(site: Site, visit: Visit) -> Response:
    site.store.write(lambda conn: brakes.resume(conn, visit.by()))
    return site.go("/")
