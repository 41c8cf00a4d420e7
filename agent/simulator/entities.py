"""The things that a simulated org holds. Slots and shared strings, for there may be a million of each."""

from dataclasses import dataclass, field
from typing import Any

from agent.simulator import ids

#: Okta user statuses in which Okta provisions, and in which a person may sign in sooner or later.
LIVE = frozenset({"ACTIVE", "PROVISIONED", "PASSWORD_EXPIRED", "RECOVERY", "LOCKED_OUT"})


@dataclass(slots=True, kw_only=True, eq=False)
class _Dated:
    """What is made now, unless it is said when."""

    created: str = field(default_factory=ids.now)
    last_updated: str = ""

    def __post_init__(self) -> None:
        self.last_updated = self.last_updated or self.created


@dataclass(slots=True, kw_only=True, eq=False)
class User(_Dated):
    """The central profile. ``profile`` leaves out what has no value."""

    id: str
    status: str
    profile: dict[str, Any]
    status_changed: str | None = None
    activated: str | None = None
    password_changed: str | None = None
    has_password: bool = False
    #: Raw fields set through the control API, shown as they are.
    raw: dict[str, Any] | None = None
    #: Place in the org's listing; also the paging cursor.
    row: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class OrgAppUser(_Dated):
    """The per-app profile of one assigned user. Its profile is computed from the user's, but for ``own``."""

    user: User
    scope: str
    status: str
    sync_state: str
    user_name: str
    status_changed: str = ""
    last_sync: str | None = None
    external_id: str | None = None
    #: credentials.userName was given at the assignment: it doesn't follow the app's username format.
    own_name: bool = False
    #: Profile values that win over the mapping.
    own: dict[str, Any] | None = None
    #: Profile keys left out altogether (control API).
    without: frozenset[str] = frozenset()
    raw: dict[str, Any] | None = None
    row: int = 0
    #: The rendered JSON; None after a change.
    rendered: bytes | None = None

    def __post_init__(self) -> None:
        _Dated.__post_init__(self)
        self.status_changed = self.status_changed or self.created


@dataclass(slots=True, kw_only=True, eq=False)
class OrgGroup(_Dated):
    id: str
    name: str
    description: str | None
    type: str
    last_membership_updated: str = ""
    members: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        _Dated.__post_init__(self)
        self.last_membership_updated = self.created

    @property
    def everyone(self) -> bool:
        """The built-in group whose members are all users."""
        return self.type == "BUILT_IN"


@dataclass(slots=True, kw_only=True, eq=False)
class GroupRule(_Dated):
    id: str
    name: str
    expression: str
    group_ids: list[str]
    status: str = "INACTIVE"
    #: Whom it has put in, by group.
    placed: dict[str, set[str]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True, eq=False)
class Hook(_Dated):
    id: str
    name: str
    description: str | None
    items: list[str]
    uri: str
    headers: list[dict[str, str]]
    auth_key: str
    #: Sent verbatim with each delivery, shown nowhere.
    auth_value: str = field(repr=False)
    status: str = "ACTIVE"
    verification: str = "UNVERIFIED"


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """A push that failed for good and waits for an administrator's Retry."""

    id: str
    okta_id: str
    login: str
    kind: str
    error: str
    attempts: int
    created: str
    external_id: str | None = None
    user_name: str = ""
