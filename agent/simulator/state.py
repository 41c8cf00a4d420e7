"""What an org holds: its people, its app and who has it, its hooks, its log. Holds no rule of Okta's; those are in
``org`` (people), ``assignments`` and ``provisioning``, which all work on this one object, on the server's loop.
"""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.simulator import ids
from agent.simulator.entities import Hook, OrgAppUser, User
from agent.simulator.errors import ApiError
from agent.simulator.syslog import EventLog

APP_ID = "0oaOPSHELMSIM0000001"
TOKEN = "simulated-token"  # noqa: S105 - the documented token of a simulation
#: What an org whose app pushes everything has switched on.
FEATURES = ["PUSH_NEW_USERS", "PUSH_PROFILE_UPDATES", "PUSH_USER_DEACTIVATION", "REACTIVATE_USERS", "IMPORT_NEW_USERS"]
#: People of a new org are this old, so that none of them counts as just changed.
PAST = "2026-01-05T08:00:00.000Z"


@dataclass(kw_only=True, slots=True)
class OrgSettings:
    """How an org is made. ``time_scale`` shortens Okta's waits between retries: 0.01 makes 3 s of five minutes."""

    users: int = 0
    seed: int = 1
    app_style: str = "oin"
    app_id: str = APP_ID
    token: str = TOKEN
    scim_url: str | None = None
    scim_key: str | None = None
    #: Calls per window on the apps bucket; None: headers only.
    rate_limit: int | None = None
    #: Okta's window is a minute; tests shorten it.
    rate_window: float = 60.0
    time_scale: float = 1.0
    #: Whether there are groups for rehearsals: OpsHelm Owners, and one for each department, by rules.
    groups: bool = False
    #: People, app and ids from this export instead of ``users``, ``seed`` and ``app_id``.
    from_export: Path | None = None


class OrgState:
    """One org with one app. ``base`` is its address, known once the server listens."""

    def __init__(self, settings: OrgSettings) -> None:
        self.settings = settings
        self.base = ""
        self.draw = random.Random(f"org {settings.seed}")  # noqa: S311 - repeatable on purpose
        self.ids = ids.Ids(settings.seed)
        self.id = self.ids.new("00o")
        #: Whom the API token belongs to; in no listing.
        login = "admin@example.com"
        self.admin = settled_user(
            self.ids.new("00u"), {"login": login, "email": login, "firstName": "Simulated", "lastName": "Admin"}
        )
        self.users: dict[str, User] = {}
        self.logins: dict[str, User] = {}
        #: In the order of the listing; whoever is removed leaves a hole, so that no page shifts.
        self.rows: list[User | None] = []
        #: Search answers from here while its index lags: users as they were, None for those it doesn't know yet.
        self.stale: dict[str, User | None] | None = None
        self.hooks: dict[str, Hook] = {}
        self.app = _new_app(settings)
        self.app_deleted = False
        #: What the control API changed of the app's user schema: attribute → fields of its property.
        self.schema_changes: dict[str, dict[str, Any]] = {}
        self.app_users: dict[str, OrgAppUser] = {}
        self.app_rows: list[OrgAppUser | None] = []
        self.log = EventLog(self.draw, settings.app_id, lambda: str(self.app["label"]), self.admin.id)

    @property
    def unsent(self) -> frozenset[str]:
        """Attributes whose schema has no namespace: Okta doesn't send them."""
        changes = self.schema_changes.items()
        return frozenset(
            n for n, change in changes if "externalNamespace" in change and not change["externalNamespace"]
        )

    @property
    def app_active(self) -> bool:
        return bool(self.app.get("status") == "ACTIVE") and not self.app_deleted

    def has_feature(self, name: str) -> bool:
        return name in (self.app.get("features") or ())

    @staticmethod
    def require_not_deprovisioned(user: User) -> None:
        if user.status == "DEPROVISIONED":
            raise ApiError("E0000038")


def settled_user(okta_id: str, profile: dict[str, Any]) -> User:
    """Somebody who has been there for long."""
    user = User(id=okta_id, status="ACTIVE", profile=profile, created=PAST, has_password=True)
    user.status_changed = user.activated = user.password_changed = PAST
    return user


def _new_app(settings: OrgSettings) -> dict[str, Any]:
    """The app as an administrator of a well set-up org has made it; raw JSON, for the control API may change all."""
    oin = settings.app_style == "oin"
    return {
        "id": settings.app_id,
        "orn": f"orn:okta:idp:simulated:apps:opshelm:{settings.app_id}",
        "name": "opshelm" if oin else "simulated_opshelm_1",
        "label": "OpsHelm",
        "status": "ACTIVE",
        "lastUpdated": PAST,
        "created": PAST,
        "accessibility": {"selfService": False, "errorRedirectUrl": None, "loginRedirectUrl": None},
        "visibility": {
            "autoLaunch": False,
            "autoSubmitToolbar": False,
            "hide": {"iOS": False, "web": False},
            "appLinks": {"login": True},
        },
        "features": list(FEATURES),
        "signOnMode": "AUTO_LOGIN",
        "credentials": {
            "scheme": "EDIT_USERNAME_AND_PASSWORD",
            "userNameTemplate": {"template": "${source.email}", "type": "BUILT_IN"},
            "revealPassword": False,
            "signing": {},
        },
        "settings": {
            "notifications": {"vpn": {"network": {"connection": "DISABLED"}, "message": None, "helpUrl": None}},
            "implicitAssignment": False,
            "notes": {"admin": None, "enduser": None},
            "signOn": {"redirectUrl": None, "loginUrl": "https://opshelm.example.com/login"},
        },
    }
