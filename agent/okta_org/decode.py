"""Okta's bodies into the model. One person that can't be read doesn't cost the page. No IO.

Whoever can't be read keeps the names by which others find them (id, externalId, userName or login) and gets the status
``UNREADABLE``, which no table knows: they are left alone and reported, and never look absent.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from agent.model.okta import UNREADABLE, AppUser, Credentials, LogEvent, OktaUser

T = TypeVar("T")
Decode = Callable[[bytes], T]

_raws = msgspec.json.Decoder(list[msgspec.Raw])


def nothing(_body: bytes) -> None:
    """For calls whose answer says all by its status."""


def anything(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])


def one(kind: type[T]) -> Decode[T]:
    return msgspec.json.Decoder(kind).decode


def person(kind: type[T], salvage: Callable[[dict[str, Any]], T]) -> Decode[T]:
    """Decode one object; what breaks the model's types comes back salvaged."""
    strict = msgspec.json.Decoder(kind)

    def decode(body: bytes) -> T:
        try:
            return strict.decode(body)
        except msgspec.ValidationError:
            return salvage(anything(body))

    return decode


def page(kind: type[T], salvage: Callable[[dict[str, Any]], T]) -> Decode[list[T]]:
    """Decode a page whole; only if that fails, element by element."""
    whole = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
    single = person(kind, salvage)

    def decode(body: bytes) -> list[T]:
        try:
            return whole.decode(body)
        except msgspec.ValidationError:
            return [single(bytes(raw)) for raw in _raws.decode(body)]

    return decode


def app_user(loose: dict[str, Any]) -> AppUser:
    credentials = loose.get("credentials")
    user_name = _text(credentials.get("userName")) if isinstance(credentials, dict) else None
    return AppUser(
        id=_name(loose, "id"),
        external_id=_text(loose.get("externalId")),
        status=UNREADABLE,
        credentials=Credentials(user_name=user_name),
    )


def okta_user(loose: dict[str, Any]) -> OktaUser:
    profile = loose.get("profile")
    return OktaUser(id=_name(loose, "id"), status=UNREADABLE, profile=profile if isinstance(profile, dict) else {})


def log_event(loose: dict[str, Any]) -> LogEvent:
    return LogEvent(uuid=_name(loose, "uuid"), event_type=UNREADABLE)


def _name(loose: dict[str, Any], key: str) -> str:
    """Without it nobody could be told apart from an absent person, so the page itself is unreadable."""
    value = loose.get(key)
    if isinstance(value, str) and value:
        return value
    raise msgspec.ValidationError(f"an element of the page has no {key}")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
