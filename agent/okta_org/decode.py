"""Okta's bodies into the model. One person that can't be read doesn't cost the page. No IO.

Whoever can't be read keeps the names by which others find them (id, externalId, userName or login) and gets the status
``UNREADABLE``, which no table knows: they are left alone and reported, and never look absent. So does whoever has a NUL or
half a surrogate pair anywhere: no database keeps these, and msgspec gives a whole page up for the latter.
"""

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from agent.model.okta import UNREADABLE, AppUser, Credentials, LogEvent, OktaUser

T = TypeVar("T")
Decode = Callable[[bytes], T]

#: An escape that may stand for what is no text; half of a whole pair too, so that it only says where to look closer.
_ESCAPED = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_raws = msgspec.json.Decoder(list[msgspec.Raw])


def nothing(_body: bytes) -> None:
    """For calls whose answer says all by its status."""


def anything(body: bytes) -> dict[str, Any]:
    return msgspec.json.decode(body, type=dict[str, Any])


def one(kind: type[T]) -> Decode[T]:
    return msgspec.json.Decoder(kind).decode


def person(kind: type[T], salvage: Callable[[dict[str, Any]], T]) -> Decode[T]:
    """Decode one object; what breaks the model's types, or is no text, comes back salvaged."""
    strict = msgspec.json.Decoder(kind)

    def decode(body: bytes) -> T:
        if _ESCAPED.search(body) is not None:
            return _loose(strict, salvage, _parsed(body))
        try:
            return strict.decode(body)
        except msgspec.ValidationError:
            return salvage(anything(body))

    return decode


def page(kind: type[T], salvage: Callable[[dict[str, Any]], T]) -> Decode[list[T]]:
    """Decode a page whole; only if that fails, element by element."""
    whole = msgspec.json.Decoder(list[kind])  # type: ignore[valid-type]
    strict = msgspec.json.Decoder(kind)
    single = person(kind, salvage)

    def decode(body: bytes) -> list[T]:
        if _ESCAPED.search(body) is not None:
            found = _parsed(body)
            if not isinstance(found, list):
                raise msgspec.ValidationError("the page is no list")
            return [_loose(strict, salvage, element) for element in found]
        try:
            return whole.decode(body)
        except msgspec.ValidationError:
            return [single(bytes(raw)) for raw in _raws.decode(body)]

    return decode


def _parsed(body: bytes) -> Any:
    """As the standard library reads it, half surrogate pairs too."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as exc:
        raise msgspec.DecodeError("no JSON") from exc


def _loose(strict: msgspec.json.Decoder[T], salvage: Callable[[dict[str, Any]], T], value: Any) -> T:
    if not isinstance(value, dict):
        raise msgspec.ValidationError("an element of the page is no object")
    text = _readable(value)
    if text == value:
        try:
            return strict.decode(json.dumps(value).encode())
        except msgspec.ValidationError:
            pass
    return salvage(text)


def _readable(value: Any) -> Any:
    """With a sign in the place of what is no text."""
    if isinstance(value, str):
        return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_readable(key): _readable(item) for key, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


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
