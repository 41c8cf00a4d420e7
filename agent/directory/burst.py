"""The deactivation limits that a single write meets: announced, 60 minutes, 24 hours. Reads the windows only.

Limits per run are the plan's business (agent.model.guard). Counting happens in the transaction of the write.
"""

from typing import NamedTuple

from agent.directory.port import WriteContext
from agent.directory.rows import Policy, WriteScope
from agent.model.codes import RefusalCode, Source
from agent.model.errors import Refused
from agent.model.guard import push_limit, window_limit
from agent.model.users import DirectoryUser
from agent.store import windows

#: What Okta is told to wait; it retries by itself for days.
RETRY_AFTER = 300
#: Sources whose deactivations fill the windows; an operator's own are a person's decision.
_COUNTED = (Source.PUSH, Source.SWEEP, Source.SINGLE)


class Verdict(NamedTuple):
    """How a deactivation that passes is to be counted."""

    exempt: bool
    #: An allowance is to be used up.
    announced: bool = False
    #: Alarms to raise with it: code and detail.
    alarms: tuple[tuple[str, str], ...] = ()


def check(scope: WriteScope, user: DirectoryUser, *, approved: bool = False) -> Verdict:
    """Refused, or how to count it. Writes nothing."""
    conn, row, context, now, policy = scope
    if context.exempt or approved or context.source not in _COUNTED:
        return Verdict(exempt=True)
    if windows.allowed(conn, user.id, now):
        return Verdict(exempt=True, announced=True)
    counts = windows.counts(conn, now, managed_active=row.managed_active)
    alarms = [*_hour(counts, user, context, policy), *_day(counts, user, context, policy)]
    return Verdict(exempt=False, alarms=tuple(alarms))


def _hour(counts: windows.Counts, user: DirectoryUser, context: WriteContext, policy: Policy) -> list[tuple[str, str]]:
    if context.source is Source.SWEEP:
        return []  # fills this window, but has a limit of its own in the plan
    limit = push_limit(counts.population, policy.guard)
    then = counts.last_hour + 1
    share = f"{then} of {counts.population} people would be deactivated within 60 minutes; the limit is {limit}"
    if then > limit and _holds(context, policy):
        raise Refused(RefusalCode.PUSH_BURST, _held(user, share, context), retry_after=RETRY_AFTER)
    if then == limit + 1:
        return [("push_burst", f"{share}. guard.push_mode is alarm, so it was let through. Check Okta's assignments.")]
    if then == limit // 2 + 1:
        return [
            (
                "push_burst_half",
                f"{then} of {counts.population} people were deactivated within 60 minutes; over {limit} are held.",
            )
        ]
    return []


def _day(counts: windows.Counts, user: DirectoryUser, context: WriteContext, policy: Policy) -> list[tuple[str, str]]:
    limit = window_limit(counts.population, policy.guard)
    then = counts.last_day + 1
    if then <= limit:
        return []
    share = f"{then} of {counts.population} people would be deactivated within 24 hours; the limit is {limit}"
    if _holds(context, policy):
        raise Refused(RefusalCode.DEACTIVATIONS_24H, _held(user, share, context), retry_after=RETRY_AFTER)
    if then == limit + 1:
        return [
            (
                "deactivations_24h",
                f"{share}. guard.push_mode is alarm, so it was let through. Check Okta's assignments.",
            )
        ]
    return []


def _holds(context: WriteContext, policy: Policy) -> bool:
    return context.source is not Source.PUSH or policy.guard.push_mode == "hold"


def _held(user: DirectoryUser, share: str, context: WriteContext) -> str:
    again = " Okta tries again by itself." if context.source is Source.PUSH else ""
    return (
        f"{share}. {user.user_name} stays active for now.{again} If this is meant, an OpsHelm operator runs: "
        f'opshelm-agent guard allow --count N --for 2h --reason "…" (or --user {user.user_name}); '
        "if not, put the assignments in Okta right."
    )
