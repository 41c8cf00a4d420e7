"""One account of the remote, by id, externalId or userName. Never takes the remote's word for whom it answers with.

A remote that ignores a filter answers with everybody; what doesn't have the identity asked for is dropped, and a remote
whose filter shows itself not to work, or that has none, is read whole. One that finds nobody is believed once a search has found
somebody, or where it shows nobody to try it with: some answer so to a filter that they don't know. OpsHelm's rule is that two userNames which differ in case
alone are one; a remote that compares exactly would take a second account of such a name, and is read whole at times too.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from urllib.parse import quote

import msgspec
from msgspec import Struct

from agent.directory.remote import wire
from agent.directory.remote.listing import Chunk, read_page
from agent.directory.remote.patience import PATIENT, Unusable
from agent.directory.remote.transport import Transport
from agent.directory.remote.wire import RemoteAccount
from agent.model.errors import UNDECODABLE, Unreadable
from agent.model.users import identity_key

#: Seconds for which a whole listing answers lists and searches, and finds whom the remote can't search for.
FRESH = 300.0
_SAMPLES = 20
#: RFC 7644 §3.4.2: too many results, this filter can't be, or no filtering at all.
_NO_SEARCH = (400, 403, 404, 501)


class Resource(Struct, frozen=True, kw_only=True):
    """An account with everything that the remote says about it. ``etag`` None: it has no versions."""

    account: RemoteAccount
    raw: dict[str, object]
    etag: str | None
    #: False: from a search, which may show less of it and lag behind.
    whole: bool = True


Fits = Callable[[RemoteAccount], bool]


def path_of(user_id: str) -> str:
    return f"/Users/{quote(user_id, safe='')}"


def by_id(transport: Transport, user_id: str, *, patience: float = PATIENT) -> Resource | None:
    answer = transport.read(path_of(user_id), patience=patience)
    if answer.status in (404, 410):
        return None
    if answer.status != 200:
        raise transport.refused("a read", answer)
    try:
        account = wire.decode(answer.content)
    except Unreadable as exc:
        raise Unreadable(
            f"The account {user_id} of the remote OpsHelm can't be read: {exc.detail.rstrip('.')}. It is left as it is."
        ) from exc
    if account.id != user_id:
        raise transport.unavailable("was asked for one account and answered with another", "Nothing was changed.")
    return Resource(account=account, raw=answer.json(), etag=answer.etag or account.etag)


def search(transport: Transport, attribute: str, value: str, *, patience: float = PATIENT) -> Chunk | str:
    """Whoever is answered with, or why it can't be searched by that."""
    # json.dumps quotes as RFC 7644 wants it.
    wanted = f"{attribute} eq {json.dumps(value, ensure_ascii=False)}"
    try:
        answer = transport.read("/Users", {"filter": wanted, "startIndex": 1, "count": 10}, patience=patience)
    except Unusable as exc:
        if not exc.lasting:
            raise
        return exc.problem.removeprefix("answered ")
    if answer.status in _NO_SEARCH:
        return f"{answer.status}{transport.words(answer)}"
    if answer.status != 200:
        raise transport.refused("a search", answer)
    try:
        return read_page(answer.content)
    except UNDECODABLE as exc:
        raise transport.unavailable("answered a search with something that is no SCIM list") from exc


#: Of several accounts with one userName, the one that is meant; Unreadable where nobody can tell.
Meant = Callable[[list[RemoteAccount]], RemoteAccount]
#: The id of whoever has a userName (its key) or an externalId in a listing that is no older than so many seconds.
Listed = Callable[[str, str, float], str | None]


class Finder:
    """Thread-safe."""

    def __init__(self, transport: Transport, listed: Listed, meant: Meant) -> None:
        self._transport = transport
        self._meant = meant
        self._listed = listed
        #: When the remote has shown that it can't search by an attribute.
        self._failed: dict[str, float] = {}
        #: Whether it finds whom it has by an attribute, by a userName in another case; and when that was tried.
        self._finds: dict[str, bool] = {}
        self._tried: dict[str, float] = {}

    def by_user_name(
        self, user_name: str, *, patience: float = PATIENT, at_most: float = FRESH
    ) -> RemoteAccount | None:
        """By key; a remote that minds case is asked for the text as given and for the key, and listed if both are missing.

        ``at_most``: seconds, how old a listing may be that is looked into instead.
        """
        key = identity_key(user_name)

        def fits(account: RemoteAccount) -> bool:
            return identity_key(account.user_name) == key

        return self._find("userName", [*dict.fromkeys((user_name, key))], fits, patience, at_most)

    def by_okta_id(self, okta_id: str, *, patience: float = PATIENT, at_most: float = FRESH) -> RemoteAccount | None:
        def fits(account: RemoteAccount) -> bool:
            return account.okta_id == okta_id

        found = self._find("externalId", [okta_id], fits, patience, at_most)
        if found is not None and not self._no_search("externalId"):
            self._finds.setdefault("externalId", True)
        return found

    def _find(
        self, attribute: str, texts: Sequence[str], fits: Fits, patience: float, at_most: float
    ) -> RemoteAccount | None:
        for text in texts:
            found = self._one(attribute, text, fits, patience)
            # A remote without filters was read whole just now.
            if found is not None or self._no_search(attribute):
                return found
        if self._misses(attribute, patience) or self._no_search(attribute):
            return self._scan(attribute, texts[0], fits, patience, at_most)
        return None

    def _one(self, attribute: str, value: str, fits: Fits, patience: float) -> RemoteAccount | None:
        if self._no_search(attribute):
            return self._scan(attribute, value, fits, patience)
        chunk = search(self._transport, attribute, value, patience=patience)
        if isinstance(chunk, str):
            self._failed[attribute] = time.monotonic()
            return self._scan(attribute, value, fits, patience)
        accounts = [self._decode(raw, attribute) for raw in chunk.raws]
        fitting = [account for account in accounts if fits(account)]
        if fitting:
            if len(fitting) < len(accounts):
                self._failed[attribute] = time.monotonic()
            several = attribute == "userName" and len({account.id for account in fitting}) > 1
            return self._meant(fitting) if several else fitting[0]
        if accounts:
            self._failed[attribute] = time.monotonic()
            return self._scan(attribute, value, fits, patience)
        return None

    def _no_search(self, attribute: str) -> bool:
        """Asked again after a while: it may have been a bad moment of the remote's."""
        return time.monotonic() - self._failed.get(attribute, -math.inf) < FRESH

    def _scan(
        self, attribute: str, value: str, fits: Fits, patience: float, at_most: float = 0.0
    ) -> RemoteAccount | None:
        user_id = self._listed(attribute, identity_key(value) if attribute == "userName" else value, at_most)
        resource = None if user_id is None else by_id(self._transport, user_id, patience=patience)
        return resource.account if resource is not None and fits(resource.account) else None

    def _misses(self, attribute: str, patience: float) -> bool:
        """Whether it doesn't find whom it has: tried until that is known; at times, where of those who are shown nobody is one to try
        it with.
        """
        if attribute not in self._finds and time.monotonic() - self._tried.get(attribute, -math.inf) >= FRESH:
            samples = self._samples(patience)
            values = ((_known_by(attribute, one), one.id) for one in samples)
            value, user_id = next(((value, user_id) for value, user_id in values if value), ("", ""))
            if value:
                found = self._one(attribute, value, lambda account: account.id == user_id, patience)
                if not self._no_search(attribute):
                    self._finds[attribute] = found is not None
            elif samples:
                self._tried[attribute] = time.monotonic()
        return self._finds.get(attribute) is False

    def _samples(self, patience: float) -> list[RemoteAccount]:
        """A few accounts that can be read; none where there is nobody yet to try something with."""
        answer = self._transport.read("/Users", {"startIndex": 1, "count": _SAMPLES}, patience=patience)
        with suppress(*UNDECODABLE):
            return [*read_page(answer.content).accounts()]
        return []

    def _decode(self, raw: msgspec.Raw, attribute: str) -> RemoteAccount:
        try:
            return wire.decode(raw)
        except Unreadable as exc:
            user_id, login, _ = wire.rough_identity(raw)
            raise Unreadable(
                f"The account {self._transport.masked(login or user_id or '?')} of the remote OpsHelm, found by {attribute}, can't be read: {exc.detail.rstrip('.')}. "
                "It is left as it is."
            ) from exc


def _known_by(attribute: str, account: RemoteAccount) -> str | None:
    """What it should be found by: its externalId, or its userName in another case."""
    if attribute == "externalId":
        return account.okta_id
    name, other = account.user_name, account.user_name.swapcase()
    return other if other != name and identity_key(other) == identity_key(name) else None
