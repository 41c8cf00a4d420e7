"""Read settings and secrets again while the daemon runs. A wrong file changes nothing: the settings from before go on.

What was read is in force once it was taken on, all of it; until then every look brings it again.
"""

from collections.abc import Callable
from datetime import UTC, datetime

import structlog
from msgspec.structs import replace

from agent.model.errors import ConfigError
from agent.settings import Loaded, Settings, load
from agent.settings.describe import digest

#: Taken on without a restart.
LIVE = (
    *("okta", "directory", "schedule", "reconcile", "policy", "roles", "guard", "receiver", "mapping", "imports"),
    *("notify", "dashboard"),
)

_log = structlog.get_logger("agent.daemon")


class Reload:
    """``loaded`` are the settings that the daemon works with, ``in_force`` their digest, ``since`` when. From the clock's
    thread; ``secrets`` from any.
    """

    def __init__(
        self, loaded: Loaded, config: str | None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._read = loaded.settings
        self.loaded = self._newest = loaded
        # The same file as at the start, even if another would be found first by now.
        self._config = config or (str(loaded.file) if loaded.file else None)
        self._reported: list[str] = []
        self._late: list[str] = []
        self._clock = clock
        self.in_force, self.since = digest(self._read), clock()

    def changed(self) -> Settings | None:
        """The new settings, or None where nothing changed, or what changed is wrong (reported once). Then ``took``."""
        try:
            settings = self._load()
        except ConfigError as exc:
            if exc.problems != self._reported:
                self._reported = exc.problems
                _log.error("the settings are wrong; those from before go on", problems=exc.problems)
            return None
        self._reported = []
        late = [name for name in self._differ(settings) if name not in LIVE]
        if settings.directory.backend != self._read.directory.backend:
            late.append("directory.backend")
        if settings.dashboard.enabled != self._read.dashboard.enabled:
            late.append("dashboard.enabled")
        if late != self._late:
            self._late = late
            if late:
                _log.warning("these settings changed and need a restart", sections=late)
        live = self._live(settings)
        return live if self._differ(live) else None

    def took(self, settings: Settings) -> None:
        """``settings``, as ``changed`` gave them, are in force."""
        sections, self._read = self._differ(settings), settings
        self.loaded = replace(self._newest, settings=settings)
        self.in_force, self.since = digest(settings), self._clock()
        _log.info("settings were read again", sections=sections, in_force=self.in_force)

    def secrets(self) -> Settings:
        """For Okta's client, when it is refused: the newest credentials that make sense. Nothing is in force by that."""
        try:
            return self._load()
        except ConfigError:
            return self._read

    def _load(self) -> Settings:
        self._newest = load(self._config)
        return self._newest.settings

    def _differ(self, settings: Settings) -> list[str]:
        return [name for name in Settings.model_fields if getattr(settings, name) != getattr(self._read, name)]

    def _live(self, settings: Settings) -> Settings:
        """Without what needs a restart. Another directory altogether is not taken on under the feet of those who use this one."""
        update = {name: getattr(self._read, name) for name in Settings.model_fields if name not in LIVE}
        update["directory"] = settings.directory.model_copy(update={"backend": self._read.directory.backend})
        update["dashboard"] = settings.dashboard.model_copy(update={"enabled": self._read.dashboard.enabled})
        return settings.model_copy(update=update)
