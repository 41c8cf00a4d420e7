"""The directory user: one OpsHelm account as the agent knows it, and what SCIM and Okta say of each attribute of its profile.
No wire format rules (agent.scim), no storage.

Listings make these by the hundred thousand. They hold nothing that could hold them, so no cycle is possible, and the garbage
collector is kept from walking over them (``gc=False``).

What one account may hold at most is told here too, so that one odd value costs its own person alone; the settings give the
numbers. Pushes, sweeps, imports and operators meet these at the guarded write. What an account holds already is never asked about:
whoever is too large can still be deactivated.
"""

import unicodedata
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from msgspec import Struct, field

from agent.model.attributes import Attribute, attributes_of

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
    RELEASED: the account of a leaver whose id and userName are somebody else's now; out of everybody's reach.
    """

    OKTA = "okta"
    LINKED = "linked"
    LOCAL = "local"
    RELEASED = "released"


class Name(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """RFC 7643 §4.1.1 name."""

    formatted: Annotated[str | None, Attribute("The whole name as shown to people.", okta="")] = None
    family_name: Annotated[str | None, Attribute("Family name.")] = None
    given_name: Annotated[str | None, Attribute("Given name.")] = None
    middle_name: Annotated[str | None, Attribute("Middle names.")] = None
    honorific_prefix: Annotated[str | None, Attribute("Such as Dr.")] = None
    honorific_suffix: Annotated[str | None, Attribute("Such as III.")] = None


_Type = Annotated[str | None, Attribute("What the value is for.", okta="")]
_Primary = Annotated[bool | None, Attribute("Whether this is the preferred value; one at most.", okta="")]


class MultiValue(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """One value of emails, phoneNumbers or ims (RFC 7643 §2.4)."""

    value: Annotated[str | None, Attribute("The value itself.")] = None
    display: Annotated[str | None, Attribute("The value as shown to people.", okta="")] = None
    type: _Type = None
    primary: _Primary = None


class Photo(MultiValue, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """One of photos: the address of a picture."""

    value: Annotated[str | None, Attribute("The value itself.", references=("external",))] = None


class Address(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """RFC 7643 §4.1.2 addresses."""

    formatted: Annotated[str | None, Attribute("The whole address as shown to people.", okta="")] = None
    street_address: Annotated[str | None, Attribute("Street and number.")] = None
    locality: Annotated[str | None, Attribute("City.")] = None
    region: Annotated[str | None, Attribute("State or region.")] = None
    postal_code: Annotated[str | None, Attribute("Postal code.")] = None
    country: Annotated[str | None, Attribute("Country, ISO 3166-1 alpha-2.")] = None
    type: _Type = None
    primary: _Primary = None


class Manager(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """Kept as sent; it need not be somebody in the directory."""

    value: Annotated[str | None, Attribute("Id of the manager.", case_exact=True, okta="managerValue")] = None
    ref: Annotated[str | None, Attribute("Address of the manager.", references=("User",), okta="")] = field(
        default=None, name="$ref"
    )
    display_name: Annotated[str | None, Attribute("Name of the manager.", okta="managerDisplayName")] = None


class Enterprise(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """RFC 7643 §4.3 enterprise extension."""

    employee_number: Annotated[str | None, Attribute("Employee number.")] = None
    cost_center: Annotated[str | None, Attribute("Cost centre.")] = None
    organization: Annotated[str | None, Attribute("Organisation.")] = None
    division: Annotated[str | None, Attribute("Division.")] = None
    department: Annotated[str | None, Attribute("Department.")] = None
    manager: Annotated[Manager | None, Attribute("The person's manager.")] = None


_PLACES = ("work", "home", "other")
_PHONES = ("work", "home", "mobile", "fax", "pager", "other")


class Profile(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """What SCIM keeps of a person besides id, externalId, userName, active and meta.

    Encoded with msgspec it is the stored form and, put between those others, the wire form. Tuples, so that a
    profile is a value. There is no password, role, entitlement or group here: SCIM can't carry what isn't kept.
    """

    name: Annotated[Name | None, Attribute("The parts of the person's name.")] = None
    display_name: Annotated[str | None, Attribute("The name as shown to people.")] = None
    nick_name: Annotated[str | None, Attribute("What the person is called.")] = None
    profile_url: Annotated[str | None, Attribute("A page about the person.", references=("external",))] = None
    title: Annotated[str | None, Attribute("Job title.")] = None
    user_type: Annotated[str | None, Attribute("Relation to the organisation; a description, never a role.")] = None
    preferred_language: Annotated[str | None, Attribute("Preferred language, as in Accept-Language.")] = None
    locale: Annotated[str | None, Attribute("Locale for numbers, dates and currency.")] = None
    timezone: Annotated[str | None, Attribute("Time zone, IANA name.")] = None
    emails: Annotated[tuple[MultiValue, ...], Attribute("E-mail addresses.", canonical=_PLACES, okta="")] = ()
    phone_numbers: Annotated[
        tuple[MultiValue, ...], Attribute("Phone numbers.", canonical=_PHONES, okta="primaryPhone")
    ] = ()
    ims: Annotated[tuple[MultiValue, ...], Attribute("Instant messaging addresses.", okta="")] = ()
    photos: Annotated[
        tuple[Photo, ...], Attribute("Pictures of the person.", canonical=("photo", "thumbnail"), okta="")
    ] = ()
    addresses: Annotated[tuple[Address, ...], Attribute("Postal addresses.", canonical=_PLACES)] = ()
    enterprise: Annotated[Enterprise | None, Attribute("Enterprise user.")] = field(default=None, name=ENTERPRISE_URN)

    @property
    def primary_email(self) -> str | None:
        """The e-mail marked primary, else the first; None without any."""
        for email in self.emails:
            if email.primary:
                return email.value
        return self.emails[0].value if self.emails else None


#: What a profile may hold, in its order.
PROFILE = attributes_of(Profile)


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

    def same_name(self, other: "DirectoryUser") -> bool:
        """Whether their userNames are one as they are compared. Nearly always they are one as they are written."""
        return self.user_name == other.user_name or self.user_name_key == other.user_name_key

    def same_email(self, other: "DirectoryUser") -> bool:
        """The same of their primary e-mails."""
        return self.profile.emails == other.profile.emails or self.email_key == other.email_key

    @property
    def managed(self) -> bool:
        """Created by or linked to Okta: the reconciler may change it."""
        return is_managed(self.origin, self.okta_id)

    @property
    def state(self) -> str:
        return account_state(active=self.active, suspended=self.suspended, hidden=self.hidden)


class ShownUser(Struct, frozen=True, gc=False):
    """What SCIM shows of an account, with the profile as it is stored: for an answer none is decoded."""

    id: str
    user_name: str
    #: JSON of a Profile.
    profile: bytes
    active: bool
    created: datetime
    updated: datetime
    okta_id: str | None
    version: int

    @classmethod
    def of(cls, user: DirectoryUser) -> "ShownUser":
        return cls(
            user.id,
            user.user_name,
            _encode(user.profile),
            user.active,
            user.created,
            user.updated,
            user.okta_id,
            user.version,
        )


# A name of its own each: the class looks a member up at every use.
_OKTA, _LINKED = Origin.OKTA, Origin.LINKED


def account_state(*, active: bool, suspended: bool, hidden: bool) -> str:
    """In one word, for people."""
    return "removed" if hidden else "active" if active else "suspended" if suspended else "inactive"


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


#: Longer ones are no id of any identity provider, and the column ends there.
MAX_EXTERNAL_ID = 255
#: Nobody may allow more than these in one list: a body of a megabyte holds ten times as many.
MAX_VALUES = 1000
#: Names that are addresses of something else in Okta's API, whatever they are escaped to.
_NO_IDS = frozenset({"", ".", "..", "me"})
#: PostgreSQL keeps no key of more than 2,704 bytes in an index; NFKC makes up to 33 bytes of one character.
MAX_KEY = 1024
#: The attributes of a profile that hold several values.
LISTS = ("emails", "phone_numbers", "ims", "photos", "addresses")
_lists = attrgetter(*LISTS)
_encode = msgspec.json.Encoder().encode


class Bounds(Struct, frozen=True, kw_only=True):
    """receiver.max_values and receiver.max_text."""

    values: int
    text: int


def external_id_problem(okta_id: str) -> str | None:
    if len(okta_id) > MAX_EXTERNAL_ID or not okta_id.isprintable():
        return f"externalId must have at most {MAX_EXTERNAL_ID} characters, all of them visible."
    return "externalId is no id of a person." if okta_id in _NO_IDS else None


def profile_problem(profile: Profile, bounds: Bounds) -> str | None:
    """The first attribute that is too large, and by how much; None where all of them fit."""
    counts = [*map(len, _lists(profile))]
    if max(counts) > bounds.values:
        name, count = next(found for found in zip(LISTS, counts, strict=True) if found[1] > bounds.values)
        words = msgspec.structs.fields(Profile)[Profile.__struct_fields__.index(name)].encode_name
        return f"{words} has {count} values; the limit is {bounds.values} (receiver.max_values)."
    size = len(_encode(profile))
    # Nothing in it can be longer than all of it.
    if size > bounds.text:
        for place, text in _texts(msgspec.to_builtins(profile), ()):
            if len(text) > bounds.text:
                return f"{place} has {len(text)} characters; the limit is {bounds.text} (receiver.max_text)."
    if size > MAX_KEY // 33:
        for email in profile.emails:
            key = len(identity_key(email.value or "").encode())
            if key > MAX_KEY:
                return f"emails.value has {key} bytes, as it is compared; the limit is {MAX_KEY}."
    return None


def _texts(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield ".".join(place), value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, (*place, key))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item, place)
