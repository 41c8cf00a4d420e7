"""The console's Import button: read the app's accounts, match them with the org's people, confirm what was asked for.

| account                                      | result                                       |
|----------------------------------------------|----------------------------------------------|
| its id is an app user's externalId           | linked: nothing to do                        |
| inactive                                     | ignored: Okta doesn't pull it in             |
| userName is a login, or an e-mail is equal   | exact                                        |
| first and last name are equal, nothing else  | partial                                      |
| else                                         | none                                         |

A confirmed match becomes an assignment with the account's id, and its profile is pushed. The API can't do any of this.
"""

from typing import Any

from agent.simulator import ids
from agent.simulator.entities import OrgAppUser, User
from agent.simulator.errors import invalid
from agent.simulator.org import Org
from agent.simulator.scim_client import PushFailed, Throttled

_PAGE = 100
_KEYS = {"confirm", "activate", "match", "partial"}


class UnreadablePage(Exception):
    """The app's list isn't what Okta can import."""


async def run(org: Org, body: dict[str, Any]) -> dict[str, Any]:
    """``confirm``: which classes to confirm (exact, partial, none); ``activate``: new people ACTIVE, not STAGED.

    The app's import rules: ``match``, USERNAME or EMAIL (either, if it isn't said), and ``partial``, whether names count.
    """
    if set(body) - _KEYS or body.get("match") not in (None, "USERNAME", "EMAIL"):
        raise invalid("import", f"import: an object with the keys {', '.join(sorted(_KEYS))} is expected")
    confirm = set(body.get("confirm") or ())
    try:
        accounts = await _read(org)
    except (UnreadablePage, PushFailed, Throttled) as exc:
        org.log.add("application.provision.user.import", app=True, failure=str(exc))
        return {"outcome": "FAILURE", "error": str(exc), "scanned": 0}
    result = _match(org, accounts, body.get("match"), partial=body.get("partial", True) is True)
    confirmed = []
    for kind in ("exact", "partial", "none"):
        if kind in confirm:
            confirmed += [_confirm(org, entry, activate=bool(body.get("activate"))) for entry in result[kind]]
    org.log.add("system.import.complete", app=True)
    return {"outcome": "SUCCESS", "error": None, "scanned": len(accounts), **result, "confirmed": confirmed}


async def _read(org: Org) -> list[dict[str, Any]]:
    """Pages of 100 until totalResults; numbers that are strings are an error, as they are to Okta."""
    accounts: list[dict[str, Any]] = []
    start = 1
    while True:
        page = await org.provisioning.client.page(start, _PAGE)
        for name in ("totalResults", "startIndex", "itemsPerPage"):
            if not isinstance(page.get(name), int) or isinstance(page.get(name), bool):
                raise UnreadablePage(f"{name} is not an integer")
        resources = page.get("Resources") or []
        accounts += resources
        start += _PAGE
        if start > page["totalResults"]:
            return accounts
        if not resources:
            raise UnreadablePage(f"the list ended after {len(accounts)} of {page['totalResults']} accounts")


def _match(
    org: Org, accounts: list[dict[str, Any]], criterion: str | None, *, partial: bool
) -> dict[str, list[dict[str, Any]]]:
    linked_ids = {one.external_id for one in org.assignments.app_users.values() if one.external_id}
    emails, full_names = _indexes(org)
    result: dict[str, list[dict[str, Any]]] = {"linked": [], "ignored": [], "exact": [], "partial": [], "none": []}
    for account in accounts:
        name = account.get("name") or {}
        full = (str(name.get("givenName", "")).casefold(), str(name.get("familyName", "")).casefold())
        user_name = str(account.get("userName", ""))
        entry = {
            "id": str(account.get("id")),
            "userName": user_name,
            "okta_id": None,
            "login": None,
            "account": account,
        }
        user, kind = None, "exact"
        if criterion != "EMAIL":
            user = org.logins.get(user_name.lower())
        if user is None and criterion != "USERNAME":
            user = emails.get(_email(account)) or emails.get(user_name.casefold())
        if user is None and partial:
            user, kind = full_names.get(full), "partial"
        if entry["id"] in linked_ids:
            kind = "linked"
        elif account.get("active") is not True:
            kind = "ignored"
        elif user is None:
            kind = "none"
        if user is not None:
            entry["okta_id"], entry["login"] = user.id, user.profile["login"]
        result[kind].append(entry)
    return result


def _indexes(org: Org) -> tuple[dict[str, User], dict[tuple[str, str], User]]:
    emails: dict[str, User] = {}
    full_names: dict[tuple[str, str], User] = {}
    for user in org.users.values():
        if user.status != "DEPROVISIONED":
            emails.setdefault(str(user.profile.get("email", "")).casefold(), user)
            first, last = (str(user.profile.get(part, "")).casefold() for part in ("firstName", "lastName"))
            full_names.setdefault((first, last), user)
    return emails, full_names


def _email(account: dict[str, Any]) -> str:
    emails = [one for one in account.get("emails") or () if isinstance(one, dict)]
    primary = next((one for one in emails if one.get("primary")), emails[0] if emails else {})
    return str(primary.get("value") or "\0").casefold()


def _confirm(org: Org, entry: dict[str, Any], *, activate: bool) -> dict[str, Any]:
    """Bind the account to its person, who is created first where there is none."""
    user = org.users.get(str(entry["okta_id"])) or _create(org, entry, activate=activate)
    app_user = org.assignments.app_users.get(user.id)
    if app_user is None:
        app_user = OrgAppUser(
            user=user, scope="USER", status="ACTIVE", sync_state="SYNCHRONIZED", user_name=entry["userName"]
        )
        org.assignments.insert(app_user)
        org.log.add("application.user_membership.add", app_user=app_user)
    app_user.external_id, app_user.status, app_user.sync_state = entry["id"], "ACTIVE", "SYNCHRONIZED"
    app_user.last_sync = app_user.last_updated = ids.now()
    app_user.rendered = None
    org.log.add("application.provision.user.import", app_user=app_user)
    org.provisioning.changed(app_user)
    return {"id": entry["id"], "userName": entry["userName"], "okta_id": user.id}


def _create(org: Org, entry: dict[str, Any], *, activate: bool) -> User:
    name = entry["account"].get("name") or {}
    profile = {
        "login": entry["userName"],
        "email": entry["userName"] if "@" not in _email(entry["account"]) else _email(entry["account"]),
        "firstName": name.get("givenName") or entry["userName"].partition("@")[0],
        "lastName": name.get("familyName") or "-",
    }
    return org.create({"profile": profile}, activate=activate)
