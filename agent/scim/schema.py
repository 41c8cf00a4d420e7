"""What a user has on the wire, and what a name or path in a body, filter or PATCH means. The table itself is read off the
structs of agent.model.users.

What is not here does not exist for SCIM: no password, role, entitlement, group or certificate.
"""

from collections.abc import Iterable

from msgspec import Struct

from agent.model.attributes import Attribute
from agent.model.users import ENTERPRISE_URN, PROFILE

CORE_URN = "urn:ietf:params:scim:schemas:core:2.0:User"

EXTERNAL_ID = Attribute(
    name="externalId",
    case_exact=True,
    mutability="immutable",
    description="The Okta user id; set once, it binds the account to that person.",
)
_USER_NAME = Attribute(
    name="userName",
    required=True,
    uniqueness="server",
    description="The sign-in name: an e-mail address, equal to the primary e-mail; compared without regard to case.",
)
_ACTIVE = Attribute(
    name="active", kind="boolean", required=True, description="Whether the person may use OpsHelm; true if not said."
)

*_CORE, ENTERPRISE = PROFILE
#: The core schema as /Schemas shows it, in this order.
CORE: tuple[Attribute, ...] = (
    EXTERNAL_ID,
    _USER_NAME,
    *(attribute for attribute in _CORE if not attribute.multi),
    _ACTIVE,
    *(attribute for attribute in _CORE if attribute.multi),
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


class Names(dict[str, Attribute]):
    """By exact name, for speed, and by lower-case name, since SCIM's names have no case."""

    def __init__(self, attributes: Iterable[Attribute]) -> None:
        super().__init__((name, each) for each in attributes for name in (each.name, each.name.lower()))
        #: Exact names of those that have one text.
        self.texts = frozenset(each.name for each in self.values() if each.kind == "string" and not each.multi)


WRITABLE = Names((*CORE, ENTERPRISE))
READABLE = Names((*CORE, ENTERPRISE, ID, META))
SUBS = {
    attribute.name: Names(attribute.subs) for attribute in (*CORE, ENTERPRISE, META, *ENTERPRISE.subs) if attribute.subs
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
