"""Carry out one change at the remote, and be sure of it. Judges nothing, writes nothing to the store.

==========================================  ==========================================================================
what the remote does                        then
==========================================  ==========================================================================
says yes, and a read shows it               the account as read
says yes, and a read doesn't show it        NotDone (of a push: userName and active decide, or, where it brought neither,
                                            that anything of it came: a remote may drop or reshape what it doesn't keep
                                            of the rest; the log says what)
says no                                     RemoteRefused: its own status, scimType and words
says 412                                    Moved: the account changed since it was read
knows no PATCH (405, 501; 404, but a read   PUT of the whole resource as it was read, with the changes laid over it
finds the account)
gives no answer, or a 5xx                   the account is read: done → as above; not done → sent once more (after a 503
                                            as long as patience lasts; after a 500 to a PATCH, of which it has never taken
                                            one, by PUT); can't be read → AnswerLost
gives no answer to a create                 looked up by externalId, then by userName, before anything is sent again
==========================================  ==========================================================================
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog

from agent.directory import guarded
from agent.directory.remote import change, lookup, wire
from agent.directory.remote.keeps import Keeps
from agent.directory.remote.ledger import Moved
from agent.directory.remote.lookup import Finder, Resource
from agent.directory.remote.patience import Lost, Pace
from agent.directory.remote.provider import Provider
from agent.directory.remote.transport import RemoteAnswer, Transport
from agent.model.codes import RefusalCode
from agent.model.errors import AnswerLost, DirectoryUnavailable, NotDone, NotFound, Refused, RemoteRefused, Unreadable
from agent.model.users import DirectoryUser, identity_key
from agent.store.engine import crash_point

log = structlog.get_logger("agent.directory.remote")

#: How long a lost answer is read back for whoever waits.
READ_BACK = 30.0


class Accepted(NamedTuple):
    """The remote said yes. ``shown``: the account as its answer shows it, if it does."""

    shown: Resource | None


class RemoteCaller:
    def __init__(self, transport: Transport, finder: Finder, provider: Callable[[], Provider], keeps: Keeps) -> None:
        self._transport = transport
        self.keeps = keeps
        self._finder = finder
        self._provider = provider
        #: Set once the remote has refused the method.
        self.no_patch = False
        #: Whether the remote has taken a PATCH.
        self.has_patched = False

    @property
    def pace(self) -> Pace:
        return self._transport.pace

    def send(
        self,
        resource: Resource,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        *,
        patience: float,
        last_look: Callable[[], None],
    ) -> Resource | Accepted:
        """From ``before`` to ``after``, as change.plain gives them. The account, where a read had to show what became of it."""
        user_id = resource.account.id
        crash_point("call.intended")

        def send(rest: float) -> RemoteAnswer:
            return self._send(resource, before, after, rest, last_look)

        def look(lost: AnswerLost) -> Resource | None:
            nonlocal resource
            resource = self._read_back(user_id, lost)
            if self.is_done(before, after, resource):
                return resource
            # Some fail at each PATCH of a form that they don't know.
            self.no_patch = self.no_patch or (isinstance(lost, Lost) and lost.failed and not self.has_patched)
            return None

        answer, _ = self._answered(send, look, patience, "A read shows that it did not")
        if isinstance(answer, Resource):
            return answer
        self._check(answer)
        crash_point("call.answered")
        return Accepted(_shown(answer))

    def create(self, wanted: DirectoryUser, *, patience: float, last_look: Callable[[], None]) -> Resource:
        body = change.creation(wanted)
        crash_point("call.intended")

        def send(rest: float) -> RemoteAnswer:
            return self._transport.write("POST", "/Users", body, patience=rest, last_look=last_look)

        def look(lost: AnswerLost) -> Resource | None:
            return self.find_created(wanted, lost)

        answer, again = self._answered(send, look, patience, "A search shows no such account")
        if isinstance(answer, Resource):
            return answer
        # The first sending may have arrived after all, behind our look.
        found = self.find_created(wanted) if again and answer.status == 409 else None
        if found is not None:
            return found
        if answer.status == 409:
            self._check_taken(answer, wanted, patience)
        self._check(answer)
        crash_point("call.answered")
        return self._made(wanted, answer)

    def is_done(self, before: Mapping[str, Any], after: Mapping[str, Any], found: Resource) -> bool:
        """Whether a call that got no answer was carried out: all of it, for nobody said that the remote kept less."""
        return not self._open(before, after, found)

    # Sending

    @property
    def has_versions(self) -> bool:
        """It says that it refuses what is out of date."""
        return self._provider().etag

    @property
    def patches(self) -> bool:
        """As far as is known."""
        return not self.no_patch and self._provider().patch

    def _answered(
        self,
        send: Callable[[float], RemoteAnswer],
        look: Callable[[AnswerLost], Resource | None],
        patience: float,
        shown: str,
    ) -> tuple[RemoteAnswer | Resource, bool]:
        """The remote's answer, or the account where ``look`` shows it done without one; and whether it was sent again.

        ``send`` is given the patience that is left; ``shown`` says what ``look`` found when it isn't done.
        """
        sending = self._transport.resending(patience)
        lost: AnswerLost | None = None
        while True:
            try:
                return send(sending.patience if lost else patience), lost is not None
            except AnswerLost as again:
                lost = again
            except DirectoryUnavailable:
                if lost is not None:
                    # This one was not sent, but the one before may still arrive.
                    raise lost from None
                raise
            found = look(lost)
            if found is not None:
                return found, sending.sent > 1
            if not sending.again(lost):
                raise NotDone(f"{lost.detail} {shown}, {_times(sending.sent)}.") from lost

    def _send(
        self,
        resource: Resource,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
        patience: float,
        last_look: Callable[[], None],
    ) -> RemoteAnswer:
        path = lookup.path_of(resource.account.id)
        wanted = change.overlay(resource.raw, before, after)
        # What a web server puts on each answer by itself is no version of an account.
        version = resource.etag if self.has_versions or not resource.whole else resource.account.etag
        more: dict[str, Any] = {"if_match": version, "patience": patience, "last_look": last_look}
        if self.patches:
            answer = self._transport.write("PATCH", path, change.patch(resource.raw, wanted), **more)
            if not self._knows_no_patch(answer, resource.account.id, patience):
                self.has_patched = self.has_patched or answer.ok
                return answer
            self.no_patch = True
        if not resource.whole:
            raise Moved("The account has to be read whole before it can be replaced.")
        return self._transport.write("PUT", path, change.replacement(wanted), **more)

    def _knows_no_patch(self, answer: RemoteAnswer, user_id: str, patience: float) -> bool:
        """Some say 404 to a method that they don't route, for an account that they have."""
        if answer.status in (404, 410):
            return lookup.by_id(self._transport, user_id, patience=patience) is not None
        return answer.status in (405, 501)

    # Reading back

    def confirm(
        self, resource: Resource, before: Mapping[str, Any], after: Mapping[str, Any], *, essential: bool
    ) -> Resource:
        """After a yes to a change of ``resource``: the account as a read shows it changed, but for what the remote doesn't keep."""
        user_id, missing = resource.account.id, list[str]()
        for pause in self._transport.pace.lag:
            if pause:
                time.sleep(pause)
            found = self._read(user_id)
            missing = self._open(before, after, found)
            if not missing:
                break
        now, came = change.plain_account(found.account), _written_since(resource, found)
        missing = self.keeps.unmet(before, _kept(after), now, came=came, directory_id=user_id)
        if not missing:
            return found
        if essential and self._enough_came(before, after, found, missing):
            log.warning(
                "remote OpsHelm: part of a pushed change was not kept there", directory_id=user_id, attributes=missing
            )
            return found
        raise NotDone(
            f"The remote OpsHelm at {self._transport.host} said that it had made the change, but a read shows the old "
            f"{', '.join(missing)}. The change counts as failed."
        )

    def _enough_came(
        self, before: Mapping[str, Any], after: Mapping[str, Any], found: Resource, missing: list[str]
    ) -> bool:
        """Of a pushed change that the remote said yes to, it may drop parts, but neither name nor switch, nor all."""
        kept = _kept(after)
        now = change.plain_account(found.account)
        nothing_came = missing == change.unfulfilled(before, kept, before)
        return not nothing_came and not change.unfulfilled(before, kept, now, essential=True)

    def _read(self, user_id: str) -> Resource:
        try:
            found = lookup.by_id(self._transport, user_id, patience=READ_BACK)
        except DirectoryUnavailable as exc:
            raise AnswerLost(f"The change was sent, and reading it back failed: {exc.detail}") from exc
        if found is None:
            raise NotFound("There is no such user.")
        return found

    def _read_back(self, user_id: str, lost: AnswerLost) -> Resource:
        try:
            return self._read(user_id)
        except DirectoryUnavailable as exc:
            raise lost from exc

    def _open(self, before: Mapping[str, Any] | None, after: Mapping[str, Any], found: Resource) -> list[str]:
        return change.unfulfilled(before, _kept(after), change.plain_account(found.account))

    # Creating

    def _made(self, wanted: DirectoryUser, answer: RemoteAnswer) -> Resource:
        try:
            user_id = wire.decode(answer.content).id
        except Unreadable:
            user_id, *_ = wire.rough_identity(answer.content)
        found, after = None, _kept(change.plain(wanted, external_id=False))
        for pause in self._transport.pace.lag:
            if pause:
                time.sleep(pause)
            found = (self._read_created(user_id) if user_id else self.find_created(wanted)) or found
            if found is not None and not self._open(None, after, found):
                break
        if found is not None:
            now = change.plain_account(found.account)
            self.keeps.unmet(None, after, now, came=True, directory_id=found.account.id)
            return found
        raise NotDone(
            f"The remote OpsHelm at {self._transport.host} said that it had made the account, but it can't be found there. "
            "The change counts as failed."
        )

    def _read_created(self, user_id: str) -> Resource | None:
        try:
            return lookup.by_id(self._transport, user_id, patience=READ_BACK)
        except DirectoryUnavailable as exc:
            raise AnswerLost(f"The account was made, and reading it back failed: {exc.detail}") from exc

    def find_created(self, wanted: DirectoryUser, lost: AnswerLost | None = None) -> Resource | None:
        """The account that a create made or may have made: by externalId, then by userName; not somebody else's of that name."""
        try:
            account = self._finder.by_okta_id(wanted.okta_id, patience=READ_BACK, at_most=0) if wanted.okta_id else None
            if account is None:
                account = self._finder.by_user_name(wanted.user_name, patience=READ_BACK, at_most=0)
            found = None if account is None else lookup.by_id(self._transport, account.id, patience=READ_BACK)
        except DirectoryUnavailable as exc:
            raise (lost or AnswerLost(f"Whether the account was made can't be read: {exc.detail}")) from exc
        if found is None:
            return None
        same_name = identity_key(found.account.user_name) == wanted.user_name_key
        foreign = found.account.okta_id is not None and found.account.okta_id != wanted.okta_id
        return found if same_name and not foreign else None

    def _check_taken(self, answer: RemoteAnswer, wanted: DirectoryUser, patience: float) -> None:
        """A 409 that is what it says: a search shows somebody who has the externalId or the userName by now."""
        try:
            account = self._finder.by_okta_id(wanted.okta_id, patience=patience, at_most=0) if wanted.okta_id else None
            account = account or self._finder.by_user_name(wanted.user_name, patience=patience, at_most=0)
        except (DirectoryUnavailable, Unreadable):
            return
        if account is not None:
            text = self._said(answer.words)
            raise Refused(RefusalCode.UNIQUENESS, text or guarded.name_taken(wanted.user_name).detail)

    def _check(self, answer: RemoteAnswer) -> None:
        if answer.ok:
            return
        if answer.status == 412:
            raise Moved("The account changed at the remote OpsHelm since it was read.")
        if answer.status in (404, 410):
            raise NotFound("There is no such user.")
        detail, scim_type = self._said(answer.words), self._said(answer.named.get("scimtype"))
        rights = " The agent's key may lack the right to write users there." if answer.status == 403 else ""
        text = detail or f"The remote OpsHelm refused this with {answer.status}.{rights}"
        raise RemoteRefused(answer.status if 400 <= answer.status < 500 else 409, text, scim_type)

    def _said(self, value: Any) -> str | None:
        return self._transport.masked(value) if isinstance(value, str) and value else None


def _written_since(before: Resource, found: Resource) -> bool:
    """Whether a version or a time shows that somebody has."""
    moved = before.etag is not None and found.etag is not None and before.etag != found.etag
    return moved or found.account.updated > max(before.account.updated, wire.EPOCH)


def _shown(answer: RemoteAnswer) -> Resource | None:
    try:
        account = wire.decode(answer.content)
    except Unreadable:
        return None
    said = answer.json()
    # Left out it would be taken for true.
    return Resource(account=account, raw=said, etag=answer.etag or account.etag) if "active" in said else None


def _kept(after: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the remote keeps an externalId is its own affair; the link is in the store."""
    return {key: value for key, value in after.items() if key != "externalId"}


def _times(sent: int) -> str:
    return {1: "once", 2: "twice"}.get(sent, f"{sent} times")
