"""What Okta is told of a person whom the agent creates there. Pure.

Login, e-mail and the two names that Okta requires, and the free texts that its app profile maps, so that Okta's first push
doesn't clear them in OpsHelm. Left out: what Okta checks for a form of its own (locale, preferredLanguage, timezone,
profileUrl, country) and what doesn't belong to a person alone (manager).
"""

from collections.abc import Mapping

from agent.model.mapping import DEFAULT
from agent.model.paths import parse
from agent.model.users import DirectoryUser, Profile

#: App profile attribute → attribute of the Okta user, as Okta's own mapping has it.
OKTA_NAMES = {
    **{
        name: name
        for name in (
            "middleName",
            "honorificPrefix",
            "honorificSuffix",
            "displayName",
            "nickName",
            "title",
            "userType",
            "primaryPhone",
            "employeeNumber",
            "costCenter",
            "organization",
            "division",
            "department",
            "streetAddress",
        )
    },
    "locality": "city",
    "region": "state",
    "postalCode": "zipCode",
}


def okta_profile(account: DirectoryUser, overrides: Mapping[str, str] | None = None) -> dict[str, str]:
    """``overrides`` is the setting ``mapping``: what isn't mapped isn't sent."""
    first, last = names(account)
    found = {
        "login": account.user_name,
        "email": account.profile.primary_email or account.user_name,
        "firstName": first,
        "lastName": last,
    }
    mapping = {**DEFAULT, **(overrides or {})}
    for attribute, okta_name in OKTA_NAMES.items():
        path = mapping.get(attribute)
        value = parse(path).get(account.profile) if path else None
        if value:
            found[okta_name] = value
    return found


def names(account: DirectoryUser) -> tuple[str, str]:
    """First and last name; Okta requires both. What is missing is made of the display name, else of the userName."""
    given, family = _given(account.profile)
    if given and family:
        return given, family
    words = (account.profile.display_name or "").split()
    if len(words) < 2:
        words = account.user_name.partition("@")[0].replace("_", ".").split(".")
    words = [word for word in words if word] or [account.user_name]
    return given or words[0], family or " ".join(words[1:]) or words[0]


def _given(profile: Profile) -> tuple[str, str]:
    name = profile.name
    return ("", "") if name is None else ((name.given_name or "").strip(), (name.family_name or "").strip())
