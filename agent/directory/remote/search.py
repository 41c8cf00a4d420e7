"""Searches and pages for whoever asks the gateway. Never answers with somebody who doesn't fit the filter; writes nothing.

========================================  =========================================================================
the search                                is answered
========================================  =========================================================================
one identity (Okta's own searches)        over links and the agent's recent writes too
any other filter                          by the remote, and what it answers is looked at again here
one that the remote ignores               out of everybody, as the agent reads the filter
one that the remote refuses               400 invalidFilter: Okta tries nothing again after that
none                                      with the remote's own page, in its own order
========================================  =========================================================================

What the agent hides is left out of all, and of a whole listing's total.
"""

from collections.abc import Iterable

import msgspec

from agent.directory.port import Page
from agent.directory.remote import filter_match, filter_text, wire
from agent.directory.remote.listing import Chunk, read_page
from agent.directory.remote.lookup import NO_SEARCH
from agent.directory.remote.reader import Reader
from agent.directory.remote.transport import HURRIED, Transport
from agent.directory.remote.wire import RemoteAccount
from agent.model.errors import UNDECODABLE, DirectoryUnavailable, Unreadable
from agent.model.users import DirectoryUser
from agent.scim.errors import invalid_filter
from agent.scim.terms import Compare, Filter
from agent.store import links
from agent.store.engine import Store

#: Accounts by which to tell whether a remote looked at the filter; of a page of one or none nobody could.
_ENOUGH = 20


class Search:
    """Thread-safe."""

    def __init__(self, store: Store, transport: Transport, reader: Reader) -> None:
        self._store = store
        self._transport = transport
        self._reader = reader

    def page(self, where: Filter | None, start: int, count: int, *, include_hidden: bool) -> Page:
        if where is None:
            chunk = self._asked(None, start, count)
            users = self._visible(self._users(chunk), include_hidden)
            return Page(total=max(len(users), (chunk.total or 0) - self._hidden(include_hidden)), users=users)
        known = self._identity(where)
        if known is not None:
            return _cut(self._visible(known, include_hidden), start, count)
        if not self._reader.finder.no_filter:
            chunk = self._asked(where, start, max(count, _ENOUGH))
            users = self._users(chunk)
            if all(filter_match.matches(where, user) for user in users):
                users = self._visible(users, include_hidden)
                return Page(total=max(len(users), chunk.total or 0), users=users[:count])
        return _cut(self._visible(self._matching(where), include_hidden), start, count)

    def _identity(self, where: Filter) -> list[DirectoryUser] | None:
        """None for any other search."""
        if not isinstance(where, Compare) or where.op != "eq" or not isinstance(where.value, str):
            return None
        match str(where.target):
            case "userName":
                user = self._reader.by_user_name(where.value, patience=HURRIED)
            case "externalId":
                user = self._reader.by_okta_id(where.value, patience=HURRIED)
            case "id":
                user = self._reader.by_id(where.value, patience=HURRIED)
            case _:
                return None
        return [] if user is None else [user]

    def _asked(self, where: Filter | None, start: int, count: int) -> Chunk:
        params: dict[str, str | int] = {"startIndex": start, "count": count}
        if where is not None:
            params["filter"] = filter_text.write(where)
        answer = self._transport.read("/Users", params, patience=HURRIED)
        if where is not None and answer.status in NO_SEARCH:
            raise invalid_filter("The remote OpsHelm can't search by this filter.")
        if answer.status != 200:
            raise DirectoryUnavailable(
                f"The remote OpsHelm at {self._transport.host} answered a listing with {answer.status}."
            )
        try:
            return read_page(answer.content)
        except UNDECODABLE as exc:
            raise DirectoryUnavailable(
                f"The remote OpsHelm at {self._transport.host} answers, but not with a SCIM list of accounts. "
                "Check directory.base_url: it is the SCIM base address, which often ends in /scim/v2."
            ) from exc

    def _users(self, chunk: Chunk) -> list[DirectoryUser]:
        return [self._reader.join(account) for raw in chunk.raws if (account := _readable(raw)) is not None]

    def _matching(self, where: Filter) -> list[DirectoryUser]:
        everybody = map(self._reader.join, self._reader.finder.everybody())
        return [user for user in everybody if filter_match.matches(where, user)]

    def _visible(self, users: Iterable[DirectoryUser], include_hidden: bool) -> list[DirectoryUser]:
        return [user for user in users if include_hidden or not user.hidden]

    def _hidden(self, include_hidden: bool) -> int:
        if include_hidden:
            return 0
        with self._store.read() as conn:
            return len(links.hidden_ids(conn))


def _cut(users: list[DirectoryUser], start: int, count: int) -> Page:
    return Page(total=len(users), users=users[start - 1 :][:count])


def _readable(raw: msgspec.Raw) -> RemoteAccount | None:
    try:
        return wire.decode(raw)
    except Unreadable:
        return None
