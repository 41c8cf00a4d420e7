"""Accounts and Okta users for imports, by class: what OpsHelm holds, what Okta has, and what should become of them."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from agent.directory.port import Draft, WriteContext
from agent.directory.sql import SqlDirectory
from agent.model.codes import Source
from agent.model.users import DirectoryUser, Enterprise, MultiValue, Name, Profile
from agent.simulator.server import SimulatedOrg

BY_CLI = WriteContext(actor="somebody", source=Source.CLI, exempt=True)


def profile(login: str, first: str, last: str, **more: Any) -> Profile:
    return Profile(
        name=Name(given_name=first, family_name=last),
        emails=(MultiValue(value=login, type="work", primary=True),),
        enterprise=Enterprise(department="Import"),
        **more,
    )


def account(
    directory: SqlDirectory,
    login: str,
    first: str = "",
    last: str = "",
    *,
    active: bool = True,
    email: str = "",
) -> DirectoryUser:
    """A local account, as it was in OpsHelm before Okta came."""
    names = first or login.partition("@")[0].capitalize(), last or "Local"
    draft = Draft(user_name=login, profile=profile(email or login, *names), active=active)
    return directory.create(draft, BY_CLI, datetime.now(UTC)).result().user


def okta_user(
    org: SimulatedOrg, login: str, first: str = "", last: str = "", *, email: str = "", status: str = "ACTIVE"
) -> str:
    """An Okta user who hasn't the app; answers the id."""
    names = {"firstName": first or login.partition("@")[0].capitalize(), "lastName": last or "Person"}
    body = {
        "profile": {"login": login, "email": email or login, **names},
        "credentials": {"password": {"value": "s3cret-S3cret"}},
    }
    activate = "false" if status == "STAGED" else "true"
    okta_id = str(org.api("POST", f"/users?activate={activate}", body)["id"])
    if status == "SUSPENDED":
        org.api("POST", f"/users/{okta_id}/lifecycle/suspend")
    elif status == "DEPROVISIONED":
        org.api("POST", f"/users/{okta_id}/lifecycle/deactivate")
    return okta_id


def logins(people: Iterable[dict[str, Any]]) -> list[str]:
    return sorted(str(person["login"]) for person in people)
