"""``explain``: one person, step by step: what Okta wants, what OpsHelm has, which rule decides, what has happened."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from agent.cli.command import Invocation, command
from agent.cli.completion import logins
from agent.cli.render import PlanView, action_lines, findings_text
from agent.cli.users import user_json, user_text
from agent.model.times import when
from agent.model.users import DirectoryUser, identity_key
from agent.runs.wording import action_json, clean, fields, finding_json

if TYPE_CHECKING:
    from agent.reconcile.explanation import Explanation

#: Newest journal rows that are shown.
_ROWS = 10


@command("explain", examples=["ann@example.com", "ann@example.com --output json"])
@click.argument("login", metavar="LOGIN", shell_complete=logins)
def explain(invocation: Invocation, login: str) -> int:
    """Why one person is as they are.

    Reads Okta and OpsHelm now, shows the rule that decides, what would be done and what has happened. Where Okta
    can't be asked it shows OpsHelm's half, and the exit code is 1.

    LOGIN is a userName in OpsHelm, else an Okta login. Changes nothing.
    """
    from agent.runs.frame import Outcome
    from agent.store import seal

    with invocation.agent() as agent:
        found = agent.need_reconciler().explain(login)
        user = agent.directory.find(user_name_key=identity_key(login))
        rows = list(seal.export(agent.store.read, directory_id=user.id))[-_ROWS:] if user else []
    body: dict[str, Any] = {
        "login": login,
        "outcome": str(found.outcome),
        "steps": [fields(step, "name", "status", "detail") for step in found.steps],
        "directory": user_json(user) if user else None,
        "actions": [action_json(action) for action in found.actions],
        "findings": [finding_json(finding) for finding in found.findings],
        "journal": rows,
    }
    invocation.answer("explanation", body, lambda: _text(login, user, found, rows))
    return int(found.outcome in (Outcome.FROZEN, Outcome.INCOMPLETE))


def _text(login: str, user: "DirectoryUser | None", found: "Explanation", rows: list[dict[str, Any]]) -> str:
    parts = [
        "\n".join(f"{step.status.value:<8} {step.name:<11} {clean(step.detail)}" for step in found.steps),
        f"OpsHelm has\n{_indented(user_text(user))}" if user else f"OpsHelm has no account {clean(login)}.",
    ]
    if found.actions:
        lines = [
            line
            for action in found.actions
            for line in (*action_lines(action, PlanView(verbose=True)), f"    rule: {action.rule}")
        ]
        parts.append("Okta wants\n" + _indented("\n".join(lines)))
    elif found.outcome == "in_step":
        parts.append("Okta wants\n  nothing that OpsHelm doesn't have already.")
    if found.findings:
        parts.append("Noticed\n" + _indented(findings_text(found.findings)))
    if rows:
        history = [
            f"{when(datetime.fromisoformat(row['at']))}  {row['kind']:<8} {row['verb']:<12} by {clean(row['actor'])}"
            for row in rows
        ]
        parts.append("Happened\n" + _indented("\n".join(history)))
    # What is held waits for what the steps say.
    drift = found.outcome == "drift"
    next_step = f"Do it: opshelm-agent reconcile --user {clean(login)} --apply" if drift else ""
    return "\n\n".join(part for part in (*parts, next_step) if part)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
