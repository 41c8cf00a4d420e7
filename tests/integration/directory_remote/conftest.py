"""The contract's places, and one remote of each kind for the session; every test makes people of its own names."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent.directory.remote.mirror import LAG
from agent.settings import DatabaseSettings, GuardSettings, Settings
from agent.store.engine import Store
from support.place import ROOMY, Place, remote_place
from support.remotes import Remote, node_missing, ours, scim2_server, scimmy
from support.sloppy import KEY, Sloppy, sloppy_server
from support.world import OWNER, World, open_world


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    store = Store.open(DatabaseSettings(url=sqlite_url))
    yield store
    store.close()


@pytest.fixture
def ours_remote(tmp_path: Path) -> Iterator[Remote]:
    with ours(tmp_path / "remote") as remote:
        yield remote


@pytest.fixture(scope="session")
def scim2_process() -> Iterator[Remote]:
    with scim2_server() as remote:
        yield remote


@pytest.fixture
def scim2_remote(scim2_process: Remote) -> Remote:
    """Nobody in it."""
    while found := scim2_process.client.get("/Users").json().get("Resources"):
        for user in found:
            scim2_process.client.delete(f"/Users/{user['id']}")
    return scim2_process


@pytest.fixture(scope="session")
def scimmy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    missing = node_missing()
    if missing:
        pytest.skip(f"unmet need: {missing}")
    return tmp_path_factory.mktemp("scimmy")


@pytest.fixture
def scimmy_remote(scimmy_folder: Path) -> Iterator[Remote]:
    with scimmy(scimmy_folder) as remote:
        yield remote


KINDS = ["sql", "ours", "scim2", pytest.param("scimmy", marks=pytest.mark.slow)]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, sqlite_store: Store) -> Iterator[Place]:
    """With limits that no test meets by accident."""
    yield from _place(request, sqlite_store, ROOMY)


@pytest.fixture(params=KINDS)
def guarded_place(request: pytest.FixtureRequest, sqlite_store: Store) -> Iterator[Place]:
    """With the limits as they are by default."""
    yield from _place(request, sqlite_store, GuardSettings())


def _place(request: pytest.FixtureRequest, store: Store, guard: GuardSettings) -> Iterator[Place]:
    if request.param == "sql":
        yield Place(store, Settings(guard=guard))
        return
    with remote_place(store, request.getfixturevalue(f"{request.param}_remote"), guard) as found:
        yield found


@pytest.fixture
def scim2_place(sqlite_store: Store, scim2_remote: Remote) -> Iterator[Place]:
    with remote_place(sqlite_store, scim2_remote) as found:
        yield found


@pytest.fixture
def sloppy() -> Iterator[Sloppy]:
    with sloppy_server() as server:
        yield server


@pytest.fixture
def sloppy_place(sqlite_store: Store, sloppy: Sloppy) -> Iterator[Place]:
    """The agent in front of a server that does what the test says."""
    with remote_place(sqlite_store, Remote(sloppy.url, KEY)) as found:
        yield found
        found.remote.client.close()


@pytest.fixture
def world(tmp_path: Path, sloppy: Sloppy) -> Iterator[World]:
    """A reconciler with that server as OpsHelm: everybody is there and linked."""
    with open_world(tmp_path, remote=Remote(sloppy.url, KEY)) as made:
        sloppy.add(OWNER)
        made.first_run()
        made.ahead += LAG + timedelta(minutes=1)
        yield made
        made.remote.client.close()
