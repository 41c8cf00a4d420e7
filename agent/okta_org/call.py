"""What one call of Okta's API is, and what came back. No IO, no okta import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from agent.okta_org.decode import Decode

T = TypeVar("T")

#: Header names in lower case; every value of a repeated header, in order.
Headers = Mapping[str, Sequence[str]]


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
