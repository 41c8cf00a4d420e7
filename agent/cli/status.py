"""``status``: how things stand, in one screen, and what to do next. Reads the database and asks the daemon; judges nothing itself."""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from agent.cli.command import Invocation, command, encode_line, now
from agent.model.check import Check
from agent.model.holds import Decision
from agent.model.times import when
from agent.runs.wording import FORMAT_VERSION, clean, counted, fields

if TYPE_CHECKING:
    from agent.dashboard.status import StatusPage
    from agent.store.failed_people import FailureGroup
    from agent.store.runs import Run

#: Seconds between two looks of --watch.
_EVERY = 2.0
_CLEAR = "\x1b[2J\x1b[H"
#: Exit codes of runs that went well, held something, or found drift.
_WELL = (0, 3, 4)
_BRIEF = 160


class AgentStanding(Struct, frozen=True, kw_only=True):
    """All that one look has found."""

    page: "StatusPage"
    database: str
    daemon: "Check"
    failed: "list[FailureGroup]"
    #: A run that went wrong, unless the same kind has gone well since.
    error: "Run | None"

    @property
    def next(self) -> list[tuple[str, str]]:
        """What waits for somebody, and the command for it; the most pressing first."""
        return list(_next(self))


@command("status", examples=["", "--watch", "--output json"])
@click.option("--watch", is_flag=True, help="Again every 2 s, until Ctrl-C.")
def status(invocation: Invocation, watch: bool) -> int:
    """How things stand, and what to do next.

    Database, daemon, drift, holds, alarms, last error.

    Exit code 0 if nothing waits for a person, else 1.
    """
    if not watch:
        found = _look(invocation)
        invocation.answer("status", as_json(found), lambda: as_text(found))
        return int(bool(found.next))
    while True:
        found = _look(invocation)
        if invocation.json:
            click.echo(encode_line({"format_version": FORMAT_VERSION, "kind": "status", **as_json(found)}))
        else:
            click.echo(f"{_CLEAR if sys.stdout.isatty() else ''}{when(now())}\n{as_text(found)}\n")
        sys.stdout.flush()
        time.sleep(_EVERY)


def _look(invocation: Invocation) -> AgentStanding:
    from agent.checks import daemon
    from agent.dashboard import status as stand
    from agent.store import failed_people

    settings = invocation.settings
    with invocation.store() as store, store.read() as conn:
        page = stand.read(conn, settings, now())
        failed, place = failed_people.groups(conn), store.place
    return AgentStanding(
        page=page, database=place, daemon=daemon.health(settings.server), failed=failed, error=_last_error(page.runs)
    )


def _last_error(runs: "list[Run]") -> "Run | None":
    """``runs``: newest first."""
    from agent.runs.frame import Outcome

    well: set[str] = set()
    for run in runs:
        if run.outcome == Outcome.LEASE_HELD:
            continue  # another one was at work
        if run.ended is not None and run.exit_code in _WELL and not run.dry:
            well.add(run.kind)
        elif run.ended is not None and run.exit_code not in _WELL:
            return None if run.kind in well else run
    return None


def _next(found: AgentStanding) -> Iterator[tuple[str, str]]:
    page = found.page
    account = page.account
    if account.distrust:
        yield "the database is a restored copy", "db accept-restore --reason …"
    if account.paused:
        yield "applies are paused", "resume"
    if found.daemon.state != "ok":
        yield found.daemon.detail, "serve"
    if not page.scim_keys:
        yield "Okta has no key to push with", "keys create okta"
    if page.every is not None and not account.pinned:
        yield "nothing was applied yet", "reconcile"
    for plan in page.held_plans:
        yield f"plan {plan.id} is held, {plan.deactivations:,} deactivations in it", f"plans show {plan.id} --summary"
    waiting = Counter(hold.code.value for hold in page.holds if hold.decision is Decision.WAITING)
    for code, count in waiting.items():
        yield f"{count:,} wait: {code}", f"holds list --code {code}"
    for alarm in page.alarms:
        if alarm.acked_at is None and alarm.code != "held":
            yield f"alarm {alarm.code}", f"alarms show {alarm.id}"
    if found.failed:
        yield f"{sum(group.people for group in found.failed):,} failed", "failures list"
    if found.error is not None:
        yield f"run {found.error.id} ended as {found.error.outcome}", f"runs show {found.error.id}"
    if account.pinned and not page.fresh:
        yield "no good sweep lately", "runs list"
    rejected = sum(hold.decision is Decision.REJECTED for hold in page.holds)
    left = max(0, sum((page.drift or {}).values()) - rejected)
    if page.fresh and left and not page.held_plans:
        yield f"{left:,} differ from Okta", "reconcile"


def drift(page: "StatusPage") -> str:
    """In words; what nobody knows is never called good."""
    if page.drift is None:
        return "? unknown: no good sweep yet"
    count = sum(page.drift.values())
    if count:
        kinds = ", ".join(f"{n:,} {kind.value}" for kind, n in page.drift.items() if n)
        return f"≠ {count:,} differ: {kinds}"
    if not page.account.pinned:
        return "? unknown: nothing is pinned yet"
    if not page.fresh:
        return f"? unknown since {when(page.account.last_good_sweep)}: the next sweep is overdue"
    return "= in step" if page.in_step else "= in step but for what is held"


def as_json(found: AgentStanding) -> dict[str, Any]:
    page, error, run = found.page, found.error, _running(found.page)
    return {
        "database": found.database,
        "daemon": fields(found.daemon, "state", "detail"),
        "drift": None if page.drift is None else {kind.value: n for kind, n in page.drift.items()},
        "in_step": page.in_step,
        "last_good_sweep": page.account.last_good_sweep,
        "paused": page.account.paused,
        "restored_copy": bool(page.account.distrust),
        "holds": {decision.value: _decided(page, decision) for decision in Decision},
        "held_plans": [plan.id for plan in page.held_plans],
        "alarms": [fields(alarm, "id", "code", "subject", "detail", "raised", "acked_at") for alarm in page.alarms],
        "failed": sum(group.people for group in found.failed),
        "under_way": fields(run, "id", "kind", "trigger", "started", "progress") if run else None,
        "last_error": fields(error, "id", "kind", "started", "outcome", "detail") if error else None,
        "next": [{"why": why, "command": f"opshelm-agent {what}"} for why, what in found.next],
    }


def _decided(page: "StatusPage", decision: Decision) -> int:
    return sum(hold.decision is decision for hold in page.holds)


def as_text(found: AgentStanding) -> str:
    page, account = found.page, found.page.account
    lines = [f"{name:<10} {clean(text)}" for name, text in _facts(found) if text]
    if account.paused:
        why = clean(account.paused_reason or "")
        lines.append(f"PAUSED     by {clean(account.paused_by or '')} since {when(account.paused_at)}: {why}")
    for alarm in page.alarms:
        silenced = f" (silenced by {clean(alarm.acked_by or '')})" if alarm.acked_at else ""
        lines.append(f"alarm {alarm.id:<4} {alarm.code}, {clean(alarm.subject)}{silenced}: {_brief(alarm.detail)}")
    todo = found.next
    width = max((len(why) for why, _ in todo), default=0)
    lines += ["", "Next" if todo else "Nothing waits for a person."]
    lines += [f"  {clean(why):<{width}}  opshelm-agent {what}" for why, what in todo]
    return "\n".join(lines)


def _facts(found: AgentStanding) -> Iterator[tuple[str, str]]:
    page = found.page
    account = page.account
    yield "database", found.database
    yield "daemon", found.daemon.detail
    okta = f"org {account.org_id}, app {account.app_id} {account.app_label or ''}".rstrip()
    yield "okta", okta if account.pinned else "not pinned yet; the first apply pins"
    yield "drift", drift(page)
    swept = (
        f"{when(account.last_good_sweep)}, {account.last_good_people:,} people" if account.last_good_sweep else "never"
    )
    yield "last sweep", swept
    yield "under way", _under_way(page)
    holds = {
        "wait": Decision.WAITING,
        "approved": Decision.APPROVED,
        "blocked": Decision.BLOCKED,
        "rejected": Decision.REJECTED,
    }
    yield "holds", counted({word: _decided(page, decision) for word, decision in holds.items()}) or "none"
    if found.error is not None:
        error = found.error
        yield (
            "last error",
            f"run {error.id} ({error.kind}, {when(error.started)}): {error.outcome}. {_brief(error.detail)}",
        )
    if account.distrust:
        yield "RESTORED", f"{account.distrust}"


def _running(page: "StatusPage") -> "Run | None":
    return next((run for run in page.runs if run.ended is None and not run.dry), None)


def _under_way(page: "StatusPage") -> str:
    """A run that has not ended: what it does, and when it said so last, since its process may have died."""
    run = _running(page)
    if run is None:
        return ""
    told, begun = run.progress, f"run {run.id} ({run.kind}, {run.trigger}) since {when(run.started)}"
    if told is None:
        return begun
    done = f" {told.done:,}{f'/{told.total:,}' if told.total else ''}" if told.done or told.total else ""
    waits = f", waiting {told.waits:,.0f} s for {clean(told.waits_for)}" if told.waits else ""
    return f"{begun}: {clean(told.what)}{done}{waits} ({when(told.at)})"


def _brief(text: str) -> str:
    text = clean(text)
    return text if len(text) <= _BRIEF else f"{text[:_BRIEF]}…"
