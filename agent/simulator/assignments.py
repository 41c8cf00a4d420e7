"""Who has the app, and why: direct assignments, group assignments, group membership.

Decides what the app user looks like and tells the provisioning engine; sends nothing itself.
"""

from typing import Any

from agent.simulator import ids, render, schema
from agent.simulator.entities import LIVE, OrgAppUser, OrgGroup, User
from agent.simulator.errors import ApiError, found, invalid, not_found
from agent.simulator.provisioning import Provisioning
from agent.simulator.state import OrgState
from agent.simulator.syslog import group_target


class Assignments:
    """The app's users and groups. ``rows`` keeps the order of the listing; a removed one leaves a hole."""

    def __init__(self, org: OrgState, provisioning: Provisioning) -> None:
        self._org = org
        self._provisioning = provisioning
        self.app_users = org.app_users
        self.rows = org.app_rows
        self.groups: dict[str, OrgGroup] = {}
        #: Group id → lastUpdated, priority, profile of its assignment to the app.
        self.app_groups: dict[str, dict[str, Any]] = {}
        self.create_group("Everyone", "All users in your organization", kind="BUILT_IN")

    # -- app users -------------------------------------------------------------------------------------------------

    def find(self, okta_id: str) -> OrgAppUser:
        return found(self.app_users, okta_id, "AppUser")

    def insert(self, app_user: OrgAppUser) -> None:
        app_user.row = len(self.rows)
        self.rows.append(app_user)
        self.app_users[app_user.user.id] = app_user

    def assign(self, user: User, body: dict[str, Any], *, scope: str = "USER") -> OrgAppUser:
        """POST /apps/{id}/users. Mapped profile values are the mapping's; a second assignment updates the first."""
        existing = self.app_users.get(user.id)
        if existing is not None:
            existing.scope = scope
            self.update(existing, {key: body[key] for key in ("credentials",) if key in body})
            return existing
        self._org.require_not_deprovisioned(user)
        given = (body.get("credentials") or {}).get("userName")
        own = {name: value for name, value in (body.get("profile") or {}).items() if name not in schema.MAPPED}
        _require_known(own)
        app_user = OrgAppUser(
            user=user,
            scope=scope,
            status="ACTIVE",
            sync_state="DISABLED",
            user_name=given or self._user_name(user),
            own_name=given is not None,
            own=own or None,
        )
        self.insert(app_user)
        self._org.log.add("application.user_membership.add", app_user=app_user)
        self._provision(app_user)
        return app_user

    def update(self, app_user: OrgAppUser, body: dict[str, Any]) -> None:
        """POST /apps/{id}/users/{uid}: credentials, unmapped profile values, or the kind of the assignment."""
        profile = body.get("profile") or {}
        _require_known(profile)
        now = render.app_user_profile(app_user)
        if self._org.has_feature("PUSH_PROFILE_UPDATES"):
            for name, value in profile.items():
                if name in schema.MAPPED and value != now.get(name):
                    raise ApiError("E0000075", name)
        name = (body.get("credentials") or {}).get("userName")
        changed = any(value != now.get(key) for key, value in profile.items())
        if changed:
            app_user.own = {**(app_user.own or {}), **profile}
        if name and name != app_user.user_name:
            app_user.user_name, app_user.own_name, changed = name, True, True
            self._org.log.add("application.user_membership.change_username", app_user=app_user)
        if body.get("scope") in ("USER", "GROUP"):
            app_user.scope = body["scope"]
        if changed:
            self._changed(app_user, push=True)
        app_user.rendered = None

    def unassign(self, app_user: OrgAppUser) -> None:
        """DELETE /apps/{id}/users/{uid}: refused while a group grants the app."""
        if self._granting(app_user.user):
            raise ApiError(
                "E0000046",
                causes=[
                    "The application cannot be unassigned from the user while their group memberships grant them access."
                ],
            )
        self.remove(app_user)

    def remove(self, app_user: OrgAppUser) -> None:
        """The app user goes, and with it the app's profile; what was provisioned is deactivated."""
        del self.app_users[app_user.user.id]
        self.rows[app_user.row] = None
        self._org.log.add("application.user_membership.remove", app_user=app_user)
        self._provisioning.removed(app_user)

    def follow(self, user: User, before: dict[str, Any], *, push: bool) -> None:
        """After a change of the Okta user: the app user's name and profile follow the mapping."""
        app_user = self.app_users.get(user.id)
        if app_user is None:
            return
        app_user.rendered = None
        name = app_user.user_name if app_user.own_name else self._user_name(user)
        if name == app_user.user_name and schema.app_profile(user.profile) == before:
            return
        if name != app_user.user_name:
            app_user.user_name = name
            self._org.log.add("application.user_membership.change_username", app_user=app_user)
        self._changed(app_user, push=push)

    def provision_waiting(self, user: User) -> None:
        """An assignment made while the user was STAGED is provisioned at activation."""
        app_user = self.app_users.get(user.id)
        if app_user is not None and app_user.status == "STAGED" and app_user.external_id is None:
            self._provision(app_user)

    def _changed(self, app_user: OrgAppUser, *, push: bool) -> None:
        app_user.last_updated = ids.now()
        app_user.rendered = None
        self._org.log.add("application.user_membership.update", app_user=app_user)
        if push:
            self._provisioning.changed(app_user)

    def _provision(self, app_user: OrgAppUser) -> None:
        """A new assignment: pushed when Okta may, else it waits (STAGED) or is a sign-on assignment (ACTIVE)."""
        if not self._org.has_feature("PUSH_NEW_USERS"):
            return
        app_user.status, app_user.sync_state = "STAGED", "OUT_OF_SYNC"
        app_user.rendered = None
        if app_user.user.status in LIVE and self._org.app_active:
            self._provisioning.assigned(app_user)

    def _user_name(self, user: User) -> str:
        template = ((self._org.app.get("credentials") or {}).get("userNameTemplate") or {}).get("template")
        return schema.user_name(str(template or "${source.login}"), user.profile)

    # -- groups ----------------------------------------------------------------------------------------------------

    def group(self, group_id: str) -> OrgGroup:
        return found(self.groups, group_id, "UserGroup")

    def create_group(self, name: str, description: str | None, *, kind: str = "OKTA_GROUP") -> OrgGroup:
        if not name:
            raise invalid("name", "name: The field cannot be left blank")
        if any(group.name == name for group in self.groups.values()):
            raise invalid("name", "name: An object with this field already exists in the current organization")
        group = OrgGroup(id=self._org.ids.new("00g"), name=name, description=description, type=kind)
        self.groups[group.id] = group
        return group

    def delete_group(self, group: OrgGroup) -> None:
        if group.everyone:
            raise ApiError("E0000060")
        self.unassign_group(group.id, missing_ok=True)
        del self.groups[group.id]

    def members(self, group: OrgGroup) -> list[User]:
        users = self._org.users
        if group.everyone:
            return list(users.values())
        return [user for user in (users.get(okta_id) for okta_id in sorted(group.members)) if user is not None]

    def groups_of(self, user: User) -> list[OrgGroup]:
        return [group for group in self.groups.values() if group.everyone or user.id in group.members]

    def set_member(self, group: OrgGroup, user: User, *, member: bool) -> None:
        """Who joins gets what the group grants, who leaves loses it."""
        if group.everyone:
            raise ApiError("E0000060")
        if (user.id in group.members) is member:
            return
        group.members ^= {user.id}
        group.last_membership_updated = ids.now()
        verb, target = "add" if member else "remove", (group_target(group.id, group.name),)
        self._org.log.add(f"group.user_membership.{verb}", user=user, extra=target)
        if not member:
            self._revoke_by_groups(user)
        elif user.status != "DEPROVISIONED":
            self.grant_by_groups(user)

    def forget(self, user: User) -> None:
        """A deleted user is in no group any more."""
        for group in self.groups.values():
            group.members.discard(user.id)

    def assign_group(self, group: OrgGroup, body: dict[str, Any]) -> dict[str, Any]:
        """PUT /apps/{id}/groups/{gid}: every member who hasn't the app gets it."""
        self.app_groups[group.id] = {
            "lastUpdated": ids.now(),
            "priority": body.get("priority", len(self.app_groups)),
            "profile": body.get("profile") or {},
        }
        target = (group_target(group.id, group.name),)
        self._org.log.add("group.application_assignment.add", app=True, extra=target)
        for user in self.members(group):
            if user.status != "DEPROVISIONED":
                self.grant_by_groups(user)
        return self.app_groups[group.id]

    def unassign_group(self, group_id: str, *, missing_ok: bool = False) -> None:
        if self.app_groups.pop(group_id, None) is None:
            if missing_ok:
                return
            raise not_found(group_id, "AppGroupAssignment")
        group = self.group(group_id)
        target = (group_target(group.id, group.name),)
        self._org.log.add("group.application_assignment.remove", app=True, extra=target)
        for user in self.members(group):
            self._revoke_by_groups(user)

    def grant_by_groups(self, user: User) -> None:
        if user.id not in self.app_users and self._granting(user) and self._org.app_active:
            self.assign(user, {}, scope="GROUP")

    def _revoke_by_groups(self, user: User) -> None:
        app_user = self.app_users.get(user.id)
        if app_user is not None and app_user.scope == "GROUP" and not self._granting(user):
            self.remove(app_user)

    def _granting(self, user: User) -> bool:
        groups = self.groups
        return any(groups[gid].everyone or user.id in groups[gid].members for gid in self.app_groups)


def _require_known(profile: dict[str, Any]) -> None:
    unknown = sorted(set(profile) - set(schema.BY_NAME))
    if unknown:
        raise invalid("profile", *(f"Property name '{name}' is not defined in profile" for name in unknown))
