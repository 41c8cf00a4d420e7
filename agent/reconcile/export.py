"""The real org and directory as a file without anybody in it, and back into a database. Reads Okta and the store; decides nothing.

JSON lines. The first says what it is and which app; then each person whom a sweep sees or asks about; then rows of the store::

    {"format": 1, "org_id": …, "app": {"id": …, "status": …, "features": […], …}}
    {"person": {"id": …, "status": …, "profile": {…}, …, "app_user": {…} or null}}
    {"table": "users", "row": {…}}

Times are microseconds before or after the export, so that what was an hour old is an hour old again when it is loaded. What is
taken along is named here, column by column: a new one stays out until somebody has said what becomes of it. Okta's groups are
left out, and so is all that people wrote (reasons, details, the journal).
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from random import SystemRandom
from typing import Any

import msgspec

from agent.model.errors import OktaRejected, Unaddressable, UsageError
from agent.model.holds import subject_of
from agent.model.okta import UNREADABLE, App, AppUser, OktaUser, Person
from agent.model.pseudonyms import Pseudonyms
from agent.model.users import Origin, identity_key
from agent.okta_org.org import OktaOrg
from agent.reconcile.sweeper import STATUS_LISTS
from agent.runs.frame import Progress
from agent.store import rehearsal
from agent.store.engine import Connection, Store
from agent.store.rehearsal import Row

FORMAT = 1
#: As far back as a sweep ever looks for deprovisioned people.
_LOOK_BACK = timedelta(days=30)
_PAGE_SIZE = 500

#: Table → column → what becomes of it: as it is, a time, another id, another text, JSON with other texts.
_AS_IS, _TIME, _ID, _TEXT, _JSON = "as it is", "time", "id", "text", "json"
_COLUMNS: dict[str, dict[str, str]] = {
    "account": {
        **dict.fromkeys(("managed_active", "active_owners", "visible", "last_good_people"), _AS_IS),
        **dict.fromkeys(("pinned_at", "last_good_sweep"), _TIME),
        **dict.fromkeys(("org_id", "app_id"), _ID),
    },
    "users": {
        **dict.fromkeys(("seq", "origin", "protected", "active", "suspended", "hidden", "role", "version"), _AS_IS),
        **dict.fromkeys(("created", "updated", "deactivated"), _TIME),
        **dict.fromkeys(("id", "okta_id"), _ID),
        **dict.fromkeys(
            ("user_name", "user_name_key", "email_key", "given_name", "family_name", "display_name"), _TEXT
        ),
        "profile": _JSON,
    },
    "user_emails": {
        **dict.fromkeys(("user_seq", "position", "is_primary"), _AS_IS),
        **dict.fromkeys(("value", "value_key", "type"), _TEXT),
    },
    "holds": {
        **dict.fromkeys(("id", "kind", "code", "tries", "decision"), _AS_IS),
        **dict.fromkeys(("since", "last_found", "decided_at", "until"), _TIME),
        **dict.fromkeys(("directory_id", "okta_id"), _ID),
        **dict.fromkeys(("login", "waits_for"), _TEXT),
        "wish": _JSON,
    },
    "deactivations": {
        **dict.fromkeys(("id", "source", "exempt", "counted", "managed"), _AS_IS),
        "at": _TIME,
        "directory_id": _ID,
    },
    "allowances": {
        **dict.fromkeys(("id", "count", "used"), _AS_IS),
        **dict.fromkeys(("created", "expires"), _TIME),
        "directory_id": _ID,
    },
}
#: What a column that is left out must be, where the table asks for something.
_LEFT_OUT: dict[str, dict[str, object]] = {
    "users": {"mapped": ""},
    "holds": {"detail": "", "opened_by": "rehearsal"},
    "allowances": {"actor": "rehearsal", "reason": ""},
}
_BUILT_IN = "BUILT_IN"
#: As Okta calls them.
_TIMES = {
    "created": "created",
    "last_updated": "lastUpdated",
    "status_changed": "statusChanged",
    "last_sync": "lastSync",
}


def lines(okta: OktaOrg, store: Store, now: datetime, progress: Progress) -> Iterator[bytes]:
    """The whole file, line by line. Nothing is kept that leads from the file back to anybody."""
    export = _Export(okta, Pseudonyms(SystemRandom()), now)
    yield from (msgspec.json.encode(line) + b"\n" for line in export.everything(store, progress))


class _Export:
    def __init__(self, okta: OktaOrg, names: Pseudonyms, now: datetime) -> None:
        self._okta, self._names, self._now = okta, names, now

    def everything(self, store: Store, progress: Progress) -> Iterator[dict[str, object]]:
        progress.step("asking Okta which org and app this is")
        yield {"format": FORMAT, "org_id": self._names.id(self._okta.org_id()), "app": self._app(self._okta.app())}
        known = self._statuses(progress)
        listed: set[str] = set()
        for page in self._okta.app_user_pages(limit=_PAGE_SIZE):
            for app_user in page:
                listed.add(app_user.id)
                yield self._person(app_user.id, app_user, known.get(app_user.id))
            progress.step("reading people", len(listed))
        # One snapshot: the row that says how many there are, and those that are there.
        with store.read() as conn:
            for person in self._asked(conn, listed, progress):
                yield self._person(person.okta_id, person.app_user, person.okta_user)
            for n, (table, row) in enumerate(rehearsal.rows(conn), 1):
                yield {"table": table, "row": self._row(table, row)}
                if n % _PAGE_SIZE == 0:
                    progress.step("writing rows", n)

    def _app(self, app: App) -> dict[str, object]:
        template = app.credentials.user_name_template if app.credentials else None
        return {
            "id": self._names.id(app.id),
            "status": app.status,
            "features": app.features,
            "signOnMode": app.sign_on_mode,
            # One that somebody wrote may name anything.
            "template": template.template if template and template.type == _BUILT_IN else None,
        }

    def _statuses(self, progress: Progress) -> dict[str, OktaUser]:
        progress.step("reading statuses")
        found: dict[str, OktaUser] = {}
        for status in STATUS_LISTS:
            try:
                for page in self._okta.users_with_status_pages(status):
                    found.update((user.id, user) for user in page)
            except OktaRejected:
                continue  # a word that this org doesn't know
        for page in self._okta.users_deprovisioned_since(self._now - _LOOK_BACK):
            found.update((user.id, user) for user in page)
        return found

    def _asked(self, conn: Connection, listed: set[str], progress: Progress) -> Iterator[Person]:
        """Whoever has an account and isn't listed: what a sweep asks Okta about."""
        wanted = []
        for table, row in rehearsal.rows(conn):
            if table == "users" and row["origin"] in (Origin.OKTA, Origin.LINKED):
                okta_id = row["okta_id"]
                if okta_id is None and not row["hidden"]:
                    user = self._okta.user(str(row["user_name"]))
                    okta_id = user.id if user else None
                if okta_id is not None and okta_id not in listed:
                    wanted.append(str(okta_id))
        for n, person in enumerate(self._okta.people(list(dict.fromkeys(wanted))), 1):
            progress.step("asking Okta about people who aren't listed", n, len(wanted))
            if not isinstance(person, Unaddressable) and (person.okta_user or person.app_user):
                yield person

    def _person(self, okta_id: str, app_user: AppUser | None, user: OktaUser | None) -> dict[str, object]:
        names = self._names
        body: dict[str, object] = {"id": names.id(okta_id), "status": "ACTIVE", "profile": None}
        if user is not None:
            own = {name: user.profile.get(name) for name in ("login", "email", "firstName", "lastName")}
            body |= self._times(user) | {"profile": names.json(own), "status": user.status}
            body["transitioningToStatus"] = user.transitioning_to_status
        return {"person": body | {"app_user": None if app_user is None else self._app_user(app_user)}}

    def _app_user(self, one: AppUser) -> dict[str, object]:
        names = self._names
        profile = None
        if one.status != UNREADABLE:
            try:
                profile = names.json(msgspec.json.decode(one.profile))
            except (msgspec.DecodeError, UnicodeDecodeError):
                profile = None
        return {
            "externalId": names.id(one.external_id) if one.external_id else one.external_id,
            "status": one.status,
            "syncState": one.sync_state,
            "scope": one.scope,
            "userName": names.text(one.user_name),
            "profile": profile,
            **self._times(one),
        }

    def _times(self, one: AppUser | OktaUser) -> dict[str, object]:
        found = {name: getattr(one, field, None) for field, name in _TIMES.items()}
        return {name: self._past(at) for name, at in found.items() if at is not None}

    def _past(self, at: datetime) -> int:
        return (at - self._now) // timedelta(microseconds=1)

    def _row(self, table: str, row: Row) -> dict[str, object]:
        made = {name: self._column(what, row[name]) for name, what in _COLUMNS[table].items() if row[name] is not None}
        if table == "users":
            made["user_name_key"] = identity_key(str(made["user_name"]))
        return made

    def _column(self, what: str, value: Any) -> object:
        if what == _TIME:
            return self._past(value)
        if what == _ID:
            return self._names.id(value)
        if what == _TEXT:
            return self._names.text(value)
        if what == _JSON and value:
            return msgspec.json.encode(self._names.json(msgspec.json.decode(value)), order="deterministic").decode()
        return value


def load(store: Store, file: Iterable[bytes], now: datetime) -> None:
    """Fill a new database from such a file. Raises UsageError where it is none."""
    rehearsal.fill(store, _rows(file, now))


def _rows(file: Iterable[bytes], now: datetime) -> Iterator[tuple[str, Row]]:
    begun = False
    try:
        for line in file:
            found = msgspec.json.decode(line)
            if not begun and found.get("format") != FORMAT:
                raise UsageError("It is no export of this version. Make one: opshelm-agent rehearse export FILE")
            begun = True
            if "table" in found:
                yield found["table"], _loaded(found["table"], found["row"], now)
    except (msgspec.DecodeError, AttributeError, KeyError) as exc:
        raise UsageError(
            f"It is no export, or was cut off ({exc}). Make one: opshelm-agent rehearse export FILE"
        ) from exc


def _loaded(table: str, row: Mapping[str, Any], now: datetime) -> dict[str, object]:
    made: dict[str, object] = {**_LEFT_OUT.get(table, {})}
    for name, what in _COLUMNS[table].items():
        value = row.get(name)
        made[name] = now + timedelta(microseconds=value) if what == _TIME and value is not None else value
    if table == "holds":
        made["subject"] = subject_of(row.get("directory_id"), row.get("okta_id"), row["login"])
        made["waits_for"] = made["waits_for"] or ""
    elif table == "account" and made["org_id"]:
        made |= {"pinned_by": "rehearsal"}
    return made
