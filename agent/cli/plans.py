"""``plans``, ``runs``, ``findings``: what the agent wants to do, did, and noticed."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import click
from msgspec.structs import replace

from agent.cli import options, render
from agent.cli.command import MANY, Invocation, asked_to_stop, command, group, signature, sure
from agent.cli.completion import plan_ids, run_ids
from agent.model.codes import ActionKind, PlanStatus
from agent.model.errors import NotFound
from agent.model.times import when
from agent.runs import wording
from agent.runs.wording import KINDS

if TYPE_CHECKING:
    from agent.runs.stored_plans import PlanDecision
    from agent.store.plans import StoredPlan
    from agent.store.runs import Run

_CHECKSUM = click.option(
    "--checksum", metavar="SHA", required=True, help="Of what you have reviewed; the first 12 characters suffice."
)
#: People of a run that are named; the plan names all.
_SHOWN = 20


@group("plans")
def plans() -> None:
    """Stored plans: review, apply, approve what is held, reject."""


@plans.command("list", examples=["", "--limit 100 --output json"])
@options.limit
def list_plans(invocation: Invocation, limit: int) -> None:
    """The newest plans first. Plans without anything to do are left out."""
    from agent.runs.stored_plans import SHORT_CHECKSUM
    from agent.store import overview

    found = invocation.read(lambda conn: overview.headers(conn, limit=limit))
    rows = [[p.id, p.status.value, p.held or "", p.actions, p.created, p.checksum[:SHORT_CHECKSUM]] for p in found]
    columns = ["plan", "status", "held", "actions", "created", "checksum"]
    empty = "No plan has anything to do. Make one: opshelm-agent reconcile"
    names = ("id", "run_id", "kind", "status", "held", "actions", "population", "created", "expires", "checksum")
    body = [wording.fields(plan, *names) for plan in found]
    invocation.answer_table("plans", {"plans": body}, columns, rows, empty)


@plans.command("show", examples=["81", "81 --summary", "81 --only deactivate", "81 --attribute title"])
@click.argument("plan_id", metavar="ID", type=options.ROW_ID, shell_complete=plan_ids)
@click.option("--summary", is_flag=True, help="Only how many of what.")
@click.option(
    "--only", type=click.Choice([kind.value for kind in ActionKind]), multiple=True, help="This kind; may be repeated."
)
@click.option("--attribute", metavar="PATH", default="", help="Only what changes this, such as title or emails.")
@click.option("--verbose", is_flag=True, help="All values of what is created too.")
def show_plan(
    invocation: Invocation, plan_id: int, *, summary: bool, only: tuple[str, ...], attribute: str, verbose: bool
) -> None:
    """One plan: deactivations first, each attribute before and after, what is held and why."""
    from agent.cli.answers import waiting
    from agent.runs.stored_plans import OPSHELM_S, existing

    stored = invocation.read(lambda conn: existing(conn, plan_id))
    guard, kinds = invocation.settings.guard, tuple(map(ActionKind, only))
    view = render.PlanView(kinds=kinds, attribute=attribute, verbose=verbose, summary=summary)

    def body() -> dict[str, Any]:
        document = wording.plan_json(replace(stored, plan=replace(stored.plan, actions=())))
        document["actions"] = (
            [] if summary else [wording.action_json(action) for action in view.of(stored.plan.actions)]
        )
        document["counts"] = Counter(action.kind.value for action in stored.plan.actions)
        return {"plan": document}

    def text() -> str:
        held = stored.status is PlanStatus.HELD and stored.kind in OPSHELM_S
        said = waiting(invocation, stored) if held else ""
        return "\n\n".join(filter(None, (render.plan_text(stored, guard, view), said)))

    invocation.answer("plan", body, text)


@plans.command("apply", examples=["81 --checksum 5f3a…"])
@click.argument("plan_id", metavar="ID", type=options.ROW_ID, shell_complete=plan_ids)
@_CHECKSUM
def apply_plan(invocation: Invocation, plan_id: int, checksum: str) -> int:
    """Carry out a stored plan: read again, plan again, do what both want; what has moved is stale and skipped."""
    from agent.runs.stored_plans import APPLY

    return _carry_out(invocation, plan_id, checksum, APPLY)


@plans.command("approve", examples=["81 --checksum 5f3a… --count 204", "81 --checksum 5f3a… --action 3 --action 7"])
@click.argument("plan_id", metavar="ID", type=options.ROW_ID, shell_complete=plan_ids)
@_CHECKSUM
@click.option(
    "--action", "actions", metavar="N", type=options.ROW_ID, multiple=True, help="Only this action; may be repeated."
)
@click.option(
    "--count", type=click.IntRange(0), help="At most this many links, creates, reactivations and deactivations."
)
@options.yes
def approve_plan(
    invocation: Invocation, plan_id: int, checksum: str, actions: tuple[int, ...], count: int | None, *, yes: bool
) -> int:
    """Let what is held pass, once, and apply it. A first run needs --count: it pins the Okta org and app."""
    from agent.runs.stored_plans import PlanDecision

    if not actions:
        _ask(invocation, plan_id, yes=yes)
    decision = PlanDecision(approve=True, only=frozenset(actions) or None, count=count)
    return _carry_out(invocation, plan_id, checksum, decision)


def _ask(invocation: Invocation, plan_id: int, *, yes: bool) -> None:
    from agent.runs.stored_plans import existing

    waiting = invocation.read(lambda conn: existing(conn, plan_id)).plan.actions
    if len(waiting) > MANY:
        counts = Counter(action.kind for action in waiting)
        said = ", ".join(f"{counts[kind]:,} {KINDS[kind][1]}" for kind in KINDS if counts[kind])
        sure(f"Plan {plan_id} has {said}. Approve all of it?", yes=yes)


def _carry_out(invocation: Invocation, plan_id: int, checksum: str, decision: "PlanDecision") -> int:
    from agent.cli.answers import answer_run
    from agent.runs.stored_plans import PlanKind, existing

    with invocation.agent() as agent:
        with agent.store.read() as conn:
            kind = existing(conn, plan_id).kind
        carry = agent.importer().apply_undo if kind == PlanKind.UNDO_IMPORT else agent.need_reconciler().apply_plan
        with invocation.progress() as progress, asked_to_stop(agent.ask_to_stop):
            report = carry(plan_id, checksum, decision, by=signature(), progress=progress)
        return answer_run(invocation, report, dry=False, detailed=True)


@plans.command("reject", examples=['81 --reason "wrong group in Okta, being corrected"'])
@click.argument("plan_id", metavar="ID", type=options.ROW_ID, shell_complete=plan_ids)
@options.required_reason
def reject_plan(invocation: Invocation, plan_id: int, reason: str) -> None:
    """Say no to a plan. It can't be applied any more, and what is being applied of it ends; what it held is not done."""
    from agent.store import brakes

    by = signature(reason)
    states = invocation.write(lambda conn: brakes.reject_plan(conn, by, plan_id))
    counts = {state.value: count for state, count in states.items()}
    body = {"plan": {"id": plan_id, "status": "rejected", "counts": counts}}
    invocation.answer("plan", body, lambda: _rejected(plan_id, counts))


def _rejected(plan_id: int, counts: dict[str, int]) -> str:
    done, sent, total = counts.get("done", 0), counts.get("sent", 0), sum(counts.values())
    said = f"Plan {plan_id} is rejected: {counts.get('rejected', 0):,} of {total:,} actions will not be done"
    if sent:
        said += f"; {sent:,} were just being written: opshelm-agent plans show {plan_id}"
    return f"{said}; {done:,} were done before." if done else f"{said}."


@group("runs")
def runs() -> None:
    """What ran, when, and how it ended."""


@runs.command("list")
@options.limit
def list_runs(invocation: Invocation, limit: int) -> None:
    """The newest runs first."""
    from agent.store import runs as store_runs

    found = invocation.read(lambda conn: store_runs.recent(conn, limit))
    columns = ["run", "kind", "trigger", "started", "took", "outcome", "exit"]
    rows = [[r.id, _kind(r), r.trigger, r.started, _took(r), r.outcome or "running", r.exit_code] for r in found]
    invocation.answer_table(
        "runs", {"runs": [wording.fields(run, *wording.RUN_FIELDS) for run in found]}, columns, rows, "No runs yet."
    )


@runs.command("show", examples=["12"])
@click.argument("run_id", metavar="ID", type=options.ROW_ID, shell_complete=run_ids)
def show_run(invocation: Invocation, run_id: int) -> None:
    """One run: how it ended and why, its counts, its plan and the people in it."""
    from agent.store import plans as store_plans
    from agent.store import runs as store_runs

    with invocation.store() as store, store.read() as conn:
        run = store_runs.get(conn, run_id)
        made = store_plans.of_run(conn, run_id)
        noticed = store_runs.findings_of(conn, run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id}. See: opshelm-agent runs list")
    body = {
        "run": wording.fields(run, *wording.RUN_FIELDS),
        "plans": [{**wording.fields(one, "id", "status", "checksum"), "people": _people(one)} for one in made],
        "findings": [wording.finding_json(finding) for finding in noticed],
    }
    invocation.answer("run", body, lambda: "\n".join(_run_lines(run, made, len(noticed))))


def _run_lines(run: "Run", made: "list[StoredPlan]", noticed: int) -> "Iterator[str]":
    yield f"Run {run.id}: {_kind(run)}, {run.outcome or 'running'}"
    yield f"by {wording.clean(run.actor)} ({run.trigger}), {when(run.started)} – {when(run.ended) or 'now'}"
    yield from (text for text in (wording.counted(run.counts), wording.clean(run.detail)) if text)
    for one in made:
        yield ""
        yield f"Plan {one.id} ({one.status.value}), {len(one.plan.actions):,} actions: opshelm-agent plans show {one.id}"
        first = wording.ordered(one.plan.actions)[:_SHOWN]
        yield from (f"  {KINDS[a.kind][0]} {a.kind.value:<11} {wording.clean(a.login)}  {a.state.value}" for a in first)
        if len(one.plan.actions) > _SHOWN:
            yield f"  … and {len(one.plan.actions) - _SHOWN:,} more"
    if noticed:
        yield f"\n{noticed:,} findings: opshelm-agent runs show {run.id} --output json"
    if made:
        yield "\nOne person: opshelm-agent explain LOGIN"


def _people(stored: "StoredPlan") -> list[dict[str, object]]:
    names = ("n", "kind", "state", "login", "directory_id", "okta_id")
    return [wording.fields(action, *names) for action in stored.plan.actions]


def _kind(run: "Run") -> str:
    return f"{run.kind} (dry)" if run.dry else run.kind


def _took(run: "Run") -> str:
    return "" if run.ended is None else f"{(run.ended - run.started).total_seconds():,.0f} s"


#: What the journal calls the changes that runs and pushes make.
_TAKEN_BACK = ["create", "update", "deactivate", "reactivate", "link", "unlink", "role", "remove"]


class _Rows(TypedDict):
    run_id: int | None
    since: datetime | None
    until: datetime | None


@runs.command(
    "undo",
    examples=[
        '81 --reason "wrong mapping"',
        '81 --only ann@example.com --kind deactivate --reason "still here"',
        '--since 2026-03-01T12:00Z --until 2026-03-01T13:00Z --reason "a wrong push group"',
    ],
)
@click.argument("run_id", metavar="[RUN]", type=options.ROW_ID, required=False, shell_complete=run_ids)
@click.option(
    "--since", metavar="TIME", type=options.MOMENT, help="Instead of RUN: what Okta's pushes did from then on."
)
@click.option("--until", metavar="TIME", type=options.MOMENT, help="With --since: up to then.")
@click.option("--only", metavar="LOGIN", multiple=True, help="Only this person; may be repeated.")
@click.option(
    "--kind", "kinds", type=click.Choice(_TAKEN_BACK), multiple=True, help="Only such changes; may be repeated."
)
@options.required_reason
def undo_run(
    invocation: Invocation, *, only: tuple[str, ...], kinds: tuple[str, ...], reason: str, **rows: Unpack[_Rows]
) -> int:
    """Plan to take back what a run did, or what pushes did since a moment; plans apply or approve does it.

    Each account gets back what it was, where it is still as the run left it; who was changed since is shown. Who is undone is
    held, so that the next sweep doesn't do it all again, until Okta wants something else or holds lift says so.
    """
    from agent.cli.answers import answer_run
    from agent.imports.withdrawal import WithdrawalRequest
    from agent.reconcile.undo import UndoRequest
    from agent.runs.stored_plans import PlanKind
    from agent.store import runs as store_runs
    from agent.store.history import RowSelection

    run_id = rows["run_id"]
    if (run_id is None) == (rows["since"] is None) or (rows["until"] is not None and rows["since"] is None):
        raise click.UsageError("give RUN, or --since (and --until)")
    with invocation.agent() as agent:
        with agent.store.read() as conn:
            run = None if run_id is None else store_runs.get(conn, run_id)
        if run_id is not None and run is None:
            raise NotFound(f"There is no run {run_id}. See: opshelm-agent runs list")
        kind, by = run.kind if run else "", signature(reason)
        if kind == PlanKind.UNDO_IMPORT:
            again = "opshelm-agent holds lift LOGIN, then import plan --user LOGIN"
            raise click.UsageError(f"run {run_id} took an import back; who is to be in Okta's app again: {again}")
        with invocation.progress() as progress:
            if run_id is not None and kind == PlanKind.IMPORT:
                if kinds:
                    raise click.UsageError("--kind is for changes of accounts; an import only assigns")
                taken = WithdrawalRequest(run_id=run_id, reason=reason, only=only)
                report = agent.importer().undo(taken, by, progress=progress)
            else:
                request = UndoRequest(selection=RowSelection(**rows), reason=reason, only=only, kinds=kinds)
                report = agent.need_reconciler().undo(request, by, progress=progress)
        return answer_run(invocation, report, dry=True, detailed=False)


@command("findings", examples=["", "--csv > findings.csv"])
@options.as_csv
def findings(invocation: Invocation, as_csv: bool) -> None:
    """What the last sweep noticed and did not act on.

    docs/codes.md says what each code means.
    """
    from agent.store import runs as store_runs

    latest = invocation.read(store_runs.latest_findings)
    found = latest.findings if latest else ()
    since = latest.first_seen if latest else ()
    rows = [wording.finding_json(one) | {"first_seen": at} for one, at in zip(found, since, strict=True)]
    text = (
        render.csv_text((*wording.FINDING_FIELDS, "first_seen"), rows)
        if as_csv
        else render.findings_text(found) or "No findings."
    )
    invocation.answer("findings", {"run_id": latest.run_id if latest else None, "findings": rows}, text)
