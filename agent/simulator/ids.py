"""Ids and times in Okta's shape. The ids of one seed come in one fixed order, so that a run can be repeated."""

import random
from datetime import UTC, datetime

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#: Spreads a counter over the 62^10 numbers of ten characters; coprime to that number, so no id comes twice.
_STRIDE = 395_718_860_534_197_831
_SPACE = 62**10


def base62(number: int, width: int) -> str:
    """``number`` in Okta's alphabet, padded on the left."""
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


class Ids:
    """Makes 20-character ids: the kind's prefix (``00u``, ``00g``, …), seven for the org, ten that count."""

    def __init__(self, seed: int) -> None:
        self._org = base62(random.Random(f"org {seed}").randrange(62**7), 7)  # noqa: S311 - not a secret
        self._count = seed % 1000

    def new(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._org}{base62(self._count * _STRIDE % _SPACE, 10)}"


def okta_time(moment: datetime) -> str:
    """A time as Okta writes it: UTC, milliseconds, ``Z``. Such strings sort like the times themselves."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def now() -> str:
    return okta_time(datetime.now(UTC))


def parse_time(text: str) -> datetime:
    """A time in any ISO 8601 form that Okta takes; raises ValueError."""
    moment = datetime.fromisoformat(text.strip())
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
