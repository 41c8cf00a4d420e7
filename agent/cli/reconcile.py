"""``reconcile``: one run, dry unless --apply."""

from typing import TYPE_CHECKING

import click

from agent.cli.command import Invocation, command, operator, pass_invocation

if TYPE_CHECKING:
    from agent.reconcile import RunReport

#: A longer plan is cut on a terminal; plans show has all of it.
_SHOWN = 200
_DRIFT = 3
_HELD = 4


@command(
    "reconcile",
    examples=[
        "opshelm-agent reconcile                         # look, change nothing",
        "opshelm-agent reconcile --apply",
        "opshelm-agent reconcile --user ann@example.com --apply",
        "opshelm-agent reconcile --apply --first-run 204  # the very first apply: pins org and app",
        "opshelm-agent reconcile --detailed-exitcode      # 3: drift, 4: something is held",
    ],
)
@click.option(
    "--apply", "apply_", is_flag=True, help="Carry out what passes the guard. Without it nothing is changed."
)
@click.option(
    "--user",
    "users",
    metavar="LOGIN",
    multiple=True,
    help="Only this person, read directly; may be repeated.",
)
@click.option(
    "--first-run", metavar="N", type=click.IntRange(0), help="Approve the first apply, of at most N actions."
)
@click.option(
    "--allow-empty",
    metavar="N",
    type=click.IntRange(0),
    help="Okta lists (nearly) nobody: up to N deactivations.",
)
@click.option(
    "--wait",
    metavar="S",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="For another agent's run.",
)
@click.option("--detailed-exitcode", is_flag=True, help="After a dry run: 3 for drift, 4 for holds.")
@pass_invocation
def reconcile(
    invocation: Invocation,
    *,
    apply_: bool,
    users: tuple[str, ...],
    first_run: int | None,
    allow_empty: int | None,
    wait: float,
    detailed_exitcode: bool,
) -> int:
    """Compare OpsHelm with Okta and show the plan; with --apply carry it out.

    Reads all assigned users of the Okta app, or those named by --user: a userName in OpsHelm, else an Okta login.
    """
    from agent.bootstrap import open_agent
    from agent.cli.progress import Progress

    if not apply_ and (first_run is not None or allow_empty is not None):
        raise click.UsageError("--first-run and --allow-empty go with --apply")
    with open_agent(invocation.settings) as agent:
        reconciler = agent.need_reconciler()
        with Progress() as progress:
            report = reconciler.run(
                apply=apply_,
                users=users,
                first_run=first_run,
                allow_empty=allow_empty,
                wait=wait,
                trigger="cli",
                actor=operator(),
                progress=progress,
            )
        return answer_run(invocation, report, dry=not apply_, detailed=detailed_exitcode)


def answer_run(invocation: Invocation, report: "RunReport", *, dry: bool, detailed: bool) -> int:
    """Print what a run did, and give its exit code."""
    from agent.cli.render import finding_json, plan_json

    code = exit_code(report, dry=dry, detailed=detailed)
    stored = report.plan
    body = {
        "run": {
            "id": report.run_id,
            "outcome": report.outcome,
            "exit_code": code,
            "counts": report.counts,
            "detail": report.detail,
        },
        "plan": plan_json(stored.plan, plan_id=stored.id, status=stored.status.value) if stored else None,
        "findings": [finding_json(finding) for finding in report.findings],
    }
    invocation.answer("run", body, lambda: _text(invocation, report, dry=dry))
    return code


def exit_code(report: "RunReport", *, dry: bool, detailed: bool) -> int:
    """1 before 4 before 5 before 3; a dry run tells of drift and holds only when asked to."""
    if not dry or report.exit_code == 1:
        return report.exit_code
    if not detailed:
        return 0
    return _HELD if report.held else _DRIFT if report.drift else 0


def _text(invocation: Invocation, report: "RunReport", *, dry: bool) -> str:
    from agent.cli.plans import plan_text
    from agent.cli.render import clean, findings_text

    parts: list[str] = []
    if report.plan is not None:
        parts.append(plan_text(invocation, report.plan, shown_actions=_SHOWN))
    if report.findings:
        parts.append("Findings:\n" + findings_text(report.findings, shown=20))
    counts = ", ".join(f"{n:,} {what}" for what, n in report.counts.items() if n)
    parts.append(f"Run {report.run_id}: {report.outcome}{f' ({counts})' if counts else ''}")
    if report.detail:
        parts.append(clean(report.detail))
    if report.plan is not None and report.plan.plan.actions:
        parts.append(_next_step(report, dry=dry))
    return "\n\n".join(part for part in parts if part)


def _next_step(report: "RunReport", *, dry: bool) -> str:
    stored = report.plan
    assert stored is not None
    if stored.plan.held:
        n = len(stored.plan.actions)
        return f"Approve: opshelm-agent plans approve {stored.id} --checksum {stored.checksum} --count {n}"
    if dry:
        return "Nothing was changed. Carry it out: opshelm-agent reconcile --apply"
    if report.held:
        return f"Approve what is held: opshelm-agent plans approve {stored.id} --checksum {stored.checksum}"
    return ""
