"""What one call of Okta's API is, what came back, and which page comes next. No IO, no okta import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

from agent.model.errors import OktaRejected
from agent.okta_org.decode import Decode

T = TypeVar("T")

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
