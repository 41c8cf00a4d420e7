"""Runs: the list with its filters, and one run, live while it goes on. Reads only."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from msgspec.structs import replace
from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.site import CHUNK, OVER, Site, Visit
from agent.model.errors import NotFound, UsageError
from agent.runs.frame import Outcome
from agent.runs.wording import RUN_FIELDS, fields
from agent.store import overview, plans
from agent.store import runs as store_runs
from agent.store.runs import Run, RunFilter

#: How outcomes are asked for: a run that never began for another's sake is missed, which is no failure.
GROUPS: dict[str, tuple[Outcome, ...]] = {
    "well": (Outcome.APPLIED, Outcome.IN_STEP, Outcome.DRIFT, Outcome.PLANNED, Outcome.NOTHING),
    "held": (Outcome.HELD, Outcome.REJECTED, Outcome.PAUSED),
    "failed": (Outcome.ERROR, Outcome.FROZEN, Outcome.INCOMPLETE, Outcome.DISPROVED, Outcome.PARTIAL),
    "missed": (Outcome.LEASE_HELD, Outcome.STOPPED),
}
RUNNING = "running"
_PAGE = 50
#: People that a run's page shows; its CSV has all.
_PEOPLE = 100
_PERSON = ("login", "kind", "state", "held", "held_detail", "error", "directory_id", "okta_id")


def routes(site: Site) -> list[Route]:
    return [*site.page("/runs", list_runs, lists=True), *site.page("/runs/{run_id:int}", show_run, lists=True)]


def list_runs(site: Site, visit: Visit) -> Response:
    wanted = _filter(visit)
    if visit.format != "html":
        every = site.whole(lambda conn, _, last: store_runs.find(conn, _after(wanted, last), CHUNK))
        return site.listing(visit, "runs", RUN_FIELDS, (fields(run, *RUN_FIELDS) for run in every))
    with site.store.read() as conn:
        found, triggers = store_runs.find(conn, wanted, _PAGE + 1), store_runs.triggers(conn)
    older = found[_PAGE - 1].id if len(found) > _PAGE else None
    return site.render(
        visit,
        "runs.html",
        runs=found[:_PAGE],
        triggers=triggers,
        groups=[*GROUPS, RUNNING],
        older=older,
        asked=visit.filters(*_ASKED),
    )


_ASKED = ("outcome", "trigger", "kind", "since", "until")


def _filter(visit: Visit) -> RunFilter:
    group, until = visit.asked("outcome"), _day(visit.asked("until"))
    outcomes = GROUPS.get(group) or ((group,) if group and group != RUNNING else None)
    return RunFilter(
        outcomes=None if outcomes is None else tuple(map(str, outcomes)),
        running=group == RUNNING,
        kind=visit.asked("kind") or None,
        trigger=visit.asked("trigger") or None,
        since=_day(visit.asked("since")),
        until=until and until + timedelta(days=1),
        before=visit.number_asked("before"),
    )


def _day(text: str) -> datetime | None:
    """Its beginning, in UTC."""
    if not text:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
    except ValueError:
        raise UsageError(f"{text} is no day; write it as 2026-03-01.") from None


def _after(wanted: RunFilter, last: Run | None) -> RunFilter:
    return wanted if last is None else replace(wanted, before=last.id)


def show_run(site: Site, visit: Visit) -> Response:
    run_id = visit.number("run_id")
    with site.store.read() as conn:
        run = store_runs.get(conn, run_id)
        if run is None:
            raise NotFound(f"There is no run {run_id}.")
        made = overview.headers(conn, run_id=run_id, limit=1)
        people = plans.people_of(conn, made[0].id, limit=None if visit.format == "csv" else _PEOPLE) if made else []
        findings = store_runs.findings_of(conn, run_id) if not visit.partial else ()
    plan = made[0] if made else None
    if visit.format == "csv":
        return site.listing(visit, f"run-{run_id}", _PERSON, (fields(action, *_PERSON) for action in people))
    if visit.format == "json":
        return site.json("run", {"run": {**fields(run, *RUN_FIELDS), "plan_id": plan.id if plan else None}})
    return site.render(
        visit,
        "run_now.html" if visit.partial else "run.html",
        code=OVER if visit.partial and run.ended is not None else 200,
        run=run,
        plan=plan,
        people=people,
        findings=findings[:_PEOPLE],
        more_findings=max(0, len(findings) - _PEOPLE),
        budget=_budget(site, run),
    )


def _budget(site: Site, run: Run) -> dict[str, Any]:
    """What is left of Okta's limits, while a run of this process may use them."""
    return {} if run.ended is not None else dict(site.parts.budget() or {})
