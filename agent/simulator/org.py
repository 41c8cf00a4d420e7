"""The org's people and their lifecycle: what Okta does with a user, and what that means for the app.

Assignments and groups are in ``assignments``; pushes in ``provisioning``. Everything here runs on the server's loop.
"""

import dataclasses
from pathlib import Path
from typing import Any

from agent.simulator import exported, ids, names, schema
from agent.simulator.assignments import Assignments
from agent.simulator.entities import OrgAppUser, User
from agent.simulator.errors import ApiError, invalid, not_found
from agent.simulator.faults import Faults
from agent.simulator.group_rules import GroupRules
from agent.simulator.hooks import HookDelivery
from agent.simulator.limits import RateLimiter
from agent.simulator.listing import ListingFaults
from agent.simulator.oauth import OAuth
from agent.simulator.oidc import Oidc
from agent.simulator.provisioning import Provisioning
from agent.simulator.state import PAST, OrgSettings, OrgState, settled_user

_REQUIRED = ("login", "email", "firstName", "lastName")


class Org(OrgState):
    """The state with everything that works on it."""

    def __init__(self, settings: OrgSettings) -> None:
        if settings.from_export is not None:
            settings.app_id = exported.header(settings.from_export)["app"]["id"]
        super().__init__(settings)
        self.limits = RateLimiter(settings.rate_limit, settings.rate_window)
        self.faults = Faults()
        self.oauth = OAuth(self)
        self.provisioning = Provisioning(self)
        self.hook_delivery = HookDelivery(self)
        self.assignments = Assignments(self, self.provisioning)
        self.group_rules = GroupRules(self, self.assignments)
        self.oidc = Oidc(self, self.find, self.assignments.groups_of)
        self.listing = ListingFaults(self)
        if settings.from_export is None:
            self._populate(settings.users, settings.seed)
        else:
            self._load(settings.from_export)
        if settings.groups:
            self._make_groups()

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
        user = User(id=self.ids.new("00u"), status="STAGED", profile=profile, has_password=password)
        user.password_changed = user.created if password else None
        self._insert(user)
        self.log.add("user.lifecycle.create", user=user)
        if activate:
            self.activate(user)
        self.group_rules.follow(user)
        for group_id in body.get("groupIds") or ():
            self.assignments.set_member(self.assignments.group(group_id), user, member=True)
        return user

    def update(self, user: User, changes: Any, *, replace: bool) -> None:
        """POST (partial) or PUT (replace) of a profile. A change of a mapped attribute is pushed to the app."""
        self.require_not_deprovisioned(user)
        if not isinstance(changes, dict):
            raise ApiError("E0000003")
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
        self.group_rules.follow(user)

    def touch(self, user: User) -> None:
        """Before any change of a user: the lagging search index keeps what it had."""
        if self.stale is not None and user.id not in self.stale:
            self.stale[user.id] = dataclasses.replace(user)
        user.last_updated = ids.now()
        app_user = self.app_users.get(user.id)
        if app_user is not None:
            app_user.rendered = None

    # -- lifecycle ---------------------------------------------------------------------------------------------------

    def activate(self, user: User) -> None:
        """STAGED or DEPROVISIONED to live; what waited for it is provisioned, and groups grant the app again."""
        if user.status in ("ACTIVE", "PROVISIONED"):
            raise ApiError("E0000016")
        if user.status not in ("STAGED", "DEPROVISIONED"):
            raise ApiError("E0000038")
        self._set_status(user, "ACTIVE" if user.has_password else "PROVISIONED", "activate")
        user.activated = user.last_updated
        self.assignments.provision_waiting(user)
        self.assignments.grant_by_groups(user)

    def deactivate(self, user: User) -> None:
        """Deprovisioned from the app, unless the app is inactive: then Okta leaves the assignment as it is."""
        self.require_not_deprovisioned(user)
        self._set_status(user, "DEPROVISIONED", "deactivate")
        app_user = self.app_users.get(user.id)
        if app_user is not None and self.app_active:
            self.assignments.remove(app_user)

    def suspend(self, user: User) -> None:
        """Keeps assignments and pushes nothing, nor does unsuspend."""
        if user.status != "ACTIVE":
            raise invalid("Cannot suspend a user that is not active", "The user is not active.")
        self._set_status(user, "SUSPENDED", "suspend")

    def unsuspend(self, user: User) -> None:
        if user.status != "SUSPENDED":
            raise invalid("Cannot unsuspend a user that is not suspended", "The user is not suspended.")
        self._set_status(user, "ACTIVE", "unsuspend")

    def unlock(self, user: User) -> None:
        if user.status != "LOCKED_OUT":
            raise ApiError("E0000032", causes=["The user is not locked out."])
        self._set_status(user, "ACTIVE", "unlock")

    def set_live_status(self, user: User, status: str, verb: str) -> None:
        """PASSWORD_EXPIRED, RECOVERY: the person stays provisioned."""
        if user.status in ("STAGED", "SUSPENDED", "DEPROVISIONED"):
            raise ApiError("E0000038")
        self._set_status(user, status, verb)

    def delete(self, user: User) -> None:
        """The first call only deactivates; the second deletes."""
        if user.status != "DEPROVISIONED":
            self.deactivate(user)
            return
        self.touch(user)
        app_user = self.app_users.get(user.id)
        if app_user is not None:
            self.assignments.remove(app_user)
        self.assignments.forget(user)
        del self.users[user.id]
        self.logins.pop(str(user.profile.get("login", "")).lower(), None)
        self.rows[user.row] = None
        self.log.add("user.lifecycle.delete.completed", user=user)

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
            raise invalid("login", "login: An object with this field already exists in the current organization")

    def _make_groups(self) -> None:
        departments = sorted({str(user.profile["department"]) for user in self.users.values()})
        rules = {names.OWNERS: f'user.title == "{names.OWNERS_TITLE}"'}
        rules |= {name: f'user.department == "{name}"' for name in departments}
        for name, expression in rules.items():
            group = self.assignments.create_group(name, None)
            self.group_rules.set_active(self.group_rules.make(name, expression, [group.id]), active=True)

    def _load(self, file: Path) -> None:
        found = exported.header(file)
        self.id = found["org_id"]
        self.app.update(exported.app_fields(found["app"]))
        with exported.opened(file) as lines:
            for user, app_user in exported.people(lines):
                self._insert(user)
                if app_user is not None:
                    self.assignments.insert(app_user)

    def _populate(self, count: int, seed: int) -> None:
        pushed = self.provisioning.enabled
        for profile in names.people(count, seed):
            user = settled_user(self.ids.new("00u"), profile)
            self._insert(user)
            app_user = OrgAppUser(
                user=user,
                scope="USER",
                status="STAGED" if pushed else "PROVISIONED",
                sync_state="SYNCING" if pushed else "SYNCHRONIZED",
                user_name=profile["email"],
                created=PAST,
                last_sync=None if pushed else PAST,
            )
            self.assignments.insert(app_user)


def _valid_profile(raw: Any, subject: str) -> dict[str, Any]:
    """The profile without what has no value; raises Okta's errors for what it would refuse."""
    if not isinstance(raw, dict):
        raise ApiError("E0000003")
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
