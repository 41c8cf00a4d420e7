"""Starts an org: in a thread beside a test or the demo, or in the foreground for ``simulate``."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import httpx
import msgspec
import uvicorn
from starlette.applications import Starlette

from agent.simulator import render
from agent.simulator.org import Org
from agent.simulator.scim_client import trusted
from agent.simulator.state import OrgSettings
from agent.simulator.web import build

#: How often within uvicorn's tenth of a second the server looks whether it should end.
_LOOKS = 5
#: Smaller orgs render a page in milliseconds.
_WARM_FROM = 5_000


class SimulatedOrg:
    """A running org. ``url``, ``app_id``, ``token`` and ``port`` are what a client needs; the rest is the control API."""

    def __init__(self, org: Org, server: uvicorn.Server, listener: socket.socket) -> None:
        self._org = org
        self._server = server
        self._thread = threading.Thread(target=server.run, args=([listener],), name="simulated-org", daemon=True)
        self.url = org.base
        self.app_id = org.settings.app_id
        self.token = org.settings.token
        self.port: int = listener.getsockname()[1]
        self._http = httpx.Client(base_url=self.url, timeout=120, trust_env=False, verify=trusted())

    @classmethod
    def start(cls, *, port: int = 0, host: str = "127.0.0.1", **settings: Any) -> Self:
        """Serve a new org in a thread; ``settings`` are those of OrgSettings. Usable as a context manager."""
        org = Org(OrgSettings(**settings))
        server, listener = _prepare(org, host, port)
        running = cls(org, server, listener)
        running._thread.start()
        running.call("GET", "/simulator/tasks")  # Answers once the server accepts connections.
        return running

    def stop(self) -> None:
        """Stops listening and gives up what is still queued."""
        self._http.close()
        self._server.should_exit = True
        self._thread.join(timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # -- the control API ---------------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """One control call; its JSON, or None. An answer that is no success raises httpx.HTTPStatusError."""
        answer = self._http.request(method, path, json=body, headers=headers)
        answer.raise_for_status()
        return msgspec.json.decode(answer.content) if answer.content else None

    def provisioning(self, **fields: Any) -> Any:
        """mode, loss, scim_url, scim_key, time_scale, external_id, push_waiting."""
        return self.call("PUT", "/simulator/provisioning", fields)

    def faults(self, *faults: dict[str, Any]) -> None:
        self.call("PUT", "/simulator/faults", list(faults))

    def listing(self, **fields: Any) -> None:
        self.call("PUT", "/simulator/listing", fields)

    def set_app(self, **fields: Any) -> Any:
        return self.call("PUT", "/simulator/app", fields)

    def set_schema(self, **attributes: dict[str, Any]) -> None:
        self.call("PUT", "/simulator/schema", attributes)

    def set_app_user(self, okta_id: str, **fields: Any) -> Any:
        return self.call("PUT", f"/simulator/app-users/{okta_id}", fields)

    def set_user(self, okta_id: str, **fields: Any) -> Any:
        return self.call("PUT", f"/simulator/users/{okta_id}", fields)

    def set_group(self, name: str, **fields: Any) -> str:
        """members, assigned, rule; answers the group's id."""
        return str(self.call("PUT", "/simulator/groups", {"name": name, **fields})["id"])

    def state(self, query: str = "") -> list[dict[str, Any]]:
        """The people, with what is wanted of each."""
        return list(self.call("GET", f"/simulator/state?{query}")["people"])

    def pushes(self, since: int = 0) -> list[dict[str, Any]]:
        return list(self.call("GET", f"/simulator/pushes?since={since}")["pushes"])

    def tasks(self) -> list[dict[str, Any]]:
        return list(self.call("GET", "/simulator/tasks")["tasks"])

    def retry_tasks(self) -> int:
        return int(self.call("POST", "/simulator/tasks/retry")["retried"])

    def import_accounts(self, **fields: Any) -> Any:
        return self.call("POST", "/simulator/import", fields)

    def events(self, **fields: Any) -> Any:
        return self.call("POST", "/simulator/events", fields)

    def wait_idle(self, timeout: float = 30.0) -> None:
        """Until no push and no hook delivery is under way; TimeoutError if that takes too long."""
        answer = self._http.get(f"/simulator/idle?timeout={timeout}", timeout=timeout + 10)
        if answer.status_code == httpx.codes.GATEWAY_TIMEOUT:
            raise TimeoutError(f"The simulated org was still pushing after {timeout} s")
        answer.raise_for_status()

    # -- Okta's own API, as an administrator uses it -------------------------------------------------------------------

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """One call of Okta's API with the API token, below /api/v1; its JSON, or None."""
        return self.call(method, f"/api/v1{path}", body, {"Authorization": f"SSWS {self.token}"})


def serve(settings: OrgSettings, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; ``ready`` is told the address once it is bound."""
    org = Org(settings)
    server, listener = _prepare(org, host, port)
    gc.freeze()  # The people stay for good: no use in walking over a million of them again and again.
    ready(org.base)
    # uvicorn stops cleanly and then raises the signal again; being told to end is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with contextlib.suppress(KeyboardInterrupt):
        server.run([listener])


def _prepare(org: Org, host: str, port: int) -> tuple[uvicorn.Server, socket.socket]:
    """Bind first, so that the org knows its address and a port in use is an OSError at once."""
    listener = _listener(host, port)
    shown = "127.0.0.1" if host in ("", "0.0.0.0") else host  # noqa: S104 - compared, not bound
    org.base = f"http://{shown}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        build(org, _lifespan),
        log_level="error",
        access_log=False,
        server_header=False,
        http="httptools",
        loop="asyncio",
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    return _Server(config), listener


def _listener(host: str, port: int) -> socket.socket:
    # With the protocol named: asyncio switches Nagle's algorithm off for such sockets only, and an answer of two
    # writes would otherwise wait 40 ms for the client's acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    async def main_loop(self) -> None:
        """Uvicorn looks ten times a second whether it should end; tests that start many orgs would wait for it."""
        looks = 0
        while not await self.on_tick(looks // _LOOKS % 864_000 if looks % _LOOKS == 0 else 1):
            looks += 1
            await asyncio.sleep(0.1 / _LOOKS)


@contextlib.asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    """The first pushes go out when the loop runs; the engine ends before it stops."""
    org: Org = app.state.org
    if org.provisioning.enabled:
        org.provisioning.push_waiting()
    warming = asyncio.create_task(_warm(org))
    yield
    warming.cancel()
    with contextlib.suppress(Exception):
        await org.hook_delivery.close()
        await org.provisioning.close()


async def _warm(org: Org) -> None:
    """Render the app users of a large org between the calls, so that the first sweep is as fast as the next."""
    people = list(org.assignments.app_users.values())
    for start in range(0, len(people) if len(people) >= _WARM_FROM else 0, 20):
        for app_user in people[start : start + 20]:
            render.app_user(app_user, org.base, org.settings.app_id)
        await asyncio.sleep(0)


def environment(settings: OrgSettings, host: str, port: int) -> Iterator[str]:
    """The ``export`` lines that point the agent at this org."""
    yield f"export OPSHELM_OKTA__ORG_URL=http://{host}:{port}"
    yield f"export OPSHELM_OKTA__APP_ID={settings.app_id}"
    yield f"export OPSHELM_OKTA__API_TOKEN={settings.token}"
