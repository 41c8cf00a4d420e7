"""Whose primary e-mail differs from the username? Everybody assigned is read from Okta; nobody is changed."""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import UNSET, Struct

from agent.model.check import Check, ok, warn
from agent.model.errors import UNDECODABLE
from agent.model.okta import AppUser
from agent.model.structs import decoder
from agent.model.users import identity_key
from agent.okta_org.org import OktaOrg

#: So many are read, which takes 40 calls; the findings of a sweep name everybody.
MOST_PEOPLE = 20_000
#: Named in the line itself; all of them are in the JSON and the CSV.
_SHOWN = 5


class _Profile(Struct):
    email: Any = UNSET


_profile = decoder(_Profile | None)


class Exceptional(Struct, frozen=True, kw_only=True):
    login: str
    email: str
    okta_id: str


class UsersRead(Struct, frozen=True, kw_only=True):
    people: int
    #: Everybody was read.
    whole: bool
    exceptions: list[Exceptional]


def read(okta: OktaOrg, page_size: int) -> UsersRead:
    found: list[Exceptional] = []
    people = 0
    for page in okta.app_user_pages(limit=page_size):
        people += len(page)
        found += _differing(page)
        if people >= MOST_PEOPLE:
            return UsersRead(people=people, whole=False, exceptions=found)
    return UsersRead(people=people, whole=True, exceptions=found)


def check(read: UsersRead) -> Check:
    found = read.exceptions
    rest = (
        ""
        if read.whole
        else f" of the first {read.people} people; for the others: opshelm-agent findings (email_differs)"
    )
    if not found:
        return ok("e-mails", f"{read.people} people's primary e-mail is their username{rest}")
    shown = ", ".join(f"{one.login} ({one.email or 'none'})" for one in found[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return warn(
        "e-mails",
        f"{len(found)} people's primary e-mail is not their username: {shown}{more}{rest}",
        "correct them in Okta; the list: opshelm-agent check --csv",
    )


def _differing(people: Iterable[AppUser]) -> Iterator[Exceptional]:
    for person in people:
        try:
            profile = _profile(person.profile)
        except UNDECODABLE:
            continue  # a sweep reports whoever can't be read
        if profile is None or profile.email is UNSET:
            continue  # the app's profile has no e-mail, so OpsHelm's follows the username
        email = profile.email if isinstance(profile.email, str) else ""
        if identity_key(email) != identity_key(person.user_name):
            yield Exceptional(login=person.user_name, email=email, okta_id=person.id)
