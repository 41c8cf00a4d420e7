"""``guard show`` as text and JSON. Reads nothing itself."""

from typing import Any

from agent.dashboard.status import StatusPage
from agent.model.times import when
from agent.runs.wording import clean, fields


def as_json(status: StatusPage) -> dict[str, Any]:
    account, counts = status.account, status.counts
    return {
        "population": counts.population,
        "limits": {
            "per_run": status.run_limit,
            "day": {"used": counts.last_day, "limit": status.day_limit},
            "hour": {"used": counts.last_hour, "limit": status.hour_limit},
        },
        "paused": {"at": account.paused_at, "by": account.paused_by, "reason": account.paused_reason}
        if account.paused
        else None,
        "distrust": account.distrust,
        "allowances": [
            fields(a, "id", "directory_id", "count", "used", "expires", "reason") for a in status.allowances
        ],
        "refused_pushes": [
            {
                **fields(push, "login", "directory_id", "okta_id", "tries", "decision", "decided_by"),
                "first": push.since,
                "last": push.last_found,
            }
            for push in status.refused
        ],
        "held_plans": [
            fields(plan, "id", "held", "actions", "deactivations", "checksum", "created", "expires")
            for plan in status.held_plans
        ],
    }


def as_text(status: StatusPage) -> str:
    account, counts = status.account, status.counts
    lines = [
        f"population              {counts.population:,} managed people",
        f"deactivations per run   up to {status.run_limit:,}",
        f"in 24 hours             {counts.last_day:,} of {status.day_limit:,}",
        f"in 60 minutes (pushed)  {counts.last_hour:,} of {status.hour_limit:,}",
    ]
    if account.paused:
        lines.append(
            f"PAUSED by {account.paused_by} since {when(account.paused_at)}: {clean(account.paused_reason or '')}"
        )
    if account.distrust:
        lines.append(f"RESTORED COPY: {clean(account.distrust)}. End: opshelm-agent db accept-restore --reason …")
    lines += [
        f"announced: {a.count - a.used:,} more until {when(a.expires)}"
        f"{f' for account {a.directory_id}' if a.directory_id else ''} ({clean(a.reason)})"
        for a in status.allowances
    ]
    lines += [
        f"refused push: {clean(push.login)}, {push.tries} tries since {when(push.since)}"
        f"{f', {push.decision.value} by {push.decided_by}' if push.decided_by else ''}"
        for push in status.refused
    ]
    lines += [
        f"held plan {p.id}{f' ({p.held.value})' if p.held else ''}: opshelm-agent plans show {p.id}"
        for p in status.held_plans
    ]
    return "\n".join(lines)
