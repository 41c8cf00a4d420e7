"""Faults on the Management API, as the control API sets them: which answer goes wrong, how, and how often."""

import fnmatch
from dataclasses import dataclass, field
from typing import Any

import msgspec

from agent.simulator import errors
from agent.simulator.errors import invalid

_KNOWN = {"method", "path", "times", "status", "body", "headers", "delay_s", "cut_after", "effect"}


@dataclass(kw_only=True, slots=True)
class Fault:
    """One fault. Without ``status`` and ``cut_after``: before, the answer is only late; after, it is lost."""

    method: str = "*"
    #: A glob on the path; it may hold a query, which is then matched too.
    path: str = "*"
    #: How many calls it still hits; None: all, for ever.
    times: int | None = 1
    status: int | None = None
    body: Any = None
    #: A null value takes the header away.
    headers: dict[str, str | None] = field(default_factory=dict)
    delay_s: float = 0.0
    #: Bytes of the body that still go out before the connection is closed.
    cut_after: int | None = None
    effect: str = "before"

    def hits(self, method: str, path: str, query: str) -> bool:
        if self.times == 0 or self.method.upper() not in ("*", method):
            return False
        whole = f"{path}?{query}" if query else path
        return fnmatch.fnmatchcase(whole if "?" in self.path else path, self.path.replace("?", "[?]"))

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the wrong answer. Without a body it is Okta's own for that status."""
        status = self.status or 500
        if self.body is None:
            code = errors.BY_STATUS.get(status, "E0000009")
            return status, msgspec.json.encode(errors.ApiError(code).body())
        return status, self.body.encode() if isinstance(self.body, str) else msgspec.json.encode(self.body)


class Faults:
    """The list, in order: the first that fits a call hits it."""

    def __init__(self) -> None:
        self.listed: list[Fault] = []

    def configure(self, body: Any) -> None:
        """Replaces the whole list."""
        if not isinstance(body, list):
            raise invalid("faults", "faults: a list is expected")
        self.listed = [_fault(one) for one in body]

    def hit(self, method: str, path: str, query: str) -> Fault | None:
        for fault in self.listed:
            if fault.hits(method, path, query):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None


def _fault(body: Any) -> Fault:
    if not isinstance(body, dict) or set(body) - _KNOWN or body.get("effect", "before") not in ("before", "after"):
        raise invalid("faults", f"faults: an object with the keys {', '.join(sorted(_KNOWN))} is expected")
    return Fault(**{name: value for name, value in body.items() if value is not None or name in ("times", "status")})
