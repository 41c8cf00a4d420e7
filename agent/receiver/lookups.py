"""Whose userName was looked for a while ago, in memory that all processes of one daemon share."""

import itertools
import mmap
import struct
import time
from hashlib import blake2b

#: So soon after looking for a userName Okta pushes to the account that it has found, and of so many it is remembered.
_WITHIN, _REMEMBERED = 600.0, 1000
#: Who is looked for again and again takes a place once in so many seconds.
_ANEW = 60.0
_KEY = 16
#: A digest of the account's id, and when by the monotonic clock, which is the same in all processes of a machine (clock_gettime(2)).
_ENTRY = struct.Struct(f"{_KEY}sd")


class Lookups:
    """Made before processes part; each then notes in a part of its own, as ``writer``, and reads all of them."""

    def __init__(self, writers: int = 1) -> None:
        self._memory = mmap.mmap(-1, writers * _REMEMBERED * _ENTRY.size)
        self.writer = 0
        self._places = itertools.count()  # of threads each gets its own

    def note(self, account_id: str) -> None:
        if self.lately(account_id, _ANEW):
            return
        place = self.writer * _REMEMBERED + next(self._places) % _REMEMBERED
        _ENTRY.pack_into(self._memory, place * _ENTRY.size, _key(account_id), time.monotonic())

    def lately(self, account_id: str, within: float = _WITHIN) -> bool:
        key, since = _key(account_id), time.monotonic() - within
        at = self._memory.find(key)
        while at >= 0:
            if at % _ENTRY.size == 0 and _ENTRY.unpack_from(self._memory, at)[1] > since:
                return True
            at = self._memory.find(key, at + 1)
        return False


def _key(account_id: str) -> bytes:
    return blake2b(account_id.encode(), digest_size=_KEY).digest()
