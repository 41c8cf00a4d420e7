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


def _core(name: str, title: str, source: str | None = None, *, required: bool = False) -> AppSchemaAttribute:
    return AppSchemaAttribute(
        name=name, title=title, source=source or name, external_name=name, path=name, required=required
    )


def _named(name: str, title: str, source: str | None = None, *, required: bool = False) -> AppSchemaAttribute:
    path = f"name.{name}"
    return AppSchemaAttribute(
        name=name, title=title, source=source or name, external_name=path, path=path, required=required
    )


def _enterprise(name: str, title: str, source: str | None = None, path: str | None = None) -> AppSchemaAttribute:
    path = path or name
    return AppSchemaAttribute(
        name=name,
        title=title,
        source=source or name,
        external_name=path,
        namespace=ENTERPRISE,
        path=f"{ENTERPRISE}:{path}",
    )


def _primary(name: str, title: str, many: str, sub: str, source: str) -> AppSchemaAttribute:
    external, path = f"{many}.^[primary==true].{sub}", f"{many}[primary eq true].{sub}"
    return AppSchemaAttribute(name=name, title=title, source=source, external_name=external, path=path)


def _kind(name: str, title: str, many: str) -> AppSchemaAttribute:
    external = f"{many}.^[primary==true].type"
    return AppSchemaAttribute(name=name, title=title, source=None, external_name=external, default="work")


ATTRIBUTES: tuple[AppSchemaAttribute, ...] = (
    _named("givenName", "Given name", "firstName", required=True),
    _named("familyName", "Family name", "lastName", required=True),
    _named("middleName", "Middle name"),
    _named("honorificPrefix", "Honorific prefix"),
    _named("honorificSuffix", "Honorific suffix"),
    _primary("email", "Email", "emails", "value", "email"),
    _kind("emailType", "Email type", "emails"),
    _core("displayName", "Display name"),
    _core("nickName", "Nickname"),
    _core("profileUrl", "Profile Url"),
    _core("title", "Title"),
    _core("userType", "User type"),
    _primary("primaryPhone", "Primary phone", "phoneNumbers", "value", "primaryPhone"),
    _kind("primaryPhoneType", "Primary phone type", "phoneNumbers"),
    _core("locale", "Locale"),
    _core("preferredLanguage", "Preferred language"),
    _core("timezone", "Time zone"),
    _enterprise("employeeNumber", "Employee number"),
    _enterprise("costCenter", "Cost center"),
    _enterprise("organization", "Organization"),
    _enterprise("division", "Division"),
    _enterprise("department", "Department"),
    _enterprise("managerValue", "Manager value", "managerId", "manager.value"),
    _enterprise("managerDisplayName", "Manager display name", "manager", "manager.displayName"),
    _primary("streetAddress", "Street address", "addresses", "streetAddress", "streetAddress"),
    _primary("locality", "Locality", "addresses", "locality", "city"),
    _primary("region", "Region", "addresses", "region", "state"),
    _primary("postalCode", "Postal code", "addresses", "postalCode", "zipCode"),
    _primary("country", "Country", "addresses", "country", "countryCode"),
    _kind("addressType", "Address type", "addresses"),
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
