"""Who asks: an API key, as ``Bearer KEY`` or bare. Reads keys; makes and revokes none.

All keys are held in memory, ended ones too, and read again after CACHE_SECONDS, so a revoke holds within that time in every
process. For a key that isn't among them they are read once more, it may be new; not so in a flood of wrong ones, which then
costs one read in CACHE_SECONDS. So a flood from one address (all of Okta behind one proxy, say) locks no good key out, also
right after a start. A key that has ended is named in the log by its id; what a stranger sends never is.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from agent.receiver.messages import Request
from agent.receiver.metrics import UNAUTHORIZED
from agent.receiver.refusals import ScimError
from agent.store.keys import TOUCH_EVERY, ApiKey, KeyScope

CACHE_SECONDS = 2.0
#: Wrong keys from one address in FLOOD_SECONDS before the database isn't asked for them any more.
FLOOD_LIMIT = 100
FLOOD_SECONDS = 60.0
MAX_ADDRESSES = 10_000
_KEY = re.compile(rb"(?:[Bb][Ee][Aa][Rr][Ee][Rr] +)?(oha_[A-Za-z0-9_-]{20,100})[ \t]*")

log = structlog.get_logger("agent.receiver")


class Keys(Protocol):
    def all(self) -> list[ApiKey]:
        """Ended ones too. May block where the directory's reads do."""
        ...

    def touch(self, key: ApiKey, now: datetime) -> Any:
        """Note the use; doesn't wait for the write."""
        ...


class Authenticator:
    def __init__(self, keys: Keys, *, blocking: bool, monotonic: Callable[[], float]) -> None:
        self._keys = keys
        self._blocking = blocking
        self._monotonic = monotonic
        #: By digest, as they were at the last read, and when that began.
        self._known: dict[bytes, ApiKey] = {}
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()
        self._touched: dict[int, datetime] = {}
        self._strangers: dict[str, tuple[int, float]] = {}

    async def identify(self, request: Request) -> ApiKey:
        """The key of the request, or a 401 (429 for a key that isn't looked for in a flood)."""
        match = _KEY.fullmatch(request.authorization)
        if match is None:
            raise self._refused(request.peer)
        digest = hashlib.sha256(match[1]).digest()
        moment = self._monotonic()
        current = moment < self._read_at + CACHE_SECONDS
        if not current:
            await self._read(moment)
        key = self._known.get(digest)
        if key is None and current:
            if self._flooded(request.peer, moment):
                self._refused(request.peer)
                # It might be a good one that is very new, so not 401, which Okta takes as final.
                raise ScimError(429, "Too many requests with a wrong API key.", retry_after=int(FLOOD_SECONDS))
            await self._read(moment)
            key = self._known.get(digest)
        now = datetime.now(UTC)
        if key is None or key.scope is not KeyScope.SCIM or not key.valid(now):
            raise self._refused(request.peer, key)
        self._touch(key, now)
        return key

    async def _read(self, moment: float) -> None:
        """All keys, as they are after ``moment``: those who wait at the same time share what one of them reads."""
        async with self._reading:
            if self._read_at > moment:
                return
            began = self._monotonic()
            kept = await asyncio.to_thread(self._keys.all) if self._blocking else self._keys.all()
            self._known, self._read_at = {bytes.fromhex(key.sha256): key for key in kept}, began

    def _touch(self, key: ApiKey, now: datetime) -> None:
        last = self._touched.get(key.id, key.last_used)
        if last is None or not last <= now < last + TOUCH_EVERY:
            self._touched[key.id] = now
            self._keys.touch(key, now)

    def _flooded(self, peer: str, moment: float) -> bool:
        count, until = self._strangers.get(peer, (0, 0.0))
        return count > FLOOD_LIMIT and moment < until

    def _refused(self, peer: str, key: ApiKey | None = None) -> ScimError:
        """Count the failure; one log line for each until the limit, one at the limit, then the metric alone."""
        UNAUTHORIZED.inc()
        moment = self._monotonic()
        count, until = self._strangers.get(peer, (0, 0.0))
        if moment >= until:
            count, until = 0, moment + FLOOD_SECONDS
        count += 1
        if peer not in self._strangers and len(self._strangers) >= MAX_ADDRESSES:
            self._strangers.clear()
        self._strangers[peer] = (count, until)
        if count <= FLOOD_LIMIT:
            known = {} if key is None else {"key": key.id}
            log.warning("request without a valid key", peer=peer, **known)
        elif count == FLOOD_LIMIT + 1:
            log.warning("many requests without a valid key; no longer logged one by one", peer=peer)
        return ScimError(401, "A valid API key is needed: Authorization: Bearer KEY.")
