"""The org's people and their lifecycle: what Okta does with a user, and what that means for the app.

Assignments and groups are in ``assignments``; pushes in ``provisioning``. Everything here runs on the server's loop.
"""

import random
from dataclasses import dataclass
from typing import Any

from agent.simulator import ids, names, schema
from agent.simulator.assignments import Assignments
from agent.simulator.entities import AppUser, Hook, User
from agent.simulator.errors import OktaError, invalid, not_found
from agent.simulator.faults import Faults
from agent.simulator.hooks import HookDelivery
from agent.simulator.ids import Ids
from agent.simulator.limits import Limits
from agent.simulator.listing import Listing
from agent.simulator.oauth import OAuth
from agent.simulator.provisioning import Provisioning
from agent.simulator.syslog import SystemLog

APP_ID = "0oaOPSHELMSIM0000001"
TOKEN = "simulated-token"  # noqa: S105 - the documented token of a simulation
#: What an org whose app pushes everything has switched on.
FEATURES = [
    "PUSH_NEW_USERS",
    "PUSH_PROFILE_UPDATES",
    "PUSH_USER_DEACTIVATION",
    "REACTIVATE_USERS",
    "IMPORT_NEW_USERS",
]
_REQUIRED = ("login", "email", "firstName", "lastName")
#: People of a new org are this old, so that none of them counts as just changed.
_PAST = "2026-01-05T08:00:00.000Z"


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


class Org:
    """One org with one app. ``base`` is its address, known once the server listens."""

    def __init__(self, settings: OrgSettings) -> None:
        self.settings = settings
        self.base = ""
        self.draw = random.Random(f"org {settings.seed}")  # noqa: S311 - repeatable on purpose
        self.ids = Ids(settings.seed)
        self.id = self.ids.new("00o")
        #: Whom the API token belongs to; in no listing.
        self.admin = _new_admin(self.ids.new("00u"))
        self.users: dict[str, User] = {}
        self.logins: dict[str, User] = {}
        self.rows: list[User | None] = []
        #: Search answers from here while its index lags: users as they were, None for those it doesn't know yet.
        self.stale: dict[str, User | None] | None = None
        self.hooks: dict[str, Hook] = {}
        self.app = _new_app(settings)
        self.app_deleted = False
        self.log = SystemLog(self.draw, settings.app_id, lambda: str(self.app["label"]), self.admin.id)
        self.limits = Limits(settings.rate_limit, settings.rate_window)
        self.faults = Faults()
        self.oauth = OAuth(self)
        self.provisioning = Provisioning(self)
        self.hook_delivery = HookDelivery(self)
        self.assignments = Assignments(self)
        self.listing = Listing(self)
        self._populate(settings.users, settings.seed)

    @property
    def app_active(self) -> bool:
        return bool(self.app.get("status") == "ACTIVE") and not self.app_deleted

    def has_feature(self, name: str) -> bool:
        return name in (self.app.get("features") or ())

    def find(self, id_or_login: str) -> User:
        """By id, login, or short login (the part before the @, where it is unique); else 404 in Okta's words."""
        user = self.users.get(id_or_login) or self.logins.get(id_or_login.lower())
        if user is None:
            raise not_found(id_or_login, "User")
        return user

    # -- making and changing people --------------------------------------------------------------------------------

    def create(self, body: dict[str, Any], *, activate: bool) -> User:
        """POST /users. With a password the activated user is ACTIVE, without one PROVISIONED ("pending user action")."""
        profile = _valid_profile(body.get("profile"), "newUser")
        self._require_free_login(profile["login"], None)
        password = "password" in (body.get("credentials") or {})
        now = ids.now()
        user = User(
            id=self.ids.new("00u"),
            status="STAGED",
            profile=profile,
            created=now,
            last_updated=now,
            has_password=password,
            password_changed=now if password else None,
        )
        self._insert(user)
        self.log.add("user.lifecycle.create", user=user)
        if activate:
            self.activate(user)
        for group_id in body.get("groupIds") or ():
            self.assignments.add_member(self.assignments.group(group_id), user)
        return user

    def update(self, user: User, changes: Any, *, replace: bool) -> None:
        """POST (partial) or PUT (replace) of a profile. A change of a mapped attribute is pushed to the app."""
        self.require_not_deprovisioned(user)
        if not isinstance(changes, dict):
            raise OktaError("E0000003")
        merged = dict(changes) if replace else {**user.profile, **changes}
        profile = _valid_profile(merged, "profile")
        self._require_free_login(profile["login"], user)
        if profile == user.profile:
            return
        self.put_profile(user, profile, push=True)
        self.log.add("user.account.update_profile", user=user)

    def put_profile(self, user: User, profile: dict[str, Any], *, push: bool) -> None:
        """Store a profile and let the app user follow; ``push`` False leaves the app behind (control API)."""
        self.touch(user)
        self.logins.pop(str(user.profile.get("login", "")).lower(), None)
        before = schema.app_profile(user.profile)
        user.profile = profile
        self.logins[str(profile.get("login", "")).lower()] = user
        self.assignments.follow(user, before, push=push)

    def touch(self, user: User) -> None:
        """Before any change of a user: the lagging search index keeps what it had."""
        if self.stale is not None and user.id not in self.stale:
            self.stale[user.id] = _copy(user)
        user.last_updated = ids.now()
        app_user = self.assignments.app_users.get(user.id)
        if app_user is not None:
            app_user.rendered = None

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def activate(self, user: User) -> None:
        """STAGED or DEPROVISIONED to live; what waited for it is provisioned, and groups grant the app again."""
        if user.status in ("ACTIVE", "PROVISIONED"):
            raise OktaError("E0000016")
        if user.status not in ("STAGED", "DEPROVISIONED"):
            raise OktaError("E0000038")
        self._set_status(user, "ACTIVE" if user.has_password else "PROVISIONED", "activate")
        user.activated = user.last_updated
        self.assignments.provision_waiting(user)
        self.assignments.grant_by_groups(user)

    def deactivate(self, user: User) -> None:
        """Deprovisioned from the app, unless the app is inactive: then Okta leaves the assignment as it is."""
        self.require_not_deprovisioned(user)
        self._set_status(user, "DEPROVISIONED", "deactivate")
        app_user = self.assignments.app_users.get(user.id)
        if app_user is not None and self.app_active:
            self.assignments.remove(app_user)

    def suspend(self, user: User) -> None:
        """Keeps assignments and pushes nothing."""
        if user.status != "ACTIVE":
            raise invalid("Cannot suspend a user that is not active", "The user is not active.")
        self._set_status(user, "SUSPENDED", "suspend")

    def unsuspend(self, user: User) -> None:
        """Pushes nothing either."""
        if user.status != "SUSPENDED":
            raise invalid("Cannot unsuspend a user that is not suspended", "The user is not suspended.")
        self._set_status(user, "ACTIVE", "unsuspend")

    def unlock(self, user: User) -> None:
        if user.status != "LOCKED_OUT":
            raise OktaError("E0000032", causes=["The user is not locked out."])
        self._set_status(user, "ACTIVE", "unlock")

    def set_live_status(self, user: User, status: str, verb: str) -> None:
        """PASSWORD_EXPIRED, RECOVERY: the person stays provisioned."""
        if user.status in ("STAGED", "SUSPENDED", "DEPROVISIONED"):
            raise OktaError("E0000038")
        self._set_status(user, status, verb)

    def delete(self, user: User) -> None:
        """The first call only deactivates; the second deletes."""
        if user.status != "DEPROVISIONED":
            self.deactivate(user)
            return
        self.touch(user)
        app_user = self.assignments.app_users.get(user.id)
        if app_user is not None:
            self.assignments.remove(app_user)
        self.assignments.forget(user)
        del self.users[user.id]
        self.logins.pop(str(user.profile.get("login", "")).lower(), None)
        self.rows[user.row] = None
        self.log.add("user.lifecycle.delete.completed", user=user)

    def require_not_deprovisioned(self, user: User) -> None:
        if user.status == "DEPROVISIONED":
            raise OktaError("E0000038")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _set_status(self, user: User, status: str, verb: str) -> None:
        self.touch(user)
        user.status = status
        user.status_changed = user.last_updated
        self.log.add(f"user.lifecycle.{verb}", user=user)

    def _insert(self, user: User) -> None:
        user.row = len(self.rows)
        self.rows.append(user)
        self.users[user.id] = user
        self.logins[str(user.profile["login"]).lower()] = user
        if self.stale is not None:
            self.stale[user.id] = None

    def _require_free_login(self, login: str, owner: User | None) -> None:
        if self.logins.get(login.lower()) not in (None, owner):
            raise invalid(
                "login", "login: An object with this field already exists in the current organization"
            )

    def _populate(self, count: int, seed: int) -> None:
        pushed = self.provisioning.enabled
        for profile in names.people(count, seed):
            user = User(
                id=self.ids.new("00u"), status="ACTIVE", profile=profile, created=_PAST, last_updated=_PAST,
                status_changed=_PAST, activated=_PAST, password_changed=_PAST, has_password=True,
            )  # fmt: skip
            self._insert(user)
            app_user = AppUser(
                user=user, scope="USER", status="STAGED" if pushed else "PROVISIONED",
                sync_state="SYNCING" if pushed else "SYNCHRONIZED", user_name=profile["email"], created=_PAST,
                last_updated=_PAST, status_changed=_PAST, last_sync=None if pushed else _PAST,
            )  # fmt: skip
            self.assignments.insert(app_user)


def _new_admin(okta_id: str) -> User:
    login = "admin@example.com"
    profile = {"login": login, "email": login, "firstName": "Simulated", "lastName": "Admin"}
    return User(
        id=okta_id, status="ACTIVE", profile=profile, created=_PAST, last_updated=_PAST, status_changed=_PAST,
        activated=_PAST, password_changed=_PAST, has_password=True,
    )  # fmt: skip


def _copy(user: User) -> User:
    return User(**{name: getattr(user, name) for name in User.__slots__})


def _valid_profile(raw: Any, subject: str) -> dict[str, Any]:
    """The profile without what has no value; raises Okta's errors for what it would refuse."""
    if not isinstance(raw, dict):
        raise OktaError("E0000003")
    unknown = sorted(set(raw) - schema.USER_ATTRIBUTES)
    if unknown:
        raise invalid(subject, *(f"Property name '{name}' is not defined in profile" for name in unknown))
    profile = {name: value for name, value in raw.items() if value is not None and value != ""}
    missing = [name for name in _REQUIRED if name not in profile]
    if missing:
        raise invalid(missing[0], *(f"{name}: The field cannot be left blank" for name in missing))
    if "@" not in str(profile["login"]):
        raise invalid("login", "login: Username must be in the form of an email address")
    return profile


def _new_app(settings: OrgSettings) -> dict[str, Any]:
    """The app as an administrator of a well set-up org has made it; raw JSON, for the control API may change all."""
    oin = settings.app_style == "oin"
    return {
        "id": settings.app_id,
        "orn": f"orn:okta:idp:simulated:apps:opshelm:{settings.app_id}",
        "name": "opshelm" if oin else "simulated_opshelm_1",
        "label": "OpsHelm",
        "status": "ACTIVE",
        "lastUpdated": _PAST,
        "created": _PAST,
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
            "notifications": {
                "vpn": {"network": {"connection": "DISABLED"}, "message": None, "helpUrl": None}
            },
            "implicitAssignment": False,
            "notes": {"admin": None, "enduser": None},
            "signOn": {"redirectUrl": None, "loginUrl": "https://opshelm.example.com/login"},
        },
    }
