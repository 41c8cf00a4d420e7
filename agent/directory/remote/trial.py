"""What sweeps and pushes ask of a remote, tried once for ``check``: pages, a page behind the end, searches, reads. Only reads.

==========================================  ===================  =====================================================
the remote                                  all in one answer    more accounts than come in one answer
==========================================  ===================  =====================================================
ignores startIndex, or has no order         told                 fails: no listing can be whole
ends early, goes on behind its own total    fails                fails
leaves out who is there, as a read shows    told; with many      told by runs
                                            fails
ignores count                               told                 told: the listing goes on behind what came
searches: ignores, refuses or fails at them told: everybody is listed to find one
finds nobody by a userName that it has      fails: a push takes the person for a new one
finds nobody by an externalId that it has   told
has no answer to any of these (5xx)         fails
==========================================  ===================  =====================================================
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from uuid import UUID, uuid4

from agent.directory.port import Shortfall
from agent.directory.remote import lookup
from agent.directory.remote.listing import Chunk, read_page
from agent.directory.remote.provider import Provider, Shape
from agent.directory.remote.reader import sample
from agent.directory.remote.transport import SET_ADDRESS, RemoteAnswer, Transport
from agent.directory.remote.wire import RemoteAccount
from agent.model.errors import UNDECODABLE, DirectoryUnavailable

#: With fewer nothing shows whether a second page is one.
_ENOUGH = 2
_AGAIN = "run check again after the first run"
_PAGING = "ask whoever runs the remote for the paging of RFC 7644, section 3.4.2.4"
_FILTERS = "ask whoever runs the remote for the filters of RFC 7644, section 3.4.2.2"
_LISTS_ALL = "to find one person the agent lists everybody, which is slow"
_NOBODY = "nobody@check.invalid"


class Trial:
    """``shortfalls`` raises DirectoryUnavailable where not even one page comes; ``accounts`` is known afterwards."""

    def __init__(
        self,
        transport: Transport,
        provider: Provider,
        page_size: int,
        in_use: Callable[[Collection[str]], Sequence[str]],
    ) -> None:
        """``in_use``: active accounts of Okta's people but for these."""
        self._transport, self._by_cursor, self._in_use = transport, provider.cursor, in_use
        self._size = provider.page_size(page_size)
        self.accounts = 0

    def shortfalls(self) -> Iterator[Shortfall]:
        first = self._page(1, self._size)
        self.accounts = max(first.total or 0, len(first.ids))
        for tried in (self._paging, self._searches, self._reads):
            try:
                yield from tried(first)
            except DirectoryUnavailable as exc:
                problem, _, fix = exc.detail.partition(". ")
                yield Shortfall(
                    line="listing" if tried == self._paging else "search", detail=problem, fix=fix, fails=True
                )

    # Pages

    def _paging(self, first: Chunk) -> Iterator[Shortfall]:
        if len(first.ids) < _ENOUGH:
            told = self._few(first)
        else:
            told = self._cursors(first) if self._by_cursor else self._places(first)
        for one in told:
            yield one
            if one.fails:
                return
        if not self._by_cursor:
            yield from self._end(first)
        if first.whole:
            yield from self._left_out(self._in_use(set(first.ids)))

    def _left_out(self, unseen: Sequence[str]) -> Iterator[Shortfall]:
        if not any(self._transport.read(lookup.path_of(one)).status == 200 for one in sample(unseen)):
            return
        many = len(unseen) > self._transport.pace.one_by_one
        what = f"leaves out active accounts of Okta's people ({len(unseen)}), and a read by id finds one of them"
        if many:
            yield _page(what)
        else:
            yield Shortfall(line="listing", detail=f"{what}: each run reads these one by one", fix=_PAGING)

    def _few(self, first: Chunk) -> Iterator[Shortfall]:
        if first.total and first.total > len(first.ids):
            yield _page(f"shows {len(first.ids)} of {first.total} accounts on its first page")
        else:
            who = "one account is there" if first.ids else "nobody is there yet"
            yield Shortfall(line="listing", detail=f"{who}: whether it pages can't be told yet", fix=_AGAIN)

    def _places(self, first: Chunk) -> Iterator[Shortfall]:
        second = self._page(2, 2)
        if second.ids[:1] != first.ids[1:2]:
            if not second.ids:
                what = "shows nobody at startIndex 2"
            elif second.ids[0] == first.ids[0]:
                what = "ignores startIndex: every page is the first one"
            else:
                what = "shows other accounts at the same startIndex each time"
            yield self._unless_whole(what, first)
        elif len(second.ids) > 2:
            yield Shortfall(line="listing", detail="ignores count; the agent goes on behind what came", fix=_COPES)
        if second.total != first.total:
            yield self._unless_whole(f"says that there are {first.total} accounts, and then {second.total}", first)

    def _cursors(self, first: Chunk) -> Iterator[Shortfall]:
        begin = self._page(1, 1)
        if begin.whole:
            yield Shortfall(line="listing", detail="ignores count; the agent goes on behind what came", fix=_COPES)
        elif begin.next_cursor is None:
            yield self._unless_whole("announces paging by cursor, and gives none", first)
        elif not set(self._page(1, 1, begin.next_cursor).ids) - set(begin.ids):
            yield self._unless_whole("goes round in a circle: the second page is the first one", first)

    def _end(self, first: Chunk) -> Iterator[Shortfall]:
        """As a listing goes on: the next page, the last account, and a page behind it."""
        known, total = set(first.ids), first.total
        if not first.whole and (first.ids or total is None):
            behind = self._page(len(first.ids) + 1, self._size).ids
            if behind and not set(behind) - known:
                yield _page("repeats its first page")
            elif total is not None and not (behind and self._page(total, 1).ids):
                yield _page(f"ends before the last of {total} accounts")
            return
        last = self._ask({"startIndex": (total or 0) + 1, "count": self._size})
        if last.status == 200 and set(self._read(last).ids) - known:
            yield _page(f"goes on behind the {total} accounts that it says there are")

    def _unless_whole(self, what: str, first: Chunk) -> Shortfall:
        if not first.whole:
            return _page(f"{what}, and that shows {len(first.ids)} of {first.total or 'all'} accounts")
        return Shortfall(
            line="listing",
            detail=f"{what}; a sweep works as long as all accounts come in one answer, as these {len(first.ids)} do",
            fix=_PAGING,
        )

    # Searches

    def _searches(self, first: Chunk) -> Iterator[Shortfall]:
        sample = next(first.accounts(), None)
        if sample is None:
            return
        by_name = self._searched("userName", sample.user_name, sample.id)
        if by_name is not None:
            yield by_name
        elif isinstance(nobody := lookup.search(self._transport, "userName", _NOBODY), str):
            yield _search(f"refuses a search that finds nobody ({nobody}): {_LISTS_ALL}")
        elif nobody.ids:
            yield _search(f"answers with somebody where nobody has the userName: {_LISTS_ALL}")
        else:
            yield from self._other_searches(first, sample)

    def _other_searches(self, first: Chunk, sample: RemoteAccount) -> Iterator[Shortfall]:
        other = sample.user_name.swapcase()
        if other != sample.user_name and not self._found(other, sample.id):
            yield _search(
                "minds the case of userNames: where nobody is found everybody is listed, once in five minutes at most"
            )
        for linked in first.accounts():
            if linked.okta_id is not None:
                by_okta_id = self._searched("externalId", linked.okta_id, linked.id)
                if by_okta_id is not None:
                    yield by_okta_id
                return

    def _searched(self, attribute: str, value: str, user_id: str) -> Shortfall | None:
        found = lookup.search(self._transport, attribute, value)
        if isinstance(found, str):
            return _search(f"refuses to search by {attribute} ({found}): {_LISTS_ALL}")
        if found.ids == [user_id]:
            return None
        if found.ids:
            return _search(f"ignores a search by {attribute}: {_LISTS_ALL}")
        what = f"finds nobody by the {attribute} of an account that it lists"
        if attribute == "userName":
            return _search(f"{what}: Okta's pushes make second accounts, or are refused", fails=True)
        return _search(f"{what}: whose link the agent's database has lost is found by userName alone")

    def _found(self, user_name: str, user_id: str) -> bool:
        found = lookup.search(self._transport, "userName", user_name)
        return not isinstance(found, str) and user_id in found.ids

    # Reads

    def _reads(self, first: Chunk) -> Iterator[Shortfall]:
        sample = next(first.accounts(), None)
        if sample is None:
            return
        if lookup.by_id(self._transport, sample.id) is None:
            detail = "has no account of an id that it lists (404): nothing can be changed there"
            yield Shortfall(line="search", detail=detail, fix="check directory.base_url", fails=True)
            return
        answer = self._transport.read(lookup.path_of(_nobody_like(sample.id)))
        if answer.status == 200:
            yield _search(
                "answers with somebody where nobody has the id: who was deleted there isn't missed", fails=True
            )

    # Calls

    def _page(self, start: int, count: int, cursor: str | None = None) -> Chunk:
        place: dict[str, str | int] = {"cursor": cursor or ""} if self._by_cursor else {"startIndex": start}
        return self._read(self._ask({**place, "count": count}))

    def _ask(self, params: dict[str, str | int]) -> RemoteAnswer:
        return self._transport.read("/Users", params)

    def _read(self, answer: RemoteAnswer) -> Chunk:
        if answer.status != 200:
            raise self._transport.refused("a list", answer, _PAGING)
        try:
            return read_page(answer.content)
        except UNDECODABLE as exc:
            raise self._transport.unavailable("answers, but not with a SCIM list of accounts", SET_ADDRESS) from exc


_COPES = "nothing has to be done; the agent copes"


def _page(what: str) -> Shortfall:
    return Shortfall(
        line="listing", detail=f"{what}: no sweep can be whole, and none changes anything", fix=_PAGING, fails=True
    )


def _search(what: str, *, fails: bool = False) -> Shortfall:
    return Shortfall(line="search", detail=what, fix=_FILTERS, fails=fails)


def unchangeable(shape: Shape) -> Iterator[Shortfall]:
    """What its Schemas say that nobody can change over SCIM, and a leaver's or a renamed person's account needs."""
    ask = "ask whoever runs the remote, or look whether it has a setting for that"
    if "active" in shape.fixed:
        detail = "its Schemas say that active can't be changed: nobody is deactivated, and leavers keep their access"
        yield Shortfall(line="schemas", detail=detail, fix=ask, fails=True)
    if "userName" in shape.fixed:
        detail = "its Schemas say that userName can't be changed: whoever is renamed in Okta keeps the old one there"
        yield Shortfall(line="schemas", detail=f"{detail}, and the change fails each time", fix=ask)


def _nobody_like(user_id: str) -> str:
    """An id of the same kind that nobody has."""
    if user_id.isdigit():
        return "999999999"
    try:
        UUID(user_id)
    except ValueError:
        return f"check-{uuid4().hex}"
    return str(uuid4())
