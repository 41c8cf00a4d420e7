"""A directory on each of the two databases."""

import pytest

from agent.settings import Settings
from agent.store.engine import Store
from support.directory_world import ROOMY, World


@pytest.fixture
def world(store: Store) -> World:
    """With limits that no test meets by accident."""
    return World(store, Settings(guard=ROOMY))


@pytest.fixture
def guarded_world(store: Store) -> World:
    """With the limits as they are by default."""
    return World(store, Settings())
