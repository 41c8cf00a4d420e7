"""The directory user: one OpsHelm account as the agent knows it. No wire format rules (agent.scim), no storage.

Listings make these by the hundred thousand. They hold nothing that could hold them, so no cycle is possible, and the garbage
collector is kept from walking over them (``gc=False``).
"""

import unicodedata
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

ENTERPRISE_URN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


class Role(StrEnum):
    """OWNER changes roles in OpsHelm's dashboard; SCIM gives MEMBER only."""

    OWNER = "owner"
    MEMBER = "member"


class Origin(StrEnum):
    """How the account came to be. OKTA and LINKED accounts that have an okta_id are managed.

    OKTA without okta_id: made by a push without externalId; pushes may change it, the reconciler treats it as local.
    LINKED without okta_id: linked by a push on its id; managed, bound at the next sweep.
    LOCAL with okta_id: the externalId came from elsewhere and was never confirmed by a sweep or a push.
    """

    OKTA = "okta"
    LINKED = "linked"
    LOCAL = "local"


class Name(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """RFC 7643 §4.1.1 name."""

    formatted: str | None = None
    family_name: str | None = None
    given_name: str | None = None
    middle_name: str | None = None
    honorific_prefix: str | None = None
    honorific_suffix: str | None = None


class MultiValue(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """One value of emails, phoneNumbers, ims or photos (RFC 7643 §2.4)."""

    value: str | None = None
    display: str | None = None
    type: str | None = None
    primary: bool | None = None


class Address(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """RFC 7643 §4.1.2 addresses."""

    formatted: str | None = None
    street_address: str | None = None
    locality: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: str | None = None
    type: str | None = None
    primary: bool | None = None


class Manager(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    value: str | None = None
    ref: str | None = field(default=None, name="$ref")
    display_name: str | None = None


class Enterprise(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """RFC 7643 §4.3 enterprise extension."""

    employee_number: str | None = None
    cost_center: str | None = None
    organization: str | None = None
    division: str | None = None
    department: str | None = None
    manager: Manager | None = None


class Profile(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """What SCIM keeps of a person besides id, externalId, userName, active and meta.

    Encoded with msgspec it is the stored form and, put between those others, the wire form. Tuples, so that a
    profile is a value. There is no password, role, entitlement or group here: SCIM can't carry what isn't kept.
    """

    name: Name | None = None
    display_name: str | None = None
    nick_name: str | None = None
    profile_url: str | None = None
    title: str | None = None
    user_type: str | None = None
    preferred_language: str | None = None
    locale: str | None = None
    timezone: str | None = None
    emails: tuple[MultiValue, ...] = ()
    phone_numbers: tuple[MultiValue, ...] = ()
    ims: tuple[MultiValue, ...] = ()
    photos: tuple[MultiValue, ...] = ()
    addresses: tuple[Address, ...] = ()
    enterprise: Enterprise | None = field(default=None, name=ENTERPRISE_URN)

    @property
    def primary_email(self) -> str | None:
        """The e-mail marked primary, else the first; None without any."""
        for email in self.emails:
            if email.primary:
                return email.value
        return self.emails[0].value if self.emails else None


class DirectoryUser(Struct, frozen=True, kw_only=True, gc=False):
    """One OpsHelm account. ``version`` grows by one with every change; times are aware, in UTC."""

    id: str
    user_name: str
    profile: Profile
    active: bool
    created: datetime
    updated: datetime
    okta_id: str | None = None
    role: Role = Role.MEMBER
    origin: Origin = Origin.LOCAL
    protected: bool = False
    #: Inactive for no other reason than policy.suspended: the role is kept, and an unsuspend reactivates.
    suspended: bool = False
    #: Removed by a SCIM DELETE: inactive, not shown to SCIM, kept for operators.
    hidden: bool = False
    deactivated: datetime | None = None
    version: int = 1

    @property
    def user_name_key(self) -> str:
        return identity_key(self.user_name)

    @property
    def email_key(self) -> str:
        return identity_key(self.profile.primary_email or "")

    @property
    def managed(self) -> bool:
        """Created by or linked to Okta: the reconciler may change it."""
        return is_managed(self.origin, self.okta_id)


# A name of its own each: the class looks a member up at every use.
_OKTA, _LINKED = Origin.OKTA, Origin.LINKED


def is_managed(origin: Origin, okta_id: str | None) -> bool:
    return origin is _LINKED or (origin is _OKTA and okta_id is not None)


def identity_key(text: str) -> str:
    """The form in which userNames and e-mail addresses are compared: NFKC, casefold, trimmed."""
    if text.isascii():
        # The same, four times as fast; nearly all are.
        return text.lower().strip()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def public_view(user: DirectoryUser) -> dict[str, Any]:
    """What the journal keeps of a user before and after a change: everything that a person may need to undo it."""
    import msgspec

    return {
        "userName": user.user_name,
        "externalId": user.okta_id,
        "active": user.active,
        "role": user.role.value,
        "origin": user.origin.value,
        "protected": user.protected,
        "suspended": user.suspended,
        "hidden": user.hidden,
        **msgspec.to_builtins(user.profile),
    }
