"""Okta's refusals as errors of the model, with what an admin can do about them. No IO.

::

    status                                error
    401                                   OktaDenied
    403                                   OktaDenied, or OktaRejected where the code names a rule, not a right
    404 with E0000007                     OktaNotFound
    404 without Okta's error body         OktaUnreachable: some gateway answered; it proves nobody's absence
    429                                   OktaThrottled
    5xx                                   OktaUnreachable; a write may have been done
    redirects, any other                  OktaRejected
"""

from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from agent.model.errors import (
    UNDECODABLE,
    OktaDenied,
    OktaError,
    OktaNotFound,
    OktaRejected,
    OktaThrottled,
    OktaUnreachable,
)
from agent.model.structs import decoder
from agent.okta_org.calls import Call, OktaAnswer

#: What Okta's codes mean for whoever must act; Okta's own words stand beside it.
EXPLAINED = {
    "E0000001": "Okta finds a value invalid.",
    "E0000003": "Okta couldn't read the request.",
    "E0000016": "The user is active already.",
    "E0000022": "This endpoint doesn't do that.",
    "E0000023": "Another system masters this profile; change it there.",
    "E0000029": "The listing's cursor is no longer valid; the next run starts at page 1.",
    "E0000031": "Okta doesn't understand the search.",
    "E0000032": "The user isn't locked out.",
    "E0000038": "The user's status doesn't allow it.",
    "E0000041": "The app doesn't take credentials; its sign-on mode sets them.",
    "E0000046": "A group grants this assignment; take the person out of the group instead.",
    "E0000056": "The app must be deactivated first.",
    "E0000060": "Okta doesn't support this operation.",
    "E0000075": "Okta maps this attribute and pushes profiles, so it masters it; change the Okta user instead.",
    "E0000112": "The user is still being activated; try again in a minute.",
}

#: 403s that name a rule. Every other 403 is about rights.
RULES = {"E0000016", "E0000023", "E0000032", "E0000038", "E0000046", "E0000056", "E0000075"}

READ_ONLY_MODE = "E0000010"
_LONGEST = 300


class _Cause(Struct, frozen=True, rename="camel"):
    error_summary: str | None = None


class _Body(Struct, frozen=True, rename="camel"):
    error_code: str
    error_summary: str | None = None
    error_causes: list[_Cause] | None = None


_body = decoder(_Body)


def failure(call: Call[Any], answer: OktaAnswer) -> OktaError:
    body = _read(answer.body)
    code = body.error_code if body else ""
    said = _said(answer, body)
    refused = f"Okta refused to {call.what} ({said})."
    match answer.status:
        case 401:
            return OktaDenied(f"{refused} {_credentials(code)}", status=401, okta_code=code)
        case 403 if code not in RULES:
            return OktaDenied(f"{refused} {_rights(call)}", status=403, okta_code=code)
        case 404 if code == "E0000007":
            return OktaNotFound(f"Okta couldn't {call.what} ({said}).", status=404, okta_code=code)
        case 429:
            return OktaThrottled(
                f"Okta's rate limit stopped the agent when asked to {call.what}.", status=429, okta_code=code
            )
        case 404 if not body:
            return OktaUnreachable(f"{_unusable(call, said)} Something between here and Okta answered.", status=404)
        case status if status >= 500:
            done = not call.reads and code != READ_ONLY_MODE
            return OktaUnreachable(_unusable(call, said), status=status, okta_code=code, maybe_done=done)
        case status if 300 <= status < 400:
            host = urlsplit(answer.header("location")).hostname or "another place"
            return OktaRejected(
                f"Okta sent the agent to {host} when asked to {call.what}; not followed.", status=status
            )
        case status:
            return OktaRejected(
                " ".join(filter(None, (refused, _explained(code, body)))), status=status, okta_code=code
            )


def unreadable(call: Call[Any], answer: OktaAnswer) -> OktaUnreachable:
    """A success that can't be read: for a write, done but for its answer."""
    said = f"{answer.status}, {'empty body' if not answer.body.strip() else 'unreadable body'}"
    return OktaUnreachable(_unusable(call, said), status=answer.status, maybe_done=not call.reads)


def _unusable(call: Call[Any], said: str) -> str:
    return f"Okta gave no usable answer when asked to {call.what} ({said})."


def _read(body: bytes) -> _Body | None:
    try:
        return _body(body)
    except UNDECODABLE:
        return None


def _said(answer: OktaAnswer, body: _Body | None) -> str:
    if body is None:
        return f"{answer.status}, {'no JSON error' if answer.body else 'empty body'}"
    causes = [cause.error_summary for cause in body.error_causes or () if cause.error_summary]
    return f"{answer.status} {body.error_code}: {'; '.join([body.error_summary or '', *causes])}"[:_LONGEST]


def _credentials(code: str) -> str:
    if code == "E0000011":
        return (
            "The token is expired, revoked or wrong. An API token dies with the person who made it: renew okta.api_token. With "
            "okta.client_id a new one was tried too: see in Okta whether the app is active and has its scopes and admin role."
        )
    return "Check okta.api_token, or okta.client_id and okta.private_key."


def _rights(call: Call[Any]) -> str:
    return f"An OAuth app needs the scope {call.scope} for this, and its admin role must allow it; so must a token owner's role."


def _explained(code: str, body: _Body | None) -> str:
    causes = " ".join(cause.error_summary or "" for cause in (body.error_causes or ())) if body else ""
    if code == "E0000001" and "already exists" in causes:
        return "Okta has a user with this login already."
    return EXPLAINED.get(code, "")
