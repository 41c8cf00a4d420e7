"""What ``import`` says: text, JSON, CSV. Takes what the import found and did; decides nothing."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from agent.cli import render
from agent.cli.answers import ending
from agent.imports.survey import COLUMNS, Assigned, Survey
from agent.model.codes import ActionKind
from agent.model.matching import Match
from agent.model.plan import Plan
from agent.model.times import lasts, when
from agent.model.users import DirectoryUser
from agent.runs import wording
from agent.runs.frame import RunReport
from agent.settings import ImportSettings
from agent.store.plans import StoredPlan

_LOGIN = {"login": "login"}
_REASON = {**_LOGIN, "reason": "reason"}
_UNASSIGNED = "managed, but not assigned in Okta (reconcile deactivates them; assign them in Okta to keep them)"
NOBODY = "Nobody to import: Okta's app knows every active OpsHelm account."


# list


def survey_json(survey: Survey, kind: str | None, now: datetime, settings: ImportSettings) -> dict[str, Any]:
    accounts = [_match(match) for match in survey.matches if kind in (None, match.kind.value)]
    linking = [_assigned(one, now, settings) for one in survey.assigned]
    unassigned = [
        {**_account(one.account), "okta_id": one.account.okta_id, "okta_status": one.status}
        for one in survey.unassigned
    ]
    counts = Counter(account["class"] for account in accounts)
    return {
        "accounts": accounts,
        "linking": linking,
        "unassigned": unassigned,
        "counts": {
            **{name: counts[name] for name in ("exact", "partial", "none")},
            "apart": sum(account["apart"] is not None for account in accounts),
            "held": sum(account["held"] is not None for account in accounts),
            "linking": len(linking),
            "unassigned": len(unassigned),
        },
    }


def _account(account: DirectoryUser) -> dict[str, Any]:
    return {"login": account.user_name, "directory_id": account.id}


def _match(match: Match) -> dict[str, Any]:
    okta = match.okta
    return {
        **_account(match.account),
        "class": match.kind.value,
        "reason": match.reason,
        "apart": match.apart.value if match.apart else None,
        "held": match.held.value if match.held else None,
        "held_detail": match.held_detail,
        "okta_id": okta.id if okta else None,
        "okta_login": okta.profile.get("login") if okta else None,
        "okta_status": okta.status if okta else None,
        "candidates": [user.id for user in match.candidates],
    }


def _assigned(one: Assigned, now: datetime, settings: ImportSettings) -> dict[str, Any]:
    age = (now - one.since).total_seconds() if one.since else None
    state = "linked" if one.confirmed else "linking, awaits activation" if one.waits else "linking"
    late = state == "linking" and age is not None and age > settings.confirm_within.total_seconds()
    return {
        **_account(one.account),
        "okta_id": one.app_user.id,
        "state": state,
        "since": one.since,
        "age_seconds": None if age is None else int(age),
        "late": late,
        "imported": one.row is not None,
    }


def survey_text(document: dict[str, Any], *, width: int | None) -> str:
    accounts = document["accounts"]
    plain = [a for a in accounts if a["apart"] is None and a["held"] is None]
    parts = [
        _section(f"{name} – {meaning}", _REASON, [a for a in plain if a["class"] == name], width=width)
        for name, meaning in (("exact", "to be assigned"), ("none", "to be created and assigned"))
    ]
    apart = [a for a in accounts if a["apart"] is not None and a["held"] is None]
    held = [a for a in accounts if a["held"] is not None]
    parts.append(_section("apart – only with --user", {**_LOGIN, "apart": "apart", **_REASON}, apart, width=width))
    parts.append(_held(held))
    linking = [
        {
            **row,
            "state": row["state"] + (" – LATE" if row["late"] else ""),
            "age": lasts(timedelta(seconds=age)) if (age := row["age_seconds"]) is not None else "",
        }
        for row in document["linking"]
    ]
    columns = {**_LOGIN, "state": "state", "age": "age", "okta_id": "okta id"}
    parts.append(_section("assigned in Okta", columns, linking, width=width))
    columns = {**_LOGIN, "okta_status": "Okta status", "okta_id": "okta id"}
    parts.append(_section(_UNASSIGNED, columns, document["unassigned"], width=width))
    counts = ", ".join(f"{n:,} {name}" for name, n in document["counts"].items() if n)
    nobody = "" if accounts else NOBODY
    step = "Next: opshelm-agent import plan --all" if plain else ""
    return "\n\n".join(part for part in (*parts, nobody, counts, step) if part)


def _section(title: str, columns: Mapping[str, str], rows: Sequence[dict[str, Any]], *, width: int | None) -> str:
    """``columns``: key of a row → its heading. Nothing where there are no rows."""
    cells = [[row[column] for column in columns] for row in rows]
    return f"{title}: {len(rows):,}\n{render.table(list(columns.values()), cells, '', width=width)}" if rows else ""


def _held(accounts: Sequence[dict[str, Any]]) -> str:
    if not accounts:
        return ""
    lines = [f"held – a person decides: {len(accounts):,}"]
    for account in accounts:
        lines.append(f"! {wording.clean(account['login'])}  ({account['class']}, {account['held']})")
        lines.append(f"    {wording.clean(account['held_detail'])}")
    return "\n".join(lines)


def survey_csv(document: dict[str, Any]) -> str:
    """With an empty column ``decide``: an Okta user's id, or "new", for import plan --csv."""
    rows = [{**account, "decide": ""} for account in document["accounts"]]
    return render.csv_text([*COLUMNS, "decide"], rows)


# plan and apply


def plan_json(stored: StoredPlan | None) -> dict[str, Any] | None:
    if stored is None:
        return None
    return {**wording.plan_json(stored), **wording.fields(stored, "kind", "expires")}


def planned_text(report: RunReport, *, shown: int) -> str:
    stored = report.plan
    if stored is None:
        return wording.clean(report.detail) or NOBODY
    plan = stored.plan
    todo = sorted(plan.actions, key=lambda action: (action.held is not None, action.n))
    actions = render.actions_text(stored, todo, shown)
    lines = [f"Plan {stored.id} – {stored.status.value}", "", *actions, "", summary(plan)]
    if plan.held is not None:
        lines.append(f"Held ({plan.held.value}): {wording.clean(plan.held_detail)}")
    elif any(action.held is None for action in plan.actions):
        lines.append(
            f"Nothing was done. Carry it out, until {when(stored.expires)}: opshelm-agent import apply {stored.id}"
        )
    return "\n".join(lines)


def applied_text(report: RunReport, *, shown: int) -> str:
    stored = report.plan
    if stored is None:
        return f"Run {report.run_id}: {ending(report)}\n{wording.clean(report.detail)}"
    told = [a for a in stored.plan.actions if a.held or a.error]
    lines = list(render.actions_text(stored, told, shown))
    lines.append(f"Run {report.run_id}, plan {stored.id}: {ending(report)}")
    if report.detail:
        lines.append(wording.clean(report.detail))
    if report.outcome in ("incomplete", "paused", "rejected", "stopped"):
        lines.append(f"Go on: opshelm-agent import apply {stored.id}")
    else:
        lines.append(
            "Okta links each account at its own push; those created STAGED after their activation: opshelm-agent import list"
        )
    return "\n".join(lines)


def summary(plan: Plan) -> str:
    """``12 create in Okta (STAGED), 40 assign in Okta, 2 held``."""
    counts = Counter(action.kind for action in plan.actions if action.held is None)
    first = next((a for a in plan.actions if a.kind is ActionKind.OKTA_CREATE and a.held is None), None)
    status = f" ({first.changes['status'].after})" if first else ""
    held = sum(action.held is not None for action in plan.actions)
    parts = [
        f"{counts[ActionKind.OKTA_CREATE]:,} create in Okta{status}" if counts[ActionKind.OKTA_CREATE] else "",
        f"{counts[ActionKind.OKTA_ASSIGN]:,} assign in Okta" if counts[ActionKind.OKTA_ASSIGN] else "",
        f"{held:,} held" if held else "",
    ]
    return ", ".join(part for part in parts if part)
