"""The page that checks the set-up: the lines of ``check``, each sent as it comes. Checks nothing itself."""

from collections.abc import Iterator

import structlog
from starlette.responses import Response
from starlette.routing import Route

from agent.dashboard.metrics import Daemon
from agent.dashboard.site import Site, Visit
from agent.model.check import Check, fail
from agent.model.errors import AgentError

_log = structlog.get_logger("agent.dashboard")


def routes(site: Site, daemon: Daemon) -> list[Route]:
    def ask(site: Site, visit: Visit) -> Response:
        return site.render(visit, "check.html", lines=None)

    def run(site: Site, visit: Visit) -> Response:
        return site.stream(visit, "check.html", lines=_whole(daemon.check(visit.by())))

    return [*site.page("/check", ask), *site.act("/check", run)]


def _whole(lines: Iterator[Check]) -> Iterator[Check]:
    """The page has begun by then: whatever happens is said in it."""
    try:
        yield from lines
    except AgentError as error:
        yield fail("check", error.detail, "")
    except Exception:  # noqa: BLE001 - nobody else would say it: the answer is under way
        _log.exception("a check ended with a bug")
        yield fail("check", "It ended with an error that is a bug; the log has it.", "")
