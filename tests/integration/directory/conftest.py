"""A directory on each of the two databases."""

import pytest

from agent.settings import Settings
from agent.store.engine import Store
from support.place import ROOMY, Place


@pytest.fixture
def world(store: Store) -> Place:
    """With limits that no test meets by accident."""
    return Place(store, Settings(guard=ROOMY))


@pytest.fixture
def guarded_world(store: Store) -> Place:
    """With the limits as they are by default."""
    return Place(store, Settings())
