from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.world import World, open_world


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Worlds of their own; with the guard's defaults unless said otherwise."""
    with ExitStack() as stack:

        def make(users: int = 10, **sections: Any) -> World:
            return stack.enter_context(open_world(tmp_path, users=users, **{"guard": {}, **sections}))

        yield make
