"""Everybody at the remote, page by page. Trusts a listing no further than it agrees with itself; changes nothing.

=========================================================  =====================================================
what a listing shows                                       then
=========================================================  =====================================================
pages shorter or longer than asked for                     go on behind what came
an account that came already                               left out, reported
an account that can't be read                              left out, reported; its page counts
a page without any new account, a cursor that came before  ListingUnreliable
``totalResults`` gets smaller                              ListingUnreliable
it ends before ``totalResults`` accounts have come         ListingUnreliable
more have come, or a page behind the end brings new ones   ListingUnreliable
more pages or accounts than can be                         ListingUnreliable
=========================================================  =====================================================

Index paging reads pages ahead in parallel as long as they have the first one's length, and one after the other from where
that ends. Cursor paging (RFC 9865) goes one page at a time.
"""

import json
import zlib
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from agent.directory.remote import wire
from agent.directory.remote.provider import Provider
from agent.directory.remote.transport import Transport
from agent.directory.remote.wire import Problem, RemoteAccount
from agent.model.errors import UNDECODABLE, ListingUnreliable, Unreadable
from agent.model.structs import decoder
from agent.model.users import identity_key

#: More accounts than any OpsHelm has; a server that never ends ends here.
MAX_ACCOUNTS = 5_000_000
#: Accounts that are decoded before they are worked on: as many as the processor's own cache holds.
AT_ONCE = 100
#: What is asked for once more where a larger page is refused.
_MODEST = 100

_top = decoder(dict[str, msgspec.Raw])
_list = decoder(list[msgspec.Raw] | None)
_any = msgspec.json.Decoder().decode


class _Id(Struct):
    id: str | int


_ids = decoder(list[_Id])


class Chunk(Struct, frozen=True, kw_only=True):
    """One page as it came. ``total`` None: not said (cursor paging may leave it out)."""

    total: int | None
    raws: Sequence[msgspec.Raw]
    next_cursor: str | None = None

    @property
    def ids(self) -> list[str]:
        """As they came; "" of one that has none."""
        try:
            return [str(one.id) for one in _ids(b"[%b]" % b",".join(self.raws))]
        except UNDECODABLE:
            return [wire.rough_identity(raw)[0] for raw in self.raws]

    @property
    def whole(self) -> bool:
        """It holds everybody, as the remote counts."""
        return self.total is not None and len(set(self.ids)) >= self.total

    def accounts(self) -> Iterator[RemoteAccount]:
        """Those that can be read."""
        for raw in self.raws:
            with suppress(Unreadable):
                yield wire.decode(raw)


#: An account, and the digest of what was shown of it.
Listed = tuple[RemoteAccount, int]


class Listing:
    """One listing; iterate it once. ``problems`` is complete when the iteration has ended."""

    def __init__(
        self,
        transport: Transport,
        provider: Provider,
        executor: Executor,
        *,
        page_size: int,
        ahead: int,
        before: Mapping[str, int],
    ) -> None:
        """``before``: by account, the digest of what was shown of it; who is shown so again needs no look."""
        self._transport = transport
        self._provider = provider
        self._executor = executor
        self._size = provider.page_size(page_size)
        self._ahead = ahead
        #: Ids that were listed.
        self.seen = set[str]()
        self._total = 0
        self.received = 0
        self._before = before
        self.problems: list[Problem] = []
        self._unreadable = 0

    def __iter__(self) -> Iterator[list[Listed]]:
        """Whoever has to be looked at: ``AT_ONCE`` at most, and nobody where a page shows all as before."""
        chunks = self._by_cursor() if self._provider.cursor else self._by_index()
        for chunk in chunks:
            yield from self._accept(chunk)
        have = len(self.seen) + self._unreadable
        if have < self._total:
            raise self.unreliable(f"ended after {have} of {self._total} accounts")

    # Pages

    def _by_cursor(self) -> Iterator[Chunk]:
        cursor, used = "", set[str]()
        while True:
            chunk = self._page({"cursor": cursor, "count": self._size})
            yield chunk
            if chunk.next_cursor is None:
                return
            if chunk.next_cursor in used or not chunk.raws:
                raise self.unreliable("goes round in a circle: a cursor came twice, or with an empty page")
            used.add(chunk.next_cursor)
            cursor = chunk.next_cursor

    def _by_index(self) -> Iterator[Chunk]:
        first = self._at(1)
        yield first
        length = len(first.raws)
        if length == 0:
            return
        counted = first.total is not None
        if counted and self.received < self._total:
            yield from self._read_ahead(length)
        # Without a total only an empty page is the end.
        while not counted or self.received < self._total:
            chunk = self._at(self.received + 1)
            if not chunk.raws:
                return
            yield chunk
        while (more := self._behind_the_end()) is not None:
            yield more

    def _behind_the_end(self) -> Chunk | None:
        """Whoever was added meanwhile. A total may also be that of the page alone; then the next ones would look absent."""
        answer = self._transport.read("/Users", {"startIndex": self.received + 1, "count": self._size})
        if answer.status != 200:
            return None
        try:
            chunk = read_page(answer.content)
        except UNDECODABLE:
            return None
        # One that ignores where to start answers with those that came already.
        if self.seen.issuperset(chunk.ids):
            return None
        if chunk.total is None or chunk.total <= self._total:
            raise self.unreliable(f"goes on behind the {self._total} accounts that it says there are")
        return chunk

    def _read_ahead(self, length: int) -> Iterator[Chunk]:
        """Pages of equal length, several at a time; ends behind the first one of another length."""
        starts = iter(range(1 + length, self._total + 1, length))
        waiting: deque[Future[Chunk]] = deque()
        try:
            while True:
                while len(waiting) < self._ahead and (start := next(starts, None)) is not None:
                    waiting.append(self._executor.submit(self._at, start))
                if not waiting:
                    return
                chunk = waiting.popleft().result()
                yield chunk
                if len(chunk.raws) != length:
                    return
        finally:
            for future in waiting:
                future.cancel()

    def _at(self, start: int) -> Chunk:
        return self._page({"startIndex": start, "count": self._size})

    def _page(self, params: dict[str, str | int]) -> Chunk:
        answer = self._transport.read("/Users", params)
        if answer.status == 400 and self._size > _MODEST and self.received == 0 and not params.get("cursor"):
            # Not every remote that refuses large pages says so beforehand.
            self._size = _MODEST
            return self._page({**params, "count": _MODEST})
        if answer.status == 400 and "cursor" in params:
            raise self.unreliable("lost its place: the remote no longer takes its own cursor")
        if answer.status != 200:
            raise self._transport.refused("a listing", answer)
        try:
            return read_page(answer.content)
        except UNDECODABLE as exc:
            raise self.unreliable("holds a page that is no SCIM list") from exc

    # Accounts

    def _accept(self, chunk: Chunk) -> Iterator[list[Listed]]:
        if chunk.total is not None:
            if chunk.total < self._total:
                raise self.unreliable(f"shrank from {self._total} to {chunk.total} accounts while it was read")
            self._total = chunk.total
        self.received += len(chunk.raws)
        if self.received > MAX_ACCOUNTS:
            raise self.unreliable(f"has more than {MAX_ACCOUNTS} accounts, or no end")
        before = len(self.seen) + self._unreadable
        new = self._new(chunk)
        for start in range(0, len(new) or 1, AT_ONCE):
            some = new[start : start + AT_ONCE]
            yield [(account, digest) for raw, digest in some if (account := self._decode(raw)) is not None]
        if chunk.raws and len(self.seen) + self._unreadable == before:
            raise self.unreliable("repeats a page: the remote does not page as SCIM says")
        have = len(self.seen) + self._unreadable
        if chunk.total is not None and have > chunk.total:
            raise self.unreliable(f"says that there are {chunk.total} accounts, and shows {have}")

    def _new(self, chunk: Chunk) -> list[tuple[msgspec.Raw, int]]:
        """Of a page, whoever has to be looked at."""
        shown = list(zip(chunk.raws, map(_digest, chunk.raws), chunk.ids, strict=True))
        first = {user_id: digest for _, digest, user_id in reversed(shown) if user_id and user_id not in self.seen}
        known = {user_id for user_id, digest in first.items() if self._before.get(user_id) == digest}
        self.seen |= known
        if len(known) == len(chunk.raws):
            return []
        new = []
        for raw, digest, user_id in shown:
            if user_id in known:
                # Should the page hold it twice, the second one is a duplicate.
                known.discard(user_id)
            else:
                new.append((raw, digest))
        return new

    def _decode(self, raw: msgspec.Raw) -> RemoteAccount | None:
        try:
            account = wire.decode(raw)
        except Unreadable as exc:
            user_id, login, okta_id = wire.rough_identity(raw)
            if user_id and user_id in self.seen:
                return None
            if user_id:
                self.seen.add(user_id)
            else:
                self._unreadable += 1
            masked = self._transport.masked
            self.problems.append(Problem(id=user_id, login=masked(login), detail=masked(exc.detail), okta_id=okta_id))
            return None
        if account.id in self.seen:
            detail = "the remote listed this account twice"
            self.problems.append(Problem(id=account.id, login=account.user_name, detail=detail, duplicate=True))
            return None
        self.seen.add(account.id)
        return account

    def unreliable(self, problem: str) -> ListingUnreliable:
        return ListingUnreliable(
            f"The listing of the remote OpsHelm at {self._transport.host} {problem}. Nothing was changed by it."
        )


class Unread:
    """Whose account is at the remote but can't be read, as a whole listing showed: nobody of these is made anew.

    A person is known by whatever can still be told: the account's id, the Okta id that is linked to it, its externalId or its
    userName.
    """

    def __init__(self, problems: Collection[Problem], linked: Mapping[str, str]) -> None:
        """``linked``: account → Okta id, as the store has them; that wins over what the remote keeps."""
        self._by_id = {problem.id: problem for problem in problems if problem.id}
        self._by_name = {identity_key(problem.login): problem for problem in problems if problem.login}
        self._by_okta_id = {
            okta_id: problem for problem in problems if (okta_id := linked.get(problem.id) or problem.okta_id)
        }

    def is_shared(self, user_name_key: str) -> bool:
        """Whether several accounts have this userName, and nobody can tell whose it is."""
        problem = self._by_name.get(user_name_key)
        return problem is not None and problem.shared

    def of(self, *, user_name: str, okta_id: str | None, directory_id: str | None = None) -> Problem | None:
        """The account that may be this person's. ``directory_id``: the one that Okta's app user names."""
        return (
            self._by_okta_id.get(okta_id or "")
            or self._by_name.get(identity_key(user_name))
            or self._by_id.get(directory_id or "")
        )


def _digest(raw: msgspec.Raw) -> int:
    return zlib.crc32(raw) ^ zlib.adler32(raw) << 31


def read_page(content: bytes) -> Chunk:
    """Top-level names in any case, counts as numbers or text."""
    try:
        names = {key.lower(): raw for key, raw in _top(content).items()}
        raws = _list(names["resources"]) or [] if "resources" in names else []
    except UNDECODABLE:
        names, raws = _apart(content)
    total = _count(names.get("totalresults"))
    if total is None and "nextcursor" not in names and "resources" not in names:
        raise msgspec.DecodeError("neither Resources nor totalResults")
    cursor = _any(names["nextcursor"]) if "nextcursor" in names else None
    if isinstance(cursor, int) and not isinstance(cursor, bool):
        cursor = str(cursor)
    return Chunk(total=total, raws=raws, next_cursor=cursor if isinstance(cursor, str) and cursor else None)


def _apart(content: bytes) -> tuple[dict[str, msgspec.Raw], list[msgspec.Raw]]:
    """A page that the text of one account spoils, in parts, so that it is that account alone which can't be read."""
    value = wire.loosely(content)
    names = {key.lower(): item for key, item in value.items()} if isinstance(value, dict) else {}
    accounts = names.get("resources") or []
    if not names or not isinstance(accounts, list):
        raise msgspec.DecodeError("no SCIM list")
    parts = {name: _raw([] if name == "resources" else item) for name, item in names.items()}
    return parts, [_raw(one) for one in accounts]


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def _count(raw: Any) -> int | None:
    return None if raw is None else wire.number(_any(raw))
