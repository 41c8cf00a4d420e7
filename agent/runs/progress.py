"""What a run says while it works. The command line shows it; nothing is decided by it."""

from typing import Protocol


class Progress(Protocol):
    """Called from the run's own thread, ``wait`` also from Okta's. Must be quick and must not raise."""

    def step(self, what: str, done: int = 0, total: int | None = None) -> None:
        """``done`` of ``total`` of what is being done now, such as "people read"."""

    def wait(self, seconds: float, what: str) -> None:
        """Standing still for one of Okta's limits."""


class Silent:
    """Says nothing."""

    def step(self, what: str, done: int = 0, total: int | None = None) -> None: ...

    def wait(self, seconds: float, what: str) -> None: ...
