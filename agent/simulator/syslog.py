"""The System Log: events in the order in which they were stored. Does not deliver to hooks; it tells a listener."""

import random
from collections.abc import Callable
from typing import Any
from uuid import UUID

from agent.simulator import ids
from agent.simulator.entities import OrgAppUser, User

Event = dict[str, Any]
Listener = Callable[[list[Event]], None]
_EMPTY_CLIENT = dict.fromkeys(("userAgent", "zone", "device", "id", "ipAddress", "geographicalContext"))
_NETWORK = dict.fromkeys(("asNumber", "asOrg", "isp", "domain", "isProxy"))
#: Event types that an event hook may not subscribe to (Okta's catalogue).
NOT_FOR_HOOKS = frozenset(
    f"application.user_membership.{verb}" for verb in ("change_username", "provision", "deprovision", "revoke")
)


class EventLog:
    """Position in ``events`` is the order of persistence; ``published`` may differ from it (a storm shuffles)."""

    def __init__(self, draw: "random.Random", app_id: str, app_label: Callable[[], str], actor_id: str) -> None:
        self.events: list[Event] = []
        self.listeners: list[Listener] = []
        self._draw = draw
        self._app_id = app_id
        self._app_label = app_label
        self._actor_id = actor_id

    def make(
        self,
        event_type: str,
        *,
        user: User | None = None,
        app_user: OrgAppUser | None = None,
        app: bool = False,
        extra: tuple[dict[str, Any], ...] = (),
        failure: str | None = None,
    ) -> Event:
        """An event in Okta's shape, not stored. Targets: the app user, the app, the user, then ``extra``."""
        targets: list[dict[str, Any]] = []
        if app_user is not None:
            user = app_user.user
            targets.append(_target(f"0ua{user.id[3:]}", "AppUser", app_user.user_name, _name(user)))
            app = True
        if app:
            label = self._app_label()
            targets.append(_target(self._app_id, "AppInstance", label, label))
        if user is not None:
            targets.append(_target(user.id, "User", str(user.profile.get("login")), _name(user)))
        return {
            "uuid": str(UUID(int=self._draw.getrandbits(128), version=4)),
            "published": ids.now(),
            "eventType": event_type,
            "version": "0",
            "severity": "INFO" if failure is None else "WARN",
            "legacyEventType": None,
            "displayMessage": event_type.replace(".", " ").replace("_", " "),
            "actor": _target(self._actor_id, "User", "admin@example.com", "Simulated Admin"),
            "client": _EMPTY_CLIENT,
            "outcome": {"result": "SUCCESS" if failure is None else "FAILURE", "reason": failure},
            "target": [*targets, *extra],
            "transaction": {"type": "JOB", "id": f"tra{self._draw.getrandbits(60):x}", "detail": {}},
            "debugContext": {"debugData": {}},
            "authenticationContext": {"authenticationStep": 0, "externalSessionId": "sim"},
            "securityContext": _NETWORK,
            "request": {"ipChain": []},
        }

    def add(self, event_type: str, **about: Any) -> None:
        """Make, store and announce one event; the arguments are those of ``make``."""
        self.store([self.make(event_type, **about)])

    def store(self, events: list[Event]) -> None:
        self.events.extend(events)
        for listener in self.listeners:
            listener(events)


def group_target(group_id: str, name: str) -> dict[str, Any]:
    return _target(group_id, "UserGroup", "unknown", name)


def _target(target_id: str, kind: str, alternate: str, display: str) -> dict[str, Any]:
    return {"id": target_id, "type": kind, "alternateId": alternate, "displayName": display, "detailEntry": None}


def _name(user: User) -> str:
    return f"{user.profile.get('firstName', '')} {user.profile.get('lastName', '')}".strip()
