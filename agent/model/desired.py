"""What Okta wants for one person. Pure: no clock, no directory; ``now`` is given.

The first row that fits decides (``DesiredRow`` names them; "live" is the last list):

=============================================================  ============================  ===========================
app user                                                       Okta user                     wanted
=============================================================  ============================  ===========================
any                                                            DEPROVISIONED                 inactive
any                                                            unknown, in transition        leave alone, report
PENDING, APPROVED, IMPORTED, MATCHED, UNASSIGNED, IMPLICIT, ?  any                           leave alone, report
SYNCING, changed under 15 min ago (older: ignored, reported)   any                           leave alone this time
INACTIVE, SUSPENDED, REVOKED, DEPROVISIONED                    any                           inactive
any                                                            STAGED                        leave alone, report
STAGED                                                         SUSPENDED                     leave alone, report
STAGED                                                         live                          pending; active once settled
ACTIVE, PROVISIONED                                            SUSPENDED                     policy.suspended
ACTIVE, PROVISIONED                                            ACTIVE, PROVISIONED,          active
                                                               PASSWORD_EXPIRED, RECOVERY,
                                                               LOCKED_OUT
none (404)                                                     any other                     absent: inactive where the
                                                                                             account is managed
=============================================================  ============================  ===========================
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from agent.model.codes import FindingCode
from agent.model.okta import AppUser, OktaUser
from agent.model.times import when


class Wanted(StrEnum):
    ACTIVE = "active"
    INACTIVE = "inactive"
    PENDING = "pending"
    LEAVE = "leave"
    #: Suspended and policy.suspended = keep: attributes only.
    KEEP = "keep"
    #: No app user: inactive where the account is managed, once proven.
    ABSENT = "absent"


class DesiredRow(StrEnum):
    """The rows of the table, in its order; explain and plans name them."""

    DEPROVISIONED = "okta_user_deprovisioned"
    UNKNOWN_USER = "okta_user_status_unknown"
    UNKNOWN_APP_USER = "app_user_not_assigned_yet"
    SYNCING = "okta_push_under_way"
    APP_USER_ENDED = "app_user_ended"
    STAGED_USER = "okta_user_staged"
    STAGED_SUSPENDED = "app_user_staged_okta_user_suspended"
    STAGED = "app_user_staged"
    SUSPENDED = "okta_user_suspended"
    LIVE = "assigned_and_live"
    ABSENT = "not_assigned"


#: Two clocks that agree are not further apart.
CLOCKS_DIFFER = timedelta(minutes=2)


class DesiredRules(Struct, frozen=True, kw_only=True):
    settle: timedelta = timedelta(minutes=5)
    syncing: timedelta = timedelta(minutes=15)
    suspended: Literal["keep", "deactivate"] = "keep"


class Desired(Struct, frozen=True, kw_only=True):
    wanted: Wanted
    row: DesiredRow
    #: What to report besides; ``detail`` is for people.
    finding: FindingCode | None = None
    detail: str = ""
    #: Pending, syncing: when to look again.
    due: datetime | None = None


LIVE = frozenset({"ACTIVE", "PROVISIONED", "PASSWORD_EXPIRED", "RECOVERY", "LOCKED_OUT"})
ENDED = frozenset({"INACTIVE", "SUSPENDED", "REVOKED", "DEPROVISIONED"})
ASSIGNED = frozenset({"ACTIVE", "PROVISIONED"})
_USUAL = Desired(wanted=Wanted.ACTIVE, row=DesiredRow.LIVE)
_ABSENT = Desired(wanted=Wanted.ABSENT, row=DesiredRow.ABSENT)


def user_status(user: OktaUser | None) -> str:
    """The status that the table reads: one word; "" for a user that could not be read."""
    if user is None:
        return ""
    return f"{user.status} to {user.transitioning_to_status}" if user.transitioning_to_status else user.status


def desire(app_user: AppUser | None, okta_status: str, now: datetime, rules: DesiredRules) -> Desired:
    """``okta_status`` as ``user_status`` gives it. A sweep passes ACTIVE for whoever is on none of its status lists."""
    if (
        app_user is not None
        and okta_status in LIVE
        and app_user.status in ASSIGNED
        and app_user.sync_state != "SYNCING"
    ):
        return _USUAL
    if okta_status == "DEPROVISIONED":
        return Desired(wanted=Wanted.INACTIVE, row=DesiredRow.DEPROVISIONED)
    if app_user is None and okta_status == "":
        return _ABSENT
    if okta_status not in LIVE and okta_status not in ("SUSPENDED", "STAGED"):
        return _leave(DesiredRow.UNKNOWN_USER, f"the Okta user's status is {okta_status or 'not readable'}")
    if app_user is None:
        return _leave(DesiredRow.STAGED_USER, "the Okta user is STAGED") if okta_status == "STAGED" else _ABSENT
    return _assigned(app_user, okta_status, now, rules)


def _assigned(app_user: AppUser, okta_status: str, now: datetime, rules: DesiredRules) -> Desired:
    status = app_user.status
    if status not in ENDED and status not in ASSIGNED and status != "STAGED":
        return _leave(DesiredRow.UNKNOWN_APP_USER, f"the app user's status is {status or 'not readable'}")
    usual = _USUAL
    if app_user.sync_state == "SYNCING":
        due = _over(app_user.last_updated, rules.syncing, now)
        if due > now:
            return Desired(
                wanted=Wanted.LEAVE,
                row=DesiredRow.SYNCING,
                finding=FindingCode.SYNCING,
                due=due,
                detail="Okta's own push is under way",
            )
        detail = f"SYNCING since {when(app_user.last_updated)}; Okta's push seems stuck"
        usual = replace(usual, finding=FindingCode.SYNCING_TOO_LONG, detail=detail)
    if status in ENDED:
        return replace(usual, wanted=Wanted.INACTIVE, row=DesiredRow.APP_USER_ENDED)
    if okta_status == "STAGED":
        return _leave(DesiredRow.STAGED_USER, "the Okta user is STAGED")
    if status == "STAGED":
        return _staged(app_user, okta_status, now, rules, usual)
    if okta_status != "SUSPENDED":
        return usual
    if rules.suspended == "deactivate":
        return replace(usual, wanted=Wanted.INACTIVE, row=DesiredRow.SUSPENDED)
    return Desired(
        wanted=Wanted.KEEP,
        row=DesiredRow.SUSPENDED,
        finding=FindingCode.SUSPENDED_KEPT,
        detail="suspended in Okta; access is kept (policy.suspended = keep)",
    )


def _staged(app_user: AppUser, okta_status: str, now: datetime, rules: DesiredRules, usual: Desired) -> Desired:
    if okta_status == "SUSPENDED":
        return _leave(DesiredRow.STAGED_SUSPENDED, "the app user is STAGED and the Okta user SUSPENDED")
    due = _over(app_user.last_updated, rules.settle, now)
    if due > now:
        return Desired(
            wanted=Wanted.PENDING,
            row=DesiredRow.STAGED,
            finding=FindingCode.PENDING,
            due=due,
            detail=f"Okta's own push has until {when(due)}",
        )
    return replace(usual, row=DesiredRow.STAGED)


def _over(since: datetime | None, length: timedelta, now: datetime) -> datetime:
    """When a wait for Okta's own push ends. What lies well ahead of now tells of two clocks, and is waited for no longer."""
    if since is not None and since > now + CLOCKS_DIFFER:
        return now
    return (since or now) + length


def _leave(row: DesiredRow, detail: str) -> Desired:
    return Desired(wanted=Wanted.LEAVE, row=row, finding=FindingCode.LEFT_ALONE, detail=detail)
