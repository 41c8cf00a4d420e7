"""Reads both sides and sorts: whom could be imported, who is on the way, who is bound but not assigned. Writes nothing.

Only what touches an account that could be imported is kept in memory, so an org of any size can be listed. Few accounts
(``_FEW``) are looked up one by one instead: five calls a person against one call for 200 people of the whole org.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from agent.directory.port import Directory
from agent.model.codes import HeldCode
from agent.model.desired import user_status
from agent.model.guard import stopped
from agent.model.holds import ChangeKind, Decision, Hold
from agent.model.matching import ImportState, Knowledge, Match, MatchKeys, People, importable, login_key, match_all
from agent.model.okta import AppUser, OktaUser
from agent.model.users import DirectoryUser, identity_key
from agent.okta_org.org import OktaOrg
from agent.runs.frame import Progress
from agent.settings import Settings
from agent.store import holds, imports
from agent.store.engine import Store

#: Every status that Okta documents: a listing by status sees the DEPROVISIONED too, and doesn't lag as a search does.
STATUSES = (
    *("ACTIVE", "PROVISIONED", "PASSWORD_EXPIRED", "RECOVERY", "LOCKED_OUT"),
    *("STAGED", "SUSPENDED", "DEPROVISIONED"),
)
#: Of a list of accounts as CSV: import list has them, import plan takes them.
COLUMNS = (
    *("login", "class", "apart", "held", "reason", "held_detail", "okta_id", "okta_login", "okta_status"),
    "directory_id",
)
_FEW = 25
#: So many managed accounts without the app are asked about; reconcile deals with all of them.
_ASKED = 100
#: Between Okta's clock and ours, when an unfinished import is recognised by when the user was made.
_SKEW = timedelta(minutes=5)


class Assigned(Struct, frozen=True, kw_only=True):
    """An account that Okta's app has, but that isn't linked yet."""

    account: DirectoryUser
    app_user: AppUser
    #: None: an administrator assigned it, no import did.
    row: imports.Import | None = None
    #: The Okta user waits to be activated (or unsuspended); Okta provisions then.
    waits: bool = False

    @property
    def since(self) -> datetime | None:
        return self.row.linking_since if self.row and self.row.linking_since else self.app_user.last_updated

    @property
    def confirmed(self) -> bool:
        """Okta itself says that this account is the app user's."""
        return self.app_user.external_id == self.account.id


class Unassigned(Struct, frozen=True, kw_only=True):
    """A managed account whose Okta user exists without the app; reconcile will deactivate it."""

    account: DirectoryUser
    status: str


class Survey(Struct, frozen=True, kw_only=True):
    matches: tuple[Match, ...]
    assigned: tuple[Assigned, ...] = ()
    unassigned: tuple[Unassigned, ...] = ()
    #: App users read.
    people: int = 0


class Surveyor:
    def __init__(self, store: Store, directory: Directory, okta: OktaOrg, settings: Settings) -> None:
        self._store, self._directory, self._okta = store, directory, okta
        self._names = settings.receiver.names

    def everybody(self, progress: Progress) -> Survey:
        """Every active account that the app doesn't know, and the managed ones that are not assigned."""
        progress.step("reading OpsHelm accounts")
        accounts: list[DirectoryUser] = []
        managed: dict[str, str] = {}
        for page in self._directory.everyone():
            for account in page:
                if importable(account):
                    accounts.append(account)
                elif account.active and account.managed and account.okta_id:
                    managed[account.okta_id] = account.id
        return self._survey(accounts, managed, {}, progress)

    def chosen(self, decisions: Mapping[str, str], progress: Progress) -> Survey:
        """These accounts alone: directory id → a decision, or "" for none. Who can't be imported is in no match."""
        progress.step("reading OpsHelm accounts")
        read = (self._directory.get(directory_id) for directory_id in decisions)
        accounts = [account for account in read if account is not None and importable(account)]
        return self._survey(accounts, {}, {k: v for k, v in decisions.items() if v}, progress)

    def _survey(
        self,
        accounts: Sequence[DirectoryUser],
        managed: dict[str, str],
        decisions: Mapping[str, str],
        progress: Progress,
    ) -> Survey:
        with self._store.read() as conn:
            rows = {row.directory_id: row for row in imports.open_rows(conn)}
            kept_local = {h.directory_id: h for h in holds.open_holds(conn) if h.kind is ChangeKind.LINK}
        keys = MatchKeys(accounts)
        keys.ids |= {*decisions.values()} | {row.okta_id for row in rows.values() if row.okta_id}
        progress.step("reading Okta users")
        few = len(accounts) <= _FEW
        people = People(self._looked_up(accounts, keys.ids) if few else self._listed(keys, progress))
        apps = _Apps(accounts, people, managed)
        for page in self._okta.app_user_pages():
            apps.add(page)
            progress.step("reading the app's users", apps.seen)
        candidates = [account for account in accounts if apps.of(account) is None]
        known = Knowledge(
            rules=self._names, app_users=apps.by_okta_id, made=_made(candidates, rows, people), decisions=decisions
        )
        return Survey(
            matches=tuple(_as_decided(match, kept_local) for match in match_all(candidates, people, known)),
            assigned=tuple(_assigned(accounts, apps, rows, people)),
            unassigned=tuple(self._unassigned(apps.unseen)),
            people=apps.seen,
        )

    def _unassigned(self, unseen: Mapping[str, str]) -> Iterator[Unassigned]:
        for okta_id, directory_id in list(unseen.items())[:_ASKED]:
            account, user = self._directory.get(directory_id), self._okta.user(okta_id)
            if account is not None and user is not None:
                yield Unassigned(account=account, status=user_status(user))

    def _listed(self, keys: MatchKeys, progress: Progress) -> Iterator[OktaUser]:
        seen = 0
        for status in STATUSES:
            for page in self._okta.users_with_status_pages(status):
                seen += len(page)
                progress.step("reading Okta users", seen)
                yield from (user for user in page if keys.fit(user))

    def _looked_up(self, accounts: Iterable[DirectoryUser], okta_ids: Iterable[str]) -> Iterator[OktaUser]:
        for account in accounts:
            yield from find_by_login(self._okta, account.user_name)
            for address in {account.user_name, account.profile.primary_email or account.user_name}:
                yield from self._okta.find_users_by(email=address)
            name = account.profile.name
            if name and name.given_name and name.family_name:
                yield from self._okta.find_users_named(name.given_name, name.family_name)
        for okta_id in okta_ids:
            user = self._okta.user(okta_id) if okta_id.isalnum() else None
            if user is not None:
                yield user


def find_by_login(okta: OktaOrg, login: str) -> list[OktaUser]:
    """Whoever has this very login. A read by login doesn't lag; it also answers to a short login, which is not meant."""
    user = okta.user(login) if "@" in login else None
    found = [user] if user is not None and login_key(user) == identity_key(login) else []
    return found or [other for other in okta.find_users_by(login=login) if login_key(other) == identity_key(login)]


def _as_decided(match: Match, kept_local: Mapping[str | None, Hold]) -> Match:
    """What an operator has made local, and whose import was taken back, is in no import."""
    hold = kept_local.get(match.account.id)
    if hold is None or (hold.decision is not Decision.BLOCKED and hold.code is not HeldCode.UNDONE):
        return match
    code, detail = stopped(hold)
    return replace(match, held=code, held_detail=detail)


class _Apps:
    """The app users that matter, out of all pages."""

    def __init__(self, accounts: Sequence[DirectoryUser], people: People, managed: dict[str, str]) -> None:
        self._ids = {account.id for account in accounts}
        self._keys = {account.user_name_key for account in accounts}
        self._people = people.by_id
        self.unseen = managed
        self.by_okta_id: dict[str, AppUser] = {}
        self._by_external_id: dict[str, AppUser] = {}
        self._by_key: dict[str, AppUser] = {}
        self.seen = 0

    def add(self, page: Sequence[AppUser]) -> None:
        self.seen += len(page)
        for app_user in page:
            self.unseen.pop(app_user.id, None)
            key = identity_key(app_user.user_name)
            if app_user.external_id in self._ids:
                self._by_external_id[app_user.external_id or ""] = app_user
            elif key in self._keys:
                self._by_key[key] = app_user
            elif app_user.id not in self._people:
                continue
            self.by_okta_id[app_user.id] = app_user

    def of(self, account: DirectoryUser) -> AppUser | None:
        return self._by_external_id.get(account.id) or self._by_key.get(account.user_name_key)


def _assigned(
    accounts: Iterable[DirectoryUser], apps: _Apps, rows: Mapping[str, imports.Import], people: People
) -> Iterator[Assigned]:
    for account in accounts:
        app_user = apps.of(account)
        if app_user is not None:
            user = people.by_id.get(app_user.id)
            waits = user is not None and user_status(user) in ("STAGED", "SUSPENDED")
            yield Assigned(account=account, app_user=app_user, row=rows.get(account.id), waits=waits)


def _made(accounts: Iterable[DirectoryUser], rows: Mapping[str, imports.Import], people: People) -> dict[str, str]:
    """Okta users that an unfinished import made, though their id was perhaps never heard: same login, made since then."""
    found = {}
    for account in accounts:
        row = rows.get(account.id)
        if row is None or row.state not in (ImportState.INTENDED, ImportState.CREATED):
            continue
        if row.made and row.okta_id:
            found[account.id] = row.okta_id
        elif row.okta_id is None:
            for user in people.by_login.get(account.user_name_key, ()):
                if user.created is not None and user.created >= row.intended - _SKEW:
                    found[account.id] = user.id
    return found
