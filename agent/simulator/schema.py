"""The app's profile: which attributes it has, where each comes from in the Okta user, where each goes in SCIM.

The attributes, their ``externalName`` and their ``externalNamespace`` are those of Okta's own SCIM 2.0 app profile.
Holds tables and pure functions only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CORE = "urn:ietf:params:scim:schemas:core:2.0:User"
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"


@dataclass(frozen=True, kw_only=True, slots=True)
class AppSchemaAttribute:
    """One attribute of the app user's profile."""

    name: str
    title: str
    #: The Okta user's attribute that is mapped to it; None: set on the app user itself, never pushed by a change.
    source: str | None
    #: Okta's own notation for the place in a SCIM body.
    external_name: str
    namespace: str = CORE
    #: The same place as an RFC 7644 path, how ``GET /simulator/state`` names it; None: no value of its own.
    path: str | None = None
    default: str | None = None
    required: bool = False


def _attribute(name: str, title: str, source: str = "", place: str = "", namespace: str = CORE) -> AppSchemaAttribute:
    """``source`` and ``place`` are the name where they aren't said. The type of a value comes from nobody's profile."""
    place = place or name
    typed = place.endswith(".type")
    path = place.replace(".^[primary==true]", "[primary eq true]")
    return AppSchemaAttribute(
        name=name,
        title=title,
        source=None if typed else source or name,
        external_name=place,
        namespace=namespace,
        path=None if typed else path if namespace == CORE else f"{namespace}:{path}",
        default="work" if typed else None,
        required=name in ("givenName", "familyName"),
    )


_EMAIL, _PHONE, _PLACE = (f"{many}.^[primary==true]" for many in ("emails", "phoneNumbers", "addresses"))

ATTRIBUTES: tuple[AppSchemaAttribute, ...] = (
    _attribute("givenName", "Given name", "firstName", "name.givenName"),
    _attribute("familyName", "Family name", "lastName", "name.familyName"),
    _attribute("middleName", "Middle name", place="name.middleName"),
    _attribute("honorificPrefix", "Honorific prefix", place="name.honorificPrefix"),
    _attribute("honorificSuffix", "Honorific suffix", place="name.honorificSuffix"),
    _attribute("email", "Email", place=f"{_EMAIL}.value"),
    _attribute("emailType", "Email type", place=f"{_EMAIL}.type"),
    _attribute("displayName", "Display name"),
    _attribute("nickName", "Nickname"),
    _attribute("profileUrl", "Profile Url"),
    _attribute("title", "Title"),
    _attribute("userType", "User type"),
    _attribute("primaryPhone", "Primary phone", place=f"{_PHONE}.value"),
    _attribute("primaryPhoneType", "Primary phone type", place=f"{_PHONE}.type"),
    _attribute("locale", "Locale"),
    _attribute("preferredLanguage", "Preferred language"),
    _attribute("timezone", "Time zone"),
    _attribute("employeeNumber", "Employee number", namespace=ENTERPRISE),
    _attribute("costCenter", "Cost center", namespace=ENTERPRISE),
    _attribute("organization", "Organization", namespace=ENTERPRISE),
    _attribute("division", "Division", namespace=ENTERPRISE),
    _attribute("department", "Department", namespace=ENTERPRISE),
    _attribute("managerValue", "Manager value", "managerId", "manager.value", ENTERPRISE),
    _attribute("managerDisplayName", "Manager display name", "manager", "manager.displayName", ENTERPRISE),
    _attribute("streetAddress", "Street address", place=f"{_PLACE}.streetAddress"),
    _attribute("locality", "Locality", "city", f"{_PLACE}.locality"),
    _attribute("region", "Region", "state", f"{_PLACE}.region"),
    _attribute("postalCode", "Postal code", "zipCode", f"{_PLACE}.postalCode"),
    _attribute("country", "Country", "countryCode", f"{_PLACE}.country"),
    _attribute("addressType", "Address type", place=f"{_PLACE}.type"),
)
BY_NAME = {attribute.name: attribute for attribute in ATTRIBUTES}
MAPPED = frozenset(attribute.name for attribute in ATTRIBUTES if attribute.source)

#: Every attribute that Okta's user profile has from the start; others are "not defined in profile".
_USER_ATTRIBUTES = (
    "login email secondEmail firstName lastName middleName honorificPrefix honorificSuffix title displayName nickName "
    "profileUrl primaryPhone mobilePhone streetAddress city state zipCode countryCode postalAddress preferredLanguage "
    "locale timezone userType employeeNumber costCenter organization division department managerId manager"
)
USER_ATTRIBUTES = frozenset(_USER_ATTRIBUTES.split())

_SOURCES = tuple((attribute.name, attribute.source, attribute.default) for attribute in ATTRIBUTES)


def app_profile(user_profile: Mapping[str, Any]) -> dict[str, Any]:
    """The app user's profile that the mapping makes of an Okta user's; attributes without a value are null."""
    value = user_profile.get
    return {name: value(source) if source else default for name, source, default in _SOURCES}


def user_name(template: str, user_profile: Mapping[str, Any]) -> str:
    """What the app's username format makes of a user: Okta's built-in templates; an unknown one is the login."""
    login, email = str(user_profile.get("login") or ""), str(user_profile.get("email") or "")
    source = email if "source.email" in template or "user.email" in template else login
    if "toLowerCase" in template:
        source = source.lower()
    return source.partition("@")[0] if "substringBefore" in template else source
