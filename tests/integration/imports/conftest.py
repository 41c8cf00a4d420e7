from collections.abc import Iterator
from pathlib import Path

import pytest

from support.import_world import Box, box


@pytest.fixture
def b(tmp_path: Path) -> Iterator[Box]:
    with box(tmp_path) as made:
        yield made
