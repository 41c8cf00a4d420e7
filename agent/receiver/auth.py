"""Who asks: an API key, as ``Bearer KEY`` or bare. Reads keys; makes and revokes none.

A key that was good is believed for CACHE_SECONDS, so a revoke holds within that time in every process; a bad one is never
remembered. Strangers who keep trying are answered without asking the database, but a key that was good before is always
looked up: a flood from one address (all of Okta behind one proxy, say) can't lock Okta out.
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from agent.receiver.messages import Request
from agent.receiver.metrics import UNAUTHORIZED
from agent.receiver.refusals import ScimError
from agent.store.keys import TOUCH_EVERY, ApiKey, Scope

CACHE_SECONDS = 2.0
#: Wrong keys from one address in FLOOD_SECONDS before the database isn't asked for it any more.
FLOOD_LIMIT = 100
FLOOD_SECONDS = 60.0
MAX_ADDRESSES = 10_000
_KEY = re.compile(rb"(?:[Bb][Ee][Aa][Rr][Ee][Rr] +)?(oha_[A-Za-z0-9_-]{20,100})[ \t]*")

log = structlog.get_logger("agent.receiver")


class Keys(Protocol):
    def find(self, sha256: str) -> ApiKey | None:
        """The key with this digest, valid or not. May block where the directory's reads do."""
        ...

    def touch(self, key: ApiKey, now: datetime) -> Any:
        """Note the use; doesn't wait for the write."""
        ...


class Authenticator:
    def __init__(self, keys: Keys, *, blocking: bool, monotonic: Callable[[], float]) -> None:
        self._keys = keys
        self._blocking = blocking
        self._monotonic = monotonic
        #: Digest → the key and until when it is believed. Only keys that exist get in, so it stays small.
        self._known: dict[bytes, tuple[ApiKey, float]] = {}
        self._touched: dict[int, datetime] = {}
        self._strangers: dict[str, tuple[int, float]] = {}

    async def identify(self, request: Request) -> ApiKey:
        """The key of the request, or a 401 (429 for a key that isn't looked up in a flood)."""
        match = _KEY.fullmatch(request.headers.get(b"authorization", b"")) if request.authorizations == 1 else None
        if match is None:
            raise self._stranger(request.peer)
        digest = hashlib.sha256(match[1]).digest()
        moment = self._monotonic()
        known = self._known.get(digest)
        if known is not None and moment < known[1]:
            return known[0]
        if known is None and self._flooded(request.peer, moment):
            self._stranger(request.peer)
            # It might be a good one, so not 401, which Okta takes as final; it just isn't looked up now.
            raise ScimError(429, "Too many requests with a wrong API key.", retry_after=int(FLOOD_SECONDS))
        key = await self._look_up(digest)
        now = datetime.now(UTC)
        if key is None or not _valid(key, digest, now):
            self._known.pop(digest, None)
            raise self._stranger(request.peer)
        self._known[digest] = (key, moment + CACHE_SECONDS)
        self._touch(key, now)
        return key

    async def _look_up(self, digest: bytes) -> ApiKey | None:
        if self._blocking:
            return await asyncio.to_thread(self._keys.find, digest.hex())
        return self._keys.find(digest.hex())

    def _touch(self, key: ApiKey, now: datetime) -> None:
        last = self._touched.get(key.id, key.last_used)
        if last is None or now - last >= TOUCH_EVERY:
            self._touched[key.id] = now
            self._keys.touch(key, now)

    def _flooded(self, peer: str, moment: float) -> bool:
        count, until = self._strangers.get(peer, (0, 0.0))
        return count > FLOOD_LIMIT and moment < until

    def _stranger(self, peer: str) -> ScimError:
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
            log.warning("request without a valid key", peer=peer)
        elif count == FLOOD_LIMIT + 1:
            log.warning("many requests without a valid key; no longer logged one by one", peer=peer)
        return ScimError(401, "A valid API key is needed: Authorization: Bearer KEY.")


def _valid(key: ApiKey, digest: bytes, now: datetime) -> bool:
    return hmac.compare_digest(bytes.fromhex(key.sha256), digest) and key.scope is Scope.SCIM and key.valid(now)
