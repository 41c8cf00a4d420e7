"""Several accounts by id with one call, where the remote's search can do that. Whoever isn't among the answers is read alone.

Worth a call only while it saves some: a remote that refuses such a filter or ignores it isn't asked again, and one that took
long over it or gave no good answer not for a while. What comes may lag behind a read by id, and may show less of an account;
what it is good for is agent.directory.remote.wave's to say.
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import msgspec
import structlog

from agent.directory.remote import lookup, wire
from agent.directory.remote.listing import read_page
from agent.directory.remote.lookup import Resource
from agent.directory.remote.provider import Provider
from agent.directory.remote.transport import HURRIED, RemoteAnswer, Transport
from agent.model.errors import UNDECODABLE, DirectoryUnavailable, Unreadable

#: Bytes of a filter; many servers take addresses of 8 kB, and this agent filters of 2 kB.
LONGEST = 1900

log = structlog.get_logger("agent.directory.remote")


class BatchRead:
    """Thread-safe."""

    def __init__(self, transport: Transport, provider: Callable[[], Provider]) -> None:
        self._transport = transport
        self._provider = provider
        self._resting_until = 0.0
        self._slow = 0

    def __call__(self, user_ids: Sequence[str]) -> dict[str, Resource]:
        """By id; perhaps not all of them, perhaps none. Raises nothing of the remote's."""
        found: dict[str, Resource] = {}
        for some in filters(user_ids):
            if len(some) > 1 and time.monotonic() >= self._resting_until:
                found |= self._read(some)
        return found

    def _read(self, terms: dict[str, str]) -> dict[str, Resource]:
        params: dict[str, str | int] = {"filter": " or ".join(terms.values()), "startIndex": 1, "count": len(terms)}
        waited, began = self._transport.budget.waited, time.monotonic()
        try:
            if not self._provider().filter:
                return {}
            answer = self._transport.read("/Users", params, patience=HURRIED, with_nonsense=0.0)
        except DirectoryUnavailable:
            # Reading them one by one tells what is wrong.
            self.rest("no good answer")
            return {}
        took = time.monotonic() - began - (self._transport.budget.waited - waited)
        accounts = _accounts(answer)
        found = {one.account.id: one for one in accounts if one.account.id in terms}
        if answer.status in lookup.NO_SEARCH or len(found) < len(accounts):
            self.rest("a search for several isn't answered with these", math.inf)
            return {}
        if not found:
            self.rest(f"a search for {len(terms)} was answered {answer.status} and with nobody")
        self._slow = self._slow + 1 if took > self._transport.pace.slow else 0
        if self._slow == 2:
            self._slow = 0
            self.rest(f"two searches took long, the last one {took:.1f} s")
        return found

    def rest(self, why: str, seconds: float | None = None) -> None:
        """Answer nothing for that long; by default for ``Pace.rest``."""
        now = time.monotonic()
        if now >= self._resting_until:
            log.info("remote OpsHelm: accounts are read one by one", why=why)
        self._resting_until = now + (self._transport.pace.rest if seconds is None else seconds)


def _accounts(answer: RemoteAnswer) -> list[Resource]:
    """Those that can be read."""
    if answer.status != 200:
        return []
    try:
        page = read_page(answer.content)
    except UNDECODABLE:
        return []
    found: list[Resource] = []
    for raw in page.raws:
        with suppress(Unreadable, *UNDECODABLE):
            account, said = wire.decode(raw, nul=page.nul), msgspec.json.decode(raw)
            # Left out it would be taken for true.
            if "active" in said:
                found.append(Resource(account=account, raw=said, etag=account.etag, whole=False))
    return found


def filters(user_ids: Sequence[str]) -> Iterator[dict[str, str]]:
    """Term by id, as many together as make no filter too long."""
    some: dict[str, str] = {}
    size = 0
    for user_id in user_ids:
        # json.dumps quotes as RFC 7644 wants it.
        term = f"id eq {json.dumps(user_id, ensure_ascii=False)}"
        length = len(term.encode(errors="replace"))
        if some and size + length > LONGEST:
            yield some
            some, size = {}, 0
        some[user_id] = term
        size += length + len(" or ")
    if some:
        yield some
