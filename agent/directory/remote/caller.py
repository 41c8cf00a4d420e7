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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
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
from agent.directory.remote.wire import RemoteAccount
from agent.model.codes import RefusalCode
from agent.model.errors import AnswerLost, DirectoryUnavailable, NotDone, NotFound, Refused, RemoteRefused, Unreadable
from agent.model.users import DirectoryUser, identity_key
from agent.store.engine import crash_point

log = structlog.get_logger("agent.directory.remote")

#: How long a lost answer is read back for whoever waits.
READ_BACK = 30.0


class Aim(NamedTuple):
    """From ``before`` to ``after``, as change.plain gives them, of an account; ``last_look`` may stop the call right before it."""

    resource: Resource
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    patience: float
    last_look: Callable[[], None]


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

    def send(self, aim: Aim) -> Resource | Accepted:
        """The account, where a read had to show what became of it."""
        crash_point("call.intended")

        def send(rest: float) -> RemoteAnswer:
            return self._send(aim._replace(patience=rest))

        def look(lost: Lost) -> Resource | None:
            nonlocal aim
            with _reading_back(lost):
                aim = aim._replace(resource=self._read(aim.resource.account.id))
            if not change.missing(aim.before, aim.after, aim.resource.account):
                return aim.resource
            # Some fail at each PATCH of a form that they don't know.
            self.no_patch = self.no_patch or (lost.failed and not self.has_patched)
            return None

        answer, _ = self._answered(send, look, aim.patience, "A read shows that it did not")
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

        look = partial(self.find_created, wanted)
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
        look: Callable[[Lost], Resource | None],
        patience: float,
        shown: str,
    ) -> tuple[RemoteAnswer | Resource, bool]:
        """The remote's answer, or the account where ``look`` shows it done without one; and whether it was sent again.

        ``send`` is given the patience that is left; ``shown`` says what ``look`` found when it isn't done.
        """
        tries, limit = self._transport.tries(), min(patience, self._transport.most_patience)
        lost: Lost | None = None
        idle = 0
        while True:
            try:
                return send(max(0.0, limit - tries.seconds) if lost else patience), lost is not None
            except Lost as again:
                lost = again
            except DirectoryUnavailable:
                if lost is not None:
                    # This one was not sent, but the one before may still arrive.
                    raise lost from None
                raise
            found = look(lost)
            if found is not None:
                return found, tries.made > 1
            # One that is busy gets it as long as patience lasts, any other once more; with a pause, since what several calls at
            # once brought about they would bring about again.
            idle += not lost.busy
            if idle > 1 or not tries.again(lost.detail, lost.after, limit):
                times = {1: "once", 2: "twice"}.get(tries.made, f"{tries.made} times")
                raise NotDone(f"{lost.detail} {shown}, {times}.") from lost

    def _send(self, aim: Aim) -> RemoteAnswer:
        resource = aim.resource
        path = lookup.path_of(resource.account.id)
        wanted = change.overlay(resource.raw, aim.before, aim.after)
        # What a web server puts on each answer by itself is no version of an account.
        version = resource.etag if self.has_versions or not resource.whole else resource.account.etag
        more: dict[str, Any] = {"if_match": version, "patience": aim.patience, "last_look": aim.last_look}
        if self.patches:
            answer = self._transport.write("PATCH", path, change.patch(resource.raw, wanted), **more)
            if not self._knows_no_patch(answer, resource.account.id, aim.patience):
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

    def confirm(self, aim: Aim, *, essential: bool) -> Resource:
        """After a yes: the account as a read shows it changed, but for what the remote doesn't keep."""
        user_id, before, after = aim.resource.account.id, aim.before, change.kept(aim.after)

        def read() -> Resource:
            with _reading_back("The change was sent, and reading it back failed"):
                return self._read(user_id)

        found = self._seen(read, before, after)
        assert found is not None
        now, came = change.plain_account(found.account), _written_since(aim.resource, found)
        missing = self.keeps.unmet(before, after, now, came=came, directory_id=user_id)
        if not missing:
            return found
        nothing_came = missing == change.unfulfilled(before, after, before)
        if essential and not nothing_came and not change.unfulfilled(before, after, now, essential=True):
            # Of a pushed change it may drop parts, but neither name nor switch, nor all.
            log.warning(
                "remote OpsHelm: part of a pushed change was not kept there", directory_id=user_id, attributes=missing
            )
            return found
        raise NotDone(
            f"The remote OpsHelm at {self._transport.host} said that it had made the change, but a read shows the old "
            f"{', '.join(missing)}. The change counts as failed."
        )

    def _read(self, user_id: str) -> Resource:
        found = lookup.by_id(self._transport, user_id, patience=READ_BACK)
        if found is None:
            raise NotFound("There is no such user.")
        return found

    def _seen(
        self, look: Callable[[], Resource | None], before: Mapping[str, Any] | None, after: Mapping[str, Any]
    ) -> Resource | None:
        """What ``look`` finds, as soon as that shows the change, or once the remote had its time."""
        found = None
        for pause in self.pace.lag:
            time.sleep(pause)
            found = look() or found
            if found is not None and not change.missing(before, after, found.account):
                break
        return found

    # Creating

    def _made(self, wanted: DirectoryUser, answer: RemoteAnswer) -> Resource:
        user_id, *_ = wire.rough_identity(answer.content)
        after = change.kept(change.plain(wanted, external_id=False))

        def look() -> Resource | None:
            if not user_id:
                return self.find_created(wanted)
            with _reading_back("The account was made, and reading it back failed"):
                return lookup.by_id(self._transport, user_id, patience=READ_BACK)

        found = self._seen(look, None, after)
        if found is None:
            raise NotDone(
                f"The remote OpsHelm at {self._transport.host} said that it had made the account, but it can't be found there. "
                "The change counts as failed."
            )
        now = change.plain_account(found.account)
        self.keeps.unmet(None, after, now, came=True, directory_id=found.account.id)
        return found

    def find_created(self, wanted: DirectoryUser, lost: AnswerLost | None = None) -> Resource | None:
        """The account that a create made or may have made; not somebody else's of that name."""
        with _reading_back(lost or "Whether the account was made can't be read"):
            account = self._holder(wanted, READ_BACK)
            found = None if account is None else lookup.by_id(self._transport, account.id, patience=READ_BACK)
        if found is None:
            return None
        same_name = identity_key(found.account.user_name) == wanted.user_name_key
        foreign = found.account.okta_id is not None and found.account.okta_id != wanted.okta_id
        return found if same_name and not foreign else None

    def _holder(self, wanted: DirectoryUser, patience: float) -> RemoteAccount | None:
        """By externalId, then by userName."""
        account = self._finder.by_okta_id(wanted.okta_id, patience=patience, at_most=0) if wanted.okta_id else None
        return account or self._finder.by_user_name(wanted.user_name, patience=patience, at_most=0)

    def _check_taken(self, answer: RemoteAnswer, wanted: DirectoryUser, patience: float) -> None:
        """A 409 that is what it says: a search shows somebody who has the externalId or the userName by now."""
        try:
            taken = self._holder(wanted, patience) is not None
        except (DirectoryUnavailable, Unreadable):
            return
        if taken:
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


@contextmanager
def _reading_back(otherwise: str | AnswerLost) -> Iterator[None]:
    """What a write that was sent counts as where reading it back fails."""
    try:
        yield
    except DirectoryUnavailable as exc:
        raise (AnswerLost(f"{otherwise}: {exc.detail}") if isinstance(otherwise, str) else otherwise) from exc


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
