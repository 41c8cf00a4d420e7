"""Okta's error answers. One exception; the web layer turns it into the body that Okta sends. Knows no HTTP library."""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

#: Code → (status, summary). ``{0}`` is filled by the caller.
CATALOGUE: dict[str, tuple[int, str]] = {
    "E0000001": (400, "Api validation failed: {0}"),
    "E0000003": (400, "The request body was not well-formed."),
    "E0000004": (401, "Authentication failed"),
    "E0000006": (403, "You do not have permission to perform the requested action"),
    "E0000007": (404, "Not found: Resource not found: {0}"),
    "E0000008": (404, "The requested path was not found"),
    "E0000009": (500, "Internal Server Error"),
    "E0000010": (503, "Service is in read only mode"),
    "E0000011": (401, "Invalid token provided"),
    "E0000016": (403, "Activation failed because the user is already active"),
    "E0000022": (405, "The endpoint does not support the provided HTTP method"),
    "E0000023": (403, "Operation failed because user profile is mastered under another system"),
    "E0000029": (400, "Invalid paging request."),
    "E0000031": (400, "Invalid search criteria."),
    "E0000032": (403, "Unlock is not allowed for this user."),
    "E0000038": (403, "This operation is not allowed in the user's current status."),
    "E0000046": (403, "Deactivate application for user forbidden."),
    "E0000047": (429, "API call exceeded rate limit due to too many requests."),
    "E0000056": (403, "Delete application forbidden."),
    "E0000060": (501, "Unsupported operation."),
    "E0000075": (403, "Cannot modify the {0} attribute because it has a field mapping and profile push is enabled."),
}
#: What a fault without a body answers, by status.
BY_STATUS = {
    400: "E0000003",
    401: "E0000011",
    403: "E0000006",
    404: "E0000008",
    405: "E0000022",
    429: "E0000047",
    501: "E0000060",
    503: "E0000010",
}


class ApiError(Exception):
    """An error that Okta answers with; ``causes`` are the texts of errorCauses."""

    def __init__(self, code: str, subject: str = "", causes: Sequence[str] = ()) -> None:
        self.code = code
        self.status, summary = CATALOGUE[code]
        self.summary = summary.format(subject)
        self.causes = tuple(causes)
        super().__init__(f"{code}: {self.summary}")

    def body(self) -> dict[str, Any]:
        """The answer's JSON; the id is new each time, as Okta's is."""
        return {
            "errorCode": self.code,
            "errorSummary": self.summary,
            "errorLink": self.code,
            "errorId": f"oae{secrets.token_urlsafe(16)}",
            "errorCauses": [{"errorSummary": cause} for cause in self.causes],
        }


def found(things: Mapping[str, T], key: str, kind: str) -> T:
    if key not in things:
        raise not_found(key, kind)
    return things[key]


def not_found(resource: str, kind: str) -> ApiError:
    """E0000007 in Okta's words: kind is User, AppInstance, AppUser, UserGroup, …"""
    return ApiError("E0000007", f"{resource} ({kind})")


def require_known(body: Iterable[str], known: Collection[str], subject: str) -> None:
    """The control API refuses what it doesn't know, so that a typing error is no silent success."""
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise invalid(subject, *(f"{name}: unknown field" for name in unknown))


def invalid(subject: str, *causes: str) -> ApiError:
    return ApiError("E0000001", subject, causes)
