"""What one call of Okta's API is, what came back, and how its body becomes the model; which page comes next. No IO, no okta import.

One person that can't be read doesn't cost the page. Whoever can't be read keeps the names by which others find them (id, externalId, userName or login) and gets the status
``UNREADABLE``, which no table knows: they are left alone and reported, and never look absent. So does whoever has a NUL or
half a surrogate pair anywhere: no database keeps these, and msgspec gives a whole page up for the latter.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec

from agent.model.errors import OktaRejected
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


#: Header names in lower case; every value of a repeated header, in order.
Headers = Mapping[str, Sequence[str]]
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    #: What the call does, to end the sentence "Okta refused to …".
    what: str
    #: From the org's root on, with its query.
    path: str
    #: Which of Okta's rate limits it counts against.
    bucket: str
    #: The OAuth scope that it needs.
    scope: str
    decode: Decode[T]
    method: str = "GET"
    body: Any = None
    #: False for the one endpoint that everybody may read: no credential is sent there.
    signed: bool = True

    @property
    def reads(self) -> bool:
        return self.method == "GET"


@dataclass(frozen=True, kw_only=True)
class OktaAnswer:
    """Any answer at all, whatever its status."""

    status: int
    headers: Headers = field(default_factory=dict)
    body: bytes = b""
    #: Absolute addresses of the Link headers with rel="next".
    next: tuple[str, ...] = ()

    def header(self, name: str) -> str:
        return next(iter(self.headers.get(name, ())), "")


@dataclass(frozen=True, kw_only=True)
class Reply(Generic[T]):
    """An answer with a 2xx status that could be read."""

    value: T
    next: tuple[str, ...]


class Trail:
    """The cursors of one listing, first to last. Refuses what would make it wrong or send the token elsewhere."""

    def __init__(self, org_url: str, first: Call[Any]) -> None:
        self._org_url = org_url
        self._path = urlsplit(first.path).path
        self._seen = {first.path}

    def following(self, call: Call[T], links: tuple[str, ...]) -> Call[T] | None:
        """The call for the next page; None when this was the last one."""
        if not links:
            return None
        if len(set(links)) > 1:
            raise OktaRejected(f"Okta named several next pages when asked to {call.what}: the listing is not complete.")
        path = on_this_org(self._org_url, links[0], call)
        if urlsplit(path).path != self._path:
            raise OktaRejected(f"Okta's next page leads to another listing when asked to {call.what}; not followed.")
        if path in self._seen:
            raise OktaRejected(
                f"Okta's paging runs in a circle when asked to {call.what}: the listing is not complete."
            )
        self._seen.add(path)
        return replace(call, path=path)


def on_this_org(org_url: str, address: str, call: Call[Any]) -> str:
    """The address from the org's root on; an address on another host would carry the token there."""
    target, org = urlsplit(address), urlsplit(org_url)
    if _origin(target) != _origin(org):
        raise OktaRejected(
            f"Okta's next page is on another host ({target.hostname}) when asked to {call.what}; not followed. "
            f"Is okta.org_url the address that Okta calls itself?"
        )
    return f"{target.path}?{target.query}" if target.query else target.path


def _origin(url: SplitResult) -> tuple[str, str, int | None]:
    return url.scheme, (url.hostname or "").lower(), url.port or _DEFAULT_PORTS.get(url.scheme)
