"""What the daemon gives back each minute."""

import weakref

from agent.daemon import memory


class _Knot:
    def __init__(self) -> None:
        self.itself = self


def test_garbage_that_is_part_of_a_cycle_is_gone_at_once() -> None:
    knot = _Knot()
    kept = weakref.ref(knot)
    del knot
    memory.give_back()
    assert kept() is None
