"""The log: constant texts with fixed keys, as JSON or for people, on stderr. Never names, e-mails or tokens."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from agent.settings import LogSettings

#: Print tokens or addresses of people at debug, or at info for each request; the last two warn of each tick that is skipped
#: while the one before is at work, and of each connection that talks nonsense.
_TALKATIVE = (
    "okta",
    "okta-sdk-python",
    "httpx",
    "httpcore",
    "aiohttp",
    "uvicorn.access",
    "alembic",
    "apscheduler",
    "uvicorn.error",
)
#: A connection that breaks is an error of whoever uses it, and told there. The others name addresses with their secrets.
_SILENT = ("sqlalchemy.pool", "apprise", "urllib3")


def configure(settings: LogSettings) -> None:
    """Once, at the start of the process. The standard library's loggers go the same way."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _escape,
    ]
    last: Any = (
        structlog.processors.JSONRenderer()
        if settings.format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[*shared, last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Of libraries; what they say below that is for those who write them, and may hold anything.
    root.setLevel(max(level, logging.WARNING))
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in _SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _escape(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Text from a client must not forge a line: control and format characters are written out."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable() and key != "exception":
            event[key] = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return event
