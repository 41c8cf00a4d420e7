"""Does the daemon answer on its two ports? Loopback requests to the addresses of the settings, nothing else."""

import http.client
from collections.abc import Iterator

from agent.checks.check import Check, fail, ok, warn
from agent.settings import ServerSettings

_TIMEOUT = 5.0


def health(server: ServerSettings) -> Check:
    """For container health checks: ready to take pushes, or not."""
    status = _status(server.admin_host, server.admin_port, "/readyz")
    if status == 200:
        return ok("health", "ready")
    if status is None:
        return fail("health", "the admin port does not answer", "opshelm-agent serve, and look at its log")
    return fail("health", f"not ready (HTTP {status})", "look at the log: the database can't be read")


def checks(server: ServerSettings) -> Iterator[Check]:
    status = _status(server.host, server.port, "/scim/v2/Users?count=1")
    if status is None:
        yield warn("receiver", "nothing listens on server.port", "opshelm-agent serve")
    elif status == 401:
        yield ok("receiver", "answers, and asks for a key")
    else:
        yield fail(
            "receiver", f"answered HTTP {status} to a request without a key", "does another program use server.port?"
        )


def _status(host: str, port: int, path: str) -> int | None:
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "127.0.0.1"
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
