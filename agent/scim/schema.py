"""The one table of attributes that a user has on the wire. Bodies, filters and /Schemas are all read off it.

What is not here does not exist for SCIM: no password, role, entitlement, group or certificate.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from agent.model.users import ENTERPRISE_URN

CORE_URN = "urn:ietf:params:scim:schemas:core:2.0:User"

Kind = Literal["string", "boolean", "reference", "dateTime", "complex"]
Mutability = Literal["readWrite", "readOnly", "immutable"]


class Attribute(Struct, frozen=True, kw_only=True):
    """One attribute as RFC 7643 §7 describes it."""

    name: str
    kind: Kind = "string"
    multi: bool = False
    required: bool = False
    case_exact: bool = False
    mutability: Mutability = "readWrite"
    returned: Literal["always", "default"] = "default"
    uniqueness: Literal["none", "server"] = "none"
    description: str = ""
    canonical: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    subs: tuple["Attribute", ...] = ()

    def sub(self, name: str) -> "Attribute | None":
        return next((a for a in self.subs if a.name.lower() == name.lower()), None)


def _text(name: str, description: str) -> Attribute:
    return Attribute(name=name, description=description)


def _values(name: str, description: str, types: tuple[str, ...], *, url: bool = False) -> Attribute:
    value = Attribute(
        name="value",
        kind="reference" if url else "string",
        references=("external",) if url else (),
        case_exact=url,
        description="The value itself.",
    )
    return Attribute(
        name=name,
        kind="complex",
        multi=True,
        description=description,
        subs=(value, _text("display", "The value as shown to people."), _type(types), _PRIMARY),
    )


def _type(types: tuple[str, ...]) -> Attribute:
    return Attribute(name="type", canonical=types, description="What the value is for.")


_PRIMARY = Attribute(name="primary", kind="boolean", description="Whether this is the preferred value; one at most.")
_PLACES = ("work", "home", "other")

_NAME = Attribute(
    name="name",
    kind="complex",
    description="The parts of the person's name.",
    subs=(
        _text("formatted", "The whole name as shown to people."),
        _text("familyName", "Family name."),
        _text("givenName", "Given name."),
        _text("middleName", "Middle names."),
        _text("honorificPrefix", "Such as Dr."),
        _text("honorificSuffix", "Such as III."),
    ),
)

_ADDRESSES = Attribute(
    name="addresses",
    kind="complex",
    multi=True,
    description="Postal addresses.",
    subs=(
        _text("formatted", "The whole address as shown to people."),
        _text("streetAddress", "Street and number."),
        _text("locality", "City."),
        _text("region", "State or region."),
        _text("postalCode", "Postal code."),
        _text("country", "Country, ISO 3166-1 alpha-2."),
        _type(_PLACES),
        _PRIMARY,
    ),
)

#: The core schema as /Schemas shows it, in this order.
CORE: tuple[Attribute, ...] = (
    Attribute(
        name="externalId",
        case_exact=True,
        mutability="immutable",
        description="The Okta user id; set once, it binds the account to that person.",
    ),
    Attribute(
        name="userName",
        required=True,
        uniqueness="server",
        description="The sign-in name: an e-mail address, equal to the primary e-mail; compared without regard to case.",
    ),
    _NAME,
    _text("displayName", "The name as shown to people."),
    _text("nickName", "What the person is called."),
    Attribute(
        name="profileUrl",
        kind="reference",
        case_exact=True,
        references=("external",),
        description="A page about the person.",
    ),
    _text("title", "Job title."),
    _text("userType", "Relation to the organisation; a description, never a role."),
    _text("preferredLanguage", "Preferred language, as in Accept-Language."),
    _text("locale", "Locale for numbers, dates and currency."),
    _text("timezone", "Time zone, IANA name."),
    Attribute(
        name="active",
        kind="boolean",
        required=True,
        description="Whether the person may use OpsHelm; true if not said.",
    ),
    _values("emails", "E-mail addresses.", _PLACES),
    _values("phoneNumbers", "Phone numbers.", ("work", "home", "mobile", "fax", "pager", "other")),
    _values("ims", "Instant messaging addresses.", ()),
    _values("photos", "Pictures of the person.", ("photo", "thumbnail"), url=True),
    _ADDRESSES,
)

#: The enterprise extension; manager is kept as sent, it need not be somebody in the directory.
ENTERPRISE = Attribute(
    name=ENTERPRISE_URN,
    kind="complex",
    description="Enterprise user.",
    subs=(
        _text("employeeNumber", "Employee number."),
        _text("costCenter", "Cost centre."),
        _text("organization", "Organisation."),
        _text("division", "Division."),
        _text("department", "Department."),
        Attribute(
            name="manager",
            kind="complex",
            description="The person's manager.",
            subs=(
                Attribute(name="value", case_exact=True, description="Id of the manager."),
                Attribute(
                    name="$ref",
                    kind="reference",
                    case_exact=True,
                    references=("User",),
                    description="Address of the manager.",
                ),
                _text("displayName", "Name of the manager."),
            ),
        ),
    ),
)

#: Common attributes (RFC 7643 §3.1): the server sets them, and /Schemas does not list them.
ID = Attribute(name="id", case_exact=True, mutability="readOnly", returned="always", uniqueness="server")
META = Attribute(
    name="meta",
    kind="complex",
    mutability="readOnly",
    subs=(
        Attribute(name="resourceType", case_exact=True, mutability="readOnly"),
        Attribute(name="created", kind="dateTime", mutability="readOnly"),
        Attribute(name="lastModified", kind="dateTime", mutability="readOnly"),
        Attribute(name="location", kind="reference", case_exact=True, mutability="readOnly"),
        Attribute(name="version", case_exact=True, mutability="readOnly"),
    ),
)


def _index(attributes: Iterable[Attribute]) -> MappingProxyType[str, Attribute]:
    """By exact name, for speed, and by lower-case name, since SCIM's names have no case."""
    index: dict[str, Attribute] = {}
    for attribute in attributes:
        index[attribute.name] = index[attribute.name.lower()] = attribute
    return MappingProxyType(index)


WRITABLE = _index((*CORE, ENTERPRISE))
READABLE = _index((*CORE, ENTERPRISE, ID, META))
SUBS = {
    attribute.name: _index(attribute.subs)
    for attribute in (*CORE, ENTERPRISE, META, *ENTERPRISE.subs)
    if attribute.subs
}


class Target(Struct, frozen=True):
    """An attribute that a path names: ``name.givenName`` is (name, givenName); extension attributes carry the URN."""

    attribute: Attribute
    sub: Attribute | None = None
    extension: bool = False

    @property
    def leaf(self) -> Attribute:
        return self.sub or self.attribute

    def __str__(self) -> str:
        path = f"{self.attribute.name}.{self.sub.name}" if self.sub else self.attribute.name
        return f"{ENTERPRISE_URN}:{path}" if self.extension else path


def resolve(path: str) -> Target | None:
    """The attribute that ``[urn:]attr[.sub]`` names, whatever the case; None for one that users don't have."""
    extension = False
    lowered = path.lower()
    names = READABLE
    for urn in (CORE_URN.lower(), ENTERPRISE_URN.lower()):
        if lowered.startswith(urn + ":"):
            extension = urn == ENTERPRISE_URN.lower()
            lowered = lowered[len(urn) + 1 :]
            names = SUBS[ENTERPRISE_URN] if extension else READABLE
            break
    else:
        if lowered == ENTERPRISE_URN.lower():
            return Target(ENTERPRISE)
    head, _, tail = lowered.partition(".")
    attribute = names.get(head)
    if attribute is None or attribute is ENTERPRISE:
        return None
    if not tail:
        return Target(attribute, None, extension)
    sub = attribute.sub(tail)
    return None if sub is None else Target(attribute, sub, extension)
