"""What the app's side should hold of each person, worked out from the org alone.

| app user                                             | Okta user               | wanted                           |
|------------------------------------------------------|-------------------------|----------------------------------|
| none                                                 | any                     | none                             |
| any                                                  | DEPROVISIONED           | inactive                         |
| any                                                  | unknown, in transition  | leave                            |
| PENDING, APPROVED, IMPORTED, MATCHED, UNASSIGNED, …  | any                     | leave                            |
| syncState SYNCING, changed in the last 15 min        | any                     | leave                            |
| INACTIVE, SUSPENDED, REVOKED, DEPROVISIONED          | any                     | inactive                         |
| any                                                  | STAGED                  | leave                            |
| STAGED                                               | SUSPENDED               | leave                            |
| STAGED                                               | live                    | pending; after ``settle`` active |
| ACTIVE, PROVISIONED                                  | SUSPENDED               | leave; inactive if so asked      |
| ACTIVE, PROVISIONED                                  | live                    | active                           |

It shares no code with whoever reads it; that is its use.
"""

from datetime import datetime, timedelta
from typing import Any

from agent.simulator import ids, render, schema
from agent.simulator.entities import LIVE, OrgAppUser, User

_OFF = frozenset({"INACTIVE", "SUSPENDED", "REVOKED", "DEPROVISIONED"})
_ASSIGNED = frozenset({"ACTIVE", "PROVISIONED"})
_SYNCING = timedelta(minutes=15)


def wanted(
    user: User, app_user: OrgAppUser | None, now: datetime, *, settle: timedelta, suspended_off: bool = False
) -> str:
    """One row of the table above."""
    if app_user is None:
        return "none"
    raw, user_raw = app_user.raw or {}, user.raw or {}
    status = str(raw.get("status", app_user.status))
    okta = str(user_raw.get("status", user.status))
    age = now - ids.parse_time(str(raw.get("lastUpdated", app_user.last_updated)))
    if okta == "DEPROVISIONED":
        return "inactive"
    if okta not in LIVE | {"STAGED", "SUSPENDED"} or user_raw.get("transitioningToStatus"):
        return "leave"
    if status not in _OFF | _ASSIGNED | {"STAGED"}:
        return "leave"
    if raw.get("syncState", app_user.sync_state) == "SYNCING" and age < _SYNCING:
        return "leave"
    if status in _OFF:
        return "inactive"
    if okta == "STAGED" or (okta == "SUSPENDED" and status == "STAGED"):
        return "leave"
    if okta == "SUSPENDED":
        return "inactive" if suspended_off else "leave"
    return "pending" if status == "STAGED" and age < settle else "active"


def expected(app_user: OrgAppUser) -> dict[str, Any]:
    """SCIM path → value. null: no value at all. userName and the primary e-mail are the app user's userName."""
    profile = render.app_user_profile(app_user)
    values: dict[str, Any] = {"userName": app_user.user_name}
    for attribute in schema.ATTRIBUTES:
        if attribute.path is not None and attribute.name in profile:
            value = app_user.user_name if attribute.name == "email" else profile[attribute.name]
            values[attribute.path] = None if value == "" else value
    return values
