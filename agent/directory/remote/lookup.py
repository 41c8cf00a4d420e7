"""One account of the remote, by id, externalId or userName. Never takes the remote's word for whom it answers with.

A remote that ignores a filter answers with everybody; what doesn't have the identity asked for is dropped, and a remote
whose filter shows itself not to work, or that has none, is read whole.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import quote

import msgspec
from msgspec import Struct

from agent.directory.remote import wire
from agent.directory.remote.deadline import left
from agent.directory.remote.listing import read_page
from agent.directory.remote.transport import PATIENT, Transport
from agent.directory.remote.user_name_case import Spelling
from agent.directory.remote.wire import RemoteAccount
from agent.model.errors import UNDECODABLE, DirectoryUnavailable, Unreadable
from agent.model.users import identity_key

#: RFC 7644 §3.4.2: too many results, this filter can't be, or no filtering at all.
NO_SEARCH = (400, 403, 404, 501)


class Resource(Struct, frozen=True, kw_only=True):
    """An account with everything that the remote says about it. ``etag`` None: it has no versions."""

    account: RemoteAccount
    raw: dict[str, object]
    etag: str | None
    #: False: from a search, which may show less of it and lag behind.
    whole: bool = True


def path_of(user_id: str) -> str:
    return f"/Users/{quote(user_id, safe='')}"


def by_id(transport: Transport, user_id: str, *, patience: float = PATIENT) -> Resource | None:
    answer = transport.read(path_of(user_id), patience=patience)
    if answer.status in (404, 410):
        return None
    if answer.status != 200:
        raise _refused(transport, "a read", answer.status)
    try:
        account = wire.decode(answer.content)
    except Unreadable as exc:
        raise Unreadable(
            f"The account {user_id} of the remote OpsHelm can't be read: {exc.detail.rstrip('.')}. It is left as it is."
        ) from exc
    if account.id != user_id:
        raise DirectoryUnavailable(
            f"The remote OpsHelm at {transport.host} was asked for one account and answered with another. Nothing was changed."
        )
    return Resource(account=account, raw=answer.json(), etag=answer.etag or account.etag)


class Finder:
    """``everyone`` lists all accounts, for a remote that can't filter."""

    def __init__(self, transport: Transport, everyone: Callable[[], Iterator[list[RemoteAccount]]]) -> None:
        self._transport = transport
        self._everyone = everyone
        #: Set once the remote has shown that it ignores or refuses filters.
        self.no_filter = False
        self._spelling = Spelling(transport, everyone, partial(self._one, "userName"))

    def by_user_name(self, user_name: str, *, patience: float = PATIENT) -> RemoteAccount | None:
        """By key; a remote that minds case is asked for the text as given and for the key, and listed if both are missing."""
        key = identity_key(user_name)
        for text in dict.fromkeys((user_name, key)):
            found = self._one("userName", text, lambda a: identity_key(a.user_name) == key, patience)
            if found is not None:
                return found
        # A remote without filters was read whole just now.
        user_id = None if self.no_filter else self._spelling.find(key, patience)
        resource = None if user_id is None else by_id(self._transport, user_id, patience=patience)
        if resource is None or identity_key(resource.account.user_name) != key:
            return None
        return resource.account

    def by_okta_id(self, okta_id: str, *, patience: float = PATIENT) -> RemoteAccount | None:
        return self._one("externalId", okta_id, lambda a: a.okta_id == okta_id, patience)

    def _one(
        self, attribute: str, value: str, fits: Callable[[RemoteAccount], bool], patience: float
    ) -> RemoteAccount | None:
        if self.no_filter:
            return self._scan(fits)
        # json.dumps quotes as RFC 7644 wants it.
        params: dict[str, str | int] = {
            "filter": f"{attribute} eq {json.dumps(value, ensure_ascii=False)}",
            "startIndex": 1,
            "count": 10,
        }
        answer = self._transport.read("/Users", params, patience=patience)
        if answer.status in NO_SEARCH:
            self.no_filter = True
            return self._scan(fits)
        if answer.status != 200:
            raise _refused(self._transport, "a search", answer.status)
        try:
            chunk = read_page(answer.content)
        except UNDECODABLE as exc:
            raise DirectoryUnavailable(
                f"The remote OpsHelm at {self._transport.host} answered a search with something that is no SCIM list."
            ) from exc
        accounts = [self._decode(raw, attribute) for raw in chunk.raws]
        fitting = [account for account in accounts if fits(account)]
        if len(fitting) < len(accounts):
            self.no_filter = True
            return fitting[0] if fitting else self._scan(fits)
        return fitting[0] if fitting else None

    def _decode(self, raw: msgspec.Raw, attribute: str) -> RemoteAccount:
        try:
            return wire.decode(raw)
        except Unreadable as exc:
            user_id, login, _ = wire.rough_identity(raw)
            raise Unreadable(
                f"The account {self._transport.masked(login or user_id or '?')} of the remote OpsHelm, found by {attribute}, can't be read: {exc.detail.rstrip('.')}. "
                "It is left as it is."
            ) from exc

    def _scan(self, fits: Callable[[RemoteAccount], bool]) -> RemoteAccount | None:
        return next(filter(fits, self.everybody()), None)

    def everybody(self) -> Iterator[RemoteAccount]:
        """For want of filters, as long as somebody waits for it."""
        for page in self._everyone():
            yield from page
            if left() <= 0:
                raise DirectoryUnavailable(
                    f"The remote OpsHelm at {self._transport.host} can't search, and listing everybody took too long. "
                    "Try again later."
                )


def _refused(transport: Transport, what: str, status: int) -> DirectoryUnavailable:
    hint = " The key may lack rights there." if status == 403 else ""
    return DirectoryUnavailable(f"The remote OpsHelm at {transport.host} answered {what} with {status}.{hint}")
