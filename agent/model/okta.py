"""Okta's objects, as far as the agent reads them. Decoded leniently: a status unknown to us is a string like any other.

A sweep makes one or two of these structs for each person. They come out of JSON, so they can't be part of a cycle, and are
kept from the garbage collector (``gc=False``): it would walk over them at every page.

Sources: Okta's API reference for applications' users, users and applications.
"""

import re
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Raw, Struct, field

#: A moment without a time zone can't be compared with any other; whoever carries one is unreadable.
Moment = Annotated[datetime, Meta(tz=True)]

#: What tells one from another can't be empty.
Identity = Annotated[str, Meta(min_length=1)]


_USER_ID = re.compile(r"00u[0-9A-Za-z]{17}")
_GROUP_ID = re.compile(r"00g[0-9A-Za-z]{17}")

NO_PROFILE = Raw(b"null")

#: Stands where Okta's own status would, of somebody who can't be read; unknown to every rule, so the person is left alone.
UNREADABLE = "UNREADABLE"


#: To who gives anything else to be linked to.
NO_OKTA_ID = "--okta-id must be an Okta user's id such as 00u1abcd2EFGH3ijk4x7"


def is_okta_id(text: str | None) -> bool:
    """Has the shape of an Okta user id. Anything else in its place may be read as a login, and be somebody else's."""
    return bool(text and _USER_ID.fullmatch(text))


def is_group_id(text: str) -> bool:
    """Has the shape of an Okta group id; any other text is a group's name."""
    return bool(_GROUP_ID.fullmatch(text))


class Credentials(Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    user_name: str | None = None


class OktaUser(Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """The central profile. ``profile`` holds login, email, firstName, lastName and what the org added."""

    id: Identity
    status: str = ""
    transitioning_to_status: str | None = None
    created: Moment | None = None
    status_changed: Moment | None = None
    last_updated: Moment | None = None
    profile: dict[str, Any] = field(default_factory=dict)


class Embedded(Struct, frozen=True, kw_only=True, gc=False):
    user: OktaUser | None = None


class AppUser(Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """The per-app profile that Okta makes on assignment. ``id`` is the Okta user's; ``external_id`` the directory's."""

    id: Identity
    external_id: str | None = None
    status: str = ""
    sync_state: str | None = None
    scope: str | None = None
    created: Moment | None = None
    last_updated: Moment | None = None
    status_changed: Moment | None = None
    last_sync: Moment | None = None
    #: Both null for apps without provisioning.
    credentials: Credentials | None = None
    #: JSON, whose attributes the org decides on: model.mapping reads those that are mapped. It is a view of Okta's answer.
    #: In a page that was asked for with ``Mapping.profile``, it is that already where it fits.
    profile: Raw = NO_PROFILE
    embedded: Embedded | None = field(default=None, name="_embedded")

    @property
    def user_name(self) -> str:
        return (self.credentials.user_name if self.credentials else None) or ""


class Person(Struct, frozen=True, kw_only=True):
    """One Okta user and, if assigned to the app, its app user. ``okta_user`` None: its status was not read or is unknown."""

    okta_id: str
    app_user: AppUser | None = None
    okta_user: OktaUser | None = None


class UserNameTemplate(Struct, frozen=True, kw_only=True, rename="camel"):
    template: str | None = None
    type: str | None = None


class AppCredentials(Struct, frozen=True, kw_only=True, rename="camel"):
    user_name_template: UserNameTemplate | None = None


class App(Struct, frozen=True, kw_only=True, rename="camel"):
    id: Identity
    name: str | None = None
    label: str = ""
    status: str = ""
    sign_on_mode: str | None = None
    features: list[str] = field(default_factory=list)
    credentials: AppCredentials | None = None


class GroupProfile(Struct, frozen=True, kw_only=True):
    name: str = ""


class OktaGroup(Struct, frozen=True, kw_only=True):
    id: str = ""
    #: OKTA_GROUP, APP_GROUP (of a directory, or another app), BUILT_IN (Everyone and its like).
    type: str = ""
    profile: GroupProfile = GroupProfile()


class EmbeddedGroup(Struct, frozen=True, kw_only=True):
    group: OktaGroup | None = None


class AppGroup(Struct, frozen=True, kw_only=True):
    """A group that is assigned to the app; its members have the app by it."""

    id: Identity
    embedded: EmbeddedGroup | None = field(default=None, name="_embedded")

    @property
    def name(self) -> str:
        return self.embedded.group.profile.name if self.embedded and self.embedded.group else ""


class LogTarget(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str = ""
    type: str = ""
    alternate_id: str | None = None


class LogOutcome(Struct, frozen=True, kw_only=True):
    result: str | None = None
    reason: str | None = None


class LogEvent(Struct, frozen=True, kw_only=True, rename="camel"):
    """One event of the System Log; an event hook delivers the same. It only names people to look at."""

    uuid: Identity
    event_type: str = ""
    published: Moment | None = None
    outcome: LogOutcome | None = None
    target: list[LogTarget] | None = None


class HookEvents(Struct, frozen=True, kw_only=True):
    items: list[str] = field(default_factory=list)


class HookConfig(Struct, frozen=True, kw_only=True):
    uri: str = ""


class HookChannel(Struct, frozen=True, kw_only=True):
    config: HookConfig = HookConfig()


class EventHook(Struct, frozen=True, kw_only=True, rename="camel"):
    id: Identity
    name: str = ""
    status: str = ""
    verification_status: str = ""
    events: HookEvents = HookEvents()
    channel: HookChannel = HookChannel()
