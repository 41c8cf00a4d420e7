"""Event hooks: verification, and delivery of what the System Log stores. At least once, in no promised order.

Okta's rules: three seconds for an answer, one retry after a time-out or a 5xx, none after a 4xx.
"""

import asyncio
import contextlib
import secrets
import uuid

import httpx
import msgspec

from agent.simulator import ids
from agent.simulator.entities import Hook
from agent.simulator.errors import invalid
from agent.simulator.scim_client import trusted
from agent.simulator.state import OrgState
from agent.simulator.syslog import NOT_FOR_HOOKS, Event

TIMEOUT = 3.0
#: Events in one delivery.
_BATCH = 100


class HookDelivery:
    """Sends in the background; ``quiet`` tells when all of it has been answered or given up."""

    def __init__(self, org: OrgState) -> None:
        self._org = org
        self._http = httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=trusted())
        self._sending: set[asyncio.Task[None]] = set()
        org.log.listeners.append(self._announce)

    async def verify(self, hook: Hook) -> None:
        """One GET with a challenge that the receiver must echo."""
        challenge = secrets.token_urlsafe(24)
        try:
            answer = await self._http.get(
                hook.uri, headers={**_headers(hook), "x-okta-verification-challenge": challenge}
            )
            echoed = msgspec.json.decode(answer.content).get("verification") if answer.status_code == 200 else None
        except (httpx.HTTPError, msgspec.DecodeError, AttributeError):
            echoed = None
        if echoed != challenge:
            raise invalid("verification", "The event hook's endpoint did not answer the verification challenge.")
        hook.verification, hook.last_updated = "VERIFIED", ids.now()

    async def quiet(self) -> None:
        while self._sending:
            await asyncio.wait(self._sending)

    async def close(self) -> None:
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._http.aclose()

    def _announce(self, events: list[Event]) -> None:
        for hook in self._org.hooks.values():
            if hook.status != "ACTIVE" or hook.verification != "VERIFIED":
                continue
            items = set(hook.items) - NOT_FOR_HOOKS
            chosen = [event for event in events if event["eventType"] in items]
            for start in range(0, len(chosen), _BATCH):
                task = asyncio.get_running_loop().create_task(self._deliver(hook, chosen[start : start + _BATCH]))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)

    async def _deliver(self, hook: Hook, events: list[Event]) -> None:
        body = msgspec.json.encode(
            {
                "eventType": "com.okta.event_hook",
                "eventTypeVersion": "1.0",
                "cloudEventsVersion": "0.1",
                "source": f"{self._org.base}/api/v1/eventHooks/{hook.id}",
                "eventId": str(uuid.uuid4()),
                "data": {"events": events},
                "eventTime": ids.now(),
                "contentType": "application/json",
            }
        )
        for _ in ("delivery", "retry"):
            with contextlib.suppress(httpx.HTTPError):
                answer = await self._http.post(hook.uri, content=body, headers=_headers(hook))
                if answer.status_code < 500:
                    return


def _headers(hook: Hook) -> dict[str, str]:
    """The secret goes out verbatim under the header that the administrator chose."""
    own = {one["key"]: one["value"] for one in hook.headers}
    return {"Content-Type": "application/json", **own, hook.auth_key: hook.auth_value}
