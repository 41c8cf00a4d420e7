"""What an import says while it works. The command line shows it; nothing is decided by it."""

from typing import Protocol


class Progress(Protocol):
    """Called from the import's own thread, but ``wait`` from Okta's."""

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """``done`` of ``total`` of what is being done now."""

    def wait(self, seconds: float, what: str) -> None:
        """Standing still for Okta's limit."""


class Silent:
    """Says nothing."""

    def step(self, what: str, done: int = 0, total: int | None = None) -> None: ...

    def wait(self, seconds: float, what: str) -> None: ...
