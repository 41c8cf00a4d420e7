"""The plain status page: how things stand and what to do next. Pure text; counts and plan ids only, no people."""

from collections import Counter
from html import escape

from agent import __version__
from agent.dashboard.status import StatusPage
from agent.model.holds import Decision

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; width: 100%; margin: 0 0 1.5rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; vertical-align: top; }
caption { text-align: left; font-weight: 600; padding: .5rem 0; }
.chip { display: inline-block; padding: .1rem .6rem; border-radius: .5rem; border: 1px solid; margin-right: .5rem; font-weight: 600; }
.good { color: #14713d; } .bad { color: #b3261e; } .unknown { color: #6b5300; }
@media (prefers-color-scheme: dark) { .good { color: #7ddc9f; } .bad { color: #ffb4ab; } .unknown { color: #f0cf65; } }
.banner { border-left: .4rem solid #b3261e; padding: .5rem 1rem; margin: 1rem 0; }
code { font-size: .9em; }
"""


def render(status: StatusPage, receiver: str, database: str) -> str:
    body = [
        "<h1>OpsHelm Okta agent</h1>",
        f"<p>{_drift_chip(status)} {_health_chip(status)}</p>",
        *_banners(status),
        _table("Now", ("what", "value"), _facts(status, receiver, database)),
        _table("Waits for a person", ("what", "next step"), _waiting(status), "Nothing is held."),
        _table("Open alarms", ("since", "code", "about", "next step"), _alarms(status), "No alarms."),
        _table("Runs", ("run", "what", "started", "outcome", "counts"), _runs(status), "No run yet."),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<meta http-equiv="refresh" content="30"><title>OpsHelm Okta agent</title><link rel="stylesheet" href="/status.css">'
        f"</head><body><main>{''.join(body)}</main><footer>Version {__version__}, {status.at:%Y-%m-%d %H:%M:%S} UTC. "
        '<a href="/metrics">Metrics</a></footer></body></html>'
    )


def _drift_chip(status: StatusPage) -> str:
    if status.drift is None:
        return _chip("unknown", "? Drift unknown: no good sweep yet")
    count = sum(status.drift.values())
    if count:
        return _chip("bad", f"≠ {count:,} differ")
    if status.in_step:
        return _chip("good", "= In step with Okta")
    if not status.fresh:
        return _chip("unknown", "? No good sweep within its interval")
    return _chip("unknown", "? In step but for what is held")


def _health_chip(status: StatusPage) -> str:
    run = status.last_run
    if run is None:
        return _chip("unknown", "? No run yet")
    if run.exit_code in (0, 3):
        return _chip("good", "✓ Last run ended well")
    return _chip("bad", f"! Last run: {run.outcome}")


def _chip(kind: str, text: str) -> str:
    return f'<span class="chip {kind}">{escape(text)}</span>'


def _banners(status: StatusPage) -> list[str]:
    account, found = status.account, []
    if account.paused:
        found.append(
            f"Applies are paused by {account.paused_by} since {account.paused_at:%Y-%m-%d %H:%M} UTC: {account.paused_reason}. "
            "End: opshelm-agent resume"
        )
    if account.distrust:
        found.append(f"{account.distrust} Nothing is applied. End: opshelm-agent db accept-restore --reason …")
    if not status.scim_keys:
        found.append("Okta has no key yet: opshelm-agent keys create okta")
    return [f'<p class="banner" role="status">{escape(text)}</p>' for text in found]


def _facts(status: StatusPage, receiver: str, database: str) -> list[tuple[str, ...]]:
    account, counts = status.account, status.counts
    pinned = f"org {account.org_id}, app {account.app_id}" if account.pinned else "not pinned yet: the first apply pins"
    swept = (
        f"{account.last_good_sweep:%Y-%m-%d %H:%M:%S} UTC, {account.last_good_people:,} people"
        if account.last_good_sweep
        else "never"
    )
    drift = ", ".join(f"{n:,} {kind.value}" for kind, n in (status.drift or {}).items() if n) or "none"
    return [
        ("SCIM base URL", f"{receiver}/scim/v2"),
        ("Database", database),
        ("Okta", pinned),
        ("Last good sweep", swept),
        ("Left to do", drift),
        ("Leavers still active", f"{status.leavers_active:,}"),
        ("Lease", status.lease_holder or "free"),
        ("Managed active accounts", f"{account.managed_active:,}"),
        ("Active owners", f"{account.active_owners:,}"),
        ("Deactivations in 24 h", f"{counts.last_day:,} of {status.day_limit:,}"),
        ("Pushed deactivations in 60 min", f"{counts.last_hour:,} of {status.hour_limit:,}"),
    ]


def _waiting(status: StatusPage) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (
            (
                f"plan {plan.id}: {plan.held.value if plan.held else 'actions'}, "
                f"{plan.deactivations:,} deactivations of {plan.actions:,} actions"
            ),
            f"opshelm-agent plans show {plan.id}",
        )
        for plan in status.held_plans
    ]
    waiting = Counter(hold.code for hold in status.holds if hold.decision is Decision.WAITING)
    rows += [
        (f"{count:,} people: {code.value}", f"opshelm-agent holds list --code {code.value}")
        for code, count in waiting.items()
    ]
    for decision, word in ((Decision.BLOCKED, "blocked"), (Decision.REJECTED, "rejected")):
        count = sum(hold.decision is decision for hold in status.holds)
        if count:
            rows.append((f"{count:,} {word} by an operator", "opshelm-agent holds list"))
    return rows


def _alarms(status: StatusPage) -> list[tuple[str, ...]]:
    # Details name people; the log and the command line have them.
    return [
        (
            f"{alarm.raised:%Y-%m-%d %H:%M} UTC",
            f"{alarm.code} (silenced)" if alarm.acked_at else alarm.code,
            alarm.subject,
            f"opshelm-agent alarms show {alarm.id}",
        )
        for alarm in status.alarms
    ]


def _runs(status: StatusPage) -> list[tuple[str, ...]]:
    return [
        (
            str(run.id),
            f"{run.kind}{' (dry)' if run.dry else ''}, {run.trigger}",
            f"{run.started:%Y-%m-%d %H:%M:%S} UTC",
            run.outcome or "running",
            ", ".join(f"{n:,} {what}" for what, n in run.counts.items() if n),
        )
        for run in status.runs
    ]


def _table(caption: str, columns: tuple[str, ...], rows: list[tuple[str, ...]], empty: str = "") -> str:
    if not rows:
        return f"<h2>{escape(caption)}</h2><p>{escape(empty)}</p>"
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
