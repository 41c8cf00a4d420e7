"""Does the daemon answer on its two ports? Loopback requests to the addresses of the settings, nothing else."""

import http.client
import json
import ssl
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from agent.model.check import Check, fail, ok, warn
from agent.model.errors import DiskFull
from agent.model.times import when
from agent.settings import ServerSettings, Settings
from agent.settings.describe import digest

_TIMEOUT = 5.0


class WebAnswer(Struct, frozen=True):
    status: int
    body: bytes
    seconds: float

    @property
    def object(self) -> dict[str, Any]:
        """The JSON object that it holds; empty where it holds none."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}


def get(url: str, headers: dict[str, str], timeout: float) -> WebAnswer | str:
    """The answer, or in words why there is none. Redirects are not followed: Okta doesn't send its key elsewhere either."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=timeout, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout)
    )
    started = time.perf_counter()
    try:
        connection.request("GET", url.partition(parts.netloc)[2], headers=headers)
        answer = connection.getresponse()
        return WebAnswer(answer.status, answer.read(1_000_000), time.perf_counter() - started)
    except (OSError, http.client.HTTPException) as exc:
        return str(exc) or type(exc).__name__
    finally:
        connection.close()


def health(server: ServerSettings) -> Check:
    """For container health checks: ready to take pushes, or not."""
    status, said = _asked(server.admin_host, server.admin_port, "/readyz")
    if status == 200:
        return ok("health", "ready")
    if status is None:
        return fail("health", "the admin port does not answer", "opshelm-agent serve, and look at its log")
    if said.get("status") == DiskFull.code:
        return fail("health", str(said.get("why")), "df -h; make room, it goes on by itself")
    loops = said.get("loops")
    if isinstance(loops, list) and loops:
        still = ", ".join(map(str, loops))
        return fail("health", f"these loops stand still: {still}", "look at the log; restarting the agent does no harm")
    return fail("health", f"not ready (HTTP {status})", "look at the log: the database can't be read")


def in_force(settings: Settings) -> Iterator[Check]:
    """Whether the daemon works with the settings that this command has read; nothing where no daemon answers."""
    _, said = _asked(settings.server.admin_host, settings.server.admin_port, "/readyz")
    theirs, mine, begun = said.get("settings"), digest(settings), said.get("since")
    since = when(datetime.fromisoformat(str(begun))) if begun else ""
    if theirs == mine:
        yield ok("settings in force", f"the daemon works with these ({mine}) since {since}")
    elif theirs is not None:
        yield warn(
            "settings in force",
            f"the daemon works with others ({theirs}) since {since}, not with these ({mine})",
            "look at its log: a section that needs a restart, a wrong value, or another file or environment",
        )


def checks(server: ServerSettings) -> Iterator[Check]:
    status, _ = _asked(server.host, server.port, "/scim/v2/Users?count=1")
    if status is None:
        yield warn("receiver", "nothing listens on server.port", "opshelm-agent serve")
    elif status == 401:
        yield ok("receiver", "answers, and asks for a key")
    else:
        yield fail(
            "receiver", f"answered HTTP {status} to a request without a key", "does another program use server.port?"
        )


def _asked(host: str, port: int, path: str) -> tuple[int | None, dict[str, object]]:
    """The status, and the JSON object that came with it."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    answer = get(f"http://{f'[{host}]' if ':' in host else host}:{port}{path}", {}, _TIMEOUT)
    return (None, {}) if isinstance(answer, str) else (answer.status, answer.object)
