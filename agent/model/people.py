"""Okta users by what accounts are matched by: login, e-mail, both names. Indexes only; agent.model.matching decides. Pure."""

from collections.abc import Iterable

from agent.model.okta import OktaUser
from agent.model.users import DirectoryUser, identity_key


class MatchKeys:
    """What the accounts could be matched by. An Okta user who has none of it need not be kept."""

    def __init__(self, accounts: Iterable[DirectoryUser]) -> None:
        self.addresses: set[str] = set()
        self.names: set[tuple[str, str]] = set()
        self.ids: set[str] = set()
        for account in accounts:
            self.addresses |= addresses(account)
            self.names |= {name for name in (full_name(account),) if name}
            self.ids |= {account.okta_id} if account.okta_id else set()

    def fit(self, user: OktaUser) -> bool:
        return (
            user.id in self.ids
            or login_key(user) in self.addresses
            or email_key(user) in self.addresses
            or okta_name(user) in self.names
        )


class People:
    """Okta users by what they are matched by."""

    def __init__(self, users: Iterable[OktaUser]) -> None:
        self.by_id = {user.id: user for user in users}
        self.by_login: dict[str, list[OktaUser]] = {}
        self.by_email: dict[str, list[OktaUser]] = {}
        self.by_name: dict[tuple[str, str], list[OktaUser]] = {}
        for user in self.by_id.values():
            self.by_login.setdefault(login_key(user), []).append(user)
            self.by_email.setdefault(email_key(user), []).append(user)
            name = okta_name(user)
            if name is not None:
                self.by_name.setdefault(name, []).append(user)


def login_key(user: OktaUser) -> str:
    return identity_key(str(user.profile.get("login") or ""))


def email_key(user: OktaUser) -> str:
    return identity_key(str(user.profile.get("email") or ""))


def okta_name(user: OktaUser) -> tuple[str, str] | None:
    return _names(user.profile.get("firstName"), user.profile.get("lastName"))


def full_name(account: DirectoryUser) -> tuple[str, str] | None:
    name = account.profile.name
    return None if name is None else _names(name.given_name, name.family_name)


def addresses(account: DirectoryUser) -> set[str]:
    return {key for key in (account.user_name_key, account.email_key) if key}


def _names(first: object, last: object) -> tuple[str, str] | None:
    key = identity_key(str(first or "")), identity_key(str(last or ""))
    return key if all(key) else None
