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
from typing import Any, NamedTuple

import structlog

from agent.directory import guarded
from agent.directory.remote import change, lookup, wire
from agent.directory.remote.keeps import Keeps
from agent.directory.remote.ledger import Moved
from agent.directory.remote.lookup import Finder, Resource
from agent.directory.remote.mirror import Marks, join, same
from agent.directory.remote.patience import Lost, Pace
from agent.directory.remote.provider import Provider
from agent.directory.remote.transport import LONGEST_WORDS, RemoteAnswer, Transport
from agent.directory.remote.wire import RemoteAccount
from agent.model.codes import RefusalCode
from agent.model.errors import AnswerLost, DirectoryUnavailable, NotDone, NotFound, Refused, RemoteRefused, Unreadable
from agent.model.users import DirectoryUser, Role, identity_key
from agent.store.engine import crash_point

log = structlog.get_logger("agent.directory.remote")

#: How long a lost answer is read back for whoever waits.
READ_BACK = 30.0


class Aim(NamedTuple):
    """One call: what an account is to become, as it is and as ``change.plain`` gives it. ``last_look`` may stop it right before it."""

    wanted: DirectoryUser
    #: None: it is to be made.
    resource: Resource | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any]
    patience: float
    last_look: Callable[[], None]
    #: Somebody waits for an answer: name and switch decide.
    pushed: bool


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

    def carry_out(self, aim: Aim) -> Resource:
        """The account as it is afterwards; where it raises AnswerLost nobody knows."""
        user_id = aim.wanted.id
        if aim.before != aim.after:
            crash_point("call.intended")
            answer = self._answered(aim)
            if isinstance(answer, Resource):
                return answer
            self._check(answer)
            crash_point("call.answered")
            if aim.resource is None:
                user_id, *_ = wire.rough_identity(answer.content)
            elif not aim.resource.whole and (shown := _shown(answer)) and _proves(shown, aim.resource, aim.wanted):
                return shown
        return self._confirmed(aim, user_id)

    # Sending

    @property
    def has_versions(self) -> bool:
        """It says that it refuses what is out of date."""
        return self._provider().etag

    @property
    def patches(self) -> bool:
        """As far as is known."""
        return not self.no_patch and self._provider().patch

    def _answered(self, aim: Aim) -> RemoteAnswer | Resource:
        """The remote's answer, or the account where a look shows it done without one."""
        tries, limit = self._transport.tries(), min(aim.patience, self._transport.most_patience)
        lost: Lost | None = None
        idle = 0
        while True:
            try:
                answer = self._send(aim._replace(patience=max(0.0, limit - tries.seconds)) if lost else aim)
            except Lost as again:
                lost = again
            except DirectoryUnavailable:
                if lost is not None:
                    # This one was not sent, but the one before may still arrive.
                    raise lost from None
                raise
            else:
                return self._taken(aim, answer, again=lost is not None) if answer.status == 409 else answer
            found = self._look(aim, lost)
            if found is not None:
                if aim.resource is None or not change.missing(aim.before, aim.after, found.account):
                    return found
                aim = aim._replace(resource=found)
                # Some fail at each PATCH of a form that they don't know.
                self.no_patch = self.no_patch or (lost.failed and not self.has_patched)
            # One that is busy gets it as long as patience lasts, any other once more; with a pause, since what several calls at
            # once brought about they would bring about again.
            idle += not lost.busy
            if idle > 1 or not tries.again(lost.detail, lost.after, limit):
                times = {1: "once", 2: "twice"}.get(tries.made, f"{tries.made} times")
                shown = "A search shows no such account" if found is None else "A read shows that it did not"
                raise NotDone(f"{lost.detail} {shown}, {times}.") from lost

    def _look(self, aim: Aim, lost: Lost) -> Resource | None:
        """After no answer; None: it is still to be made."""
        if aim.resource is None:
            return self.find_created(aim.wanted, lost)
        with _reading_back(lost):
            return self._read(aim.wanted.id)

    def _send(self, aim: Aim) -> RemoteAnswer:
        resource = aim.resource
        if resource is None:
            body = change.creation(aim.wanted)
            return self._transport.write("POST", "/Users", body, patience=aim.patience, last_look=aim.last_look)
        path = lookup.path_of(resource.account.id)
        wanted = change.overlay(resource.raw, aim.before or {}, aim.after)
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

    def _confirmed(self, aim: Aim, user_id: str) -> Resource:
        """After a yes: the account as a read shows it, changed but for what the remote doesn't keep. ``user_id`` "": not said."""
        before, after, what = aim.before, change.kept(aim.after), "change" if aim.resource else "account"
        found = None
        # As soon as a read shows the change, or once the remote had its time.
        for pause in self.pace.lag:
            time.sleep(pause)
            with _reading_back(f"The {what} was {'sent' if aim.resource else 'made'}, and reading it back failed"):
                seen = self._read(user_id) if aim.resource else self._made(aim.wanted, user_id)
            found = seen or found
            if found is not None and not change.missing(before, after, found.account):
                break
        if found is None:
            raise self._not_done("account, but it can't be found there")
        if change.missing(before, after, found.account):
            # Another process that has ended this call may have written since, which tells nothing of what the remote keeps.
            with _reading_back(f"The {what} was {'sent' if aim.resource else 'made'}"):
                aim.last_look()
        now, came = change.plain_account(found.account), aim.resource is None or _written_since(aim.resource, found)
        missing = self.keeps.unmet(before, after, now, came=came, directory_id=found.account.id)
        if not missing or aim.resource is None or before is None:
            return found
        nothing_came = missing == change.unfulfilled(before, after, before)
        if aim.pushed and not nothing_came and not change.unfulfilled(before, after, now, essential=True):
            # Of a pushed change it may drop parts, but neither name nor switch, nor all.
            log.warning(
                "remote OpsHelm: part of a pushed change was not kept there", directory_id=user_id, attributes=missing
            )
            return found
        raise self._not_done(f"change, but a read shows the old {', '.join(missing)}")

    def _not_done(self, what: str) -> NotDone:
        host = self._transport.host
        return NotDone(f"The remote OpsHelm at {host} said that it had made the {what}. The change counts as failed.")

    def _read(self, user_id: str) -> Resource:
        found = lookup.by_id(self._transport, user_id, patience=READ_BACK)
        if found is None:
            raise NotFound("There is no such user.")
        return found

    def _made(self, wanted: DirectoryUser, user_id: str) -> Resource | None:
        return lookup.by_id(self._transport, user_id, patience=READ_BACK) if user_id else self.find_created(wanted)

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

    def _taken(self, aim: Aim, answer: RemoteAnswer, *, again: bool) -> RemoteAnswer | Resource:
        """A 409; Refused, where it is what it says of a create: somebody has the externalId or the userName by now."""
        if aim.resource is not None:
            return answer
        # The first sending may have arrived after all, behind our look.
        found = self.find_created(aim.wanted) if again else None
        if found is not None:
            return found
        try:
            taken = self._holder(aim.wanted, aim.patience) is not None
        except (DirectoryUnavailable, Unreadable):
            return answer
        if taken:
            text = self._said(answer.words)
            raise Refused(RefusalCode.UNIQUENESS, text or guarded.name_taken(aim.wanted.user_name).detail)
        return answer

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
        # Masked first: half a key would not be found any more.
        return self._transport.masked(value)[:LONGEST_WORDS] if isinstance(value, str) and value else None


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


def _proves(shown: Resource, resource: Resource, wanted: DirectoryUser) -> bool:
    """The answer shows a new version of the account, and in it exactly what was wanted."""
    if shown.etag in (None, "", resource.etag) or shown.account.id != wanted.id:
        return False
    marks = Marks.of(wanted, detached=False)
    owner = () if wanted.role is Role.MEMBER else (wanted.user_name_key,)
    return same(join(shown.account, marks, owner), wanted)


def _shown(answer: RemoteAnswer) -> Resource | None:
    try:
        account = wire.decode(answer.content)
    except Unreadable:
        return None
    said = answer.json()
    # Left out it would be taken for true.
    return Resource(account=account, raw=said, etag=answer.etag or account.etag) if "active" in said else None
