"""A few people read directly: those that were asked for, and whoever has the names that they want, along the chain.

A direct read needs no sweep: Okta says of each person what is true now. Reads Okta and the directory, writes nothing.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from difflib import get_close_matches

from msgspec import Struct
from msgspec.structs import replace

from agent.directory.port import Directory
from agent.model.absence import AbsenceAnswer, Proof, concerns
from agent.model.cases import CurrentAccount, Pair
from agent.model.codes import FindingCode
from agent.model.desired import Wanted
from agent.model.errors import AgentError, NotFound, Unaddressable, Unreadable
from agent.model.mapping import Mapping
from agent.model.okta import Person
from agent.model.plan import Finding
from agent.model.users import DirectoryUser, identity_key
from agent.okta_org.org import OktaOrg
from agent.reconcile.sweeper import Projector, answer
from agent.runs.frame import Progress
from agent.scim import filter as filters

#: A longer chain of names is no rename any more.
LONGEST_CHAIN = 50
#: Where a misspelt name is looked for.
_SAME_BEGINNING, _SEARCHED = 2, 1000


class Selection(Struct, frozen=True, kw_only=True):
    """Whom to look at: by what a person typed, or by id as an event names them. A login is never taken for an id."""

    logins: tuple[str, ...] = ()
    #: A stored plan's own, where logins and ids stand side by side.
    scope: tuple[str, ...] = ()
    okta_ids: tuple[str, ...] = ()
    directory_ids: tuple[str, ...] = ()


class PeopleRead(Struct, kw_only=True):
    pairs: list[Pair] = []
    absences: list[tuple[CurrentAccount, Proof]] = []
    findings: list[Finding] = []
    #: Okta user id → when to look again.
    due: dict[str, datetime] = {}
    people: int = 0
    #: Okta user id → as Okta said it.
    persons: dict[str, Person] = {}


class DirectReader(Struct, frozen=True, kw_only=True):
    directory: Directory
    okta: OktaOrg
    projector: Projector
    clock: Callable[[], datetime]

    def read(self, who: Selection, progress: Progress | None = None) -> PeopleRead:
        """Unreadable only where nobody who was asked for can be read."""
        found = PeopleRead()
        people: dict[str, Pair | None] = {}
        without: list[DirectoryUser] = []
        unread: list[Unreadable | Unaddressable] = []
        readable = 0
        waiting = self._first(who, without, found, unread)
        asked = len(waiting)
        while waiting and len(people) < LONGEST_CHAIN + asked:
            if progress is not None and people:
                progress.step("reading people", len(people), max(asked, len(people)))
            okta_id = waiting.pop(0)
            if okta_id in people:
                continue
            people[okta_id] = None
            try:
                person = found.persons[okta_id] = self.okta.person(okta_id)
                people[okta_id] = pair = self._person(person, found)
            except (Unreadable, Unaddressable) as exc:
                unread.append(exc)
                found.findings.append(_unreadable(okta_id, exc, okta_id))
                continue
            readable += 1
            waiting += self._heir(person) if pair is None else self._chain(pair)
        if unread and not readable and not without:
            raise unread[0]
        found.pairs = _twins([pair for pair in people.values() if pair is not None])
        for user in without:
            self._gone(user, None, found, self.clock())
        found.people = len(people)
        return found

    def _first(
        self, who: Selection, without: list[DirectoryUser], found: PeopleRead, unread: list[Unreadable | Unaddressable]
    ) -> list[str]:
        """Okta user ids of those who were asked for; ``without``: accounts of which Okta knows nobody."""
        ids = list(who.okta_ids)
        asked = (
            *((name, self._asked_by_login) for name in who.logins),
            *((name, self._asked_by_either) for name in who.scope),
            *((name, self._asked_by_id) for name in who.directory_ids),
        )
        for name, look in asked:
            try:
                ids += look(name, without)
            except Unreadable as exc:
                unread.append(exc)
                found.findings.append(_unreadable(name, exc, None))
        return ids

    def _asked_by_login(self, name: str, without: list[DirectoryUser]) -> Iterable[str]:
        user = self.directory.find(user_name_key=identity_key(name))
        return self._by_login(user.user_name if user else name, user, without)

    def _asked_by_id(self, name: str, without: list[DirectoryUser]) -> Iterable[str]:
        user = self.directory.get(name)
        return [] if user is None else self._by_login(user.user_name, user, without)

    def _asked_by_either(self, name: str, without: list[DirectoryUser]) -> Iterable[str]:
        """The login first: the id that an account was given may be a name that it has no more."""
        try:
            return self._asked_by_login(name, without)
        except NotFound:
            if self.directory.get(name) is None:
                raise
            return self._asked_by_id(name, without)

    def _by_login(self, login: str, user: DirectoryUser | None, without: list[DirectoryUser]) -> Iterable[str]:
        if user is not None and user.okta_id is not None:
            return [user.okta_id]
        known = self.okta.user(login)
        if known is not None:
            return [known.id]
        if user is None:
            raise NotFound(f"Neither OpsHelm nor Okta knows {login}. {self._advice(login)}")
        without.append(user)
        return []

    def _advice(self, login: str) -> str:
        """Names that are nearly this one, of those that begin like it: looking through all would take a while."""
        names: list[str] = []
        begin = identity_key(login)[:_SAME_BEGINNING]
        if begin:
            with suppress(AgentError):  # a remote that can't search has no suggestions
                where = filters.parse(f"userName sw {json.dumps(begin)}")
                names = [user.user_name for user in self.directory.search(where, 1, _SEARCHED).users]
        keys = {identity_key(name): name for name in names}
        close = get_close_matches(identity_key(login), keys, n=3, cutoff=0.8)
        close += [key for key in keys if key.partition("@")[0] == identity_key(login) and key not in close][:3]
        if close:
            return f"Did you mean {' or '.join(keys[key] for key in close)}?"
        return "Check the spelling; give a userName or an Okta login."

    def _person(self, person: Person, found: PeopleRead) -> Pair | None:
        now = self.clock()
        projected = self.projector.read(person, now)
        if projected is None:
            self._absent(person, found, now)
            return None
        want, desired, finding = projected
        if finding is not None:
            found.findings.append(finding)
        if desired.due is not None:
            found.due[want.okta_id] = desired.due
        mapping = self.projector.mapping
        return Pair(
            want=want,
            bound=_maybe(self.directory.find(okta_id=want.okta_id), mapping),
            named=_maybe(self.directory.get(want.external_id), mapping) if want.external_id else None,
            holder=_maybe(self.directory.find(user_name_key=want.user_name_key), mapping),
        )

    def _absent(self, person: Person, found: PeopleRead, now: datetime) -> None:
        user = self.directory.find(okta_id=person.okta_id)
        if user is None and person.okta_user is not None:
            login = str(person.okta_user.profile.get("login") or "")
            named = self.directory.find(user_name_key=identity_key(login)) if login else None
            user = named if named is not None and named.okta_id is None else None
        if user is not None:
            self._gone(user, person, found, now)

    def _gone(self, user: DirectoryUser, person: Person | None, found: PeopleRead, now: datetime) -> None:
        account = CurrentAccount.of(user, self.projector.mapping)
        if concerns(account):
            found.absences.append((account, answer(account, person, self.projector, now)))

    def _chain(self, pair: Pair) -> list[str]:
        """Whose the account is that Okta has linked, or that has the wanted name, if it is somebody else's.

        Okta's own push may be under way, and access in somebody else's account is not to outlast it.
        """
        if pair.want.wanted in (Wanted.INACTIVE, Wanted.ABSENT):
            return []
        sides = [side for side in (pair.named, pair.holder) if side is not None]
        return [str(side.okta_id) for side in sides if side.okta_id not in (None, pair.want.okta_id)]

    def _heir(self, person: Person) -> list[str]:
        """Who has the userName now of somebody who isn't assigned any more; logins are unique within Okta."""
        user = self.directory.find(okta_id=person.okta_id)
        login = str(person.okta_user.profile.get("login") or "") if person.okta_user is not None else ""
        if user is None or user.user_name_key == identity_key(login):
            return []
        known = self.okta.user(user.user_name)
        return [] if known is None or known.id == person.okta_id else [known.id]


def not_disproved(absences: Sequence[tuple[CurrentAccount, Proof]]) -> list[tuple[CurrentAccount, Proof]]:
    """A direct read that finds the person assigned is no disproved listing: there was none."""
    return [(account, proof) for account, proof in absences if proof.answer is not AbsenceAnswer.PRESENT]


def _unreadable(login: str, exc: Unreadable | Unaddressable, okta_id: str | None) -> Finding:
    return Finding(code=FindingCode.UNREADABLE, login=login, detail=exc.detail, okta_id=okta_id)


def _maybe(user: DirectoryUser | None, mapping: Mapping) -> CurrentAccount | None:
    return None if user is None else CurrentAccount.of(user, mapping)


def _twins(pairs: list[Pair]) -> list[Pair]:
    names = [pair.want.user_name_key for pair in pairs if pair.want.names_somebody]
    return [
        replace(pair, twin=True) if pair.want.names_somebody and names.count(pair.want.user_name_key) > 1 else pair
        for pair in pairs
    ]
