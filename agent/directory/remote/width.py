"""How many calls to a remote are worth having under way at once, and how many changes are made together.

Calls: as many as keep this process busy, and no more. A remote that answers at once is limited by the agent itself, and more
threads would only wait for each other, at the cost of CPU; one that takes its time is asked several things at once. Judged by
the CPU time that a few calls took. Starts with all: most runs are short, and a remote is rarely next door.

Changes: more together share more, but whoever pushes one of these accounts waits for all of them. Starts with few.
"""

#: Share of the time in which the process was at work. Above it is busy enough, below more calls may come in between.
_BUSY = 0.9
_IDLE = 0.6


#: Changes together at the start; the seconds under which there may be more, and above which fewer.
_FEW = 8
_MANY = 32
_QUICK = 1.5
_LONG = 4.0


class Width:
    """``calls`` is between 1 and ``most``; ``together`` at least ``most``, so that as many calls find something to do."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.calls = most
        self.most_together = max(_MANY, most)
        self.together = max(_FEW, most)

    def note(self, seconds: float, cpu: float, made: int) -> None:
        """``cpu``: seconds of CPU that this process used while ``seconds`` went by and so many changes were ``made``."""
        if seconds <= 0:
            return
        if seconds < _QUICK and made >= self.together:
            self.together = min(2 * self.together, self.most_together)
        elif seconds > _LONG:
            self.together = max(self.together // 2, self.most)
        share = cpu / seconds
        if share < _IDLE:
            self.calls = min(2 * self.calls, self.most)
        elif share > _BUSY:
            self.calls = max(self.calls - 1, 1)
