"""What a run or a plan says in the end: text, JSON, exit code. Decides nothing; the report has decided."""

from collections.abc import Sequence
from typing import Any

from agent.cli import render
from agent.cli.command import Invocation
from agent.model.codes import SAID_NO, UNDECIDED, ActionKind, PlanStatus
from agent.model.guard import APPROVABLE_RUNS, NEED_COUNT, GuardLimits
from agent.model.holds import APPROVABLE, ONE_BY_ONE
from agent.runs import wording
from agent.runs.frame import RunReport, braked
from agent.runs.stored_plans import SHORT_CHECKSUM, PlanKind
from agent.store import account
from agent.store.plans import StoredPlan

#: A longer plan is cut on a terminal; plans show has all of it.
SHOWN = 200
_DRIFT = 3
_HELD = 4


def answer_run(invocation: Invocation, report: RunReport, *, dry: bool, detailed: bool) -> int:
    """Print what a run did, and give its exit code."""
    code = exit_code(report, dry=dry, detailed=detailed)

    def body() -> dict[str, Any]:
        return {
            "run": run_json(report, code),
            "plan": wording.plan_json(report.plan) if report.plan else None,
            "findings": [wording.finding_json(finding) for finding in report.findings],
        }

    invocation.answer("run", body, lambda: _text(invocation, report, dry=dry))
    return code


def answer_rehearsal(
    invocation: Invocation, report: RunReport, what_if: Sequence[str], limits: GuardLimits, *, detailed: bool
) -> int:
    """What a run would plan with other settings. It has no number and no checksum: nobody can approve it."""
    code = exit_code(report, dry=True, detailed=detailed)
    actions = report.plan.plan.actions if report.plan else ()
    body = {
        "what_if": list(what_if),
        "outcome": report.outcome,
        "exit_code": code,
        "counts": report.counts,
        "detail": report.detail,
        "actions": [wording.action_json(action) for action in actions],
        "findings": [wording.finding_json(finding) for finding in report.findings],
    }
    invocation.answer("rehearsal", body, lambda: _rehearsal_text(report, what_if, limits))
    return code


def _rehearsal_text(report: RunReport, what_if: Sequence[str], limits: GuardLimits) -> str:
    parts = [f"With {', '.join(map(wording.clean, what_if))}:"]
    if report.plan is None or not report.plan.plan.actions:
        parts.append(render.NO_CHANGES if report.plan else f"{report.outcome}: {wording.clean(report.detail)}")
    else:
        plan = report.plan.plan
        lines = [line for action in wording.ordered(plan.actions)[:SHOWN] for line in render.action_lines(action)]
        rest = len(plan.actions) - SHOWN
        more = [f"… and {rest:,} more: --output json has all."] if rest > 0 else []
        parts += ["\n".join([*lines, *more]), wording.summary(plan, limits)]
    if report.findings:
        parts.append("Findings:\n" + render.findings_text(report.findings, shown=20))
    parts.append("Only looked at: nothing was changed, and nothing of it can be approved.")
    return "\n\n".join(parts)


def run_json(report: RunReport, code: int) -> dict[str, Any]:
    told = wording.fields(report, "counts", "detail")
    return {"id": report.run_id, "outcome": report.outcome, "exit_code": code, **told}


def _undo_step(report: RunReport, stored: StoredPlan) -> str:
    waits = [action for action in stored.plan.actions if action.state in UNDECIDED]
    if not waits:
        return (
            "Who is held, so that it isn't done again: opshelm-agent holds list --code undone" if not report.dry else ""
        )
    way = "approve" if any(action.held for action in waits) else "apply"
    before = "Nothing was changed. Take it back" if report.dry else "Go on"
    return f"{before}: opshelm-agent plans {way} {stored.id} --checksum {stored.checksum[:SHORT_CHECKSUM]}"


def exit_code(report: RunReport, *, dry: bool, detailed: bool) -> int:
    """1 before 4 before 5 before 3; a dry run tells of drift and holds only when asked to."""
    if not dry or report.exit_code == 1:
        return report.exit_code
    if not detailed:
        return 0
    return _HELD if report.held else _DRIFT if report.drift else 0


def _text(invocation: Invocation, report: RunReport, *, dry: bool) -> str:
    parts: list[str] = []
    if report.plan is not None:
        parts.append(render.plan_text(report.plan, invocation.settings.guard, render.PlanView(first=SHOWN)))
    if report.findings:
        parts.append("Findings:\n" + render.findings_text(report.findings, shown=20))
    parts.append(f"Run {report.run_id}: {ending(report)}")
    told = report.plan.plan.held_detail if report.plan else ""
    if report.detail and report.detail != told:
        parts.append(wording.clean(report.detail))
    if report.plan is not None and report.plan.plan.actions and report.outcome != "disproved":
        parts.append(_braked(invocation) or _next_step(report.plan, report, dry=dry))
    return "\n\n".join(part for part in parts if part)


def ending(report: RunReport) -> str:
    """``applied (12 create, 12 done)``."""
    counts = wording.counted(report.counts)
    return f"{report.outcome}{f' ({counts})' if counts else ''}"


def waiting(invocation: Invocation, stored: StoredPlan) -> str:
    """What a person may say to a held plan, or what keeps them from it."""
    return _braked(invocation) or decisions(stored)


def _braked(invocation: Invocation) -> str:
    return braked(invocation.read(account.get))


def _next_step(stored: StoredPlan, report: RunReport, *, dry: bool) -> str:
    """A command that works."""
    actions, held = stored.plan.actions, stored.plan.held
    if stored.kind in (PlanKind.UNDO, PlanKind.UNDO_IMPORT):
        return _undo_step(report, stored)
    if held and stored.status is PlanStatus.HELD:
        return decisions(stored)
    if dry and any(action.held is None for action in actions):
        users = "".join(f" --user {wording.clean(login)}" for login in stored.plan.scope)
        return f"Nothing was changed. Carry it out: opshelm-agent reconcile{users} --apply"
    return decisions(stored) if report.held else ""


def decisions(stored: StoredPlan) -> str:
    """What a person may say to a plan that waits; what no approval lifts is never said to be approved."""
    approve = f"opshelm-agent plans approve {stored.id} --checksum {stored.checksum[:SHORT_CHECKSUM]}"
    left, held = [action for action in stored.plan.actions if action.state in UNDECIDED], stored.plan.held
    actions = [action for action in left if action.held is not None]
    not_meant = ""
    if any(action.kind is ActionKind.DEACTIVATE for action in (left if held else actions)):
        not_meant = (
            "\nNot meant? Put it right in Okta, then: opshelm-agent reconcile. What is held is not done meanwhile."
        )
    if held:
        count = f" --count {wording.bounded(stored.plan)}" if held in NEED_COUNT else ""
        if left and all(action.held in SAID_NO for action in left):
            not_meant = "\nWhoever an operator has said no about stays as they are; the approval is of the listing."
        return f"Approve: {approve}{count}{not_meant}" if held in APPROVABLE_RUNS else ""
    if any(action.held in APPROVABLE for action in actions):
        return f"Approve what is held: {approve}{not_meant}"
    one_by_one = [action.n for action in actions if action.held in ONE_BY_ONE]
    if one_by_one:
        return f"Approve what is held, one by one: {approve}{''.join(f' --action {n}' for n in one_by_one)}"
    return "No approval lets that go. What does, for each of them: opshelm-agent holds show LOGIN" if actions else ""
