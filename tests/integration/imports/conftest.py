from collections.abc import Iterator
from pathlib import Path

import pytest

from support.world import World, open_import_world


@pytest.fixture
def b(tmp_path: Path) -> Iterator[World]:
    with open_import_world(tmp_path) as made:
        yield made
