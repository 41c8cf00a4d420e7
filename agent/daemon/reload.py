"""Read settings and secrets again while the daemon runs. A wrong file changes nothing: the settings from before go on."""

import structlog

from agent.model.errors import ConfigError
from agent.settings import Loaded, Settings, load

#: Taken on without a restart.
LIVE = ("okta", "directory", "schedule", "reconcile", "policy", "guard", "receiver", "mapping", "imports")

_log = structlog.get_logger("agent.daemon")


class Reload:
    def __init__(self, loaded: Loaded, config: str | None) -> None:
        self.current = loaded.settings
        # The same file as at the start, even if another would be found first by now.
        self._config = config or (str(loaded.file) if loaded.file else None)
        self._reported: list[str] = []

    def changed(self) -> Settings | None:
        """The new settings, or None where nothing changed, or what changed is wrong (reported once)."""
        try:
            settings = load(self._config).settings
        except ConfigError as exc:
            if exc.problems != self._reported:
                self._reported = exc.problems
                _log.error("the settings are wrong; those from before go on", problems=exc.problems)
            return None
        self._reported = []
        sections = [name for name in Settings.model_fields if getattr(settings, name) != getattr(self.current, name)]
        if not sections:
            return None
        late = [name for name in sections if name not in LIVE]
        backend = self.current.directory.backend
        if settings.directory.backend != backend:
            late.append("directory.backend")
        if late:
            _log.warning("these settings changed and need a restart", sections=late)
        self.current = settings
        live = [name for name in sections if name in LIVE]
        if not live:
            return None
        _log.info("settings were read again", sections=live)
        return _with_backend(settings, backend)

    def secrets(self) -> Settings:
        """For Okta's client, when it is refused: the newest credentials that make sense."""
        self.changed()
        return self.current


def _with_backend(settings: Settings, backend: str) -> Settings:
    """Another directory altogether is not taken on under the feet of those who use this one."""
    directory = settings.directory.model_copy(update={"backend": backend})
    return settings.model_copy(update={"directory": directory})
