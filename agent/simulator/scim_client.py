"""The SCIM calls of Okta's provisioning client, one HTTP request each, noted in the list of pushes.

Sorts answers into: done, throttled (429, tried again), failed (a person must retry). Keeps no queue.
"""

import contextlib
import functools
import ssl
from collections import deque
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from agent.simulator import ids

USER_AGENT = "Okta SCIM Client 1.0.0"
#: A server must answer within a minute (Okta's SCIM FAQ).
TIMEOUT = 60.0
#: What Okta waits when a 429 has no Retry-After in whole seconds.
DEFAULT_RETRY_AFTER = 300.0
_HEADERS = {
    "User-Agent": USER_AGENT,
    "Accept": "application/scim+json",
    "Accept-Charset": "utf-8",
    "Content-Type": "application/scim+json; charset=utf-8",
}


@functools.cache
def trusted() -> ssl.SSLContext:
    """The usual certificate authorities, read once: every new client would read them again."""
    return httpx.create_ssl_context()


class PushFailed(Exception):
    """The push won't be tried again by itself. ``kind``: authentication, general or answer."""

    def __init__(self, reason: str, kind: str = "answer") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind


class Throttled(Exception):
    """429: tried again after ``retry_after`` seconds, doubled each time."""

    def __init__(self, retry_after: float, reason: str) -> None:
        super().__init__(reason)
        self.retry_after = retry_after
        self.reason = reason


class ScimClient:
    """Talks to one SCIM service provider. ``pushes`` keeps the newest calls with their bodies and answers."""

    def __init__(self) -> None:
        self.url: str | None = None
        self.key: str | None = None
        self.pushes: deque[dict[str, Any]] = deque(maxlen=20_000)
        self.sent = 0
        self._http = httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=trusted(), headers=_HEADERS)

    async def find(self, user_name: str, *, about: dict[str, Any]) -> dict[str, Any] | None:
        """Okta's exists check. 404 with an error body counts as nobody."""
        text = quote(f'userName eq "{user_name}"', safe="")
        status, body = await self._call(
            "GET", f"/Users?filter={text}&startIndex=1&count=100", None, about, accept=(200, 404)
        )
        if status == 404:
            return None
        resources = body.get("Resources") if isinstance(body, dict) else None
        if not isinstance(resources, list):
            raise PushFailed("The answer to the user search is no ListResponse")
        wanted = user_name.casefold()
        return next((one for one in resources if str(one.get("userName", "")).casefold() == wanted), None)

    async def page(self, start: int, count: int) -> dict[str, Any]:
        _, body = await self._call("GET", f"/Users?startIndex={start}&count={count}", None, {"kind": "import"})
        if not isinstance(body, dict):
            raise PushFailed("The answer to the user list is no ListResponse")
        return body

    async def create(self, body: dict[str, Any], *, about: dict[str, Any]) -> str:
        """POST; the new id. An empty answer is Okta's best-known task error."""
        _, answer = await self._call("POST", "/Users", body, about, accept=(200, 201))
        if not isinstance(answer, dict) or not answer.get("id"):
            raise PushFailed("Create new user returned empty user")
        return str(answer["id"])

    async def get(self, user_id: str, *, about: dict[str, Any]) -> dict[str, Any]:
        _, answer = await self._call("GET", f"/Users/{quote(user_id, safe='')}", None, about)
        if not isinstance(answer, dict):
            raise PushFailed("The answer to the user read is empty")
        return answer

    async def put(self, user_id: str, body: dict[str, Any], *, about: dict[str, Any]) -> None:
        await self._call("PUT", f"/Users/{quote(user_id, safe='')}", body, about)

    async def patch(self, user_id: str, body: dict[str, Any], *, about: dict[str, Any]) -> None:
        await self._call("PATCH", f"/Users/{quote(user_id, safe='')}", body, about, accept=(200, 204))

    def note(self, about: dict[str, Any], **seen: Any) -> None:
        self.sent += 1
        self.pushes.append({"n": self.sent, "at": ids.now(), **about, **seen})

    async def close(self) -> None:
        await self._http.aclose()

    async def _call(
        self, method: str, path: str, body: Any, about: dict[str, Any], accept: tuple[int, ...] = (200,)
    ) -> tuple[int, Any]:
        key = self.key or ""
        headers = {"Authorization": key if " " in key else f"Bearer {key}"}
        content = None if body is None else msgspec.json.encode(body)
        try:
            answer = await self._http.request(
                method, f"{(self.url or '').rstrip('/')}{path}", content=content, headers=headers
            )
        except httpx.HTTPError as exc:
            self.note(about, method=method, path=path, body=body, status=None, error=str(exc) or type(exc).__name__)
            raise PushFailed(f"Error reaching the remote server: {type(exc).__name__}", "general") from exc
        parsed = _parse(answer)
        self.note(about, method=method, path=path, body=body, status=answer.status_code, answer=parsed)
        _raise_for(answer, parsed, accept)
        return answer.status_code, parsed


def _parse(answer: httpx.Response) -> Any:
    if not answer.content:
        return None
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(answer.content)
    return answer.text


def _raise_for(answer: httpx.Response, parsed: Any, accept: tuple[int, ...]) -> None:
    detail = parsed.get("detail") if isinstance(parsed, dict) else None
    reason = f"{answer.reason_phrase or answer.status_code}. Errors reported by remote server: {detail or 'no details'}"
    if answer.status_code == 429:
        given = answer.headers.get("retry-after", "").strip()
        raise Throttled(float(given) if given.isdigit() else DEFAULT_RETRY_AFTER, reason)
    if answer.status_code in (401, 403):
        raise PushFailed(reason, "authentication")
    if answer.status_code not in accept:
        raise PushFailed(reason)
