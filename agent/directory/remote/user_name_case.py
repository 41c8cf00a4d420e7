"""userNames that a search misses because the remote minds their case. Reads; remembers a whole listing's for a while.

OpsHelm's rule is that two userNames which differ in case alone are one. A remote that compares exactly would take a second
account of such a name, so whether it does is tried once, with an account that it has; if so, all are listed. Only names that
are written otherwise than their key can be missed by a search for the key, so only these are remembered.
"""

import threading
import time
from collections.abc import Callable, Iterator

from agent.directory.remote import wire
from agent.directory.remote.listing import read_page
from agent.directory.remote.transport import Transport
from agent.directory.remote.wire import RemoteAccount
from agent.model.errors import UNDECODABLE, Unreadable
from agent.model.users import identity_key

#: How long a listing answers for names that were not searched for before. What the agent writes itself is known anyhow.
_FRESH = 300.0
_SAMPLES = 20

Search = Callable[[str, Callable[[RemoteAccount], bool], float], RemoteAccount | None]


class Spelling:
    """Thread-safe. ``search`` looks for a userName in the remote's own way; ``everyone`` lists all accounts."""

    def __init__(
        self, transport: Transport, everyone: Callable[[], Iterator[list[RemoteAccount]]], search: Search
    ) -> None:
        self._transport = transport
        self._everyone = everyone
        self._search = search
        self._lock = threading.Lock()
        self._exact: bool | None = None
        self._ids: dict[str, str] = {}
        self._until = 0.0

    def find(self, key: str, patience: float) -> str | None:
        """The id of an account with this key that a search for the key may have missed."""
        with self._lock:
            if self._exact is None:
                self._exact = self._minds_case(patience)
            if not self._exact:
                return None
            if time.monotonic() >= self._until:
                self._ids = dict(self._odd_names())
                self._until = time.monotonic() + _FRESH
            return self._ids.get(key)

    def _minds_case(self, patience: float) -> bool | None:
        """None: there is nobody yet to try it with."""
        answer = self._transport.read("/Users", {"startIndex": 1, "count": _SAMPLES}, patience=patience)
        try:
            raws = read_page(answer.content).raws
        except UNDECODABLE:
            return None
        for raw in raws:
            try:
                sample = wire.decode(raw)
            except Unreadable:
                continue
            other = sample.user_name.swapcase()
            if other != sample.user_name and identity_key(other) == identity_key(sample.user_name):
                return self._search(other, lambda a, wanted=sample.id: a.id == wanted, patience) is None  # type: ignore[misc]
        return None

    def _odd_names(self) -> Iterator[tuple[str, str]]:
        for page in self._everyone():
            for account in page:
                key = identity_key(account.user_name)
                if key != account.user_name:
                    yield key, account.id
