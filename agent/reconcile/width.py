"""How many calls to a remote are worth having under way at once: as many as keep this process busy, and no more.

A remote that answers at once is limited by the agent itself, and more threads would only wait for each other, at the cost of
CPU; one that takes its time is asked several things at once. Judged by the CPU time that a few calls took. Starts with all:
most runs are short, and a remote is rarely next door.
"""

#: Share of the time in which the process was at work. Above it is busy enough, below more calls may come in between.
_BUSY = 0.9
_IDLE = 0.6


class Width:
    """``calls`` is between 1 and ``most``."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.calls = most

    def note(self, seconds: float, cpu: float) -> None:
        """``cpu``: seconds of CPU that this process used while ``seconds`` went by with ``calls`` under way."""
        if seconds <= 0:
            return
        share = cpu / seconds
        if share < _IDLE:
            self.calls = min(2 * self.calls, self.most)
        elif share > _BUSY:
            self.calls = max(self.calls - 1, 1)
