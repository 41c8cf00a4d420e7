"""The deactivation limits that a single write meets: announced, 60 minutes, 24 hours. Reads the windows only.

Limits per run are the plan's business (agent.model.guard). Counting happens in the transaction of the write.
"""

from collections.abc import Iterator
from typing import NamedTuple

from agent.directory.port import WriteContext
from agent.directory.rows import WriteScope
from agent.model.codes import HeldCode, RefusalCode, Source
from agent.model.errors import Refused
from agent.model.guard import GuardLimits, push_limit, rolling_hold, window_limit
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
    #: What the windows had before; None where nobody looked.
    counts: windows.Counts | None = None


#: In which window, for people.
_WINDOWS = {HeldCode.PUSH_BURST: "60 minutes", HeldCode.DEACTIVATIONS_24H: "24 hours"}
_REFUSALS = {HeldCode.PUSH_BURST: RefusalCode.PUSH_BURST, HeldCode.DEACTIVATIONS_24H: RefusalCode.DEACTIVATIONS_24H}


def check(scope: WriteScope, user: DirectoryUser, *, approved: bool = False) -> Verdict:
    """Refused, or how to count it. Writes nothing."""
    conn, row, context, now, policy = scope
    if context.exempt or approved or context.source not in _COUNTED:
        return Verdict(exempt=True)
    if windows.allowed(conn, user.id, now):
        return Verdict(exempt=True, announced=True)
    counts = windows.counts(conn, now, managed_active=row.managed_active)
    people, guard = counts.population, policy.guard
    # A sweep fills the window of an hour, but has a limit of its own in the plan.
    hour = None if context.source is Source.SWEEP else counts.last_hour
    over = rolling_hold(people, hour, counts.last_day, guard, pushed=context.source is Source.PUSH)
    if over is not None:
        share = _share(over, counts, guard)
        raise OverLimit(over, _held(user, share, context), counts)
    alarms = [*(_hour(counts, guard) if hour is not None else ()), *_day(counts, guard)]
    return Verdict(exempt=False, alarms=tuple(alarms), counts=counts)


class OverLimit(Refused):
    """One deactivation too many, with what the windows had before it."""

    def __init__(self, held: HeldCode, detail: str, counts: windows.Counts) -> None:
        super().__init__(_REFUSALS[held], detail, retry_after=RETRY_AFTER)
        self.held = held
        self.counts = counts


def _share(code: HeldCode, counts: windows.Counts, guard: GuardLimits) -> str:
    hour = code is HeldCode.PUSH_BURST
    then = (counts.last_hour if hour else counts.last_day) + 1
    limit = (push_limit if hour else window_limit)(counts.population, guard)
    return f"{then} of {counts.population} people would be deactivated within {_WINDOWS[code]}; the limit is {limit}"


def _hour(counts: windows.Counts, guard: GuardLimits) -> Iterator[tuple[str, str]]:
    limit, then = push_limit(counts.population, guard), counts.last_hour + 1
    if then == limit + 1:
        yield "push_burst", f"{_share(HeldCode.PUSH_BURST, counts, guard)}. {_LET_THROUGH}"
    elif then == limit // 2 + 1:
        yield (
            "push_burst_half",
            f"{then} of {counts.population} people were deactivated within 60 minutes; over {limit} are held.",
        )


def _day(counts: windows.Counts, guard: GuardLimits) -> Iterator[tuple[str, str]]:
    if counts.last_day == window_limit(counts.population, guard):
        yield "deactivations_24h", f"{_share(HeldCode.DEACTIVATIONS_24H, counts, guard)}. {_LET_THROUGH}"


_LET_THROUGH = "guard.push_mode is alarm, so it was let through. Check Okta's assignments."


def _held(user: DirectoryUser, share: str, context: WriteContext) -> str:
    again = " Okta tries again by itself." if context.source is Source.PUSH else ""
    return (
        f"{share}. {user.user_name} stays active for now.{again} If this is meant, an OpsHelm operator runs: "
        f'opshelm-agent guard allow --count N --for 2h --reason "…" (or --user {user.user_name}); '
        "if not, put the assignments in Okta right."
    )
